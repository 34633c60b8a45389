//! Row 5: the disk is really full.

use std::fs;
use std::path::Path;
use std::process::Command;

use twinbit_storage::{
    CollectionConfig, CollectionId, Durability, Error, IdKind, InputKind, NewRecord, RecordId, Store,
    StoreOptions, TextInput,
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
