//! Row 3: power failures. The model of the disk is in `tests/support/disk`.

use std::ops::Range;

use twinbit_storage::Durability;
use twinbit_tests::{CrashModel, Recorded, Row, first_seed, has_strace, scratch, size};

use crate::recording::{References, acknowledged, record};

/// Failures after which a new recording is made, as no two runs make the same calls.
const FAILURES_A_RECORDING: u64 = 2000;

/// What came of some failures.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    syncs: usize,
    /// Failures that took a commit that had been acknowledged.
    lossy: u64,
}

/// Lets the power fail at random points of a recording, one for each seed.
fn fail(recorded: &mut Recorded, durability: Durability, least: u64, seeds: Range<u64>) -> Outcome {
    let references = References::new(durability);
    let mut outcome = Outcome { syncs: recorded.syncs(), lossy: 0 };
    let mut failures: Vec<(usize, u64)> =
        seeds.map(|seed| (CrashModel::new(seed).below(recorded.len() + 1), seed)).collect();
    failures.sort_unstable();
    let target = scratch();
    for (step, seed) in failures {
        recorded.advance(step);
        let folder = target.path().join(seed.to_string());
        recorded.write_after_power_loss(&folder, &mut CrashModel::new(!seed));
        let told = acknowledged(recorded, step).unwrap_or(0).max(least);
        let least = if durability == Durability::Immediate { told } else { least };
        let found = references.check(&folder, least, told);
        let found = found.unwrap_or_else(|wrong| {
            // The recording, and so this failure, cannot be had again: the folder as the failure left it is kept.
            let kept = std::env::temp_dir().join(format!("twinbit-power-loss-{durability:?}-{seed}"));
            recorded.write_after_power_loss(&kept, &mut CrashModel::new(!seed));
            panic!("{durability:?}, seed {seed}, step {step}: {wrong}; kept in {}", kept.display())
        });
        outcome.lossy += u64::from(found < told);
        std::fs::remove_dir_all(&folder).unwrap();
    }
    outcome
}

/// [`fail`] over as many recordings as it takes.
fn fail_often(durability: Durability, seeds: Range<u64>) -> Outcome {
    let mut all = Outcome::default();
    for first in seeds.clone().step_by(FAILURES_A_RECORDING as usize) {
        let part = first..seeds.end.min(first + FAILURES_A_RECORDING);
        let outcome = fail(&mut record(durability, None), durability, 0, part);
        all = Outcome { syncs: outcome.syncs, lossy: all.lossy + outcome.lossy };
    }
    all
}

#[test]
fn synced_commits_survive_power_failures() {
    let row = Row::begin(3, "power loss, Immediate");
    if !has_strace() {
        return row.skipped("no strace");
    }
    let seeds = size("POWER_LOSSES", 1000, 100_000) * 3 / 4;
    let first = first_seed();
    let outcome = fail_often(Durability::Immediate, first..first + seeds);
    assert_eq!(outcome.lossy, 0);
    let figures = format!("0 acknowledged commits lost, 0 phantom, verify clean ({} syncs)", outcome.syncs);
    row.passed(&format!("{seeds} failures"), &figures);
}

/// What was lost must be the end. That something is lost shows that the model of the disk bites.
#[test]
fn commits_that_did_not_wait_are_lost_from_the_end_only() {
    let row = Row::begin(3, "power loss, Eventual");
    if !has_strace() {
        return row.skipped("no strace");
    }
    let seeds = size("POWER_LOSSES", 1000, 100_000) / 4;
    let first = first_seed();
    let outcome = fail_often(Durability::Eventual, first..first + seeds);
    assert!(outcome.lossy > 0);
    let figures = format!("always a prefix of the commits; {} lost the last ones, as allowed", outcome.lossy);
    row.passed(&format!("{seeds} failures"), &figures);
}

#[test]
fn the_power_may_fail_again_during_recovery() {
    let row = Row::begin(3, "power loss during recovery");
    if !has_strace() {
        return row.skipped("no strace");
    }
    let (recoveries, seeds) = (size("RECOVERIES", 2, 40), size("RECOVERY_LOSSES", 50, 250));
    for recovery in 0..recoveries {
        let mut model = CrashModel::new(first_seed() + recovery + 1000);
        let mut first = record(Durability::Immediate, None);
        let step = first.len() / 4 + model.below(first.len() * 3 / 4);
        first.advance(step);
        let least = acknowledged(&first, step).unwrap_or(0);
        let start = scratch();
        first.write_after_power_loss(start.path(), &mut model);
        let mut second = record(Durability::Immediate, Some(start.path()));
        assert_eq!(fail(&mut second, Durability::Immediate, least, 0..seeds).lossy, 0);
    }
    let size = format!("{} failures in {recoveries} recoveries", recoveries * seeds);
    row.passed(&size, "0 acknowledged commits lost, verify clean");
}
