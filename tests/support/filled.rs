//! Collections of codes in every state that a search meets.

use std::path::Path;

use twinbit::{Builder, CodeBits, Compaction, Field, IdKind, Schema};
use twinbit_storage::{FieldId, NewRecord, Store, StoreOptions, Value};

/// The field `year`.
const YEAR: FieldId = FieldId(1);

/// Makes a database with a collection of codes: segments of some sizes, fresh rows and deleted ones, rows
/// without one of the codes, and a field `year` from 0 to 9. It is made with a store of small limits.
pub fn fill_codes(
    options: Builder,
    folder: &Path,
    bits: CodeBits,
    segments: &[usize],
    fresh: usize,
    mut code: impl FnMut() -> Vec<u8>,
) {
    let schema = Schema::new(bits).ids(IdKind::U64).external_codes().field("year", Field::i64());
    let database = options.open(folder).expect("an empty folder becomes a database");
    database.create_collection("codes", schema).expect("there is no collection yet");
    drop(database);
    let compaction = Compaction { background: false, ..Compaction::default() };
    let options = StoreOptions { fresh_rows: 1, compaction, ..StoreOptions::default() };
    let store = Store::open(folder, options.clone()).expect("the database was closed");
    let id = store.collections()[0].id;
    let mut next = 0_u64;
    let mut put = |store: &Store, rows: usize| {
        let mut writer = store.writer(id).expect("nobody else writes");
        for _ in 0..rows {
            let (image, text) = (code(), code());
            let codes = [(next % 6 != 3).then_some(&image[..]), (next % 3 != 1).then_some(&text[..])];
            let fields = vec![(YEAR, Value::I64((next % 10) as i64))];
            let record = NewRecord { id: Some(next.into()), codes, fields, ..NewRecord::default() };
            writer.put(record).expect("the record fits");
            next += 1;
        }
        writer.commit().expect("there is room");
    };
    segments.iter().for_each(|rows| put(&store, *rows));
    drop(store);
    let store = Store::open(folder, StoreOptions { fresh_rows: 1 << 20, ..options });
    let store = store.expect("the store was closed");
    put(&store, fresh);
    let mut writer = store.writer(id).expect("nobody else writes");
    for dead in (0..next).filter(|id| id % 11 == 5) {
        assert!(writer.delete(&dead.into()).expect("the catalog can be read"), "record {dead}");
    }
    writer.commit().expect("there is room");
}
