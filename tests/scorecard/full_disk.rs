//! Row 5: the disk is really full.

use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use twinbit_storage::{
    CollectionConfig, CollectionId, Compaction, Durability, Error, IdKind, InputKind, NewRecord, RecordId,
    Store, StoreOptions, TextInput,
};
use twinbit_tests::{Row, Scratch, scratch};

/// A file system of its own that holds little; gone with this value.
struct Small {
    folder: Scratch,
}

impl Small {
    fn mount(megabytes: u32) -> Option<Small> {
        let folder = scratch();
        let size = format!("size={megabytes}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Small { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Small {
    /// Fills the disk but for `leave` bytes. The file is the one to be removed to make room.
    fn fill(&self, leave: u64) -> PathBuf {
        let ballast = self.path().join("ballast");
        let mut file = File::create(&ballast).unwrap();
        let block = vec![1; 64 << 10];
        while file.write_all(&block).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(leave)).unwrap();
        ballast
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.folder.path()).output();
    }
}

fn config() -> CollectionConfig {
    CollectionConfig {
        bits: twinbit_kernels::CodeBits::B64,
        ids: IdKind::U64,
        image: InputKind::None,
        text: InputKind::Text,
        keep_inputs: true,
        external_codes: true,
        fields: Vec::new(),
        application: serde_json::Value::Null,
    }
}

fn options() -> StoreOptions {
    StoreOptions {
        durability: Durability::Eventual,
        fresh_rows: 400,
        segment_bytes: 100_000,
        ..StoreOptions::default()
    }
}

fn text(id: u64) -> String {
    // Texts that do not compress.
    (0..30)
        .map(|part| format!("{:x}", (id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(part * 7)))
        .collect()
}

/// Puts `count` records from `first` on in one commit.
fn put(store: &Store, id: CollectionId, first: u64, count: u64) -> Result<(), Error> {
    let mut writer = store.writer(id)?;
    for record in first..first + count {
        let (text, code) = (text(record), record.to_le_bytes());
        writer.put(NewRecord {
            id: Some(RecordId::U64(record)),
            text: Some(TextInput::Text(&text)),
            codes: [None, Some(&code)],
            ..NewRecord::default()
        })?;
    }
    writer.commit().map(|_| ())
}

/// Reads every record and compares; the records are numbered from 0.
fn check(store: &Store, id: CollectionId, least: u64) -> u64 {
    let view = store.view().collection(id).unwrap();
    let count = view.len();
    assert!(count >= least, "{count} of {least} records are there");
    for (number, ordinal) in (0..).zip(view.page(None, usize::MAX).unwrap()) {
        let record = view.get(ordinal).unwrap().unwrap();
        assert_eq!(record.id, RecordId::U64(number));
        assert_eq!(record.codes[1].as_deref(), Some(&number.to_le_bytes()[..]));
        assert_eq!(record.text, Some(twinbit_storage::StoredText::Text(text(number))));
    }
    count
}

#[test]
fn reads_go_on_when_the_disk_is_full_and_writing_recovers_when_room_is_made() {
    let row = Row::begin(5, "a full disk during ingest");
    let Some(disk) = Small::mount(24) else {
        return row.skipped("only root can mount a small disk");
    };
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; 8 << 20]).unwrap();
    let folder = disk.path().join("db");
    let mut store = Store::open(&folder, options()).unwrap();
    let id = store.create_collection("records", config()).unwrap();
    let (mut rounds, mut poisoned) = (0, 0);
    let mut acknowledged = 0;
    // Commits of few and of many records meet the full disk in the catalog and in a segment.
    for batch in [100, 1000] {
        fs::write(&ballast, vec![1; 8 << 20]).unwrap();
        let error = loop {
            match put(&store, id, acknowledged, batch) {
                Ok(()) => acknowledged += batch,
                Err(error) => break error,
            }
        };
        assert!(!error.is_corruption(), "{error}");
        let said = error.to_string();
        assert!(said.contains("space") || said.contains("Space"), "{said}");
        check(&store, id, acknowledged);
        // Room is made.
        fs::remove_file(&ballast).unwrap();
        match put(&store, id, acknowledged, batch) {
            Ok(()) => {}
            Err(Error::Poisoned { .. } | Error::Catalog { .. }) => {
                poisoned += 1;
                drop(store);
                store = Store::open(&folder, options()).unwrap();
                acknowledged = check(&store, id, acknowledged);
                put(&store, id, acknowledged, batch).unwrap();
            }
            Err(other) => panic!("{other}"),
        }
        acknowledged += batch;
        check(&store, id, acknowledged);
        assert_eq!(store.verify().unwrap().problems, []);
        rounds += 1;
    }
    drop(store);
    let figures = format!(
        "{acknowledged} records, 0 lost; reads went on; writing recovered, {poisoned} of {rounds} times after reopening"
    );
    row.passed("24 MiB", &figures);
}

/// Bytes that are left free: an error comes early or late in the work, or not at all.
const FREE: [u64; 6] = [0, 16 << 10, 100 << 10, 400 << 10, 1 << 20, 3 << 20];

