//! Row 4: an error at every call that changes a file.
//!
//! `strace` makes the `N`-th such call of a thread fail, RocksDB's calls included. The victim goes on:
//! it must get typed errors, read what it had, and write again after reopening at the latest.

use std::sync::atomic::{AtomicU64, Ordering};

use twinbit_storage::Durability;
use twinbit_tests::{
    BROKEN, COMMITS, COMPLETE, FAILED, Row, has_strace, is_long, last_acknowledged, scratch, size, strace,
};

use crate::recording::{DATABASE, References, points, victim};

const ERRORS: [&str; 3] = ["ENOSPC", "EIO", "EDQUOT"];

/// What one run came to.
#[derive(Debug, Default)]
struct Counts {
    runs: AtomicU64,
    /// Runs in which the caller was given an error.
    failed: AtomicU64,
}

fn fail_once(references: &References, kind: &str, number: u64, error: &str, counts: &Counts) {
    let folder = scratch();
    let database = folder.path().join(DATABASE);
    let inject = format!("inject={kind}:error={error}:when={number}");
    let trace = format!("trace={kind}");
    let output = strace(
        &["--seccomp-bpf", "-o", "/dev/null", "-e", &trace, "-e", &inject],
        &victim("faults", &database, Durability::Immediate),
    )
    .output()
    .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let place =
        format!("{error} at call {number} of {kind}: {told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the process ended with {}: {place}", output.status);
    assert!(!told.contains(BROKEN), "{place}");
    assert!(told.lines().any(|line| line == COMPLETE), "{place}");
    counts.runs.fetch_add(1, Ordering::Relaxed);
    counts.failed.fetch_add(u64::from(told.lines().any(|line| line.starts_with(FAILED))), Ordering::Relaxed);
    assert_eq!(last_acknowledged(&told), Some(COMMITS), "{place}");
    references.check(folder.path(), COMMITS, COMMITS).unwrap_or_else(|wrong| panic!("{wrong}; {place}"));
}

#[test]
fn an_error_at_any_call_loses_nothing_and_is_told() {
    let row = Row::begin(4, "an error at every call, RocksDB's included");
    if !has_strace() {
        return row.skipped("no strace");
    }
    let references = References::new(Durability::Immediate);
    // In an ordinary run every n-th call, with the errors in turn.
    let (stride, errors) = (size("FAULT_STRIDE", 7, 1), if is_long() { 3 } else { 1 });
    let all = points("faults");
    let points: Vec<_> = all.iter().step_by(stride as usize).zip(0..).collect();
    let (next, counts) = (AtomicU64::new(0), Counts::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(((kind, number), turn)) =
                    points.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                {
                    for shift in 0..errors {
                        let error = ERRORS[(turn + shift) % 3];
                        fail_once(&references, kind, *number, error, &counts);
                    }
                }
            });
        }
    });
    let (runs, failed) = (counts.runs.into_inner(), counts.failed.into_inner());
    let figures = format!("{failed} told to the caller as typed errors, 0 commits lost, 0 panics");
    row.passed(&format!("{runs} runs, {} of {} calls", points.len(), all.len()), &figures);
}
