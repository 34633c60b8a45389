//! Records with a text id and three fields, one of them indexed, in commits of 250,000 as the
//! engine's ingest makes them.

use std::path::Path;
use std::time::{Duration, Instant};

use twinbit_storage::{Durability, IdKind, Store, StoreOptions};

use crate::data::{self, Order, Records};
use crate::figure::{Figure, Report, rate};
use crate::{Outcome, Settings, rocks};

/// Records in a commit.
pub(crate) const ROWS_A_COMMIT: usize = 250_000;
/// Records that are looked up together, as the engine's ingest does it.
const ROWS_A_BLOCK: usize = 256;

pub(crate) fn measure(settings: &Settings, report: &mut Report) -> Outcome<()> {
    let rows = settings.rows_or(200_000);
    for (name, order) in [("ascending", Order::Ascending), ("scattered", Order::Scattered)] {
        let records = Records::generate(rows, order);
        let (mut committed, mut closed, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            let path = settings.folder.join("rocksdb");
            alone.push(rate(rows, rocks::ingest(&path, &records)?));
            std::fs::remove_dir_all(path)?;
            let path = settings.folder.join("records");
            let times = ingest(&path, &records)?;
            committed.push(rate(rows, times.committed));
            closed.push(rate(rows, times.closed));
            let store = Store::open(&path, StoreOptions::default())?;
            records.check(&data::collection(&store)?)?;
            drop(store);
            std::fs::remove_dir_all(path)?;
        }
        let what = format!("{rows} records, {name} text ids, 3 fields (1 indexed)");
        report.add(Figure::new(&what, "rows/s", committed));
        report.add(
            Figure::new(what + ", closing included", "rows/s", closed)
                .beside("RocksDB alone, closing included, rows/s", alone),
        );
    }
    Ok(())
}

/// Since the first put.
pub(crate) struct Times {
    /// Until the last commit was durable.
    pub(crate) committed: Duration,
    /// Until the database was closed, with everything that closing writes out.
    pub(crate) closed: Duration,
}

/// Creates a database and puts the records.
pub(crate) fn ingest(path: &Path, records: &Records) -> Outcome<Times> {
    let (store, id) = data::create(path, IdKind::Str, Durability::Immediate)?;
    let started = Instant::now();
    let mut row = 0;
    while row < records.rows() {
        let mut writer = store.writer(id)?;
        let end = records.rows().min(row + ROWS_A_COMMIT);
        for start in (row..end).step_by(ROWS_A_BLOCK) {
            let block: Vec<_> =
                (start..end.min(start + ROWS_A_BLOCK)).map(|row| records.new_record(row)).collect();
            writer.look_up(block.iter().filter_map(|record| record.id.as_ref()))?;
            for record in block {
                writer.put(record)?;
            }
        }
        writer.commit()?;
        row = end;
    }
    let committed = started.elapsed();
    drop(store);
    Ok(Times { committed, closed: started.elapsed() })
}
