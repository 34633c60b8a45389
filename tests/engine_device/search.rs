//! Searches on a card: the same hits as on the processor, whatever the collection and the card go through.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use twinbit::{
    Against, Builder, CodeBits, CodeRows, CodesBuf, Collection, CudaError, Device, DeviceCosts, Error,
    Filter, Hit, IdKind, Input, Method, Modality, Record, Schema, Snapshot, field,
};
use twinbit_tests::fill_codes;

use crate::blocks::Health;
use crate::{builder, for_nothing, with_card};

/// A collection of codes with segments of some sizes, fresh rows and deleted ones. Few different codes, so
/// that there are ties everywhere.
fn fill(folder: &Path, bits: CodeBits, segments: &[usize], fresh: usize, random: &mut ChaCha8Rng) {
    fill_codes(builder(), folder, bits, segments, fresh, || code(bits, random));
}

/// One of 64 codes, or any.
fn code(bits: CodeBits, random: &mut ChaCha8Rng) -> Vec<u8> {
    if random.random_bool(0.5) {
        return (0..bits.bytes()).map(|_| random.random()).collect();
    }
    vec![[0x00, 0x0f, 0x3c, 0xff][random.random_range(0..4)] ^ (1 << random.random_range(0..4)); bits.bytes()]
}

/// What is asked.
#[derive(Debug, Clone)]
struct Question {
    codes: Vec<Vec<u8>>,
    against: Against,
    filter: Option<Filter>,
    limit: Option<usize>,
    radius: Option<u32>,
}

impl Question {
    fn query(&self, snapshot: &Snapshot) -> twinbit::Query {
        let inputs = self.codes.iter().map(|code| Input::code(code.clone())).collect();
        let mut query = snapshot.query_many(Modality::Text, inputs).against(self.against);
        if let Some(filter) = &self.filter {
            query = query.filter(filter.clone());
        }
        if let Some(limit) = self.limit {
            query = query.limit(limit);
        }
        if let Some(radius) = self.radius {
            query = query.within(radius);
        }
        query
    }
}

fn question(bits: CodeBits) -> impl Strategy<Value = Question> {
    let filters = vec![None, Some(field("year").eq(3)), Some(field("year").ge(1))];
    let limits = vec![None, Some(1), Some(3), Some(10), Some(100), Some(5_000)];
    let most = bits.bits() as u32 / 2;
    (
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), bits.bytes()), 1..20),
        select(vec![Against::Image, Against::Text, Against::Both]),
        select(filters),
        select(limits),
        proptest::option::of(0..most),
    )
        .prop_map(|(codes, against, filter, limit, radius)| Question {
            codes,
            against,
            filter,
            limit,
            radius,
        })
}

/// The queries of all parts that the card answered.
fn on_card(snapshot: &Snapshot, question: &Question) -> (Vec<Vec<Hit>>, usize) {
    let found = question.query(snapshot).explain().unwrap();
    let answered = found.plan.parts().iter().map(|part| part.queries_on_card()).sum();
    (found.hits, answered)
}

