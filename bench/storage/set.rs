//! One field of one record changed, in a commit of its own, where the record is in a segment.

use std::time::Instant;

use twinbit_bench::Random;
use twinbit_storage::{Durability, IdKind, Store, StoreOptions, Value};

use crate::data::{self, Order, Records, SCORE};
use crate::figure::{Figure, Report, rate};
use crate::records::ROWS_A_COMMIT;
use crate::{Outcome, Settings, disk};

pub(crate) fn measure(settings: &Settings, report: &mut Report) -> Outcome<()> {
    let rows = settings.rows_or(ROWS_A_COMMIT).min(ROWS_A_COMMIT);
    let count = (rows / 25).clamp(1, 10_000);
    let records = Records::generate(rows, Order::Ascending);
    let path = settings.folder.join("set");
    let (mut rates, mut bytes) = (Vec::new(), Vec::new());
    for round in 0..settings.rounds {
        // `Eventual`, so that the work counts and not the wait for the disk.
        let (store, id) = data::create(&path, IdKind::Str, Durability::Eventual)?;
        let mut writer = store.writer(id)?;
        for row in 0..rows {
            writer.put(records.new_record(row))?;
        }
        writer.commit()?;
        store.flush(id)?;
        let mut random = Random::new(round as u64);
        let chosen: Vec<usize> = (0..count).map(|_| random.word() as usize % rows).collect();
        let (log, started) = (disk::folder_bytes(&path)?, Instant::now());
        for (number, row) in chosen.iter().enumerate() {
            let change = [(SCORE, Some(Value::F64(number as f64)))];
            store.write_grouped(id, |writer| writer.set(&records.id(*row).into(), &change))?;
        }
        rates.push(rate(count, started.elapsed()));
        drop(store);
        bytes.push(disk::folder_bytes(&path)?.saturating_sub(log) as f64 / 1e6);
        check(&path, &records, &chosen)?;
        std::fs::remove_dir_all(&path)?;
    }
    report.add(Figure::new(
        format!("{count} single field changes, not waiting for the disk"),
        "a second",
        rates,
    ));
    report.add(Figure::new("disk that they take, after closing", "MB", bytes));
    Ok(())
}

/// The last change of each row is what is read after reopening.
fn check(path: &std::path::Path, records: &Records, chosen: &[usize]) -> Outcome<()> {
    let store = Store::open(path, StoreOptions::default())?;
    let view = data::collection(&store)?;
    let last: std::collections::HashMap<usize, usize> =
        chosen.iter().enumerate().map(|(number, row)| (*row, number)).collect();
    for (row, number) in last {
        let ordinal = view.find(&records.id(row).into())?.ok_or("a record is missing")?;
        if !view.fields(ordinal)?.contains(&(SCORE, Value::F64(number as f64))) {
            return Err(format!("the change of record {row} is lost").into());
        }
    }
    Ok(())
}
