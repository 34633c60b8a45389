//! Row 14: the disk under many single-record commits.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use twinbit_storage::{
    CollectionConfig, Durability, FieldId, FieldSpec, FieldType, IdKind, InputKind, NewRecord, RecordId,
    Store, StoreOptions, TextInput, Value,
};
use twinbit_tests::{Row, size};

/// Records that the upserts replace again and again.
const IDS: u64 = 5_000;
const SLACK: u64 = 128 << 20;

fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(
            |entry| {
                if entry.path().is_dir() {
                    bytes_below(&entry.path())
                } else {
                    entry.metadata().unwrap().len()
                }
            },
        )
        .sum()
}

#[test]
fn many_upserts_do_not_grow_the_disk_without_bound() {
    let row = Row::begin(14, "single-record upserts, Eventual");
    let upserts = size("UPSERTS", 100_000, 20_000_000);
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { durability: Durability::Eventual, ..StoreOptions::default() };
    let store = Store::open(folder.path(), options.clone()).unwrap();
    let config = CollectionConfig {
        bits: twinbit_kernels::CodeBits::B64,
        ids: IdKind::U64,
        image: InputKind::None,
        text: InputKind::Text,
        keep_inputs: true,
        external_codes: true,
        fields: vec![FieldSpec { name: "turn".to_owned(), field_type: FieldType::U64, indexed: true }],
        application: serde_json::Value::Null,
    };
    let id = store.create_collection("records", config).unwrap();
    let text = |upsert: u64| format!("{:x}", upsert.wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(8);
    let mut largest = 0;
    for upsert in 0..upserts {
        let (text, code) = (text(upsert), upsert.to_le_bytes());
        store
            .write_grouped(id, |writer| {
                writer.put(NewRecord {
                    id: Some(RecordId::U64(upsert % IDS)),
                    text: Some(TextInput::Text(&text)),
                    codes: [None, Some(&code)],
                    fields: vec![(FieldId(1), Value::U64(upsert))],
                    ..NewRecord::default()
                })
            })
            .unwrap();
        if upsert % 20_000 == 0 {
            largest = largest.max(bytes_below(folder.path()));
        }
    }
    largest = largest.max(bytes_below(folder.path()));
    store.compact(id, &mut |_, _| ControlFlow::Continue(())).unwrap();
    let live = store.view().collection(id).unwrap().len() * (8 + 8 + 8 + text(0).len() as u64);
    let after = bytes_below(folder.path());
    assert!(after <= 2 * live + SLACK, "{after} bytes for {live} live");
    drop(store);
    let store = Store::open(folder.path(), options).unwrap();
    assert_eq!(store.view().collection(id).unwrap().len(), IDS.min(upserts));
    assert_eq!(store.verify().unwrap().problems, []);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let figures = format!(
        "{:.1} MiB live, {:.1} MiB on disk at most, {:.1} MiB after compaction (allowed {:.1})",
        mib(live),
        mib(largest),
        mib(after),
        mib(2 * live + SLACK)
    );
    row.passed(&format!("{upserts} upserts"), &figures);
}
