//! Copies of a database: checkpoints and restored databases.

use std::fs;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use super::hooks::Hooks;
use super::install::{A, B, check, encode, install};
use super::*;
use crate::Error;

/// A segment, fresh rows, dead rows and fields in two collections.
fn filled(folder: &Path) -> (Store, CollectionId, CollectionId) {
    let store = open(folder);
    let a = store.create_collection("a", config(IdKind::Auto)).unwrap();
    let b = store.create_collection("b", config(IdKind::Str)).unwrap();
    put_texts(&store, a, 100);
    put_texts(&store, a, 3);
    let mut writer = store.writer(b).unwrap();
    writer.put(text_record(Some("x".into()), "hello")).unwrap();
    writer.commit().unwrap();
    let mut writer = store.writer(a).unwrap();
    assert!(writer.delete(&7.into()).unwrap());
    writer.commit().unwrap();
    (store, a, b)
}

fn everything(store: &Store) -> Vec<Vec<StoredRecord>> {
    let view = store.view();
    view.collections().iter().map(|info| contents(&view.collection(info.id).unwrap())).collect()
}

#[test]
fn a_checkpoint_is_a_database_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (store, a, _) = filled(&folder.path().join("db"));
    let before = everything(&store);
    let version = store.view().version();
    let target = folder.path().join("backups/monday");
    let copied = store.checkpoint(&target).unwrap();
    assert_eq!(copied.version, version);
    assert!(copied.files > 4 && copied.bytes > 4096, "{copied:?}");

    // Writing goes on in the original, and files that the copy shares go from it.
    put_texts(&store, a, 50);
    store.drop_collection("b").unwrap();
    let copy = open(&target);
    assert_eq!(copy.view().version(), version);
    assert_eq!(everything(&copy), before);
    assert_sound(&copy);

    // Nor does what becomes of the copy concern the original.
    let after = everything(&store);
    copy.drop_collection("a").unwrap();
    drop(copy);
    assert_eq!(everything(&store), after);
    assert_sound(&store);
    drop(store);
    assert_eq!(everything(&open(&folder.path().join("db"))), after);
    assert!(!folder.path().join("backups/monday.tmp").exists());
}

#[test]
fn a_copy_never_replaces_anything() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ..) = filled(&folder.path().join("db"));
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("letter.txt"), "x").unwrap();
    let file = taken.join("letter.txt");
    for target in [&taken, &file, &folder.path().join("db").as_path().to_path_buf()] {
        assert!(matches!(store.checkpoint(target), Err(Error::TargetTaken { .. })), "{}", target.display());
        assert!(matches!(
            Store::restore(store.path(), target),
            Err(Error::Locked { .. } | Error::TargetTaken { .. })
        ));
    }
    // What somebody else keeps under the temporary name stays, too.
    let other = folder.path().join("new.tmp");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter.txt"), "x").unwrap();
    assert!(matches!(store.checkpoint(folder.path().join("new")), Err(Error::TargetTaken { .. })));
    assert!(other.join("letter.txt").is_file() && file.is_file());
    // What an interrupted copy left does not: it is made anew.
    let left = folder.path().join("again.tmp/segments");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("00000000.rows"), "half").unwrap();
    // Without its marker it may be anybody's, another checkpoint for one.
    assert!(matches!(store.checkpoint(folder.path().join("again")), Err(Error::TargetTaken { .. })));
    let marker = folder.path().join("again.tmp/COPYING");
    let held = crate::lock::Lock::take(&marker, folder.path()).unwrap();
    assert!(matches!(store.checkpoint(folder.path().join("again")), Err(Error::Locked { .. })));
    drop(held);
    store.checkpoint(folder.path().join("again")).unwrap();
    assert!(!folder.path().join("again.tmp").exists());
    assert_sound(&open(&folder.path().join("again")));
    // An empty folder is no obstacle, nor is a slash behind its name.
    fs::create_dir(folder.path().join("empty")).unwrap();
    store.checkpoint(folder.path().join("empty/")).unwrap();
    assert!(matches!(store.checkpoint(folder.path().join("nowhere/..")), Err(Error::TargetTaken { .. })));
    assert_sound(&open(&folder.path().join("empty")));
}

