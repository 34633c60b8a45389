//! Search with an index of the codes: the same hits as by a scan, whatever the collection went through.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use twinbit::{
    Against, Builder, CodeBits, CodeRows, CodesBuf, Collection, Compaction, Database, Error, Hit, IdKind,
    Indexing, Input, Method, Modality, Query, ReadMode, Record, Schema, field,
};
use twinbit_tests::fill_codes;

/// Every segment gets an index, when it is told to.
fn builder() -> Builder {
    let by_hand = Compaction { background: false, ..Compaction::default() };
    let indexing = Indexing { rows: 1, memory_bytes: 1 << 16 };
    Database::builder().threads(2).compaction(by_hand).indexing(indexing)
}

/// How the codes of a collection lie.
#[derive(Debug, Clone, Copy)]
enum Content {
    Uniform,
    /// Near one of five centers.
    Clustered,
    /// One of five codes.
    Duplicates,
}

struct Source {
    random: ChaCha8Rng,
    content: Content,
    centers: Vec<Vec<u8>>,
}

impl Source {
    fn new(content: Content, bits: CodeBits, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let centers = (0..5).map(|_| (0..bits.bytes()).map(|_| random.random()).collect()).collect();
        Source { random, content, centers }
    }

    fn code(&mut self) -> Vec<u8> {
        let center = &self.centers[self.random.random_range(0..5)];
        let random = &mut self.random;
        let mut few = || random.random::<u8>() & random.random::<u8>() & random.random::<u8>();
        match self.content {
            Content::Uniform => center.iter().map(|byte| byte ^ few() ^ few() ^ few() ^ few()).collect(),
            Content::Clustered => center.iter().map(|byte| byte ^ few()).collect(),
            Content::Duplicates => center.clone(),
        }
    }
}

/// A collection with segments of some sizes, deleted rows and fresh rows, made with a store of small
/// limits and opened as a database.
fn filled(
    folder: &Path,
    source: &mut Source,
    bits: CodeBits,
    segments: &[usize],
    fresh: usize,
) -> Collection {
    fill_codes(builder(), folder, bits, segments, fresh, || source.code());
    builder().open(folder).unwrap().only_collection().unwrap()
}

/// Asks in every way and compares; returns the hits.
fn ask(query: &Query) -> Vec<Vec<Hit>> {
    let scanned = query.clone().method(Method::Scan).explain().unwrap();
    assert!(scanned.plan.parts().iter().all(|part| part.queries_by_index() == 0));
    for method in [Some(Method::MultiIndex), None] {
        let query = query.clone();
        let found = method.map_or(query.clone(), |method| query.method(method)).explain().unwrap();
        assert_eq!(found.hits, scanned.hits, "{}", found.plan);
        if method.is_some() {
            for part in found.plan.parts() {
                let expected = if part.index_cost().is_some() { found.plan.queries() } else { 0 };
                assert_eq!(part.queries_by_index(), expected, "{}", found.plan);
            }
        }
    }
    scanned.hits
}

fn segments_with_index(collection: &Collection) -> usize {
    let code = vec![0; collection.schema().unwrap().bits().bytes()];
    let query =
        collection.snapshot().unwrap().query(Modality::Image, Input::code(code)).against(Modality::Image);
    let plan = query.explain().unwrap().plan;
    plan.parts().iter().filter(|part| part.index_cost().is_some()).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn index_scan_and_planner_give_the_same_hits(
        bits in select(vec![16, 32, 64, 72, 128]),
        content in select(vec![Content::Uniform, Content::Clustered, Content::Duplicates]),
        segments in proptest::collection::vec(1..400_usize, 1..5),
        fresh in 0..60_usize,
        limits in proptest::collection::vec(select(vec![1, 3, 10, 100, 5_000]), 2),
        radius in 0..20_u32,
        seed: u64,
    ) {
        let bits = CodeBits::new(bits).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut source = Source::new(content, bits, seed);
        let collection = filled(folder.path(), &mut source, bits, &segments, fresh);
        let built = collection.build_indexes().unwrap();
        prop_assert_eq!(built.segments, segments.len() as u64);
        let snapshot = collection.snapshot().unwrap();
        let mut queries: Vec<Input> = (0..3).map(|_| Input::code(source.code())).collect();
        queries.push(Input::code(vec![0x5a; bits.bytes()]));
        for against in [Against::Image, Against::Text, Against::Both] {
            for filter in [None, Some(field("year").eq(3)), Some(field("year").ge(1))] {
                let one = snapshot.query(Modality::Text, queries[0].clone()).against(against);
                let many = snapshot.query_many(Modality::Text, queries.clone()).against(against);
                for query in [one, many] {
                    let query = match &filter {
                        Some(filter) => query.filter(filter.clone()),
                        None => query,
                    };
                    for limit in &limits {
                        ask(&query.clone().limit(*limit));
                        ask(&query.clone().limit(*limit).within(radius));
                    }
                    ask(&query.within(radius));
                }
            }
        }
    }
}

