//! Row 2: a process that ends at every call that changes a file.

use twinbit_storage::Durability;
use twinbit_tests::{Row, has_strace, scratch};

use crate::recording::{References, acknowledged, record};

/// The folder as it is after every call of a recorded run: what a process leaves that is killed there,
/// on whichever thread.
#[test]
fn a_process_may_end_after_any_call() {
    let row = Row::begin(2, "the process ends after any call");
    if !has_strace() {
        return row.skipped("no strace");
    }
    let references = References::new(Durability::Immediate);
    let mut recorded = record(Durability::Immediate, None);
    let target = scratch();
    let mut points = 0;
    for step in 0..=recorded.len() {
        recorded.advance(step);
        if step > 0 && !recorded.changed_at(step - 1) {
            continue;
        }
        let folder = target.path().join(step.to_string());
        recorded.write_whole(&folder);
        let told = acknowledged(&recorded, step).unwrap_or(0);
        references.check(&folder, told, told).unwrap_or_else(|wrong| panic!("step {step}: {wrong}"));
        std::fs::remove_dir_all(&folder).unwrap();
        points += 1;
    }
    row.passed(&format!("{points} calls"), "0 lost, 0 phantom, verify clean after each");
}
