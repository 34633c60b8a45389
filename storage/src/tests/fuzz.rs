//! Row 11 of the scorecard for the catalog's values.

use std::borrow::Cow;
use std::fs;

use half::f16;

use super::{config, image, open, put_texts};
use crate::buffer::Row as StoredRow;
use crate::columns::{Chunk, edited};
use crate::dead::Dead;
use crate::fresh;
use crate::log::Logs;
use crate::meta::{CollectionCounters, Counters, Definition, ModelEntry, SegmentEntry};
use crate::scorecard::mutate::fuzz;
use crate::scorecard::row::{Row, fuzz_time};
use crate::{FieldId, IdKind, ModelId, RecordId, Value};

/// A value of each kind in the catalog.
fn values() -> Vec<Vec<u8>> {
    let features: Vec<f16> = image(1.0).to_vec();
    let row = StoredRow {
        ordinal: 5,
        id: Cow::Owned(RecordId::from("an id")),
        present: [true, true],
        image: Some(Cow::Borrowed(&features)),
        text: Some("a text"),
        text_features: None,
        codes: [Some(Cow::Owned(vec![1, 2])), Some(Cow::Owned(vec![3, 4]))],
    };
    let fields = [(FieldId(1), Value::I64(-3)), (FieldId(3), Value::Str("deutsch".to_owned()))];
    let mut chunks = Vec::new();
    for value in [Value::Str("word".to_owned()), Value::U64(7), Value::Bool(true), Value::F64(0.5)] {
        let edits = (0..9).map(|place| (place * 400, Some(Cow::Borrowed(&value))));
        chunks.extend(edited(None, edits.collect()).unwrap());
    }
    let mut dead = Dead::default();
    (0..50_000).step_by(7).for_each(|ordinal| dead.insert(ordinal));
    let mut values = vec![
        fresh::encode(&row, true),
        fresh::encode_fields(&fields),
        Counters { next_collection: 1, next_segment: 2, version: 3 }.encode(),
        CollectionCounters { next_ordinal: 9, live: 8, model: Some(ModelId([7; 16])) }.encode(),
        Definition { name: "things".to_owned(), config: config(IdKind::Str) }.encode(),
        SegmentEntry {
            number: 1,
            rows: 2,
            last: 3,
            rows_length: 4096,
            codes: Some((ModelId([7; 16]), 8192)),
            index: Some(4096),
        }
        .encode(),
        ModelEntry { length: 5, hash: 6 }.encode(),
    ];
    values.extend(chunks);
    values.extend(dead.encoded().map(|(_, bytes)| bytes));
    values
}

/// Reads bytes as every kind of value; whether they were one.
fn read(bytes: &[u8]) -> bool {
    let row = fresh::decode(5, bytes, 2).is_some();
    let fields = fresh::decode_fields(bytes).is_some();
    let meta = Counters::decode(bytes).is_some()
        || CollectionCounters::decode(bytes).is_some()
        || Definition::decode(bytes).is_some_and(|definition| definition.config.validate().is_ok())
        || SegmentEntry::decode(bytes).is_some()
        || ModelEntry::decode(bytes).is_some();
    let chunk = Chunk::decode(bytes);
    if let Some(chunk) = &chunk {
        chunk.iter().for_each(|(place, value)| drop((place, value.map(|value| value.to_value()))));
        for place in (0..4096).step_by(100) {
            let _ = chunk.get(place);
        }
    }
    let dead = Dead::default().add_chunk(1, bytes).is_some();
    row || fields || meta || chunk.is_some() || dead
}

#[test]
fn catalog_values_of_any_content_are_read_or_refused() {
    let row = Row::begin(11, "fuzzing: catalog values");
    let (tried, accepted) = fuzz("catalog_value", &values(), fuzz_time(), &mut read);
    row.passed(&format!("{tried} inputs"), &format!("{accepted} read, the others refused, 0 panics"));
}

#[test]
fn logs_of_any_content_are_read() {
    let row = Row::begin(11, "fuzzing: the catalog's logs");
    let (live, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(live.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    (1..6).for_each(|count| put_texts(&store, id, count));
    let names = fs::read_dir(live.path().join("catalog")).unwrap().map(|entry| entry.unwrap().path());
    let logs: Vec<_> = names.filter(|path| path.extension().is_some_and(|ending| ending == "log")).collect();
    let inputs: Vec<_> = logs.iter().map(|path| fs::read(path).unwrap()).collect();
    let path = folder.path().join("000004.log");
    let (tried, sound) = fuzz("log", &inputs, fuzz_time(), &mut |bytes| {
        fs::write(&path, bytes).unwrap();
        Logs::read(folder.path()).unwrap().damage().is_none()
    });
    row.passed(&format!("{tried} inputs"), &format!("{sound} without damage but at the end, 0 panics"));
}
