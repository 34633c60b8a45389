//! Repair: what follows from other data is made anew, and nothing else is touched.

use std::fs;

use super::verify::{damage, filled};
use super::*;
use crate::catalog::Family;
use crate::keys;
use crate::{Error, RepairReport};

#[test]
fn a_sound_database_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = filled(folder.path());
    let version = store.view().version();
    assert_eq!(store.repair().unwrap(), RepairReport::default());
    assert_eq!(store.view().version(), version);
    assert!(matches!(
        Store::open_read_only(folder.path(), options()).unwrap().repair(),
        Err(Error::ReadOnly)
    ));
}

#[test]
fn damaged_indexes_are_made_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    store.wait_writer(id).unwrap().delete(&"r7".into()).unwrap();
    let before = contents(&view(&store, id));
    let entry = |year: i64, ordinal| keys::index(id, YEAR, Value::I64(year).borrow(), ordinal);
    damage(&store, |batch| {
        // Missing, of a row in the segment and of a fresh one.
        batch.delete(Family::Index, entry(3, 3));
        batch.delete(Family::Index, entry(52, 52));
        // Too many: a value that the row does not have, a row that is not there.
        batch.put(Family::Index, entry(1000, 4), []);
        batch.put(Family::Index, entry(4, 9999), []);
        // Wrong: no index entry at all.
        batch.put(Family::Index, [keys::field(id, YEAR), vec![1]].concat(), []);
    });
    let problems = store.verify().unwrap().problems;
    assert!(problems.len() == 5 && problems.iter().all(|problem| problem.repairable), "{problems:?}");
    let report = store.repair().unwrap();
    assert_eq!((report.index_entries_added, report.index_entries_removed), (2, 3));
    assert_sound(&store);
    assert_eq!(contents(&view(&store, id)), before);
    drop(store);
    assert_sound(&open(folder.path()));
}

#[test]
fn more_differences_than_a_batch_are_mended() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 6_000);
    damage(&store, |batch| batch.delete_prefix(Family::Index, &keys::field(id, YEAR)));
    assert!(!store.verify().unwrap().problems.is_empty());
    assert_eq!(store.repair().unwrap().index_entries_added, 6_000);
    assert_sound(&store);
}

#[test]
fn statistics_that_do_not_hold_are_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    let right = view(&store, id).statistics(YEAR).unwrap();
    for wrong in [None, Some(vec![1, 2, 3])] {
        damage(&store, |batch| match &wrong {
            None => batch.delete(Family::Meta, keys::statistics(id, YEAR)),
            Some(bytes) => batch.put(Family::Meta, keys::statistics(id, YEAR), bytes),
        });
        let problems = store.verify().unwrap().problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].what.contains("statistics") && problems[0].repairable);
        assert_eq!(store.repair().unwrap().statistics_rebuilt, 1);
        assert_eq!(view(&store, id).statistics(YEAR).unwrap(), right);
        assert_sound(&store);
    }
}

#[test]
fn files_that_nothing_names_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = filled(folder.path());
    let stray = folder.path().join("segments").join("000000ff.rows");
    fs::write(&stray, b"x").unwrap();
    assert_eq!(store.verify().unwrap().problems.len(), 1);
    assert_eq!(store.repair().unwrap(), RepairReport { files_removed: 1, ..RepairReport::default() });
    assert!(!stray.exists());
    assert_sound(&store);
}

#[test]
fn damage_of_what_exists_once_is_left_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    let chunk = keys::column(id, YEAR, 0);
    damage(&store, |batch| {
        batch.put(Family::Columns, &chunk, b"no chunk");
        batch.delete(Family::Ids, keys::id(id, &"r3".into()));
        batch.delete(Family::Index, keys::index(id, YEAR, Value::I64(52).borrow(), 52));
    });
    let before = store.verify().unwrap().problems;
    let report = store.repair().unwrap();
    assert_eq!(report, RepairReport { fields_left: 1, ..RepairReport::default() });
    assert_eq!(store.verify().unwrap().problems, before);
    let stored = store.inner.state().pin.get(Family::Columns, &chunk).unwrap();
    assert_eq!(stored.as_deref(), Some(b"no chunk".as_slice()));
}