/// A database with some segments, dead rows in each, and fresh rows; nothing works on it in the background.
fn with_dead_rows(folder: &Path) -> (Store, CollectionId) {
    let compaction = Compaction { background: false, ..Compaction::default() };
    let store = Store::open(folder, StoreOptions { compaction, ..options() }).unwrap();
    let id = store.create_collection("records", config()).unwrap();
    (0..8).for_each(|batch| put(&store, id, batch * 500, 500).unwrap());
    (0..1000).for_each(|record| put(&store, id, 4 * record, 1).unwrap());
    (store, id)
}

/// Reads every record and compares; they come in any order. The records are numbered from 0.
fn check_all(store: &Store, id: CollectionId, count: u64) {
    let view = store.view().collection(id).unwrap();
    assert_eq!(view.len(), count);
    for number in 0..count {
        let ordinal = view.find(&RecordId::U64(number)).unwrap().unwrap();
        let record = view.get(ordinal).unwrap().unwrap();
        assert_eq!(record.codes[1].as_deref(), Some(&number.to_le_bytes()[..]));
        assert_eq!(record.text, Some(twinbit_storage::StoredText::Text(text(number))));
    }
}

/// Goes on writing after room was made; returns the store and whether it had to be reopened.
fn write_again(store: Store, folder: &Path, id: CollectionId, count: u64) -> (Store, bool) {
    let (store, reopened) = match put(&store, id, count, 10) {
        Ok(()) => (store, false),
        Err(Error::Poisoned { .. } | Error::Catalog { .. }) => {
            drop(store);
            let store = Store::open(folder, options()).unwrap();
            // The commit that failed may have reached the disk.
            put(&store, id, count, 10).unwrap();
            (store, true)
        }
        Err(other) => panic!("{other}"),
    };
    check_all(&store, id, count + 10);
    (store, reopened)
}

/// The error that a full disk gives, told as what it is.
fn assert_full(error: &Error) {
    let said = error.to_string();
    assert!(!error.is_corruption() && (said.contains("space") || said.contains("Space")), "{said}");
}

/// The folder's files, when the database is closed and opened again: none may be left over.
fn assert_nothing_is_left(store: Store, folder: &Path) -> Store {
    assert_eq!(store.verify().unwrap().problems, []);
    drop(store);
    let names = |place: &str| -> Vec<_> {
        fs::read_dir(folder.join(place)).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    let before = names("segments").len();
    // Nothing may be merged while names are compared.
    let compaction = Compaction { background: false, ..Compaction::default() };
    let store = Store::open(folder, StoreOptions { compaction, ..options() }).unwrap();
    assert_eq!(names("segments").len(), before, "the next open had to remove something");
    store
}

/// What came of all rounds; some of them must have met the full disk.
fn tell(row: Row, failed: u64, reopened: u64) {
    assert!(failed > 0);
    let rounds = FREE.len();
    let figures = format!(
        "{failed} of {rounds} failed, 0 records lost, 0 files left; writing recovered, {reopened} times after reopening"
    );
    row.passed(&format!("{rounds} times 24 MiB"), &figures);
}

#[test]
fn compaction_on_a_full_disk_loses_nothing_and_leaves_nothing() {
    let row = Row::begin(5, "a full disk during compaction");
    let (mut failed, mut reopened) = (0, 0);
    for free in FREE {
        let Some(disk) = Small::mount(24) else {
            return row.skipped("only root can mount a small disk");
        };
        let folder = disk.path().join("db");
        let (store, id) = with_dead_rows(&folder);
        let ballast = disk.fill(free);
        if let Err(error) = store.compact(id, &mut |_, _| ControlFlow::Continue(())) {
            assert_full(&error);
            failed += 1;
        }
        check_all(&store, id, 4000);
        fs::remove_file(ballast).unwrap();
        let (store, again) = write_again(store, &folder, id, 4000);
        reopened += u64::from(again);
        store.compact(id, &mut |_, _| ControlFlow::Continue(())).unwrap();
        assert_eq!(store.stats(id).unwrap().segments, 1);
        let store = assert_nothing_is_left(store, &folder);
        check_all(&store, id, 4010);
    }
    tell(row, failed, reopened);
}

#[test]
fn a_checkpoint_on_a_full_disk_leaves_the_database_as_it_was() {
    let row = Row::begin(5, "a full disk during a checkpoint");
    let (mut failed, mut reopened) = (0, 0);
    for free in FREE {
        let Some(disk) = Small::mount(24) else {
            return row.skipped("only root can mount a small disk");
        };
        let (folder, target) = (disk.path().join("db"), disk.path().join("copy"));
        let (store, id) = with_dead_rows(&folder);
        let ballast = disk.fill(free);
        match store.checkpoint(&target) {
            Ok(_) => fs::remove_dir_all(&target).unwrap(),
            Err(error) => {
                assert_full(&error);
                failed += 1;
            }
        }
        let names: Vec<_> =
            fs::read_dir(disk.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        check_all(&store, id, 4000);
        fs::remove_file(ballast).unwrap();
        let (store, again) = write_again(store, &folder, id, 4000);
        reopened += u64::from(again);
        store.checkpoint(&target).unwrap();
        check_all(&Store::open(&target, options()).unwrap(), id, 4010);
        let store = assert_nothing_is_left(store, &folder);
        check_all(&store, id, 4010);
    }
    tell(row, failed, reopened);
}
