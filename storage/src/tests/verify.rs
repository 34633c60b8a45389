//! What `verify` finds, and where it says it is.

use std::fs;
use std::path::PathBuf;

use super::hooks::Hooks;
use super::*;
use crate::catalog::{Batch, Family};
use crate::{Comparison, Error, ModelId, Predicate, keys};

/// Changes entries of the catalog behind the store's back.
pub(super) fn damage(store: &Store, change: impl FnOnce(&mut Batch<'_>)) {
    store
        .inner
        .commit(true, |_, batch, _| {
            change(batch);
            Ok(Vec::new())
        })
        .unwrap();
}

/// A segment of 50 rows and 5 fresh ones, ids of strings, years.
pub(super) fn filled(folder: &Path) -> (Store, CollectionId) {
    let store = open(folder);
    let id = store.create_collection("a", config(IdKind::Str)).unwrap();
    for range in [0..50_i64, 50..55] {
        let mut writer = store.writer(id).unwrap();
        for i in range {
            let (name, text) = (format!("r{i}"), i.to_string());
            let mut record = text_record(RecordId::from(name.as_str()), &text);
            record.fields = vec![(YEAR, Value::I64(i))];
            writer.put(record).unwrap();
        }
        writer.commit().unwrap();
    }
    (store, id)
}

fn tables(folder: &Path) -> Vec<PathBuf> {
    let mut tables: Vec<PathBuf> = fs::read_dir(folder.join("catalog"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "sst"))
        .collect();
    tables.sort();
    tables
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_table_in_which_everything_is_deleted_is_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 30);
    // Closing writes the fresh rows into tables; moving them to a segment then deletes them all. The
    // view keeps RocksDB from dropping them for good.
    drop(store);
    let store = open(folder.path());
    let pinned = store.view();
    store.flush(id).unwrap();
    let copy = folder.path().join("copy");
    store.checkpoint(&copy).unwrap();
    drop((pinned, store));
    // A reader, as RocksDB may replace tables as soon as it is open for writing.
    let store = Store::open_read_only(&copy, options()).unwrap();
    assert_sound(&store);
    let mut found = 0;
    for table in tables(&copy) {
        let length = fs::metadata(&table).unwrap().len() as usize;
        // The first block, which holds entries; behind it may follow what describes the table, where
        // RocksDB does not always say which file it could not read.
        for (at, is_entry) in [(3, true), (17, true), (31, true), (length / 4, false), (length / 2, false)] {
            flip(&table, at);
            let report = store.verify().unwrap();
            let named = report.problems.iter().any(|problem| problem.path == table);
            let is_told = named || !is_entry && !report.problems.is_empty();
            assert!(is_told, "byte {at} of {length} of {}: {:?}", table.display(), report.problems);
            flip(&table, at);
            found += 1;
        }
    }
    assert!(found >= 15, "{found}");
    assert_sound(&store);
}

#[test]
fn a_damaged_block_is_named_with_its_offset() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    let mut writer = store.writer(id).unwrap();
    for i in 0..3000_u64 {
        let text = i.to_string();
        let mut record = text_record(None, &text);
        record.fields = vec![(LANG, Value::Str(format!("{i:032}")))];
        writer.put(record).unwrap();
    }
    writer.commit().unwrap();
    drop(store);
    let store = Store::open_read_only(folder.path(), options()).unwrap();
    let largest = tables(folder.path()).into_iter().max_by_key(|table| fs::metadata(table).unwrap().len());
    let table = largest.unwrap();
    flip(&table, 20_000);
    let report = store.verify().unwrap();
    let problem = report.problems.iter().find(|problem| problem.path == table).unwrap();
    assert!((10_000..=20_000).contains(&problem.offset), "{problem:?}");
    // A reader that comes later meets it, too: what needs the block fails rather than being wrong.
    drop(store);
    let store = Store::open_read_only(folder.path(), options()).unwrap();
    let report = store.verify().unwrap();
    assert!(report.problems.iter().any(|problem| problem.path == table && problem.offset > 0));
    let all = Predicate::Compare { field: LANG, op: Comparison::Ge, value: Value::Str(String::new()) };
    match view(&store, id).select(&all) {
        Ok(masks) => assert_eq!(masks[0].count(), 3000),
        Err(Error::Corrupt { path, offset, .. }) => assert!(path == table && offset > 0),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_missing_table_and_a_damaged_manifest_are_named() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    let store = Store::open_read_only(folder.path(), options()).unwrap();
    let table = tables(folder.path()).remove(0);
    let bytes = fs::read(&table).unwrap();
    fs::remove_file(&table).unwrap();
    let report = store.verify().unwrap();
    assert!(report.problems.iter().any(|problem| problem.path == table), "{:?}", report.problems);
    fs::write(&table, bytes).unwrap();
    let manifest = fs::read_dir(folder.path().join("catalog"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("MANIFEST"))
        .unwrap();
    flip(&manifest, 40);
    let report = store.verify().unwrap();
    assert!(!report.problems.is_empty());
    assert!(report.problems.iter().all(|problem| problem.path.starts_with(folder.path().join("catalog"))));
}

#[test]
fn a_damaged_log_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    let copy = folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for part in ["catalog", "segments"] {
        fs::create_dir(copy.join(part)).unwrap();
        copy_folder(&folder.path().join(part), &copy.join(part));
    }
    let log = fs::read_dir(copy.join("catalog"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "log"))
        .unwrap();
    let before = contents(&view(&store, id));
    let sound = fs::read(&log).unwrap();
    let verify = || {
        let store = Store::open_read_only(&copy, options()).unwrap();
        (
            store.verify().unwrap().problems,
            store.view().collection(id).is_some_and(|view| contents(&view) == before),
        )
    };
    assert_eq!(verify(), (Vec::new(), true));
    flip(&log, sound.len() / 2);
    let (problems, _) = verify();
    assert!(problems.iter().any(|problem| problem.path == log), "{problems:?}");
    // What is cut off at the end was never acknowledged as durable.
    fs::write(&log, &sound[..sound.len() - 3]).unwrap();
    assert_eq!(verify(), (Vec::new(), false));
}

