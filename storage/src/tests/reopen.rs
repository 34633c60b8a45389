//! What is there after closing and opening again, and who may open.

use std::fs;

use super::*;
use crate::Error;

/// Records in a segment and fresh ones, some deleted, replaced and changed.
fn filled(folder: &Path) -> (Store, CollectionId) {
    let store = open(folder);
    let id = store.create_collection("photos", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 50);
    let mut writer = store.writer(id).unwrap();
    writer.delete(&3.into()).unwrap();
    let picture = image(1.5);
    writer.put(NewRecord { image: Some(&picture), ..text_record(RecordId::from(4), "größer") }).unwrap();
    writer.put(NewRecord { text: None, image: Some(&picture), ..text_record(None, "") }).unwrap();
    writer.set(&6.into(), &[(SCORE, Some(Value::F64(-0.0))), (YEAR, None)]).unwrap();
    writer.set(&4.into(), &[(LANG, Some(Value::Str("de".into())))]).unwrap();
    writer.commit().unwrap();
    (store, id)
}

#[test]
fn reopening_gives_the_same_contents() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    let (before, infos, version) = (contents(&view(&store, id)), store.collections(), store.view().version());
    assert_eq!(before.len(), 50);
    drop(store);
    let store = open(folder.path());
    assert_eq!(contents(&view(&store, id)), before);
    assert_eq!(store.collections(), infos);
    assert_eq!(store.view().version(), version);
    assert_sound(&store);
    store.flush(id).unwrap();
    assert_eq!(contents(&view(&store, id)), before);
    drop(store);
    assert_eq!(contents(&view(&open(folder.path()), id)), before);
}

#[test]
fn a_second_writer_is_told_who_holds_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let refused = Store::open(folder.path(), options());
    assert!(matches!(refused, Err(Error::Locked { pid: Some(pid), .. }) if pid == std::process::id()));
    // A view keeps the catalog open, and with it the lock.
    let pinned = store.view();
    drop(store);
    assert!(matches!(Store::open(folder.path(), options()), Err(Error::Locked { .. })));
    drop(pinned);
    assert!(Store::open(folder.path(), options()).is_ok());
}

#[test]
fn readers_see_commits_after_refreshing() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        Store::open_read_only(folder.path(), StoreOptions::default()),
        Err(Error::NotADatabase { .. })
    ));
    let (store, id) = filled(folder.path());
    let reader = Store::open_read_only(folder.path(), StoreOptions::default()).unwrap();
    let before = contents(&view(&reader, id));
    assert_eq!(before, contents(&view(&store, id)));
    put_texts(&store, id, 45);
    store.drop_collection("photos").unwrap();
    let other = store.create_collection("other", config(IdKind::Auto)).unwrap();
    // The reader goes on with files that are unlinked meanwhile.
    assert_eq!(contents(&view(&reader, id)), before);
    reader.refresh().unwrap();
    assert!(reader.view().collection(id).is_none());
    assert_eq!(reader.collections().len(), 1);
    assert!(matches!(reader.writer(other), Err(Error::ReadOnly)));
    assert!(matches!(reader.create_collection("x", config(IdKind::Auto)), Err(Error::ReadOnly)));
    assert!(matches!(reader.drop_collection("other"), Err(Error::ReadOnly)));
    assert!(matches!(reader.flush(other), Err(Error::ReadOnly)));
}

#[test]
fn files_that_no_commit_names_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    let before = contents(&view(&store, id));
    drop(store);
    let segments = folder.path().join("segments");
    let count = || fs::read_dir(&segments).unwrap().count();
    let sound = count();
    for name in [
        "000000ff.rows",
        "000000ff.rows.tmp",
        "000000ff.codes.00000000000000000000000000000000",
        "notes of the user.txt",
    ] {
        fs::write(segments.join(name), b"x").unwrap();
    }
    fs::write(folder.path().join("models").join("07".repeat(16) + ".safetensors"), b"x").unwrap();
    let store = open(folder.path());
    assert_eq!(count(), sound + 1);
    assert_eq!(fs::read_dir(folder.path().join("models")).unwrap().count(), 0);
    assert_eq!(contents(&view(&store, id)), before);
    // What appears later is reported.
    fs::write(segments.join("000000ff.rows"), b"x").unwrap();
    assert_eq!(store.verify().unwrap().problems.len(), 1);
}

#[test]
fn a_missing_or_damaged_segment_is_named() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    let segments = folder.path().join("segments");
    let path = fs::read_dir(&segments).unwrap().next().unwrap().unwrap().path();
    let sound = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let refused = Store::open(folder.path(), options());
    assert!(matches!(refused, Err(Error::Corrupt { path: found, .. }) if found == path));
    fs::write(&path, &sound[..sound.len() - 1]).unwrap();
    let refused = Store::open(folder.path(), options());
    assert!(matches!(refused, Err(Error::Corrupt { path: found, .. }) if found == path));
    let mut flipped = sound.clone();
    flipped[4096 + 3] ^= 4;
    fs::write(&path, &flipped).unwrap();
    let store = open(folder.path());
    let report = store.verify().unwrap();
    assert!(report.problems.iter().any(|problem| problem.path == path && problem.offset == 4096));
    drop(store);
    fs::write(&path, &sound).unwrap();
    assert_sound(&open(folder.path()));
}

#[test]
fn other_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), b"x").unwrap();
    assert!(matches!(Store::open(folder.path(), options()), Err(Error::NotADatabase { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_newer_catalog_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut value = crate::format::CATALOG_MAGIC.to_vec();
    value.extend(9_u32.to_le_bytes());
    store
        .inner
        .commit(true, |_, batch, _| {
            batch.put(crate::catalog::Family::Meta, crate::keys::format(), &value);
            Ok(Vec::new())
        })
        .unwrap();
    drop(store);
    assert!(matches!(
        Store::open(folder.path(), options()),
        Err(Error::Version { found: 9, supported: 0, .. })
    ));
    assert!(matches!(
        Store::open_read_only(folder.path(), StoreOptions::default()),
        Err(Error::Version { found: 9, .. })
    ));
}

#[test]
fn a_segment_that_is_not_where_its_entry_says_is_found_at_open() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 50);
    let entry = crate::state::segment_entry(view(&store, id).collection.segments().next().unwrap());
    super::verify::damage(&store, |batch| {
        batch.delete(crate::catalog::Family::Meta, crate::keys::segment(id, 0));
        batch.put(crate::catalog::Family::Meta, crate::keys::segment(id, 7), entry.encode());
    });
    drop(store);
    let refused = Store::open(folder.path(), options()).err();
    assert!(
        matches!(&refused, Some(Error::Corrupt { what, .. }) if what.contains("another ordinal")),
        "{refused:?}"
    );
}
