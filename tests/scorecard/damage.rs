//! Rows 6 and 7 for models and the catalog. Segment files: `storage/src/segment/damage.rs`.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use twinbit::{CodeBits, Database, IdKind, Record, Schema};
use twinbit_hashing::HashModel;
use twinbit_storage::{Compaction, Durability, ModelId, Store, StoreOptions};
use twinbit_tests::{Contents, Row, Scratch, Workload, first_seed, scratch, size};

use crate::recording::copy;

/// A database with a small model; the model's id and file.
fn with_model(folder: &Path) -> (ModelId, PathBuf) {
    let database = Database::open(folder).unwrap();
    let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).image_features(2).text_features(3);
    let things = database.create_collection("things", schema).unwrap();
    let mut writer = things.writer().unwrap();
    let number = |id: u64, shift: u64| ((id * 7 + shift) % 11) as f32;
    let record = |id| {
        let image = [number(id, 0), number(id, 1)];
        Record::new(id).image(image).text(vec![number(id, 2), number(id, 3), number(id, 4)])
    };
    writer.extend((0..40).map(record)).unwrap();
    writer.commit().unwrap();
    let trainer = things.trainer().hidden(2).batch(16).epochs(1);
    let model = trainer.fit(&things.snapshot().unwrap()).unwrap().model;
    things.install(&model).unwrap();
    let id: ModelId = model.id().to_string().parse().unwrap();
    (id, folder.join("models").join(format!("{id}.safetensors")))
}

#[test]
fn every_damage_to_a_model_is_found() {
    let row = Row::begin(6, "every bit of a model's file flipped");
    let folder = scratch();
    let (id, path) = with_model(folder.path());
    let sound = fs::read(&path).unwrap();
    let model = HashModel::from_bytes(&sound).unwrap();
    let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
    let (mut refused, mut other) = (0, 0);
    for bit in 0..sound.len() * 8 {
        let mut damaged = sound.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &damaged).unwrap();
        assert!(store.model_bytes(id).is_err_and(|error| error.is_corruption()), "bit {bit}");
        // Without the database's checksum: an error, or a model that says it is another one.
        match HashModel::from_bytes(&damaged) {
            Err(_) => refused += 1,
            Ok(read) if read.id() != model.id() => other += 1,
            Ok(read) => assert_eq!(read.to_bytes(), sound, "bit {bit}"),
        }
    }
    let figures = format!(
        "all found by the database; read alone, {refused} refused, {other} another model's id, 0 panics"
    );
    row.passed(&format!("{} bits", sound.len() * 8), &figures);
    let row = Row::begin(7, "a model's file cut at every length");
    for length in 0..sound.len() {
        fs::write(&path, &sound[..length]).unwrap();
        assert!(store.model_bytes(id).is_err_and(|error| error.is_corruption()), "{length}");
        assert!(HashModel::from_bytes(&sound[..length]).is_err(), "{length}");
    }
    row.passed(&format!("{} lengths", sound.len()), "each refused with a typed error");
}

/// What came of damage to the catalog.
#[derive(Debug, Default)]
struct Outcomes {
    refused: u64,
    all_but_the_last: u64,
    earlier: u64,
    unharmed: u64,
    found_by_verify: u64,
}

/// A database as the end of a process left it: its last commits are in the catalog's log.
struct Left {
    folder: Scratch,
    workload: Workload,
    after: Vec<Contents>,
}

const COMMITS: u64 = 12;
const COMMITS_BUT_ONE: u64 = COMMITS - 1;

impl Left {
    fn new() -> Left {
        let (folder, live) = (scratch(), scratch());
        let workload = Workload::small(Durability::Immediate);
        for last in [4, COMMITS] {
            // Nothing may happen while the folder is copied.
            let compaction = Compaction { background: false, ..Compaction::default() };
            let options = StoreOptions { compaction, ..workload.options() };
            let store = Store::open(live.path(), options).unwrap();
            let id = workload.collection(&store).unwrap();
            for number in workload.commits(&store).unwrap() + 1..=last {
                workload.step(&store, id, number).unwrap();
            }
            if last == COMMITS {
                copy(live.path(), folder.path());
            }
        }
        let after = (0..=COMMITS).map(|number| workload.contents(number)).collect();
        let left = Left { folder, workload, after };
        // Without damage everything is there.
        let target = scratch();
        copy(left.folder.path(), target.path());
        let opened = workload.open(target.path()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(workload.commits(&opened).unwrap(), COMMITS);
        left
    }

    /// The catalog's files that an open reads; RocksDB's `LOG` is its diary.
    fn catalog_files(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path().join("catalog")).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.retain(|name| !name.starts_with("LOG") && name != "LOCK");
        names.sort();
        names
    }

