//! Row 3: power failures. The model of the disk is in `tests/support/disk.rs`.

use twinbit_storage::Durability;
use twinbit_tests::{CrashModel, Row, has_strace, scratch, size};

use crate::recording::{References, acknowledged, record};

/// The points of failure and seeds, by ascending point.
fn failures(seeds: std::ops::Range<u64>, steps: usize) -> Vec<(usize, u64)> {
    let mut failures: Vec<(usize, u64)> =
        seeds.map(|seed| (CrashModel::new(seed).below(steps + 1), seed)).collect();
    failures.sort_unstable();
    failures
}

#[test]
fn commits_survive_power_failures() {
    let row = Row::begin(3, "power loss");
    if !has_strace() {
        return row.skipped("no strace");
    }
    let seeds = size("POWER_LOSSES", 1000, 100_000);
    let target = scratch();
    let mut syncs = 0;
    for (durability, seeds) in [(Durability::Immediate, 0..seeds * 3 / 4), (Durability::Eventual, seeds * 3 / 4..seeds)] {
        let references = References::new(durability);
        let mut recorded = record(durability, None);
        syncs += recorded.syncs();
        for (step, seed) in failures(seeds, recorded.len()) {
            recorded.advance(step);
            let folder = target.path().join(seed.to_string());
            recorded.write_after_power_loss(&folder, &mut CrashModel::new(!seed));
            let told = acknowledged(&recorded, step).unwrap_or(0);
            let least = if durability == Durability::Immediate { told } else { 0 };
            references.check(&folder, least, told).unwrap_or_else(|wrong| panic!("{durability:?}, seed {seed}, step {step}: {wrong}"));
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }
    row.passed(&format!("{seeds} failures"), &format!("{syncs} syncs recorded; 0 acknowledged commits lost, verify clean"));
}
