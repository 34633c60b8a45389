//! Memory of a compaction, measured in a process of its own. `TWINBIT_MEMORY_ROWS` asks for more rows
//! than those of an ordinary run.

#![cfg(target_os = "linux")]

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use twinbit_kernels::CodeBits;
use twinbit_storage::{
    CollectionConfig, Compaction, Durability, IdKind, InputKind, NewRecord, Store, StoreOptions,
};

/// Memory of this process that is no file, in bytes.
fn private() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_merge_stays_within_its_memory_whatever_its_size() {
    const BUDGET: usize = 16 << 20;
    let rows = std::env::var("TWINBIT_MEMORY_ROWS").ok().and_then(|rows| rows.parse().ok());
    let rows: u64 = rows.unwrap_or(3_000_000);
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        durability: Durability::Eventual,
        segment_bytes: 16 << 20,
        compaction: Compaction { background: false, memory_bytes: BUDGET, ..Compaction::default() },
        ..StoreOptions::default()
    };
    let store = Store::open(folder.path(), options).unwrap();
    let config = CollectionConfig {
        bits: CodeBits::B128,
        ids: IdKind::Auto,
        image: InputKind::None,
        text: InputKind::None,
        keep_inputs: false,
        external_codes: true,
        fields: Vec::new(),
        application: serde_json::Value::Null,
    };
    let id = store.create_collection("a", config).unwrap();
    let mut writer = store.writer(id).unwrap();
    for row in 0..rows {
        let code = u128::from(row).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_le_bytes();
        writer.put(NewRecord { codes: [Some(&code), Some(&code)], ..NewRecord::default() }).unwrap();
    }
    writer.commit().unwrap();
    // One record in a thousand is gone, so that no block of codes stays where it was.
    let mut writer = store.writer(id).unwrap();
    (0..rows).step_by(1000).for_each(|row| assert!(writer.delete(&row.into()).unwrap()));
    writer.commit().unwrap();

    let (before, most, done) = (private(), AtomicU64::new(0), AtomicBool::new(false));
    let start = Instant::now();
    let compacted = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(private(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let compacted = store.compact(id, &mut |_, _| ControlFlow::Continue(()));
        done.store(true, Ordering::Relaxed);
        compacted.unwrap()
    });
    let grown = most.into_inner().saturating_sub(before);
    println!(
        "{rows} rows: {} segments to {}, {:.1} s, {:.1} MiB more memory at most, {:.1} MiB before",
        compacted.segments_before,
        compacted.segments_after,
        start.elapsed().as_secs_f64(),
        grown as f64 / 1048576.0,
        before as f64 / 1048576.0,
    );
    assert_eq!(compacted.rows_dropped, rows.div_ceil(1000));
    assert!(compacted.segments_before > 1 && compacted.segments_after == rows.div_ceil(1 << 27));
    // RocksDB's own buffers, which are written out meanwhile, are not the merge's.
    assert!(grown <= BUDGET as u64 + (8 << 20), "{grown} bytes more");
}
