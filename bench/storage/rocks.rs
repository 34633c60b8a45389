//! The same in RocksDB alone: a value under each id and an index entry for the year, or a code under
//! each number.

use std::path::Path;
use std::time::{Duration, Instant};

use rocksdb::{ColumnFamilyDescriptor, DB, DBCompressionType, Options, WriteBatch, WriteOptions};

use crate::Outcome;
use crate::data::Records;
use crate::records::ROWS_A_COMMIT;

fn open(path: &Path) -> Outcome<DB> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let families = ["records", "years"].map(|name| {
        let mut options = Options::default();
        options.set_compression_type(DBCompressionType::Lz4);
        ColumnFamilyDescriptor::new(name, options)
    });
    Ok(DB::open_cf_descriptors(&options, path, families)?)
}

/// Puts the records in synced batches and closes the database.
pub(crate) fn ingest(path: &Path, records: &Records) -> Outcome<Duration> {
    let db = open(path)?;
    let started = Instant::now();
    let (values, years) =
        (db.cf_handle("records").ok_or("no family")?, db.cf_handle("years").ok_or("no family")?);
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    let mut batch = WriteBatch::default();
    for row in 0..records.rows() {
        let (id, code, year) = (records.id(row), records.code(row), records.year(row));
        let mut value = code.to_vec();
        value.extend(year.to_le_bytes());
        value.extend(records.score(row).to_le_bytes());
        value.extend(records.label(row).as_bytes());
        batch.put_cf(&values, id, value);
        batch.put_cf(&years, [&(year as u64).to_be_bytes(), id.as_bytes()].concat(), []);
        if (row + 1).is_multiple_of(ROWS_A_COMMIT) || row + 1 == records.rows() {
            db.write_opt(std::mem::take(&mut batch), &synced)?;
        }
    }
    db.flush_cfs_opt(&[&values, &years], &Default::default())?;
    drop(db);
    Ok(started.elapsed())
}

/// Puts the codes alone, each under its number.
pub(crate) fn ingest_codes(path: &Path, records: &Records) -> Outcome<Duration> {
    let db = open(path)?;
    let started = Instant::now();
    let codes = db.cf_handle("records").ok_or("no family")?;
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    for start in (0..records.rows()).step_by(ROWS_A_COMMIT) {
        let mut batch = WriteBatch::default();
        for row in start..records.rows().min(start + ROWS_A_COMMIT) {
            batch.put_cf(&codes, number(row), records.code(row));
        }
        db.write_opt(batch, &synced)?;
    }
    db.flush_cf(&codes)?;
    drop(db);
    Ok(started.elapsed())
}

/// The key of a code without an id.
pub(crate) fn number(row: usize) -> [u8; 8] {
    (row as u64).to_be_bytes()
}

/// Opens the database and reads a value.
pub(crate) fn reopen(path: &Path, key: &[u8]) -> Outcome<(Duration, Vec<u8>)> {
    let started = Instant::now();
    let db = open(path)?;
    let family = db.cf_handle("records").ok_or("no family")?;
    let value = db.get_cf(&family, key)?.ok_or("a record is missing")?;
    Ok((started.elapsed(), value))
}
