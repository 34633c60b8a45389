//! `twinbit doctor`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use twinbit::{CardInfo, Hardware};

use crate::failure::Result;
use crate::output::{Table, bytes, count};
use crate::session::Session;

/// Arguments of `doctor`.
#[derive(Args)]
#[command(after_help = "Examples:\n  twinbit doctor\n  twinbit doctor --device cuda:1")]
pub struct Arguments {}

/// Fewer open files than this can stop a database with many segments.
const OPEN_FILES_WANTED: u64 = 1024;

#[derive(Serialize)]
struct Report {
    version: &'static str,
    architecture: &'static str,
    system: &'static str,
    kernel: &'static str,
    kernels: Vec<&'static str>,
    threads: usize,
    cuda: Option<String>,
    no_cuda: Option<String>,
    card: Option<CardInfo>,
    cublas: Option<PathBuf>,
    no_cublas: Option<String>,
    features: Vec<&'static str>,
    open_files: Option<u64>,
    memory_maps: Option<u64>,
}

/// Shows what this machine offers.
pub fn run(_: &Arguments, session: &Session) -> Result {
    let hardware = Hardware::detect_for(session.device());
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        architecture: std::env::consts::ARCH,
        system: std::env::consts::OS,
        kernel: hardware.kernel,
        kernels: hardware.kernels,
        threads: hardware.threads,
        cuda: hardware.card.as_ref().map(|card| card.name.clone()),
        no_cuda: hardware.no_cuda,
        card: hardware.card,
        cublas: hardware.cublas,
        no_cublas: hardware.no_cublas,
        features: features(),
        open_files: open_files(),
        memory_maps: memory_maps(),
    };
    if session.output.is_json() {
        return session.output.object(&report);
    }
    let unknown = || "unknown on this system".to_owned();
    let mut table = Table::new(["", ""]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("version", format!("{} for {} on {}", report.version, report.architecture, report.system));
    row("kernel", format!("{} (this machine can run: {})", report.kernel, report.kernels.join(", ")));
    row("threads", report.threads.to_string());
    if let Some(reason) = report.no_cuda {
        row("CUDA", format!("not used: {reason}"));
    }
    if let Some(card) = report.card {
        let CardInfo { number, name, compute_capability, cuda_version, memory_bytes, free_bytes, .. } = card;
        row("CUDA", format!("device {number}, {name}, for work that is worth it"));
        row("compute capability", compute_capability);
        row("CUDA of its driver", cuda_version);
        row("memory of the card", format!("{}, {} free", bytes(memory_bytes), bytes(free_bytes)));
    }
    if let Some(reason) = report.no_cublas {
        row("cuBLAS, for training", format!("not used: {reason}"));
    }
    if let Some(file) = report.cublas {
        row("cuBLAS, for training", file.display().to_string());
    }
    row(
        "built with",
        if report.features.is_empty() { "nothing optional".to_owned() } else { report.features.join(", ") },
    );
    row("open files, limit", report.open_files.map_or_else(unknown, count));
    row("memory maps, limit", report.memory_maps.map_or_else(unknown, count));
    session.output.table(&table)?;
    if let Some(limit) = report.open_files.filter(|limit| *limit < OPEN_FILES_WANTED) {
        session
            .output
            .warn(format!("only {limit} files may be open at once; raise it with `ulimit -n 4096`"));
    }
    Ok(())
}

fn features() -> Vec<&'static str> {
    let mut features = Vec::new();
    if cfg!(feature = "efficientnet-lite0") {
        features.push("efficientnet-lite0");
    }
    if cfg!(feature = "demo") {
        features.push("demo");
    }
    if cfg!(feature = "hdf5") {
        features.push("hdf5");
    }
    features
}

/// The soft limit of open files, where the system tells it in a file.
fn open_files() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How many memory maps a process may have: each segment takes a few.
fn memory_maps() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse().ok()
}
