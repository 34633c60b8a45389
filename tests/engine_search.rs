//! Answers of the engine against brute force over a plain map: both modalities, filters, radius,
//! batches; rows in a segment and fresh ones; after replacing, deleting and reopening.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use twinbit::{
    Against, CodeBits, Collection, Database, Error, Field, Filter, Hit, IdKind, Input, Modality, Record,
    RecordId, Schema, Value, field,
};

const BITS: usize = 16;
/// More than are kept outside segments.
const BULK: u64 = 66_000;

/// What a filter means, said over the plain row.
type Passes = fn(&Row) -> bool;

#[derive(Clone)]
struct Row {
    written: u64,
    codes: [Option<[u8; BITS / 8]>; 2],
    year: Option<u64>,
}

/// What the collection should hold, and the answers it should give.
#[derive(Default)]
struct Oracle {
    rows: BTreeMap<u64, Row>,
    writes: u64,
}

impl Oracle {
    fn put(&mut self, id: u64, random: &mut ChaCha8Rng) -> Record {
        let mut code = |present: bool| present.then(|| random.random::<[u8; BITS / 8]>());
        let codes = [code(!id.is_multiple_of(7)), code(id.is_multiple_of(7) || !id.is_multiple_of(5))];
        let year = (!id.is_multiple_of(3)).then_some(2000 + id % 20);
        self.rows.insert(id, Row { written: self.writes, codes, year });
        self.writes += 1;
        let mut record = Record::new(id);
        for (modality, code) in Modality::ALL.into_iter().zip(codes) {
            if let Some(code) = code {
                record = record.code(modality, code);
            }
        }
        match year {
            Some(year) => record.set("year", year),
            None => record,
        }
    }

    /// (distance, order of writing, id, modality) of every row that passes, nearest first.
    fn ranked(
        &self,
        query: [u8; BITS / 8],
        against: Against,
        passes: impl Fn(&Row) -> bool,
    ) -> Vec<(u32, u64, u64, Modality)> {
        let asked = |modality| against == Against::Both || against == Against::from(modality);
        let mut ranked: Vec<_> = self
            .rows
            .iter()
            .filter(|(_, row)| passes(row))
            .filter_map(|(&id, row)| {
                Modality::ALL
                    .into_iter()
                    .zip(row.codes)
                    .filter(|(modality, _)| asked(*modality))
                    .filter_map(|(modality, code)| {
                        let differing = code?.iter().zip(query).map(|(a, b)| (a ^ b).count_ones()).sum();
                        Some((differing, row.written, id, modality))
                    })
                    .min_by_key(|found| (found.0, found.3))
            })
            .collect();
        ranked.sort_by_key(|found| (found.0, found.1));
        ranked
    }

    fn check(&self, collection: &Collection, random: &mut ChaCha8Rng) {
        let snapshot = collection.snapshot().unwrap();
        assert_eq!(snapshot.len(), self.rows.len() as u64);
        let filters: [(Option<Filter>, Passes); 3] = [
            (None, |_| true),
            (Some(field("year").ge(2015)), |row| row.year.is_some_and(|year| year >= 2015)),
            (Some(Filter::parse("not (year < 2018) or year is null").unwrap()), |row| {
                row.year.is_none_or(|year| year >= 2018)
            }),
        ];
        for against in [Against::Image, Against::Text, Against::Both] {
            for (filter, passes) in &filters {
                let query: [u8; BITS / 8] = random.random();
                let ranked = self.ranked(query, against, passes);
                let mut ask = snapshot.query(Modality::Text, Input::code(query)).against(against);
                if let Some(filter) = filter {
                    ask = ask.filter(filter.clone());
                }
                let found = ask.clone().limit(25).run().unwrap();
                assert_eq!(plain(&found), plain_oracle(&ranked[..25]), "{against:?} {filter:?}");

                let near: Vec<_> = ranked.iter().copied().filter(|found| found.0 <= 2).collect();
                assert_eq!(plain(&ask.clone().within(2).run().unwrap()), plain_oracle(&near));
                let nearest = &near[..near.len().min(3)];
                assert_eq!(plain(&ask.within(2).limit(3).run().unwrap()), plain_oracle(nearest));
            }
        }
    }
}

fn plain(hits: &[Hit]) -> Vec<(u32, RecordId, Modality)> {
    hits.iter().map(|hit| (hit.distance(), hit.id().clone(), hit.modality())).collect()
}

fn plain_oracle(ranked: &[(u32, u64, u64, Modality)]) -> Vec<(u32, RecordId, Modality)> {
    ranked.iter().map(|&(distance, _, id, modality)| (distance, id.into(), modality)).collect()
}

fn schema() -> Schema {
    Schema::new(CodeBits::new(BITS).unwrap())
        .ids(IdKind::U64)
        .external_codes()
        .field("year", Field::u64().indexed())
}