#[test]
fn indexes_follow_compaction_copies_and_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let bits = CodeBits::B64;
    let mut source = Source::new(Content::Clustered, bits, 1);
    let collection = filled(&place("db"), &mut source, bits, &[300, 200, 400], 20);
    let queries: Vec<Input> = (0..20).map(|_| Input::code(source.code())).collect();
    let answers = |collection: &Collection| {
        ask(&collection.snapshot().unwrap().query_many(Modality::Text, queries.clone()).limit(15))
    };
    let before = answers(&collection);
    assert_eq!(segments_with_index(&collection), 0);
    assert_eq!(collection.build_indexes().unwrap().segments, 3);
    assert_eq!(collection.build_indexes().unwrap().segments, 0);
    let held = collection.snapshot().unwrap();
    assert_eq!((answers(&collection), segments_with_index(&collection)), (before.clone(), 3));

    collection.put(Record::new(5_000).image(Input::code(vec![0xff; 8]))).unwrap();
    assert!(collection.delete(5_000).unwrap());
    let compacted = collection.compact().unwrap();
    assert_eq!((compacted.segments_after, compacted.indexes_built), (1, 1));
    assert_eq!((answers(&collection), segments_with_index(&collection)), (before.clone(), 1));
    // The snapshot still reads the old files.
    assert_eq!(ask(&held.query_many(Modality::Text, queries.clone()).limit(15)), before);
    assert!(collection.stats().unwrap().bytes.search_index > 0);

    collection.database().checkpoint(place("copy")).unwrap();
    drop((held, collection));
    Database::restore(place("copy"), place("restored")).unwrap();
    for name in ["db", "copy", "restored"] {
        for mode in [ReadMode::Mapped, ReadMode::Read] {
            let database = builder().read_mode(mode).open(place(name)).unwrap();
            let collection = database.only_collection().unwrap();
            assert_eq!((answers(&collection), segments_with_index(&collection)), (before.clone(), 1));
            assert_eq!(database.verify().unwrap().problems, []);
        }
        let reader = builder().open_read_only(place(name)).unwrap();
        assert_eq!(segments_with_index(&reader.only_collection().unwrap()), 1);
    }
}

#[test]
fn an_install_makes_indexes_anew() {
    let folder = tempfile::tempdir().unwrap();
    let database = builder().open(folder.path()).unwrap();
    let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).image_features(2).text_features(2);
    let things = database.create_collection("things", schema).unwrap();
    let mut writer = things.writer().unwrap();
    let features = |id: u64| Input::features([(id % 13) as f32, (id % 5) as f32]);
    writer.extend((0..300).map(|id| Record::new(id).image(features(id)).text(features(id)))).unwrap();
    writer.commit().unwrap();
    // Stored without codes, as a segment.
    things.compact().unwrap();
    for seed in [1, 2] {
        let trainer = things.trainer().hidden(4).batch(32).epochs(1).seed(seed);
        let model = trainer.fit(&things.snapshot().unwrap()).unwrap().model;
        things.install(&model).unwrap();
        let queries: Vec<Input> = (0..10).map(features).collect();
        let asked = || ask(&things.snapshot().unwrap().query_many(Modality::Text, queries.clone()));
        let before = asked();
        assert_eq!(things.stats().unwrap().bytes.search_index, 0);
        assert_eq!(things.build_indexes().unwrap().segments, 1);
        assert_eq!(asked(), before);
    }
    assert_eq!(database.verify().unwrap().problems, []);
}

