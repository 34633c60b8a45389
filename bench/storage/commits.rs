//! Durable commits of one record each, from one thread and from eight.

use std::time::Instant;

use twinbit_storage::{CollectionId, Durability, IdKind, Store};

use crate::data::{self, Order, Records};
use crate::figure::{Figure, Report, rate};
use crate::{Outcome, Settings, disk};

const THREADS: usize = 8;

pub(crate) fn measure(settings: &Settings, report: &mut Report) -> Outcome<()> {
    let count = settings.rows_or(200).min(2000);
    let path = settings.folder.join("commits");
    let (store, id) = data::create(&path, IdKind::Str, Durability::Immediate)?;
    let records = Records::generate((settings.rounds * (THREADS + 1) + 1) * count, Order::Scattered);
    let mut next = 0;
    let mut take = |count: usize| {
        next += count;
        next - count..next
    };
    // What one commit appends to the log decides how much the reference appends.
    let before = disk::log_bytes(&path)?;
    put(&store, id, &records, take(count))?;
    let bytes = (disk::log_bytes(&path)?.saturating_sub(before) as usize / count).max(1);
    let (mut one, mut many, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        raw.push(rate(count, disk::append_and_sync(&settings.folder, bytes, count)?));
        let started = Instant::now();
        put(&store, id, &records, take(count))?;
        one.push(rate(count, started.elapsed()));
        let started = Instant::now();
        let ranges: Vec<_> = (0..THREADS).map(|_| take(count)).collect();
        std::thread::scope(|scope| {
            let threads: Vec<_> = ranges
                .into_iter()
                .map(|rows| {
                    let (store, records) = (&store, &records);
                    scope.spawn(move || put(store, id, records, rows).map_err(|error| error.to_string()))
                })
                .collect();
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
        })?;
        many.push(rate(count * THREADS, started.elapsed()));
    }
    drop(store);
    let store = Store::open(&path, twinbit_storage::StoreOptions::default())?;
    records.check(&data::collection(&store)?)?;
    drop(store);
    std::fs::remove_dir_all(path)?;
    let what = format!("durable commits of one record ({bytes} bytes of log)");
    report.add(Figure::new(what, "commits/s", one.clone()).beside("append and fdatasync, a second", raw));
    let what = format!("durable puts from {THREADS} threads");
    report.add(Figure::new(what, "puts/s", many).beside("one thread, a second", one));
    Ok(())
}

fn put(store: &Store, id: CollectionId, records: &Records, rows: std::ops::Range<usize>) -> Outcome<()> {
    for row in rows {
        store.write_grouped(id, |writer| writer.put(records.new_record(row)))?;
    }
    Ok(())
}
