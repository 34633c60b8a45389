//! One engine's part of the comparison that `peers/storage.py` drives: records or codes alone go in,
//! the database is closed, opened again in the same process and asked for the last one. Prints a line
//! of JSON.

use std::path::Path;
use std::time::{Duration, Instant};

use twinbit_kernels::{CodeBits, CodesBuf};
use twinbit_storage::{CollectionView, Durability, IdKind, Store, StoreOptions};

use crate::data::{self, CODE_BYTES, Order, Records};
use crate::figure::milliseconds;
use crate::records::ROWS_A_COMMIT;
use crate::{Outcome, disk, records, rocks};

/// What one engine did.
struct Run {
    /// From the first put until the database was closed.
    ingest: Duration,
    /// Opening and reading the last row.
    reopen: Duration,
    /// The code of that row.
    code: Vec<u8>,
}

#[expect(clippy::print_stdout, reason = "the driver reads it")]
pub(crate) fn run(what: &str, engine: &str, path: &Path, rows: usize) -> Outcome<()> {
    let records = Records::generate(rows, Order::Scattered);
    let run = match (what, engine) {
        ("records", "twinbit") => twinbit_records(path, &records)?,
        ("codes", "twinbit") => twinbit_codes(path, &records)?,
        ("records", "rocksdb") => rocksdb_records(path, &records)?,
        ("codes", "rocksdb") => rocksdb_codes(path, &records)?,
        _ => return Err("side takes records or codes, and twinbit or rocksdb".into()),
    };
    if run.code != records.code(rows - 1) {
        return Err("the last row reads differently".into());
    }
    println!(
        "{}",
        serde_json::json!({
            "engine": engine,
            "rows": rows,
            "rows_per_second": rows as f64 / run.ingest.as_secs_f64(),
            "bytes": disk::folder_bytes(path)?,
            "reopen_ms": milliseconds(run.reopen),
        })
    );
    Ok(())
}

fn twinbit_records(path: &Path, records: &Records) -> Outcome<Run> {
    let ingest = records::ingest(path, records)?.closed;
    let last = &records.id(records.rows() - 1).into();
    let (view, reopen, code) = reopen(path, |view| Ok(view.find(last)?))?;
    records.check(&view)?;
    Ok(Run { ingest, reopen, code })
}

/// Codes without ids and fields, as they come from a file: one behind the other.
fn twinbit_codes(path: &Path, records: &Records) -> Outcome<Run> {
    let (store, id) = data::create(path, IdKind::Auto, Durability::Immediate)?;
    let started = Instant::now();
    for packed in records.codes().chunks(ROWS_A_COMMIT * CODE_BYTES) {
        let codes = CodesBuf::from_packed(CodeBits::B128, packed)?;
        let mut writer = store.writer(id)?;
        writer.put_codes([Some(codes.as_codes()), None])?;
        writer.commit()?;
    }
    drop(store);
    let ingest = started.elapsed();
    let last = records.rows() as u64 - 1;
    let (view, reopen, code) = reopen(path, |_| Ok(Some(last)))?;
    if view.len() != records.rows() as u64 {
        return Err("codes are missing".into());
    }
    Ok(Run { ingest, reopen, code })
}

/// Opens the database and reads the code of the row that `find` names.
fn reopen(
    path: &Path,
    find: impl FnOnce(&CollectionView) -> Outcome<Option<u64>>,
) -> Outcome<(CollectionView, Duration, Vec<u8>)> {
    let started = Instant::now();
    let store = Store::open(path, StoreOptions::default())?;
    let view = data::collection(&store)?;
    let ordinal = find(&view)?.ok_or("a record is missing")?;
    let record = view.get(ordinal)?.ok_or("a record is dead")?;
    let time = started.elapsed();
    let [code, _] = record.codes;
    Ok((view, time, code.ok_or("a record has no code")?))
}

fn rocksdb_records(path: &Path, records: &Records) -> Outcome<Run> {
    let ingest = rocks::ingest(path, records)?;
    let (reopen, mut code) = rocks::reopen(path, records.id(records.rows() - 1).as_bytes())?;
    code.truncate(CODE_BYTES);
    Ok(Run { ingest, reopen, code })
}

fn rocksdb_codes(path: &Path, records: &Records) -> Outcome<Run> {
    let ingest = rocks::ingest_codes(path, records)?;
    let (reopen, code) = rocks::reopen(path, &rocks::number(records.rows() - 1))?;
    Ok(Run { ingest, reopen, code })
}
