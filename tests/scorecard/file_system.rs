//! Rows 3 and 4 below the `FileSystem` trait: our own files, without strace.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use twinbit_storage::{Compaction, Durability, Error, FileSystem, Store, StoreOptions};
use twinbit_tests::{
    COMMITS, Contents, FaultyFileSystem, ForgetfulFileSystem, Random, Row, Workload, is_long, scratch, size,
};

/// ENOSPC, EIO and EDQUOT.
const ERRORS: [i32; 3] = [28, 5, 122];

fn open(workload: Workload, folder: &Path, disk: &impl FileSystemClone) -> Result<Store, Error> {
    Store::open(folder, StoreOptions { file_system: disk.arc(), ..workload.options() })
}

/// A file system that can be given to a store and kept.
trait FileSystemClone {
    fn arc(&self) -> Arc<dyn FileSystem>;
}

impl<F: FileSystem + Clone + 'static> FileSystemClone for F {
    fn arc(&self) -> Arc<dyn FileSystem> {
        Arc::new(self.clone())
    }
}

/// Runs the workload on a disk one call of which fails, reopening after each error. Returns the errors
/// that were told.
fn run(workload: Workload, folder: &Path, disk: &FaultyFileSystem) -> u64 {
    let (mut told, mut known) = (Vec::new(), (0, Contents::new()));
    for _ in 0..3 {
        let store = match open(workload, folder, disk) {
            Ok(store) => store,
            Err(error) => {
                assert!(!error.is_corruption(), "{error}");
                told.push(error);
                continue;
            }
        };
        let done = workload.collection(&store).and_then(|id| {
            (workload.commits(&store)? + 1..=COMMITS).try_for_each(|number| workload.step(&store, id, number))
        });
        // What was committed can be read, after an error, too.
        workload.follow(&store, &mut known).unwrap();
        match done {
            Ok(()) => return told.len() as u64,
            Err(error) => {
                assert!(!error.is_corruption(), "{error}");
                told.push(error);
            }
        }
    }
    panic!("writing does not recover: {told:#?}");
}

#[test]
fn an_error_at_any_call_for_our_own_files_is_told_and_loses_nothing() {
    let row = Row::begin(4, "an error at every call of the FileSystem trait");
    let workload = Workload::small(Durability::Immediate);
    let sound = FaultyFileSystem::new(0, 0);
    let folder = scratch();
    run(workload, folder.path(), &sound);
    let (stride, errors) = (size("FAULT_STRIDE", 3, 1), if is_long() { 3 } else { 1 });
    let (mut runs, mut told) = (0, 0);
    for at in (1..=sound.calls()).step_by(stride as usize) {
        for shift in 0..errors {
            let folder = scratch();
            let error = ERRORS[((at / stride + shift) % 3) as usize];
            told += run(workload, folder.path(), &FaultyFileSystem::new(at, error));
            runs += 1;
            let store = workload.open(folder.path()).unwrap();
            let found = workload.check(&store, &mut (0, Contents::new()));
            assert_eq!(found, Ok(COMMITS), "error {error} at call {at}");
        }
    }
    let figures = format!("{told} told to the caller as typed errors, 0 commits lost, 0 panics");
    row.passed(&format!("{runs} runs over {} calls", sound.calls()), &figures);
}

/// The catalog keeps everything, our own files only what they synced: a commit must never name more.
/// Copies a catalog as it was at one moment: RocksDB replaces its files whenever it likes.
fn copy_catalog(from: &Path, to: &Path) {
    let files = || -> BTreeMap<OsString, u64> {
        let entries = fs::read_dir(from).unwrap().flatten();
        entries.filter_map(|entry| Some((entry.file_name(), entry.metadata().ok()?.len()))).collect()
    };
    loop {
        let before = files();
        fs::create_dir_all(to).unwrap();
        let copied = before.keys().all(|name| fs::copy(from.join(name), to.join(name)).is_ok());
        if copied && files() == before {
            return;
        }
        fs::remove_dir_all(to).unwrap();
    }
}

#[test]
fn a_commit_names_only_what_a_power_failure_cannot_take() {
    let row = Row::begin(3, "power loss below the FileSystem trait");
    let failures = size("TRAIT_LOSSES", 150, 5_000);
    let mut random = Random::new(3);
    let mut done = 0;
    while done < failures {
        let live = scratch();
        let workload = Workload::small(Durability::Eventual);
        let disk = ForgetfulFileSystem::default();
        // Nothing may happen between copying the catalog and copying the files that it names.
        let compaction = Compaction { background: false, ..Compaction::default() };
        let options = StoreOptions { file_system: disk.arc(), compaction, ..workload.options() };
        let store = Store::open(live.path(), options).unwrap();
        let id = workload.collection(&store).unwrap();
        for number in 1..=COMMITS {
            workload.step(&store, id, number).unwrap();
            for _ in 0..3 {
                let target = scratch();
                copy_catalog(&live.path().join("catalog"), &target.path().join("catalog"));
                let chance = random.below(4);
                for folder in ["segments", "models"] {
                    let (from, to) = (live.path().join(folder), target.path().join(folder));
                    disk.copy_after_power_loss(&from, &to, &mut || random.below(3) < chance);
                }
                fs::write(target.path().join("LOCK"), "").unwrap();
                let reopened =
                    workload.open(target.path()).unwrap_or_else(|error| panic!("{number}: {error}"));
                let found = workload.check(&reopened, &mut (0, Contents::new()));
                assert_eq!(found, Ok(number));
                done += 1;
            }
        }
    }
    row.passed(&format!("{done} failures"), "every file that a commit names was synced with its name");
}