/// Ready codes of one modality as one large segment.
fn large(folder: &Path, content: Content, bits: CodeBits, rows: usize) -> (Collection, Source) {
    let mut source = Source::new(content, bits, 3);
    let mut packed = Vec::with_capacity(rows * bits.bytes());
    (0..rows).for_each(|_| packed.extend(source.code()));
    let codes = CodesBuf::from_packed(bits, &packed).unwrap();
    let database = builder().open(folder).unwrap();
    let collection = database.create_collection("codes", Schema::new(bits).external_codes()).unwrap();
    let mut writer = collection.writer().unwrap();
    writer.extend_codes(CodeRows::new().images(codes.as_codes())).unwrap();
    writer.commit().unwrap();
    collection.build_indexes().unwrap();
    (collection, source)
}

#[test]
fn the_planner_takes_the_index_where_rows_are_near_and_says_what_it_expected() {
    let folder = tempfile::tempdir().unwrap();
    let (collection, mut source) = large(folder.path(), Content::Uniform, CodeBits::B64, 200_000);
    let query = collection.snapshot().unwrap().query(Modality::Text, Input::code(source.code()));
    let near = query.clone().within(3).explain().unwrap().plan;
    let [part] = near.parts() else { panic!("{near}") };
    assert_eq!(part.queries_by_index(), 1, "{near}");
    assert!(part.index_cost().is_some_and(|cost| cost < part.scan_cost()), "{near}");
    assert!(part.lists() > 0 && part.rows_compared() < 20_000, "{near}");
    assert!(near.to_string().contains("; index, "), "{near}");
    // Whoever wants nearly all rows is better served by a scan.
    let far = query.limit(150_000).explain().unwrap().plan;
    let [part] = far.parts() else { panic!("{far}") };
    assert_eq!((part.queries_by_index(), part.rows()), (0, 200_000), "{far}");
    assert!(part.rows_compared() >= 200_000, "{far}");
    assert!(far.to_string().contains("scan rather than index"), "{far}");
}

#[test]
fn deadlines_and_cancellation_reach_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let (collection, mut source) = large(folder.path(), Content::Clustered, CodeBits::B64, 100_000);
    let query = collection.snapshot().unwrap().query(Modality::Text, Input::code(source.code()));
    let query = query.method(Method::MultiIndex);
    let canceled = query.clone().cancel(Arc::new(AtomicBool::new(true))).run();
    assert!(matches!(canceled, Err(Error::Canceled)));
    let late = query.deadline(Duration::ZERO).run();
    assert!(matches!(late, Err(Error::DeadlineExceeded { .. })));
}

fn index_file(folder: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(folder.join("segments")).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.to_string_lossy().contains(".index.")).unwrap()
}

#[test]
fn an_index_found_damaged_while_it_is_read_gives_way_to_the_scan() {
    let folder = tempfile::tempdir().unwrap();
    let bits = CodeBits::B64;
    let mut source = Source::new(Content::Clustered, bits, 8);
    let collection = filled(folder.path(), &mut source, bits, &[400], 0);
    let queries: Vec<Input> = (0..20).map(|_| Input::code(source.code())).collect();
    let asked = |collection: &Collection, method| {
        collection
            .snapshot()
            .unwrap()
            .query_many(Modality::Text, queries.clone())
            .method(method)
            .explain()
            .unwrap()
    };
    let expected = asked(&collection, Method::Scan).hits;
    collection.build_indexes().unwrap();
    assert!(asked(&collection, Method::MultiIndex).plan.parts()[0].queries_by_index() > 0);
    drop(collection);
    // Rows that no segment has, in the lists of the images.
    let path = index_file(folder.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let lists = 4096 + 200;
    bytes[lists..lists + 400].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let database = builder().open(folder.path()).unwrap();
    let collection = database.only_collection().unwrap();
    let found = asked(&collection, Method::MultiIndex);
    assert_eq!(found.hits, expected);
    assert_eq!(found.plan.parts()[0].queries_by_index(), 0);
    assert_eq!(database.verify().unwrap().problems.len(), 1);
    assert_eq!(database.repair().unwrap().search_indexes_built, 1);
    assert_eq!(database.verify().unwrap().problems, []);
    let found = asked(&collection, Method::MultiIndex);
    assert_eq!((found.hits, found.plan.parts()[0].queries_by_index()), (expected, 20));
}