fn opened(builder: Builder, folder: &Path) -> Collection {
    builder.open_read_only(folder).unwrap().only_collection().unwrap()
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    None,
    /// The budget holds no more than one matrix of the largest segment.
    SmallBudget,
    /// The card has less memory than the budget.
    SmallCard,
    /// Launches fail.
    Broken,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn card_and_processor_give_the_same_hits(
        (bits, questions) in select(vec![16, 32, 64, 72, 128]).prop_flat_map(|bits| {
            let bits = CodeBits::new(bits).unwrap();
            (Just(bits), proptest::collection::vec(question(bits), 6))
        }),
        segments in proptest::collection::vec(1..400_usize, 1..5),
        fresh in 0..60_usize,
        trouble in select(vec![Trouble::None, Trouble::SmallBudget, Trouble::SmallCard, Trouble::Broken]),
        seed: u64,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        fill(folder.path(), bits, &segments, fresh, &mut random);
        let (mut automatic, health) = with_card(Device::Auto);
        let (mut demanded, _) = with_card(Device::Cuda(0));
        let largest = CodesBuf::from_packed(bits, &vec![0; segments.iter().max().unwrap() * bits.bytes()]);
        let largest = largest.unwrap().as_bytes().len();
        match trouble {
            Trouble::None => {}
            Trouble::SmallBudget => {
                automatic = automatic.device_memory(largest as u64);
                demanded = demanded.device_memory(largest as u64);
            }
            // Room for the candidates of few queries.
            Trouble::SmallCard => health.memory.store((1 << 19) + 2 * largest, Ordering::Relaxed),
            Trouble::Broken => health.broken.store(true, Ordering::Relaxed),
        }
        for compacted in [false, true] {
            if compacted {
                builder().open(folder.path()).unwrap().only_collection().unwrap().compact().unwrap();
            }
            let plain = opened(builder().device(Device::Cpu), folder.path());
            let plain = plain.snapshot().unwrap();
            for (options, is_demanded) in [(automatic.clone().device_costs(for_nothing()), false), (demanded.clone(), true)] {
                // The matrix of a merged segment is larger than the small budget.
                if compacted && is_demanded && matches!(trouble, Trouble::SmallBudget) {
                    continue;
                }
                let collection = opened(options, folder.path());
                let snapshot = collection.snapshot().unwrap();
                for question in &questions {
                    let expected = question.query(&plain).run_many().unwrap();
                    let (found, answered) = on_card(&snapshot, question);
                    prop_assert_eq!(&found, &expected, "{:?}", question);
                    // A filter, or a segment of a few rows, may leave nothing in segments to ask for.
                    let has_candidates = question.filter.is_none() && segments.iter().any(|rows| *rows >= 12);
                    if is_demanded && has_candidates && question.limit.is_some_and(|limit| limit < 2048) {
                        prop_assert!(answered > 0);
                    }
                    if matches!(trouble, Trouble::Broken) && !is_demanded {
                        prop_assert_eq!(answered, 0);
                    }
                }
            }
        }
    }
}

/// A database on a card with a collection of three segments, and the same on the processor.
struct Pair {
    on_card: Collection,
    plain: Collection,
    question: Question,
    health: Arc<Health>,
    _folders: [tempfile::TempDir; 2],
}

const SEGMENTS: [usize; 3] = [300, 200, 100];
/// Lines of 64 bytes hold 8 codes of 64 bits.
const MATRIX_BYTES: [u64; 3] = [38 * 64, 25 * 64, 13 * 64];

fn pair(options: impl FnOnce(Builder) -> Builder, device: Device) -> Pair {
    let (card, health) = with_card(device);
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let bits = CodeBits::B64;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for folder in &folders {
        fill(folder.path(), bits, &SEGMENTS, 10, &mut ChaCha8Rng::seed_from_u64(1));
    }
    let open = |builder: Builder, folder: &tempfile::TempDir| {
        builder.open(folder.path()).unwrap().only_collection().unwrap()
    };
    let on_card = open(options(card), &folders[0]);
    let plain = open(builder().device(Device::Cpu), &folders[1]);
    let codes = (0..5).map(|_| code(bits, &mut random)).collect();
    let question = Question { codes, against: Against::Image, filter: None, limit: Some(20), radius: None };
    Pair { on_card, plain, question, health, _folders: folders }
}

impl Pair {
    /// Asks both; the queries of all parts that the card answered.
    fn ask(&self) -> usize {
        let expected = self.question.query(&self.plain.snapshot().unwrap()).run_many().unwrap();
        let (found, answered) = on_card(&self.on_card.snapshot().unwrap(), &self.question);
        assert_eq!(found, expected);
        answered
    }

    fn resident(&self) -> (usize, u64) {
        let status = self.on_card.database().device_status();
        assert!(status.resident_bytes <= status.budget_bytes, "{status:?}");
        (status.resident_matrices, status.resident_bytes)
    }
}

