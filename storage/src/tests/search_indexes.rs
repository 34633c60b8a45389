//! Search indexes of segments: made, kept through everything that replaces files, mended when damaged.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use twinbit_kernels::{CodesBuf, Modality};

use super::copying::{CopyingIndexer, OpenCopy};
use super::*;
use crate::{BoxedError, Error, Indexing, ModelId, Part, ReadMode};

/// Indexes from 20 rows on, made by hand.
fn indexed() -> StoreOptions {
    StoreOptions {
        indexer: Some(Arc::new(CopyingIndexer)),
        indexing: Indexing { rows: 20, ..Indexing::default() },
        ..options()
    }
}

fn in_background() -> StoreOptions {
    StoreOptions { compaction: Compaction::default(), ..indexed() }
}

fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Puts codes in one transaction, which becomes a segment from 40 rows on.
fn put_codes(store: &Store, id: CollectionId, count: u8) {
    let mut writer = store.writer(id).unwrap();
    for number in 0..count {
        let code = [number, number ^ 0x55];
        let codes = [Some(&code[..]), (number % 3 == 0).then_some(&code[..])];
        writer.put(NewRecord { codes, ..NewRecord::default() }).unwrap();
    }
    writer.commit().unwrap();
}

/// A collection of ready codes with segments of 50 and 10 rows.
fn filled(store: &Store) -> CollectionId {
    let id = store.create_collection("codes", external(IdKind::Auto)).unwrap();
    put_codes(store, id, 50);
    put_codes(store, id, 10);
    store.flush(id).unwrap();
    id
}

/// The rows of the segments whose indexes are there, after comparing these with the codes.
fn indexed_rows(store: &Store, id: CollectionId) -> Vec<u32> {
    let mut rows = Vec::new();
    for part in view(store, id).parts().iter() {
        let copies = Modality::ALL.map(|modality| {
            let copy = part.index(modality)?.downcast_ref::<OpenCopy>().unwrap().codes().to_vec();
            assert_eq!(copy, part.codes(modality).unwrap().to_packed());
            Some(copy)
        });
        if copies.iter().any(Option::is_some) {
            assert!(
                Modality::ALL.iter().zip(&copies).all(|(m, copy)| part.codes(*m).is_some() == copy.is_some())
            );
            rows.push(part.rows());
        }
    }
    rows
}

fn index_files(folder: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(folder.join("segments")).unwrap().map(|entry| entry.unwrap().path());
    let is_index = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().contains(".index.");
    names.filter(is_index).collect()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn large_segments_get_an_index_that_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), indexed()).unwrap();
    let id = filled(&store);
    let before = view(&store, id);
    let indexed_now = store.build_indexes(id, &mut go_on).unwrap();
    assert_eq!((indexed_now.segments, indexed_now.rows), (1, 50));
    assert_eq!(indexed_rows(&store, id), [50]);
    // A view is what it was.
    assert!(before.parts().iter().all(|part| part.index(Modality::Image).is_none()));
    assert_eq!(store.build_indexes(id, &mut go_on).unwrap().segments, 0);
    let stats = store.stats(id).unwrap();
    assert_eq!(stats.bytes.search_index, indexed_now.bytes);
    assert_sound(&store);
    drop((before, store));
    for read_mode in [ReadMode::Mapped, ReadMode::Read] {
        let store = Store::open(folder.path(), StoreOptions { read_mode, ..indexed() }).unwrap();
        assert_eq!(indexed_rows(&store, id), [50]);
        assert_sound(&store);
        let reader = Store::open_read_only(folder.path(), StoreOptions { read_mode, ..indexed() }).unwrap();
        assert_eq!(indexed_rows(&reader, id), [50]);
    }
    // Without an indexer they are kept, and their checksums are compared.
    let store = open(folder.path());
    assert!(view(&store, id).parts().iter().all(|part| part.index(Modality::Image).is_none()));
    assert_eq!(store.stats(id).unwrap().bytes.search_index, indexed_now.bytes);
    assert_eq!(store.build_indexes(id, &mut go_on).unwrap().segments, 0);
    assert_sound(&store);
}

