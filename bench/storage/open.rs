//! Opening a database of many codes in a fresh process, after a clean close.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use twinbit_bench::uniform_codes;
use twinbit_kernels::CodeBits;
use twinbit_storage::{Store, StoreOptions};

use crate::bulk::{self, BLOCK};
use crate::figure::{Figure, Report, milliseconds};
use crate::{Outcome, Settings, data, disk};

pub(crate) fn measure(settings: &Settings, report: &mut Report) -> Outcome<()> {
    let blocks = settings.rows_or(4 * BLOCK).div_ceil(BLOCK);
    let rows = blocks * BLOCK;
    let path = settings.folder.join("open");
    let codes = uniform_codes(CodeBits::B128, BLOCK, 3)?;
    bulk::ingest(&path, [Some(codes.as_codes()), None], blocks)?;
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        let output = Command::new(std::env::current_exe()?).arg("open-child").arg(&path).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        if found["rows"].as_u64() != Some(rows as u64) {
            return Err(format!("{} rows where {rows} belong", found["rows"]).into());
        }
        times.push(found["milliseconds"].as_f64().ok_or("no time")?);
        memory.push(found["private_kib"].as_f64().ok_or("no memory")? / 1024.0);
    }
    let bytes = disk::folder_bytes(&path)?;
    std::fs::remove_dir_all(path)?;
    report.add(Figure::new(format!("opening {rows} codes ({} MB)", bytes / 1_000_000), "ms", times));
    report.add(Figure::new("private memory of the process after opening", "MiB", memory));
    Ok(())
}

/// What the fresh process does: opens, and says how long it took and what it holds.
#[expect(clippy::print_stdout, reason = "the parent process reads it")]
pub(crate) fn child(path: &Path) -> Outcome<()> {
    let started = Instant::now();
    let store = Store::open(path, StoreOptions::default())?;
    let rows = data::collection(&store)?.len();
    let time = milliseconds(started.elapsed());
    let memory = disk::private_kib()?;
    println!("{}", serde_json::json!({ "milliseconds": time, "private_kib": memory, "rows": rows }));
    Ok(())
}
