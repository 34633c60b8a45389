//! Indexes made and removed on fields that have values.

use super::verify::damage;
use super::*;
use crate::catalog::Family;
use crate::{Comparison, Error, Predicate, keys};

fn filled(folder: &Path) -> (Store, CollectionId) {
    let store = open(folder);
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    let mut writer = store.writer(id).unwrap();
    for i in 0..20_000_u64 {
        let mut record = text_record(None, "x");
        record.fields = vec![(SCORE, Value::F64((i % 100) as f64))];
        writer.put(record).unwrap();
    }
    writer.delete(&5.into()).unwrap();
    writer.commit().unwrap();
    // Some rows that are in no segment yet.
    let mut writer = store.writer(id).unwrap();
    for i in 0..7 {
        let mut record = text_record(None, "x");
        record.fields = vec![(SCORE, Value::F64(f64::from(i)))];
        writer.put(record).unwrap();
    }
    writer.commit().unwrap();
    (store, id)
}

fn count(store: &Store, id: CollectionId, op: Comparison, value: f64) -> usize {
    let predicate = Predicate::Compare { field: SCORE, op, value: Value::F64(value) };
    view(store, id).select(&predicate).unwrap().iter().map(|mask| mask.count()).sum()
}

fn entries(store: &Store, id: CollectionId) -> usize {
    let mut entries = 0;
    let pin = store.inner.state().pin.clone();
    pin.scan_prefix(Family::Index, &keys::field(id, SCORE), &mut |_, _| {
        entries += 1;
        Ok(std::ops::ControlFlow::Continue(()))
    })
    .unwrap();
    entries
}

#[test]
fn an_index_can_come_later_and_go_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    let answers = |store: &Store| {
        [(Comparison::Eq, 5.0), (Comparison::Lt, 1.0), (Comparison::Ge, 0.0)]
            .map(|(op, value)| count(store, id, op, value))
    };
    let before = answers(&store);
    let pinned = view(&store, id);
    store.add_index(id, SCORE).unwrap();
    assert!(view(&store, id).info().config.is_indexed(SCORE));
    assert!(!pinned.info().config.is_indexed(SCORE));
    drop(pinned);
    assert_eq!(entries(&store, id), 20_006);
    assert_eq!(answers(&store), before);
    assert_sound(&store);
    // Writers keep it up to date from then on.
    let mut writer = store.writer(id).unwrap();
    writer.set(&7.into(), &[(SCORE, Some(Value::F64(5.0)))]).unwrap();
    writer.delete(&105.into()).unwrap();
    writer.commit().unwrap();
    assert_eq!(count(&store, id, Comparison::Eq, 5.0), before[0]);
    drop(store);
    let store = open(folder.path());
    assert_sound(&store);
    let before = answers(&store);
    store.add_index(id, SCORE).unwrap();
    store.remove_index(id, SCORE).unwrap();
    store.remove_index(id, SCORE).unwrap();
    assert_eq!((entries(&store, id), answers(&store)), (0, before));
    assert_sound(&store);
}

#[test]
fn what_an_interrupted_attempt_left_does_not_show() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    let before = count(&store, id, Comparison::Eq, 5.0);
    damage(&store, |batch| {
        batch.put(Family::Index, keys::index(id, SCORE, Value::F64(5.0).borrow(), 3), []);
    });
    assert_eq!(count(&store, id, Comparison::Eq, 5.0), before);
    assert_sound(&store);
    store.add_index(id, SCORE).unwrap();
    assert_eq!(count(&store, id, Comparison::Eq, 5.0), before);
    assert_sound(&store);
}

#[test]
fn fields_that_are_not_there_and_the_built_in_one_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    assert!(matches!(store.add_index(id, FieldId(9)), Err(Error::UnknownField { field: 9 })));
    assert!(matches!(store.remove_index(id, FieldId::OF), Err(Error::BuiltIn { .. })));
    assert!(matches!(store.add_index(CollectionId(9), SCORE), Err(Error::NotFound { .. })));
    store.add_index(id, FieldId::OF).unwrap();
    drop(store);
    let reader = Store::open_read_only(folder.path(), options()).unwrap();
    assert!(matches!(reader.add_index(id, SCORE), Err(Error::ReadOnly)));
}