#[test]
fn deletes_leave_the_index_and_the_count_of_searchable_rows_follows() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), indexed()).unwrap();
    let id = filled(&store);
    store.build_indexes(id, &mut go_on).unwrap();
    let searchable = |modality| -> u64 {
        let parts = view(&store, id).parts();
        for part in parts.iter() {
            assert_eq!(part.searchable_rows(modality), part.searchable(modality).count() as u64);
        }
        parts.iter().map(|part| part.searchable_rows(modality)).sum()
    };
    assert_eq!(Modality::ALL.map(searchable), [60, 21]);
    let mut writer = store.writer(id).unwrap();
    for ordinal in [0, 1, 55] {
        assert!(writer.delete(&RecordId::U64(ordinal)).unwrap());
    }
    writer.commit().unwrap();
    assert_eq!(Modality::ALL.map(searchable), [57, 20]);
    assert_eq!(indexed_rows(&store, id), [50]);
}

#[test]
fn a_merge_drops_the_indexes_and_the_new_segment_gets_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), indexed()).unwrap();
    let id = filled(&store);
    store.build_indexes(id, &mut go_on).unwrap();
    let old = index_files(folder.path());
    store.wait_writer(id).unwrap().delete(&RecordId::U64(3)).unwrap();
    let compacted = store.compact(id, &mut go_on).unwrap();
    assert_eq!((compacted.segments_after, compacted.indexes_built), (1, 1));
    assert_eq!(indexed_rows(&store, id), [60]);
    let new = index_files(folder.path());
    assert_eq!((old.len(), new.len()), (1, 1));
    assert_ne!(old, new);
    assert_sound(&store);
}

#[test]
fn indexes_are_made_in_the_background_after_merging() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), in_background()).unwrap();
    let id = filled(&store);
    wait_for("no index was made", || store.stats(id).unwrap().bytes.search_index > 0);
    assert_eq!(indexed_rows(&store, id), [50]);
    // Eight more segments of that size are merged, and the result is indexed.
    for _ in 0..8 {
        put_codes(&store, id, 60);
    }
    wait_for("no segment of all rows", || indexed_rows(&store, id).iter().any(|rows| *rows > 400));
    assert_sound(&store);
}

#[test]
fn a_collection_dropped_takes_its_indexes_along() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), indexed()).unwrap();
    let id = filled(&store);
    store.build_indexes(id, &mut go_on).unwrap();
    let held = view(&store, id);
    store.drop_collection("codes").unwrap();
    assert_eq!(index_files(folder.path()).len(), 1);
    drop(held);
    assert_eq!(index_files(folder.path()), [] as [PathBuf; 0]);
}

fn encode(part: &Part, shift: u8) -> Result<[CodesBuf; 2], BoxedError> {
    let bits = CodeBits::new(16)?;
    let mut codes = [CodesBuf::new(bits), CodesBuf::new(bits)];
    for row in 0..part.rows() {
        codes[0].push_zero()?;
        codes[1].push(&[row as u8, shift])?;
    }
    Ok(codes)
}

#[test]
fn an_install_drops_the_indexes_of_the_old_codes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), indexed()).unwrap();
    let id = store.create_collection("texts", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 50);
    // Without codes there is nothing to index.
    assert_eq!(store.build_indexes(id, &mut go_on).unwrap().segments, 0);
    for shift in [1, 2] {
        let model = ModelId([shift; 16]);
        store.install_model(id, model, &[shift], &mut |part| encode(part, shift), &mut go_on).unwrap();
        assert_eq!(indexed_rows(&store, id), [] as [u32; 0]);
        assert_eq!(index_files(folder.path()).len(), 0);
        assert_eq!(store.build_indexes(id, &mut go_on).unwrap().segments, 1);
        assert_eq!(indexed_rows(&store, id), [50]);
        assert_sound(&store);
    }
}

#[test]
fn copies_hold_the_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let store = Store::open(place("db"), indexed()).unwrap();
    let id = filled(&store);
    store.build_indexes(id, &mut go_on).unwrap();
    store.checkpoint(place("copy")).unwrap();
    Store::restore(place("copy"), place("restored")).unwrap();
    for name in ["copy", "restored"] {
        let copy = Store::open(place(name), indexed()).unwrap();
        assert_eq!(indexed_rows(&copy, id), [50]);
        assert_sound(&copy);
    }
}