#[test]
fn answers_equal_brute_force_through_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut oracle = Oracle::default();
    let database = Database::builder().threads(2).open(folder.path()).unwrap();
    let collection = database.create_collection("rows", schema()).unwrap();

    let mut writer = collection.writer().unwrap();
    assert_eq!(writer.extend((0..BULK).map(|id| oracle.put(id, &mut random))).unwrap(), BULK);
    writer.commit().unwrap();
    assert!(collection.stats().unwrap().segments > 0);
    oracle.check(&collection, &mut random);

    let before = collection.snapshot().unwrap();
    let mut writer = collection.writer().unwrap();
    for id in (100..70_000).step_by(97) {
        writer.put(oracle.put(id, &mut random)).unwrap();
    }
    for id in (0..BULK).step_by(41) {
        assert_eq!(writer.delete(id).unwrap(), oracle.rows.remove(&id).is_some());
    }
    for id in (3..BULK).step_by(53) {
        let found = writer.set(id, [("year", Some(Value::from(1990_u64)))]).unwrap();
        let row = oracle.rows.get_mut(&id);
        assert_eq!(found, row.is_some());
        if let Some(row) = row {
            row.year = Some(1990);
        }
    }
    writer.commit().unwrap();
    oracle.check(&collection, &mut random);
    assert_eq!(before.len(), BULK);

    for id in 80_000..80_010 {
        collection.put(oracle.put(id, &mut random)).unwrap();
    }
    let mut writer = collection.writer().unwrap();
    let old = oracle.rows.values().filter(|row| row.year.is_some_and(|year| year < 2003)).count();
    assert_eq!(writer.delete_where(field("year").lt(2003)).unwrap(), old as u64);
    writer.commit().unwrap();
    oracle.rows.retain(|_, row| row.year.is_none_or(|year| year >= 2003));
    oracle.check(&collection, &mut random);

    drop((before, collection, database));
    let database = Database::open(folder.path()).unwrap();
    oracle.check(&database.only_collection().unwrap(), &mut random);
    assert!(database.verify().unwrap().problems.is_empty());
}

/// Three images with the codes 0, 1 and 3, and a text with the code 7.
fn small() -> (tempfile::TempDir, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let collection = Database::open(folder.path()).unwrap().create_collection("rows", schema()).unwrap();
    for (id, code) in [(1_u64, 0_u8), (2, 1), (3, 3)] {
        collection.put(Record::new(id).image(Input::code([0, code])).set("year", 2000 + id)).unwrap();
    }
    collection.put(Record::new(4).text(Input::code([0, 7]))).unwrap();
    (folder, collection)
}

#[test]
fn a_batch_answers_as_its_queries_do_alone() {
    let (_folder, collection) = small();
    let snapshot = collection.snapshot().unwrap();
    let inputs: Vec<Input> = (0..2000_u16).map(|code| Input::code(code.to_be_bytes())).collect();
    let together = snapshot.query_many(Modality::Text, inputs.clone()).limit(2).run_many().unwrap();
    assert_eq!(together.len(), inputs.len());
    for (input, hits) in inputs.into_iter().zip(together).step_by(17) {
        assert_eq!(snapshot.query(Modality::Text, input).limit(2).run().unwrap(), hits);
    }
    let none = snapshot.query_many(Modality::Text, Vec::new());
    assert!(none.clone().run_many().unwrap().is_empty());
    assert!(matches!(none.run(), Err(Error::QueryCount { count: 0 })));
}

#[test]
fn a_record_finds_its_neighbors_by_its_stored_code() {
    let (_folder, collection) = small();
    let snapshot = collection.snapshot().unwrap();
    let hits = snapshot.query_id(2, Modality::Image).against(Modality::Image).run().unwrap();
    let found: Vec<_> = hits.iter().map(|hit| (hit.id().clone(), hit.distance())).collect();
    assert_eq!(found, [(2.into(), 0), (1.into(), 1), (3.into(), 1)]);
    let absent = snapshot.query_id(2, Modality::Text).run();
    assert!(matches!(absent, Err(Error::NoModality { modality: Modality::Text, .. })));
    assert!(matches!(snapshot.query_id(9, Modality::Text).run(), Err(Error::NoRecord { .. })));
}

#[test]
fn explain_tells_what_was_scanned() {
    let (_folder, collection) = small();
    let query = collection.snapshot().unwrap().query(Modality::Text, Input::code([0, 0]));
    let explanation = query.filter(field("year").gt(2001)).explain().unwrap();
    assert_eq!(explanation.plan.candidates(), 2);
    assert_eq!(explanation.hits[0].len(), 2);
    assert!(explanation.plan.to_string().contains("2 of 4 rows"), "{}", explanation.plan);
}

#[test]
fn wrong_queries_are_refused_with_the_reason() {
    let (_folder, collection) = small();
    let snapshot = collection.snapshot().unwrap();
    let ask = |input: Input| snapshot.query(Modality::Text, input);
    let length = ask(Input::code([1])).run();
    assert!(matches!(length, Err(Error::CodeLength { expected: 2, got: 1, .. })));
    assert!(matches!(ask("a text".into()).run(), Err(Error::ExternalCodes { .. })));
    assert!(matches!(ask(Input::code([0, 0])).limit(0).run(), Err(Error::ZeroLimit)));
    let unknown = ask(Input::code([0, 0])).filter(field("yaer").eq(1)).run().unwrap_err();
    assert!(unknown.to_string().contains("yaer"), "{unknown}");
    let mistyped = ask(Input::code([0, 0])).filter(field("year").eq("x")).run();
    assert!(matches!(mistyped, Err(Error::Filter(_))));
}