#[test]
fn a_restored_database_is_what_the_checkpoint_was() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ..) = filled(&folder.path().join("db"));
    let before = everything(&store);
    let backup = folder.path().join("backup");
    store.checkpoint(&backup).unwrap();
    drop(store);
    let restored = folder.path().join("restored");
    Store::restore(&backup, &restored).unwrap();
    let store = open(&restored);
    assert_eq!(everything(&store), before);
    assert_sound(&store);
    store.drop_collection("a").unwrap();
    drop(store);
    // The checkpoint is as it was, and serves again; so does a database that was closed.
    Store::restore(&backup, folder.path().join("second")).unwrap();
    assert_eq!(everything(&open(&folder.path().join("second"))), before);
    Store::restore(folder.path().join("db"), folder.path().join("third")).unwrap();
    assert_eq!(everything(&open(&folder.path().join("third"))), before);
}

#[test]
fn what_is_damaged_in_use_or_no_database_is_not_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ..) = filled(&folder.path().join("db"));
    let target = folder.path().join("target");
    let restore = |source: &str| Store::restore(folder.path().join(source), &target);
    assert!(matches!(restore("db"), Err(Error::Locked { .. })));
    assert!(matches!(restore("nowhere"), Err(Error::NotADatabase { .. })));
    store.checkpoint(folder.path().join("backup")).unwrap();
    let segments = folder.path().join("backup/segments");
    let path = fs::read_dir(&segments).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // A file of its own: the original is not to be damaged through the link.
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    let refused = restore("backup");
    assert!(matches!(refused, Err(Error::Corrupt { path: named, .. }) if named == path));
    assert!(!target.exists() && !folder.path().join("target.tmp").exists());
    assert_sound(&store);
}

/// The codes that the copied version names are written again under their name, and go with an install
/// that is called off.
#[test]
fn a_checkpoint_starts_again_when_a_name_that_it_needs_was_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let hooks = Arc::new(Hooks::default());
    let options = StoreOptions { file_system: hooks.clone(), ..options() };
    let store = Store::open(folder.path().join("db"), options).unwrap();
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 50);
    install(&store, id, A).unwrap();
    let other = store.clone();
    *hooks.before_link.lock().unwrap() = Some(Box::new(move || {
        install(&other, id, B).unwrap();
        let canceled = other.install_model(id, A, &A.0, &mut encode(A), &mut |done, _| match done {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        });
        assert!(matches!(canceled, Err(Error::Canceled)));
    }));
    let copied = store.checkpoint(folder.path().join("copy")).unwrap();
    assert_eq!(copied.version, store.view().version());
    let copy = open(&folder.path().join("copy"));
    check(&copy, id, B);
    assert_sound(&copy);
    // A file that is not there at all is told at once.
    let path = view(&store, id).collection.segments().next().unwrap().rows.file().path().to_path_buf();
    fs::remove_file(&path).unwrap();
    assert!(store.checkpoint(folder.path().join("second")).unwrap_err().is_missing_file());
    assert!(!folder.path().join("second.tmp").exists());
}

#[test]
fn a_checkpoint_whose_name_cannot_be_made_durable_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let hooks = Arc::new(Hooks::default());
    let options = StoreOptions { file_system: hooks.clone(), ..options() };
    let store = Store::open(folder.path().join("db"), options).unwrap();
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 50);
    let copies = folder.path().join("copies");
    fs::create_dir(&copies).unwrap();
    let left = || fs::read_dir(&copies).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    // The name that it has at last, which is lost when files have long been linked.
    let (disk, folder) = (hooks.clone(), copies.clone());
    *hooks.before_link.lock().unwrap() =
        Some(Box::new(move || *disk.unsynced.lock().unwrap() = Some(folder)));
    for _ in ["the last name", "the first one"] {
        let failed = store.checkpoint(copies.join("monday"));
        assert!(matches!(failed, Err(Error::Io { operation: "sync", .. })), "{failed:?}");
        assert_eq!(left(), [] as [PathBuf; 0]);
    }
    *hooks.unsynced.lock().unwrap() = None;
    store.checkpoint(copies.join("monday")).unwrap();
    assert_sound(&open(&copies.join("monday")));
}

#[test]
fn a_restore_leaves_its_source_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("db");
    drop(filled(&source));
    let lock = source.join("LOCK");
    fs::write(&lock, "12345\n").unwrap();
    Store::restore(&source, folder.path().join("restored")).unwrap();
    assert_eq!(fs::read(&lock).unwrap(), b"12345\n");
}
