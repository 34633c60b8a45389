//! Row 4: an error at every call that changes a file.
//!
//! `strace` makes the `N`-th such call of a thread fail, RocksDB's calls included. The victim goes on:
//! it must get typed errors, read what it had, and write again after reopening at the latest.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use twinbit_storage::Durability;
use twinbit_tests::{
    BROKEN, COMMITS, COMPLETE, FAILED, Row, SPARE_CALLS, has_strace, is_long, last_acknowledged, read_calls, scratch,
    size, strace,
};

use crate::recording::{DATABASE, References, victim};

/// Kinds of calls that change files.
const CHANGING: [&str; 11] = [
    "openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "link", "unlink", "mkdir", "ftruncate", "fallocate",
];
const ERRORS: [&str; 3] = ["ENOSPC", "EIO", "EDQUOT"];

/// What one run came to.
#[derive(Debug, Default)]
struct Counts {
    runs: AtomicU64,
    /// Runs in which the caller was given an error.
    failed: AtomicU64,
}

fn traced(folder: &Path, options: &[&str]) -> Command {
    strace(options, &victim("faults", &folder.join(DATABASE), Durability::Immediate))
}

/// Every call of the victim that may fail: its kind, and its number among those of a thread. Calls of
/// several threads share a number and fail in the same run.
fn points() -> Vec<(&'static str, u64)> {
    let (folder, traces) = (scratch(), scratch());
    let trace = traces.path().join("trace");
    let kinds = format!("trace={}", CHANGING.join(","));
    let output = traced(folder.path(), &["-o", &trace.to_string_lossy(), "-e", &kinds]).output().unwrap();
    assert!(output.status.success());
    let mut counts = BTreeMap::new();
    for call in read_calls(&trace) {
        *counts.entry((call.name, call.thread)).or_insert(0_u64) += 1;
    }
    let most = |kind: &str| counts.iter().filter(|((name, _), _)| name == kind).map(|(_, count)| *count).max();
    CHANGING
        .into_iter()
        .flat_map(|kind| {
            let first = if kind == "openat" { SPARE_CALLS + 1 } else { 1 };
            (first..=most(kind).unwrap_or(0)).map(move |number| (kind, number))
        })
        .collect()
}

fn fail_once(references: &References, kind: &str, number: u64, error: &str, counts: &Counts) {
    let folder = scratch();
    let inject = format!("inject={kind}:error={error}:when={number}");
    let trace = format!("trace={kind}");
    let output = traced(folder.path(), &["-o", "/dev/null", "-e", &trace, "-e", &inject]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let place = format!("{error} at call {number} of {kind}: {told}\n{}", String::from_utf8_lossy(&output.stderr));
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
    let all = points();
    let points: Vec<_> = all.iter().step_by(stride as usize).zip(0..).collect();
    let (next, counts) = (AtomicU64::new(0), Counts::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(((kind, number), turn)) = points.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
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