    /// Opens the database with one of the catalog's files changed: it must be refused, or hold exactly
    /// what some commit left, or verify must say that it does not.
    fn open_with(&self, name: &str, bytes: &[u8], what: &str, outcomes: &mut Outcomes) {
        let target = scratch();
        copy(self.folder.path(), target.path());
        fs::write(target.path().join("catalog").join(name), bytes).unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| self.judge(target.path())));
        let judged = result.unwrap_or_else(|_| panic!("{name}, {what}: a panic"));
        match judged.unwrap_or_else(|wrong| panic!("{name}, {what}: {wrong}")) {
            None => outcomes.refused += 1,
            Some((_, false)) => outcomes.found_by_verify += 1,
            Some((COMMITS, true)) => outcomes.unharmed += 1,
            Some((COMMITS_BUT_ONE, true)) => outcomes.all_but_the_last += 1,
            Some((_, true)) => outcomes.earlier += 1,
        }
    }

    /// The last commit and whether all is well; `None` when a typed error refuses it.
    fn judge(&self, folder: &Path) -> Result<Option<(u64, bool)>, String> {
        let Ok(store) = self.workload.open(folder) else { return Ok(None) };
        let Ok(found) = self.workload.commits(&store) else { return Ok(None) };
        let expected = self.after.get(found as usize).ok_or(format!("{found} commits are there"))?;
        let compared = self.workload.compare(&store, found, expected);
        match (compared, store.verify()) {
            (_, Err(_)) => Ok(None),
            (_, Ok(report)) if !report.problems.is_empty() => Ok(Some((found, false))),
            (Ok(()), Ok(_)) => Ok(Some((found, true))),
            (Err(wrong), Ok(_)) => Err(format!("verify finds nothing, but {wrong}")),
        }
    }
}

impl Outcomes {
    fn figures(&self) -> String {
        let Outcomes { refused, all_but_the_last, earlier, unharmed, found_by_verify } = self;
        format!(
            "{refused} typed errors, {all_but_the_last} all but the last commit, {earlier} an earlier one, {unharmed} unharmed, {found_by_verify} found by verify, 0 missed"
        )
    }
}

#[test]
fn a_cut_log_of_the_catalog_leaves_an_earlier_commit_or_an_error() {
    let row = Row::begin(7, "the catalog's log cut");
    let left = Left::new();
    let (mut cuts, mut outcomes) = (0, Outcomes::default());
    for name in left.catalog_files().iter().filter(|name| name.ends_with(".log")) {
        let sound = fs::read(left.folder.path().join("catalog").join(name)).unwrap();
        let stride = size("LOG_STRIDE", (sound.len() as u64 / 80).max(1), 1) as usize;
        for length in (0..=sound.len()).rev().step_by(stride) {
            left.open_with(name, &sound[..length], &format!("cut to {length}"), &mut outcomes);
            cuts += 1;
        }
    }
    assert!(outcomes.all_but_the_last + outcomes.earlier > 0, "{outcomes:?}");
    row.passed(&format!("{cuts} lengths"), &outcomes.figures());
}

#[test]
fn a_damaged_byte_of_the_catalog_is_an_error_or_costs_the_last_commit() {
    let row = Row::begin(6, "the catalog's files damaged byte by byte");
    let left = Left::new();
    let (mut bytes, mut outcomes) = (0, Outcomes::default());
    for name in left.catalog_files() {
        let sound = fs::read(left.folder.path().join("catalog").join(&name)).unwrap();
        let stride = size("CATALOG_STRIDE", (sound.len() as u64 / 12).max(1), 1) as usize;
        // RocksDB keeps its options for people to read, and opens without them.
        let stride = if name.starts_with("OPTIONS") { stride.max(499) } else { stride };
        for at in (first_seed() as usize..sound.len()).step_by(stride) {
            let mut damaged = sound.clone();
            damaged[at] ^= 1 << (at % 8);
            left.open_with(&name, &damaged, &format!("byte {at}"), &mut outcomes);
            bytes += 1;
        }
    }
    // Only the log's last record, which looks like one that was never written to its end.
    assert_eq!(outcomes.earlier, 0, "{outcomes:?}");
    row.passed(&format!("{bytes} bytes"), &outcomes.figures());
}
