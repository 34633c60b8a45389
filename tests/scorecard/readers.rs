//! Row 9: readers beside a writer that ingests, deletes, compacts and installs models.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use twinbit::{
    CodeBits, Collection, Database, Durability, Entry, Field, IdKind, Modality, Model, Record, RecordId,
    Schema, Snapshot, Value, field,
};
use twinbit_tests::{Row, is_thorough, scratch, seconds};

/// Records that are always written in one commit, with one generation.
const GROUP: u64 = 5;
const GROUPS: u64 = 60;
const WIDTH: usize = 4;

/// Numbers that float16 holds exactly, as the database rounds to it.
fn features(random: &mut ChaCha8Rng) -> Vec<f32> {
    (0..WIDTH).map(|_| random.random_range(-64..=64) as f32 / 64.0).collect()
}

fn write_group(collection: &Collection, group: u64, generation: u64, random: &mut ChaCha8Rng) {
    let mut writer = collection.writer().unwrap();
    for member in 0..GROUP {
        let record = Record::new(group * GROUP + member).image(features(random)).text(features(random));
        writer.put(record.set("generation", generation)).unwrap();
    }
    writer.commit().unwrap();
}

fn delete_group(collection: &Collection, group: u64) {
    let mut writer = collection.writer().unwrap();
    for member in 0..GROUP {
        writer.delete(group * GROUP + member).unwrap();
    }
    writer.commit().unwrap();
}

/// Two models of the collection, trained on what it holds.
fn models(collection: &Collection) -> Vec<Model> {
    let train = |seed| {
        let trainer = collection.trainer().hidden(8).batch(16).epochs(1).seed(seed);
        trainer.fit(&collection.snapshot().unwrap()).unwrap().model
    };
    vec![train(1), train(2)]
}

fn generation(entry: &Entry) -> u64 {
    match entry.fields().get("generation") {
        Some(Value::U64(generation)) => *generation,
        other => panic!("the record {} has {other:?}", entry.id()),
    }
}

/// Groups are there whole and of one generation, or not at all.
fn check_groups(entries: &[Entry]) {
    let mut groups: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for entry in entries {
        let RecordId::U64(id) = entry.id() else { panic!("a number") };
        groups.entry(id / GROUP).or_default().push(generation(entry));
    }
    for (group, generations) in groups {
        assert_eq!(generations.len() as u64, GROUP, "group {group} is torn");
        assert!(generations.iter().all(|generation| *generation == generations[0]), "group {group} is mixed");
    }
}

/// Asks a snapshot and compares with a plain loop over its records.
fn check_answers(snapshot: &Snapshot, entries: &[Entry], models: &[Model], random: &mut ChaCha8Rng) {
    let Some(id) = snapshot.model_id() else { return };
    let model = models.iter().find(|model| model.id() == id).expect("one of the two models");
    let from = [Modality::Image, Modality::Text][random.random_range(0..2)];
    let against = [Modality::Image, Modality::Text][random.random_range(0..2)];
    let query = features(random);
    let code = model.encode(from, &query).unwrap().as_codes().row(0);
    let least = random.random_bool(0.5).then(|| random.random_range(0..200_u64));
    let limit = [1, 10, 1000][random.random_range(0..3)];
    let mut expected: Vec<(u32, u64, &RecordId)> = entries
        .iter()
        .filter(|entry| least.is_none_or(|least| generation(entry) >= least))
        .map(|entry| {
            let stored = entry.code(against).expect("every record has both codes");
            let kept = model.encode(against, entry.features(against).expect("inputs are kept")).unwrap();
            assert_eq!(stored, kept.as_codes().row(0), "a code of another model");
            let differing = stored.iter().zip(&code).map(|(a, b)| (a ^ b).count_ones()).sum();
            (differing, entry.ordinal(), entry.id())
        })
        .collect();
    expected.sort_unstable();
    expected.truncate(limit);
    let mut asked = snapshot.query(from, query).against(against).limit(limit);
    if let Some(least) = least {
        asked = asked.filter(field("generation").ge(least));
    }
    let hits = asked.run().unwrap();
    let found: Vec<_> = hits.iter().map(|hit| (hit.distance(), hit.ordinal(), hit.id())).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_answer_is_that_of_its_snapshot() {
    let row = Row::begin(9, "readers beside ingest, delete, compaction, model install");
    let duration = seconds("READERS", if is_thorough() { 60 } else { 10 }, 2 * 60 * 60);
    let folder = scratch();
    let database =
        Database::builder().durability(Durability::Eventual).threads(2).open(folder.path()).unwrap();
    let schema = Schema::new(CodeBits::B32)
        .ids(IdKind::U64)
        .image_features(WIDTH)
        .text_features(WIDTH)
        .field("generation", Field::u64().indexed());
    let collection = database.create_collection("records", schema).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(0);
    (0..GROUPS / 2).for_each(|group| write_group(&collection, group, 0, &mut random));
    let models = models(&collection);
    let (end, failed) = (Instant::now() + duration, AtomicBool::new(false));
    let goes_on = || Instant::now() < end && !failed.load(Ordering::Relaxed);
    let [commits, installs, compactions, answers] = [const { AtomicU64::new(0) }; 4];
    let held = Mutex::new(None);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _stop = StopOnPanic(&failed);
            let mut random = ChaCha8Rng::seed_from_u64(1);
            while goes_on() {
                let group = random.random_range(0..GROUPS);
                let generation = commits.fetch_add(1, Ordering::Relaxed);
                match random.random_range(0..5) {
                    0 => delete_group(&collection, group),
                    _ => write_group(&collection, group, generation, &mut random),
                }
            }
        });
        scope.spawn(|| {
            let _stop = StopOnPanic(&failed);
            while goes_on() {
                let turn = installs.fetch_add(1, Ordering::Relaxed) as usize;
                collection.install(&models[turn % 2]).unwrap();
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        scope.spawn(|| {
            let _stop = StopOnPanic(&failed);
            while goes_on() {
                collection.compact().unwrap();
                compactions.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(120));
            }
        });
        for reader in 0..2 {
            let (collection, models, answers, failed, held) =
                (&collection, &models, &answers, &failed, &held);
            scope.spawn(move || {
                let _stop = StopOnPanic(failed);
                let mut random = ChaCha8Rng::seed_from_u64(10 + reader);
                while goes_on() {
                    // Now and then a snapshot that has been held for some time.
                    let snapshot = match held.lock().unwrap().take() {
                        Some(old) if random.random_bool(0.3) => old,
                        _ => collection.snapshot().unwrap(),
                    };
                    let entries = snapshot.page(None, usize::MAX).unwrap();
                    assert_eq!(entries.len() as u64, snapshot.len());
                    check_groups(&entries);
                    for _ in 0..3 {
                        check_answers(&snapshot, &entries, models, &mut random);
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                    *held.lock().unwrap() = Some(snapshot);
                }
            });
        }
    });
    assert_eq!(database.verify().unwrap().problems, []);
    let counts = [commits, installs, compactions, answers].map(AtomicU64::into_inner);
    let [commits, installs, compactions, answers] = counts;
    let figures = format!(
        "{answers} answers equal brute force at their snapshot, beside {commits} commits, {installs} installs, {compactions} compactions"
    );
    row.passed(&format!("{} s", duration.as_secs()), &figures);
}

/// Ends the other threads when one panics.
struct StopOnPanic<'f>(&'f AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
