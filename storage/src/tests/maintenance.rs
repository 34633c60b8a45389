//! Collections and fields created, renamed and dropped; counts.

use super::*;
use crate::Error;

#[test]
fn names_are_unique_and_can_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let a = store.create_collection("a", config(IdKind::Auto)).unwrap();
    store.create_collection("b", config(IdKind::Str)).unwrap();
    assert!(matches!(store.create_collection("a", config(IdKind::Auto)), Err(Error::Exists { .. })));
    assert!(matches!(store.create_collection("", config(IdKind::Auto)), Err(Error::Name { .. })));
    assert!(matches!(store.rename_collection("a", "b"), Err(Error::Exists { .. })));
    assert!(matches!(store.rename_collection("x", "y"), Err(Error::NotFound { .. })));
    assert!(matches!(store.drop_collection("x"), Err(Error::NotFound { .. })));
    put_texts(&store, a, 2);
    store.rename_collection("a", "c").unwrap();
    assert_eq!(store.view().collection_named("c").unwrap().info().id, a);
    store.drop_collection("c").unwrap();
    // Numbers are not reused, so nothing of the old collection can shine through.
    let again = store.create_collection("a", config(IdKind::Auto)).unwrap();
    assert_ne!(again, a);
    assert!(view(&store, again).is_empty());
    assert_sound(&store);
}

#[test]
fn a_field_can_be_added_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 50);
    store.add_field(id, field("likes", FieldType::U64, true)).unwrap();
    assert!(matches!(store.add_field(id, field("likes", FieldType::Bool, false)), Err(Error::Exists { .. })));
    assert!(matches!(store.add_field(id, field("of", FieldType::Bool, false)), Err(Error::Name { .. })));
    let likes = view(&store, id).info().config.field_id("likes").unwrap();
    let mut writer = store.writer(id).unwrap();
    writer.set(&9.into(), &[(likes, Some(Value::U64(5)))]).unwrap();
    writer.commit().unwrap();
    drop(store);
    let store = open(folder.path());
    assert_eq!(view(&store, id).fields(9).unwrap()[1], (likes, Value::U64(5)));
    assert_eq!(view(&store, id).fields(8).unwrap(), [(YEAR, Value::I64(8))]);
    assert_sound(&store);
}

#[test]
fn counts_follow_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 50);
    put_texts(&store, id, 7);
    let mut writer = store.writer(id).unwrap();
    for doomed in [3_u64, 4, 51] {
        writer.delete(&doomed.into()).unwrap();
    }
    writer.commit().unwrap();
    let stats = store.stats(id).unwrap();
    assert_eq!((stats.rows, stats.deleted, stats.segments, stats.fresh_rows), (54, 3, 1, 7));
    assert!(stats.bytes.rows > 4096 && stats.bytes.codes == 0 && stats.bytes.catalog > 0);
    // Dead fresh rows are not written out.
    store.flush(id).unwrap();
    let stats = store.stats(id).unwrap();
    assert_eq!((stats.rows, stats.deleted, stats.segments, stats.fresh_rows), (54, 2, 2, 0));
    assert_sound(&store);
}

#[test]
fn fresh_rows_stay_within_their_limit() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    for i in 0..130_u64 {
        let text = i.to_string();
        store.write_grouped(id, |writer| writer.put(text_record(None, &text))).unwrap();
        assert!(store.stats(id).unwrap().fresh_rows < 40);
    }
    assert_eq!(store.stats(id).unwrap().segments, 3);
    assert_eq!(contents(&view(&store, id)).len(), 130);
    assert_sound(&store);
}

#[test]
fn a_failed_commit_closes_the_store_for_writing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 3);
    store.inner.poison("the disk is gone");
    assert!(matches!(store.writer(id), Err(Error::Poisoned { .. })));
    assert!(matches!(store.create_collection("b", config(IdKind::Auto)), Err(Error::Poisoned { .. })));
    assert_eq!(contents(&view(&store, id)).len(), 3);
    drop(store);
    put_texts(&open(folder.path()), id, 3);
}
