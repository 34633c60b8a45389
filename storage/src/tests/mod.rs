//! The store as a whole.

mod bulk;
mod checkpoint;
mod compaction;
mod concurrency;
pub(crate) mod copying;
mod damaged_segments;
mod fuzz;
mod hooks;
mod indexes;
mod install;
mod log;
mod maintenance;
mod predicates;
mod reopen;
mod repair;
mod resume;
mod search_indexes;
mod snapshots;
mod statistics;
mod transactions;
mod verify;
mod versions;
mod worker;

use std::path::Path;

use half::f16;
use twinbit_kernels::CodeBits;

use crate::{
    CollectionConfig, CollectionId, CollectionView, Compaction, Durability, FieldId, FieldSpec, FieldType,
    IdKind, InputKind, NewRecord, RecordId, Store, StoreOptions, StoredRecord, TextInput, Value,
};

/// A small store: segments come soon, commits do not wait for the disk.
fn options() -> StoreOptions {
    StoreOptions {
        durability: Durability::Eventual,
        cache_bytes: 1 << 20,
        fresh_rows: 40,
        compaction: Compaction { background: false, ..Compaction::default() },
        ..StoreOptions::default()
    }
}

pub(crate) fn open(path: &Path) -> Store {
    Store::open(path, options()).unwrap()
}

const YEAR: FieldId = FieldId(1);
const SCORE: FieldId = FieldId(2);
const LANG: FieldId = FieldId(3);

fn field(name: &str, field_type: FieldType, indexed: bool) -> FieldSpec {
    FieldSpec { name: name.to_owned(), field_type, indexed }
}

/// Two image features, text, fields `year` (i64, indexed), `score` (f64) and `lang` (str, indexed).
pub(crate) fn config(ids: IdKind) -> CollectionConfig {
    CollectionConfig {
        bits: CodeBits::new(16).unwrap(),
        ids,
        image: InputKind::Features { width: 2 },
        text: InputKind::Text,
        keep_inputs: true,
        external_codes: false,
        fields: vec![
            field("year", FieldType::I64, true),
            field("score", FieldType::F64, false),
            field("lang", FieldType::Str, true),
        ],
        application: serde_json::Value::Null,
    }
}

/// Codes only.
fn external(ids: IdKind) -> CollectionConfig {
    CollectionConfig { image: InputKind::None, text: InputKind::None, external_codes: true, ..config(ids) }
}

fn image(x: f32) -> [f16; 2] {
    [f16::from_f32(x), f16::from_f32(-x)]
}

/// A record with a text that names its number.
pub(crate) fn text_record(id: impl Into<Option<RecordId>>, text: &str) -> NewRecord<'_> {
    NewRecord { id: id.into(), text: Some(TextInput::Text(text)), ..NewRecord::default() }
}

/// Puts records with texts "0", "1", ... and automatic ids in one transaction.
fn put_texts(store: &Store, id: CollectionId, count: usize) {
    let mut writer = store.writer(id).unwrap();
    for i in 0..count {
        let text = i.to_string();
        let mut record = text_record(None, &text);
        record.fields = vec![(YEAR, Value::I64(i as i64))];
        writer.put(record).unwrap();
    }
    writer.commit().unwrap();
}

/// Everything that can be read of a collection, by ascending ordinal.
fn contents(view: &CollectionView) -> Vec<StoredRecord> {
    let ordinals = view.page(None, usize::MAX).unwrap();
    assert_eq!(ordinals.len() as u64, view.len());
    ordinals
        .into_iter()
        .map(|ordinal| {
            let record = view.get(ordinal).unwrap().unwrap();
            assert_eq!(view.find(&record.id).unwrap(), Some(ordinal));
            record
        })
        .collect()
}

fn view(store: &Store, id: CollectionId) -> CollectionView {
    store.view().collection(id).unwrap()
}

/// Copies a database while it is open, as a crash would leave it: commits are with the system.
fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_folder(&entry, &target);
        } else {
            std::fs::copy(&entry, &target).unwrap();
        }
    }
}

fn assert_sound(store: &Store) {
    assert_eq!(store.verify().unwrap().problems, []);
}