#[test]
fn codes_are_copied_once_and_go_with_their_file() {
    let mut pair = pair(|builder| builder, Device::Cuda(0));
    assert_eq!(pair.resident(), (0, 0));
    assert_eq!(pair.ask(), 15);
    let bytes = MATRIX_BYTES.iter().sum();
    assert_eq!(pair.resident(), (3, bytes));
    assert_eq!(pair.ask(), 15);
    assert_eq!(pair.resident(), (3, bytes));
    pair.question.against = Against::Both;
    assert_eq!(pair.ask(), 30);
    assert_eq!(pair.resident(), (6, 2 * bytes));
    // Changes of rows leave the files alone.
    for collection in [&pair.on_card, &pair.plain] {
        assert!(collection.delete(7).unwrap());
        collection.put(Record::new(9_000).image(Input::code([0xff; 8]))).unwrap();
    }
    assert_eq!(pair.ask(), 30);
    assert_eq!(pair.resident(), (6, 2 * bytes));
    // An older snapshot keeps the old files, and is answered from their codes.
    let held = pair.on_card.snapshot().unwrap();
    let before = pair.question.query(&held).run_many().unwrap();
    for collection in [&pair.on_card, &pair.plain] {
        collection.compact().unwrap();
    }
    assert_eq!(pair.ask(), 10);
    assert_eq!(pair.question.query(&held).run_many().unwrap(), before);
    assert_eq!(pair.resident().0, 8);
    drop(held);
    assert_eq!(pair.resident().0, 2);
    let taken = pair.health.taken.load(Ordering::Relaxed) as u64;
    assert!(taken > pair.resident().1, "what no file is behind goes with the next search");
    pair.ask();
    assert_eq!(pair.health.taken.load(Ordering::Relaxed) as u64, pair.resident().1);
}

#[test]
fn an_install_of_other_codes_is_never_answered_from_the_old_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (options, _) = with_card(Device::Cuda(0));
    let database = options.open(folder.path()).unwrap();
    let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).image_features(2).text_features(2);
    let things = database.create_collection("things", schema).unwrap();
    let mut writer = things.writer().unwrap();
    let features = |id: u64| Input::features([(id % 13) as f32, (id % 5) as f32]);
    writer.extend((0..200).map(|id| Record::new(id).image(features(id)).text(features(id)))).unwrap();
    writer.commit().unwrap();
    things.compact().unwrap();
    for seed in [1, 2, 1] {
        let trainer = things.trainer().hidden(4).batch(32).epochs(1).seed(seed);
        let model = trainer.fit(&things.snapshot().unwrap()).unwrap().model;
        things.install(&model).unwrap();
        let ask = |collection: &Collection| {
            let inputs = (0..10).map(features).collect();
            collection.snapshot().unwrap().query_many(Modality::Text, inputs).explain().unwrap()
        };
        let plain = builder().device(Device::Cpu).open_read_only(folder.path()).unwrap();
        let (found, expected) = (ask(&things), ask(&plain.only_collection().unwrap()));
        assert_eq!(found.hits, expected.hits);
        assert_eq!(found.plan.parts()[0].queries_on_card(), 10);
        assert_eq!(expected.plan.parts()[0].device(), Device::Cpu);
        assert_eq!(database.device_status().resident_matrices, 1);
    }
}

#[test]
fn the_codes_used_longest_ago_make_room() {
    let budget = MATRIX_BYTES[0] + MATRIX_BYTES[1];
    let mut pair = pair(|builder| builder.device_memory(budget), Device::Cuda(0));
    assert_eq!(pair.ask(), 15);
    // Two rounds: the first two, then the last, for which the first made room.
    let (matrices, bytes) = pair.resident();
    assert!(matrices == 2 && bytes <= budget, "{matrices} matrices of {bytes} bytes");
    pair.question.against = Against::Text;
    assert_eq!(pair.ask(), 15);
    assert!(pair.resident().1 <= budget);
    pair.question.against = Against::Both;
    assert_eq!(pair.ask(), 30);
    assert!(pair.resident().1 <= budget);
}