#[test]
fn ids_that_lead_astray_are_found_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    let id_key = |name: &str| keys::id(id, &RecordId::from(name));
    damage(&store, |batch| {
        batch.delete(Family::Ids, id_key("r3"));
        batch.put(Family::Ids, id_key("r4"), 5_u64.to_le_bytes());
        batch.put(Family::Ids, id_key("nobody"), 52_u64.to_le_bytes());
        batch.put(Family::Ids, id_key("short"), [1]);
    });
    let problems = store.verify().unwrap().problems;
    let count = |what: &str| problems.iter().filter(|problem| problem.what.contains(what)).count();
    assert_eq!(count("the id leads to no record that has it"), 3, "{problems:?}");
    // The rest is told once these are mended.
    damage(&store, |batch| {
        for name in ["r4", "nobody", "short"] {
            batch.delete(Family::Ids, id_key(name));
        }
    });
    let problems = store.verify().unwrap().problems;
    let lost: Vec<&str> = problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert!(lost[0].contains("r3") && lost[1].contains("r4"), "{lost:?}");
}

#[test]
fn automatic_ids_that_two_records_have_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 50);
    let mut writer = store.writer(id).unwrap();
    writer.put(text_record(RecordId::from(4), "new")).unwrap();
    writer.commit().unwrap();
    assert_sound(&store);
    // Without its entry the replacing row cannot be found, as its id is not its ordinal.
    damage(&store, |batch| batch.delete(Family::Ids, keys::id(id, &4.into())));
    let problems = store.verify().unwrap().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].what.contains("id 4 does not lead to its row with ordinal 50"));
}

#[test]
fn entries_that_belong_to_nothing_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    let other = CollectionId(id.0 + 9);
    damage(&store, |batch| {
        batch.put(Family::Ids, keys::id(other, &RecordId::from("x")), 0_u64.to_le_bytes());
        batch.put(Family::Columns, keys::column(id, FieldId(77), 0), []);
        batch.put(Family::Meta, keys::source(other, "s"), "1");
        batch.put(Family::Meta, keys::statistics(id, FieldId(77)), []);
        batch.put(Family::Meta, [0x77], []);
        batch.put(Family::Meta, keys::model(ModelId([5; 16])), [0; 16]);
        batch.put(Family::Dead, keys::ordinal(id, 40), crate::dead::merge(None, std::iter::empty()).unwrap());
        batch.put(Family::Fresh, keys::ordinal(id, 3), [0]);
        batch.put(Family::FreshFields, keys::ordinal(id, 52), [9, 9]);
    });
    let problems = store.verify().unwrap().problems;
    for what in [
        "family \"ids\"",
        "the entry belongs to no field",
        "family \"meta\", key 06",
        "the statistics belong to no field",
        "nothing is known of such an entry",
        "no collection uses model",
        "family \"fresh\"",
        "family \"fresh_fields\"",
    ] {
        assert!(problems.iter().any(|problem| problem.what.contains(what)), "{what}: {problems:#?}");
    }
}

#[test]
fn chunks_whose_bounds_hide_values_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    let key = keys::column(id, YEAR, 0);
    let pin = store.inner.state().pin.clone();
    let mut bytes = pin.get(Family::Columns, &key).unwrap().unwrap();
    // The largest value follows the smallest.
    bytes[1 + 2 + 512 + 8] -= 1;
    damage(&store, |batch| batch.put(Family::Columns, &key, &bytes));
    let problems = store.verify().unwrap().problems;
    assert!(problems[0].what.contains("the chunk does not fit its field"), "{problems:?}");
}

#[test]
fn wrong_counts_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    let mut counters = store.inner.state().collection(id).unwrap().counters();
    counters.live += 1;
    damage(&store, |batch| batch.put(Family::Meta, keys::state(id), counters.encode()));
    drop(store);
    let problems = open(folder.path()).verify().unwrap().problems;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].what.contains("56 records are counted, 55 are there"));
    assert!(!problems[0].repairable);
}

/// The last view lets go of replaced files while their folder is listed.
#[test]
fn files_that_go_meanwhile_are_not_reported_as_left() {
    let folder = tempfile::tempdir().unwrap();
    let hooks = std::sync::Arc::new(Hooks::default());
    let store = Store::open(folder.path(), StoreOptions { file_system: hooks.clone(), ..options() }).unwrap();
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    (0..2).for_each(|_| put_texts(&store, id, 50));
    let old = store.view();
    store.compact(id, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap();
    *hooks.after_names.lock().unwrap() = Some(Box::new(move || drop(old)));
    assert_sound(&store);
    assert_eq!(fs::read_dir(folder.path().join("segments")).unwrap().count(), 1);
}
