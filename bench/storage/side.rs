//! One engine's part of the comparison that `peers/storage.py` drives: the records in, the database
//! closed, opened again in the same process and asked for one record. Prints a line of JSON.

use std::path::Path;
use std::time::Instant;

use twinbit_storage::{Store, StoreOptions};

use crate::data::{self, Order, Records};
use crate::figure::milliseconds;
use crate::{Outcome, disk, records, rocks};

#[expect(clippy::print_stdout, reason = "the driver reads it")]
pub(crate) fn run(engine: &str, path: &Path, rows: usize) -> Outcome<()> {
    let records = Records::generate(rows, Order::Scattered);
    let last = rows - 1;
    let (ingest, reopen, found) = match engine {
        "twinbit" => {
            let times = records::ingest(path, &records)?;
            let started = Instant::now();
            let store = Store::open(path, StoreOptions::default())?;
            let view = data::collection(&store)?;
            let ordinal = view.find(&records.id(last).into())?.ok_or("a record is missing")?;
            let code = view.get(ordinal)?.and_then(|record| record.codes[0].clone());
            let time = started.elapsed();
            records.check(&view)?;
            (times.closed, time, code)
        }
        "rocksdb" => {
            let time = rocks::ingest(path, &records)?;
            let started = Instant::now();
            let db = rocks::open(path)?;
            let family = db.cf_handle("records").ok_or("no family")?;
            let value = db.get_cf(&family, records.id(last))?;
            (time, started.elapsed(), value.map(|value| value[..data::CODE_BYTES].to_vec()))
        }
        _ => return Err(format!("there is no engine \"{engine}\"; there are twinbit and rocksdb").into()),
    };
    if found.as_deref() != Some(records.code(last)) {
        return Err("the last record reads differently".into());
    }
    println!(
        "{}",
        serde_json::json!({
            "engine": engine,
            "rows": rows,
            "rows_per_second": rows as f64 / ingest.as_secs_f64(),
            "bytes": disk::folder_bytes(path)?,
            "reopen_ms": milliseconds(reopen),
        })
    );
    Ok(())
}