#[test]
fn a_lack_of_memory_is_an_error_where_the_card_was_demanded_and_none_elsewhere() {
    let too_small = MATRIX_BYTES[0] - 1;
    for small_budget in [true, false] {
        let options = |builder: Builder| match small_budget {
            true => builder.device_memory(too_small).device_costs(for_nothing()),
            false => builder.device_costs(for_nothing()),
        };
        let limit = |pair: &Pair| match small_budget {
            true => {}
            false => pair.health.memory.store(too_small as usize, Ordering::Relaxed),
        };
        let demanded = pair(options, Device::Cuda(0));
        limit(&demanded);
        let error = demanded.question.query(&demanded.on_card.snapshot().unwrap()).run_many().unwrap_err();
        assert!(matches!(error, Error::NoCuda { reason: CudaError::OutOfMemory { .. } }), "{error}");
        assert!(error.to_string().contains("free memory"), "{error}");
        let automatic = pair(options, Device::Auto);
        limit(&automatic);
        assert_eq!(automatic.ask(), 0);
        let plan = automatic.question.query(&automatic.on_card.snapshot().unwrap()).explain().unwrap().plan;
        assert!(plan.to_string().contains("on cpu"), "{plan}");
        // With memory again the card is used again, for what fits.
        automatic.health.memory.store(usize::MAX, Ordering::Relaxed);
        assert_eq!(automatic.ask(), if small_budget { 10 } else { 15 });
    }
}

#[test]
fn a_card_that_fails_is_not_used_again() {
    let automatic = pair(|builder| builder.device_costs(for_nothing()), Device::Auto);
    automatic.health.broken.store(true, Ordering::Relaxed);
    assert_eq!(automatic.ask(), 0);
    automatic.health.broken.store(false, Ordering::Relaxed);
    assert_eq!(automatic.ask(), 0);
    let status = automatic.on_card.database().device_status();
    assert!(status.no_card.unwrap().contains("the test says so"));
    let demanded = pair(|builder| builder, Device::Cuda(0));
    demanded.health.broken.store(true, Ordering::Relaxed);
    let error = demanded.question.query(&demanded.on_card.snapshot().unwrap()).run_many().unwrap_err();
    assert!(matches!(error, Error::NoCuda { reason: CudaError::Driver { .. } }), "{error}");
}

#[test]
fn small_work_stays_on_the_processor() {
    let pair = pair(|builder| builder, Device::Auto);
    for _ in 0..3 {
        assert_eq!(pair.ask(), 0);
    }
    let status = pair.on_card.database().device_status();
    assert!(status.card.is_none() && status.no_card.is_some(), "no card was opened: {status:?}");
}

#[test]
fn small_work_goes_to_the_card_once_it_has_added_up_to_the_price_of_a_copy() {
    // About 10 microseconds for the largest segment, whose scan takes a small part of that.
    let costs = DeviceCosts { upload_bytes_per_second: MATRIX_BYTES[0] * 100_000, ..for_nothing() };
    let with_index =
        |builder: Builder| builder.indexing(twinbit::Indexing { rows: 1, memory_bytes: 1 << 16 });
    for indexed in [false, true] {
        let mut pair = pair(|builder| with_index(builder.device_costs(costs)), Device::Auto);
        pair.question.codes = vec![pair.question.codes.clone(); 8].concat();
        if indexed {
            pair.on_card.build_indexes().unwrap();
        }
        let asked = (0..2_000).take_while(|_| pair.ask() == 0).count();
        assert!((1..2_000).contains(&asked), "asked {asked} times");
        assert!(pair.resident().0 > 0);
    }
}

