//! Ready codes of 128 bits with automatic ids and no fields, in one durable commit.

use std::path::Path;
use std::time::{Duration, Instant};

use twinbit_bench::uniform_codes;
use twinbit_kernels::{CodeBits, Codes, CodesBuf};
use twinbit_storage::{Durability, IdKind, Store, StoreOptions};

use crate::figure::{Figure, Report, rate};
use crate::{Outcome, Settings, data, disk};

/// Codes are made once and put again and again; their content does not matter to the disk.
pub(crate) const BLOCK: usize = 1 << 20;

pub(crate) fn measure(settings: &Settings, report: &mut Report) -> Outcome<()> {
    let blocks = settings.rows_or(4 * BLOCK).div_ceil(BLOCK);
    let rows = blocks * BLOCK;
    let codes = uniform_codes(CodeBits::B128, BLOCK, 3)?;
    for (name, modalities) in [("one modality", 1), ("both modalities", 2)] {
        let (mut ours, mut raw) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            let time = disk::write_and_sync(&settings.folder, codes.as_bytes(), blocks * modalities)?;
            raw.push(rate(rows, time));
            let path = settings.folder.join("bulk");
            let columns = [Some(codes.as_codes()), (modalities == 2).then(|| codes.as_codes())];
            ours.push(rate(rows, ingest(&path, columns, blocks)?));
            check(&path, &codes, rows)?;
            std::fs::remove_dir_all(path)?;
        }
        let what = format!("bulk ingest of {rows} codes, {name}");
        report.add(Figure::new(what, "rows/s", ours).beside("write and fsync, rows/s", raw));
    }
    Ok(())
}

/// Puts the codes `blocks` times in one transaction and commits; creating the database is not timed.
pub(crate) fn ingest(path: &Path, codes: [Option<Codes<'_>>; 2], blocks: usize) -> Outcome<Duration> {
    let (store, id) = data::create(path, IdKind::Auto, Durability::Immediate)?;
    let started = Instant::now();
    let mut writer = store.writer(id)?;
    for _ in 0..blocks {
        writer.put_codes(codes)?;
    }
    writer.commit()?;
    Ok(started.elapsed())
}

fn check(path: &Path, codes: &CodesBuf, rows: usize) -> Outcome<()> {
    let store = Store::open(path, StoreOptions::default())?;
    let view = data::collection(&store)?;
    if view.len() != rows as u64 {
        return Err(format!("{} records where {rows} belong", view.len()).into());
    }
    for row in (0..rows).step_by(rows.div_ceil(1000)) {
        let record = view.get(row as u64)?.ok_or("a record is missing")?;
        if record.codes[0].as_deref() != Some(&codes.as_codes().row(row % BLOCK)[..]) {
            return Err(format!("the code of row {row} reads differently").into());
        }
    }
    Ok(())
}
