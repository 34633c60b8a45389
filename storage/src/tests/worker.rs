//! The background worker: it compacts beside readers and writers, ends at once, and bounds the disk.

use std::time::{Duration, Instant};

use super::compaction::{compact, put_texts_with};
use super::*;

/// Waits for what the worker will do soon.
fn eventually(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn with_worker(bytes_per_second: u64) -> StoreOptions {
    let compaction = Compaction { background: true, bytes_per_second, ..Compaction::default() };
    StoreOptions { compaction, ..options() }
}

#[test]
fn the_worker_merges_small_segments_and_removes_dead_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), with_worker(0)).unwrap();
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    for round in 0..20 {
        put_texts_with(&store, id, IdKind::U64, round * 50, 50);
    }
    // How many are left depends on when the worker looked.
    eventually(|| store.stats(id).unwrap().segments < 15);
    let mut writer = store.writer(id).unwrap();
    (0..900_u64).for_each(|number| assert!(writer.delete(&number.into()).unwrap()));
    writer.commit().unwrap();
    eventually(|| {
        let stats = store.stats(id).unwrap();
        stats.deleted * 4 < stats.deleted + stats.rows
    });
    assert_eq!(contents(&view(&store, id)).len(), 100);
    assert_sound(&store);
    drop(store);
    // All of it is closed: the lock is free and nothing is left behind.
    let store = open(folder.path());
    assert_eq!(contents(&view(&store, id)).len(), 100);
    assert_sound(&store);
}

#[test]
fn closing_ends_a_merge_at_once_and_installs_do_not_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    for round in 0..10 {
        put_texts_with(&store, id, IdKind::U64, round * 50, 50);
    }
    let before = contents(&view(&store, id));
    drop(store);
    for _ in 0..3 {
        // At one byte a second the merge of these would take an hour.
        let store = Store::open(folder.path(), with_worker(1)).unwrap();
        eventually(|| store.inner.turns.background(id).is_none());
        drop(store);
        let store = Store::open(folder.path(), with_worker(1)).unwrap();
        eventually(|| store.inner.turns.background(id).is_none());
        let _transaction = store.writer(id).unwrap();
        let view = view(&store, id);
        drop(store);
        assert_eq!(contents(&view), before);
    }
    let store = Store::open(folder.path(), with_worker(1)).unwrap();
    eventually(|| store.inner.turns.background(id).is_none());
    compact(&store, id);
    assert_eq!(store.stats(id).unwrap().segments, 1);
}

/// Readers and writers beside the worker; what was written is counted.
#[test]
fn writing_and_reading_go_on_beside_the_worker() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), with_worker(0)).unwrap();
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let store = &store;
            scope.spawn(move || {
                for i in 0..400_u64 {
                    let number = thread * 1000 + i % 100;
                    let put = |writer: &mut crate::Transaction| {
                        let mut record = text_record(RecordId::from(number), "x");
                        record.fields = vec![(YEAR, Value::I64(i as i64))];
                        writer.put(record)
                    };
                    store.write_grouped(id, put).unwrap();
                    if i % 7 == 0 {
                        store.write_grouped(id, |writer| writer.delete(&number.into())).unwrap();
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..100 {
                let view = view(&store, id);
                assert_eq!(contents(&view).len() as u64, view.len());
            }
        });
    });
    let expected = (0..100_u64).filter(|i| (300 + i) % 7 != 0).count() * 3;
    assert_eq!(view(&store, id).len(), expected as u64);
    for record in contents(&view(&store, id)) {
        let RecordId::U64(number) = record.id else { panic!("numbers were put") };
        assert_eq!(record.fields, [(YEAR, Value::I64(300 + (number % 1000) as i64))]);
    }
    assert_sound(&store);
    compact(&store, id);
    assert_sound(&store);
}

/// Bytes of all files of a database.
fn folder_bytes(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        // Files may go while they are listed.
        let entry = entry.unwrap();
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { folder_bytes(&entry.path()) } else { metadata.len() };
    }
    bytes
}

/// A small live set written over and over: 1,000 records with features of 2,560 bytes.
#[test]
fn a_hundred_thousand_upserts_leave_the_disk_bounded() {
    const LIVE: u64 = 1000;
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { durability: Durability::Eventual, ..StoreOptions::default() };
    let store = Store::open(folder.path(), options).unwrap();
    let config = CollectionConfig { image: InputKind::Features { width: 1280 }, ..config(IdKind::U64) };
    let id = store.create_collection("a", config).unwrap();
    let mut features = vec![f16::ZERO; 1280];
    let mut most = 0;
    let mut live = 0;
    let start = Instant::now();
    for i in 0..100_000_u64 {
        // Features that do not compress.
        let mut state = i + 1;
        for feature in &mut features {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *feature = f16::from_bits((state >> 48) as u16 & 0x3fff);
        }
        let record = NewRecord {
            id: Some(RecordId::from(i * 7919 % LIVE)),
            image: Some(&features),
            fields: vec![(YEAR, Value::I64(i as i64))],
            ..NewRecord::default()
        };
        store.write_grouped(id, |writer| writer.put(record)).unwrap();
        if i % 500 == 0 {
            most = most.max(folder_bytes(folder.path()));
        }
        if i + 1 == LIVE {
            compact(&store, id);
            live = folder_bytes(folder.path());
        }
    }
    let end = folder_bytes(folder.path());
    let took = start.elapsed();
    compact(&store, id);
    let compacted = folder_bytes(folder.path());
    println!("{took:?}: live {live}, most {most}, at the end {end}, compacted {compacted}");
    let bound = 2 * live + (128 << 20);
    assert!(most <= bound && compacted <= 2 * live, "live {live}, most {most}, compacted {compacted}");
    assert_eq!(view(&store, id).len(), LIVE);
    assert_sound(&store);
}
