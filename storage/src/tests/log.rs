//! A damaged log: what was synced does not go without a word, what was not does not keep the database
//! from opening.

use std::fs;
use std::path::PathBuf;

use super::compaction::put_texts_with;
use super::*;
use crate::Error;

/// A database as the end of its process left it, after commits of a record each.
fn left(durability: Durability, commits: u64) -> (tempfile::TempDir, CollectionId) {
    let (live, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store =
        Store::open(live.path(), StoreOptions { durability, fresh_rows: 10_000, ..options() }).unwrap();
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    for number in 0..commits {
        let mut writer = store.writer(id).unwrap();
        writer.put(text_record(RecordId::from(number), "some text")).unwrap();
        writer.commit().unwrap();
    }
    copy(live.path(), folder.path());
    (folder, id)
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn catalog_files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder.join("catalog")).unwrap().map(|entry| entry.unwrap().path());
    // RocksDB's diary is written by readers too.
    let mut paths: Vec<_> =
        entries.filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with("LOG")).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// The longest log.
fn log(folder: &Path) -> (PathBuf, Vec<u8>) {
    let mut files = catalog_files(folder);
    files.retain(|(path, _)| path.extension().is_some_and(|ending| ending == "log"));
    files.into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap()
}

/// Damages the log at half of its length.
fn damage_the_middle(folder: &Path) -> PathBuf {
    let (path, mut bytes) = log(folder);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn synced_commits_behind_damage_are_not_given_up_without_a_word() {
    let (folder, id) = left(Durability::Immediate, 20);
    let log = damage_the_middle(folder.path());
    let before = catalog_files(folder.path());
    let refused = Store::open(folder.path(), options()).err();
    let Some(Error::Corrupt { path, offset, what }) = refused else { panic!("{refused:?}") };
    assert_eq!(path, log);
    assert!(what.contains("to 20 were on the disk"), "{what}");
    assert_eq!(catalog_files(folder.path()), before, "a refused open changed something");
    // What was before it can be read, and verify says where the damage is.
    let store = Store::open_read_only(folder.path(), options()).unwrap();
    let readable = view(&store, id).len();
    assert!((1..20).contains(&readable), "{readable}");
    let problems = store.verify().unwrap().problems;
    assert_eq!(
        problems.iter().map(|problem| (&problem.path, problem.offset)).collect::<Vec<_>>(),
        [(&log, offset)]
    );
    drop(store);
    // The way out that the error names.
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..offset as usize]).unwrap();
    let store = open(folder.path());
    assert_eq!(view(&store, id).len(), readable);
    assert_sound(&store);
}

/// Row 3, `Eventual`, seed 3496: garbage where a record's kind belongs said that the log was a recycled one,
/// and RocksDB tried to read it for ever.
#[test]
fn the_end_of_a_torn_log_may_look_like_a_recycled_one() {
    let (left, id) = left(Durability::Eventual, 3);
    for kind in (0..16).chain([130, 131, 255]) {
        let folder = tempfile::tempdir().unwrap();
        copy(left.path(), folder.path());
        let (path, mut bytes) = log(folder.path());
        bytes.extend([9, 9, 9, 9, 3, 0, kind, 1, 2, 3]);
        fs::write(&path, bytes).unwrap();
        if let Err(error) = Store::open_read_only(folder.path(), options()).map(drop) {
            assert!(error.to_string().contains("for writing"), "{error}");
        }
        assert_eq!(view(&open(folder.path()), id).len(), 3, "{kind}");
        assert_eq!(view(&Store::open_read_only(folder.path(), options()).unwrap(), id).len(), 3);
    }
}

/// RocksDB steps over zeros where a record should begin, to the next block of the log: commits after a gap
/// would be there.
#[test]
fn zeros_in_a_log_that_was_not_synced_end_it() {
    let (left, id) = left(Durability::Eventual, 1500);
    let (path, bytes) = log(left.path());
    assert!(bytes.len() > 4 << 15);
    // Where a record begins, in the first block.
    let mut begins = 0;
    while begins < 20_000 {
        begins += 7 + usize::from(u16::from_le_bytes([bytes[begins + 4], bytes[begins + 5]]));
    }
    for (start, end) in [(begins, 32_000), (begins, 90_000), (1 << 15, 2 << 15), (40_000, 50_000)] {
        let folder = tempfile::tempdir().unwrap();
        copy(left.path(), folder.path());
        let mut torn = bytes.clone();
        torn[start..end].fill(0);
        fs::write(folder.path().join("catalog").join(path.file_name().unwrap()), torn).unwrap();
        let store = open(folder.path());
        let found = contents(&view(&store, id));
        assert!(!found.is_empty() && found.len() < 1500);
        for (number, record) in (0_u64..).zip(&found) {
            assert_eq!(record.id, RecordId::from(number), "zeros from {start} to {end}");
        }
        assert_sound(&store);
    }
}

#[test]
fn commits_that_were_never_synced_may_be_torn() {
    let (folder, id) = left(Durability::Eventual, 20);
    damage_the_middle(folder.path());
    let store = open(folder.path());
    assert!((1..20).contains(&view(&store, id).len()));
    assert_sound(&store);
}

/// A commit that waited makes all before it durable, also those that did not wait.
#[test]
fn a_synced_commit_speaks_for_those_before_it() {
    let live = tempfile::tempdir().unwrap();
    let store = open(live.path());
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    put_texts_with(&store, id, IdKind::U64, 0, 10);
    for number in 10..20 {
        put_texts_with(&store, id, IdKind::U64, number, 1);
    }
    // Creating a collection always waits; the next commit says so.
    store.create_collection("b", config(IdKind::U64)).unwrap();
    put_texts_with(&store, id, IdKind::U64, 20, 1);
    let folder = tempfile::tempdir().unwrap();
    copy(live.path(), folder.path());
    damage_the_middle(folder.path());
    assert!(matches!(Store::open(folder.path(), options()), Err(Error::Corrupt { .. })));
}

/// RocksDB tries the kinds of recycled logs again without end (row 6, byte 4573 of a long run).
#[test]
fn a_manifest_that_rocksdb_would_read_for_ever_is_refused() {
    let (folder, _) = left(Durability::Immediate, 3);
    let is_manifest = |path: &Path| path.file_name().unwrap().to_string_lossy().starts_with("MANIFEST");
    let (path, sound) =
        catalog_files(folder.path()).into_iter().rfind(|(path, _)| is_manifest(path)).unwrap();
    let second = 7 + u64::from(u16::from_le_bytes([sound[4], sound[5]]));
    for (at, kind) in [0, second].into_iter().flat_map(|at| [5, 6, 7, 8, 11, 131].map(|kind| (at, kind))) {
        let mut damaged = sound.clone();
        damaged[at as usize + 6] = kind;
        fs::write(&path, damaged).unwrap();
        let refused = |error: &Error| matches!(error, Error::Corrupt { path: p, offset, .. } if *p == path && *offset == at);
        let opened = Store::open(folder.path(), options());
        assert!(opened.is_err_and(|error| refused(&error)), "{at}, {kind}");
        let opened = Store::open_read_only(folder.path(), options());
        assert!(opened.is_err_and(|error| refused(&error)), "{at}, {kind}");
    }
    fs::write(&path, sound).unwrap();
    Store::open(folder.path(), options()).unwrap();
}