#[test]
fn a_build_called_off_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), indexed()).unwrap();
    let id = filled(&store);
    let mut asked = 0;
    let called_off = store.build_indexes(id, &mut |_, _| {
        asked += 1;
        if asked < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert!(matches!(called_off, Err(Error::Canceled)));
    assert_eq!(index_files(folder.path()), [] as [PathBuf; 0]);
    assert_sound(&store);
    assert_eq!(store.build_indexes(id, &mut go_on).unwrap().segments, 1);
}

#[test]
fn what_an_interrupted_build_left_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), indexed()).unwrap();
    let id = filled(&store);
    store.build_indexes(id, &mut go_on).unwrap();
    let named = index_files(folder.path());
    drop(store);
    let left = folder.path().join("segments").join(format!("00000001.index.{}", ModelId::EXTERNAL));
    let half = left.with_extension(format!("{}.tmp", ModelId::EXTERNAL));
    assert_ne!(left, named[0]);
    for path in [&left, &half] {
        fs::write(path, "half an index").unwrap();
    }
    let store = Store::open(folder.path(), indexed()).unwrap();
    assert_eq!(index_files(folder.path()), named);
    assert_eq!(indexed_rows(&store, id), [50]);
    assert_sound(&store);
}

/// Damages the one index file of a closed database, opens it, and lets `check` look at it.
fn with_damage(damage: impl Fn(&Path), found_at_open: bool) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), indexed()).unwrap();
    let id = filled(&store);
    store.build_indexes(id, &mut go_on).unwrap();
    let path = index_files(folder.path()).remove(0);
    drop(store);
    damage(&path);
    let store = Store::open(folder.path(), indexed()).unwrap();
    assert_eq!(indexed_rows_or_not(&store, id), if found_at_open { 0 } else { 1 });
    let problems = store.verify().unwrap().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!((&problems[0].path, problems[0].repairable), (&path, true));
    // Nobody makes it anew without being told, and nothing else is harmed.
    assert_eq!(store.build_indexes(id, &mut go_on).unwrap().segments, 0);
    assert_eq!(view(&store, id).len(), 60);
    let report = store.repair().unwrap();
    assert_eq!((report.search_indexes_dropped, report.search_indexes_built), (1, 1));
    assert_eq!(indexed_rows(&store, id), [50]);
    assert_sound(&store);
    drop(store);
    let store = Store::open(folder.path(), indexed()).unwrap();
    assert_eq!(indexed_rows(&store, id), [50]);
    assert_sound(&store);
}

fn indexed_rows_or_not(store: &Store, id: CollectionId) -> usize {
    view(store, id).parts().iter().filter(|part| part.index(Modality::Image).is_some()).count()
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn a_damaged_index_is_named_not_used_and_mended() {
    // The header, what the indexer looks at when it opens, and what is found by reading all of it.
    with_damage(|path| flip(path, 20), true);
    with_damage(|path| flip(path, 4096), true);
    with_damage(|path| flip(path, 4110), false);
    with_damage(|path| fs::File::options().write(true).open(path).unwrap().set_len(5000).unwrap(), true);
    with_damage(|path| fs::remove_file(path).unwrap(), true);
}

#[test]
fn damaged_codes_get_no_index_and_cost_no_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), indexed()).unwrap();
    let id = filled(&store);
    let codes = folder.path().join("segments").join(format!("00000000.codes.{}", ModelId::EXTERNAL));
    flip(&codes, 4100);
    let refused = store.build_indexes(id, &mut go_on);
    assert!(matches!(refused, Err(Error::Corrupt { path, .. }) if path == codes));
    assert_eq!(index_files(folder.path()), [] as [PathBuf; 0]);
    flip(&codes, 4100);
    store.build_indexes(id, &mut go_on).unwrap();
    flip(&codes, 4100);
    assert_eq!(store.verify().unwrap().problems.len(), 1);
    assert_eq!(store.repair().unwrap(), crate::RepairReport::default());
    assert_eq!(index_files(folder.path()).len(), 1);
}