#[test]
fn explain_names_the_device_of_each_part_and_why() {
    let mut pair = pair(|builder| builder, Device::Cuda(0));
    let explain =
        |pair: &Pair| pair.question.query(&pair.on_card.snapshot().unwrap()).explain().unwrap().plan;
    let plan = explain(&pair);
    let devices: Vec<Device> = plan.parts().iter().map(|part| part.device()).collect();
    assert_eq!(devices[..3], [Device::Cuda(0); 3], "{plan}");
    assert!(devices.len() > 3 && devices[3..].iter().all(|device| *device == Device::Cpu), "{plan}");
    assert!(plan.to_string().contains("compared on cuda:0"), "{plan}");
    for (limit, radius) in [(Some(2_049), None), (None, Some(64))] {
        (pair.question.limit, pair.question.radius) = (limit, radius);
        let plan = explain(&pair);
        // 601 rows at most: fewer than a card can select.
        let on_card = if limit.is_some() { 0 } else { 5 };
        assert_eq!(plan.parts()[0].queries_on_card(), on_card, "{plan}");
        assert_eq!(plan.to_string().contains("2,048"), limit.is_some(), "{plan}");
        pair.ask();
    }
}

#[test]
fn an_index_is_used_where_it_is_asked_for() {
    let pair = pair(
        |builder| builder.indexing(twinbit::Indexing { rows: 1, memory_bytes: 1 << 16 }),
        Device::Cuda(0),
    );
    pair.on_card.build_indexes().unwrap();
    let query = pair.question.query(&pair.on_card.snapshot().unwrap());
    let by_index = query.clone().method(Method::MultiIndex).explain().unwrap();
    assert_eq!(by_index.plan.parts()[0].queries_by_index(), 5, "{}", by_index.plan);
    let by_card = query.explain().unwrap();
    assert_eq!((by_card.plan.parts()[0].queries_on_card(), by_card.hits), (5, by_index.hits));
}

#[test]
fn more_hits_within_the_radius_than_a_card_can_select_are_found_by_the_processor() {
    let folder = tempfile::tempdir().unwrap();
    let (options, _) = with_card(Device::Cuda(0));
    let database = options.open(folder.path()).unwrap();
    let schema = Schema::new(CodeBits::B16).external_codes();
    let codes = database.create_collection("codes", schema).unwrap();
    let mut writer = codes.writer().unwrap();
    let same = CodesBuf::from_packed(CodeBits::B16, &[0; 2 * 3_000]).unwrap();
    writer.extend_codes(CodeRows::new().images(same.as_codes())).unwrap();
    writer.commit().unwrap();
    codes.compact().unwrap();
    let ask = |radius, limit: Option<usize>| {
        let query = codes.snapshot().unwrap().query(Modality::Text, Input::code([0, 1])).within(radius);
        let query = match limit {
            Some(limit) => query.limit(limit),
            None => query,
        };
        query.explain().unwrap()
    };
    let all = ask(1, None);
    assert_eq!((all.hits[0].len(), all.plan.parts()[0].queries_on_card()), (3_000, 0));
    assert_eq!(all.plan.parts()[0].why_not_card(), Some("a card finds at most 2,048 hits"));
    let none = ask(0, None);
    assert_eq!((none.hits[0].len(), none.plan.parts()[0].queries_on_card()), (0, 1));
    let some = ask(1, Some(2_048));
    assert_eq!((some.hits[0].len(), some.plan.parts()[0].queries_on_card()), (2_048, 1));
}

#[test]
fn deadlines_and_cancellation_reach_the_card() {
    let pair = pair(|builder| builder, Device::Cuda(0));
    let query = pair.question.query(&pair.on_card.snapshot().unwrap());
    let canceled = query.clone().cancel(Arc::new(AtomicBool::new(true))).run_many();
    assert!(matches!(canceled, Err(Error::Canceled)));
    let late = query.deadline(Duration::ZERO).run_many();
    assert!(matches!(late, Err(Error::DeadlineExceeded { .. })));
    assert_eq!(pair.ask(), 15);
}

#[test]
fn threads_share_the_card() {
    let budget = MATRIX_BYTES[0] + MATRIX_BYTES[1];
    let pair = pair(|builder| builder.device_memory(budget).threads(2), Device::Cuda(0));
    let expected = pair.question.query(&pair.plain.snapshot().unwrap()).run_many().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let snapshot = pair.on_card.snapshot().unwrap();
                    assert_eq!(on_card(&snapshot, &pair.question), (expected.clone(), 15));
                }
            });
        }
    });
}
