//! Compaction beside damage: the segments around it are merged.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;
use crate::{Error, ModelId};

/// Segments of 50 records each.
fn with_segments(folder: &Path, segments: usize) -> CollectionId {
    let store = open(folder);
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    (0..segments).for_each(|_| put_texts(&store, id, 50));
    assert_eq!(store.stats(id).unwrap().segments, segments as u64);
    id
}

fn rows_file(store: &Store, id: CollectionId, segment: usize) -> PathBuf {
    view(store, id).collection.segments().nth(segment).unwrap().rows.file().path().to_path_buf()
}

/// Changes a byte of the first column, which nothing reads at open.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[4096] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn eventually(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn in_background(bytes_per_second: u64) -> StoreOptions {
    let compaction = Compaction { background: true, bytes_per_second, ..Compaction::default() };
    StoreOptions { compaction, ..options() }
}

fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn the_worker_merges_what_is_around_a_damaged_segment() {
    let folder = tempfile::tempdir().unwrap();
    let id = with_segments(folder.path(), 17);
    let path = rows_file(&open(folder.path()), id, 8);
    flip(&path);
    let store = Store::open(folder.path(), in_background(0)).unwrap();
    eventually(|| store.stats(id).unwrap().segments == 3);
    assert_eq!(store.stats(id).unwrap().damaged_segments, 1);
    assert_eq!(rows_file(&store, id, 1), path);
    // It goes on with what comes later.
    (0..8).for_each(|_| put_texts(&store, id, 50));
    eventually(|| store.stats(id).unwrap().segments <= 4);
    assert_eq!(rows_file(&store, id, 1), path);
    assert_eq!(view(&store, id).len(), 25 * 50);
    assert!(store.verify().unwrap().problems.iter().all(|problem| problem.path == path));
}

#[test]
fn by_hand_the_others_are_merged_and_the_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let id = with_segments(folder.path(), 9);
    let store = open(folder.path());
    let before = contents(&view(&store, id));
    let damaged = [2, 3, 6].map(|segment| rows_file(&store, id, segment));
    damaged.iter().for_each(|path| flip(path));
    for _ in 0..2 {
        let refused = store.compact(id, &mut |done, all| {
            assert!(done <= all);
            ControlFlow::Continue(())
        });
        assert!(matches!(refused, Err(Error::Corrupt { path, .. }) if path == damaged[0]));
        // 0 and 1, 2, 3, 4 and 5, 6, 7 and 8.
        let stats = store.stats(id).unwrap();
        assert_eq!((stats.segments, stats.damaged_segments), (6, 3));
    }
    // Put right again it takes part again.
    damaged.iter().for_each(|path| flip(path));
    assert_eq!(store.compact(id, &mut go_on).unwrap().segments_after, 1);
    assert_eq!(store.stats(id).unwrap().damaged_segments, 0);
    assert_eq!(contents(&view(&store, id)), before);
    assert_sound(&store);
}

/// No commit follows that would wake it.
#[test]
fn the_worker_goes_on_after_it_made_way_for_a_refused_install() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", external(IdKind::Auto)).unwrap();
    for _ in 0..8 {
        let mut writer = store.writer(id).unwrap();
        for _ in 0..50 {
            writer.put(NewRecord { codes: [Some(&[1, 2]), None], ..NewRecord::default() }).unwrap();
        }
        writer.commit().unwrap();
    }
    drop(store);
    // At a byte a second the merge takes longer than anybody waits here.
    let store = Store::open(folder.path(), in_background(1)).unwrap();
    let is_merging = || store.inner.turns.background(id).is_none();
    eventually(is_merging);
    let refused = store.install_model(id, ModelId([7; 16]), b"m", &mut |_| Err("no".into()), &mut go_on);
    assert!(matches!(refused, Err(Error::NotEncodable { .. })));
    eventually(is_merging);
    let canceled = store.compact(id, &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(canceled, Err(Error::Canceled)));
    eventually(is_merging);
}
