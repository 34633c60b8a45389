//! Row 2: a process that ends at every call that changes a file.

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use twinbit_storage::Durability;
use twinbit_tests::{CrashModel, Recorded, Row, has_strace, last_acknowledged, scratch, size, strace};

use crate::recording::{DATABASE, References, acknowledged, points, record, victim};

/// Opens the folder as it is after every recorded call that changed it: what a process leaves that is
/// killed there, on whichever thread. `least` commits were there before. Returns how many.
fn end_everywhere(recorded: &mut Recorded, references: &References, least: u64) -> u64 {
    let target = scratch();
    let mut points = 0;
    for step in 0..=recorded.len() {
        recorded.advance(step);
        if step > 0 && !recorded.changed_at(step - 1) {
            continue;
        }
        let folder = target.path().join(step.to_string());
        recorded.write_whole(&folder);
        let told = acknowledged(recorded, step).unwrap_or(least);
        let checked = references.check(&folder, told, told.max(least));
        checked.unwrap_or_else(|wrong| panic!("step {step}: {wrong}"));
        std::fs::remove_dir_all(&folder).unwrap();
        points += 1;
    }
    points
}

#[test]
fn a_process_may_end_after_any_call() {
    let row = Row::begin(2, "end of the process after every call");
    if !has_strace() {
        return row.skipped("no strace");
    }
    let references = References::new(Durability::Immediate);
    let calls = end_everywhere(&mut record(Durability::Immediate, None), &references, 0);
    row.passed(&format!("{calls} calls"), "0 lost, 0 phantom, verify clean after each");
}

#[test]
fn a_process_may_end_after_any_call_of_its_recovery() {
    let row = Row::begin(2, "end of the process after every call of a recovery");
    if !has_strace() {
        return row.skipped("no strace");
    }
    let references = References::new(Durability::Immediate);
    let recoveries = size("RECOVERIES", 1, 40);
    let mut calls = 0;
    for seed in 0..recoveries {
        let mut model = CrashModel::new(seed);
        let mut first = record(Durability::Immediate, None);
        let step = first.len() / 3 + model.below(first.len() * 2 / 3);
        first.advance(step);
        let least = acknowledged(&first, step).unwrap_or(0);
        let start = scratch();
        match seed % 2 {
            0 => first.write_whole(start.path()),
            _ => first.write_after_power_loss(start.path(), &mut model),
        }
        let mut second = record(Durability::Immediate, Some(start.path()));
        calls += end_everywhere(&mut second, &references, least);
    }
    row.passed(
        &format!("{calls} calls of {recoveries} recoveries"),
        "0 lost, 0 phantom, verify clean after each",
    );
}

#[test]
fn a_process_may_be_killed_in_any_call() {
    let row = Row::begin(2, "SIGKILL in every call, by strace");
    if !has_strace() {
        return row.skipped("no strace");
    }
    let references = References::new(Durability::Immediate);
    let stride = size("KILL_STRIDE", 9, 1) as usize;
    let all = points("recording");
    let points: Vec<_> = all.iter().step_by(stride).collect();
    let (next, killed) = (AtomicUsize::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((kind, number)) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let folder = scratch();
                    let (trace, inject) =
                        (format!("trace={kind}"), format!("inject={kind}:signal=KILL:when={number}"));
                    let victim = victim("recording", &folder.path().join(DATABASE), Durability::Immediate);
                    let mut command = strace(&["-o", "/dev/null", "-e", &trace, "-e", &inject], &victim);
                    let output = command.output().unwrap();
                    let is_killed =
                        output.status.signal() == Some(9) || output.status.code() == Some(128 + 9);
                    killed.fetch_add(u64::from(is_killed), Ordering::Relaxed);
                    let told = last_acknowledged(&String::from_utf8_lossy(&output.stdout)).unwrap_or(0);
                    let checked = references.check(folder.path(), told, told);
                    checked.unwrap_or_else(|wrong| panic!("{kind} number {number}: {wrong}"));
                }
            });
        }
    });
    let killed = killed.into_inner();
    // Which thread makes which call may differ from run to run, so the last ones may not be met.
    assert!(killed >= points.len() as u64 * 9 / 10, "{killed} of {} were killed", points.len());
    let figures = format!("{killed} killed, 0 lost, 0 phantom, verify clean after each");
    row.passed(&format!("{} of {} calls", points.len(), all.len()), &figures);
}
