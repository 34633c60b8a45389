//! The benches for a card at toy sizes, on the machine that runs kernels on the CPU: every case gives its
//! figures, what does not fit is left out, and a case that fails is told.
#![cfg(target_os = "linux")]

#[path = "support/blocks.rs"]
mod blocks;
#[path = "support/compiled.rs"]
mod compiled;
#[path = "../benches/cuda/report.rs"]
#[expect(dead_code, reason = "opening a card is the programs'")]
mod report;
#[path = "../benches/cuda/searches.rs"]
mod searches;
#[path = "../benches/cuda/timed.rs"]
mod timed;
#[path = "../benches/cuda/trainings.rs"]
mod trainings;

use std::sync::atomic::Ordering;

use blocks::Blocks;
use report::Report;
use serde_json::Value;

const SEARCHES: [usize; 2] = [1, 2];

fn searches() -> searches::Sizes {
    searches::Sizes { rows: 2100, matrices: SEARCHES.to_vec(), batches: vec![3], spare: 1000 }
}

const TRAININGS: trainings::Sizes = trainings::Sizes {
    pairs: 12,
    batch: 4,
    negatives: 5,
    bits: 8,
    hidden: 6,
    features: [5, 3],
    steps: 2,
    epochs: 1,
    encoded: 9,
};

/// The lines of a bench, and whether it says that a case failed.
fn lines(bench: impl FnOnce(&mut Report<'_>)) -> (Vec<Value>, bool) {
    let mut out = Vec::new();
    let mut report = Report::new(&mut out);
    bench(&mut report);
    let failed = report.failed();
    let text = String::from_utf8(out).unwrap();
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), failed)
}

/// How many lines have a member.
fn with(lines: &[Value], member: &str) -> usize {
    lines.iter().filter(|line| !line[member].is_null()).count()
}

#[test]
fn searches_give_their_figures() {
    let machine = Blocks::new(1);
    let (found, failed) = lines(|report| {
        searches::scan(&machine, &searches(), Some(1e9), &|| 1 << 20, report);
        searches::batch(&machine, &searches(), report);
    });
    assert!(!failed && machine.launches() > 0, "{found:?}");
    assert_eq!(with(&found, "of_copy"), 2 * SEARCHES.len() * 3);
    assert_eq!((with(&found, "answers"), with(&found, "comparisons_per_second")), (2, 4));
}

#[test]
fn what_does_not_fit_is_left_out_with_the_reason() {
    let machine = Blocks::new(2);
    // Room for one matrix of 64 bits and none of 128.
    let free = || 20_000;
    let (found, failed) = lines(|report| searches::scan(&machine, &searches(), None, &free, report));
    assert!(!failed, "{found:?}");
    assert_eq!((with(&found, "bytes_per_second"), with(&found, "skipped")), (6, 2), "{found:?}");
}

#[test]
fn a_case_that_fails_does_not_end_the_others() {
    let machine = Blocks::new(3);
    machine.health().broken.store(true, Ordering::Relaxed);
    let (found, failed) = lines(|report| {
        searches::batch(&machine, &searches(), report);
        trainings::encoding(&machine, TRAININGS, report);
    });
    assert!(failed);
    assert_eq!((with(&found, "error"), found.len()), (2 * 3 + 4, 2 * 3 + 4), "{found:?}");
}

#[test]
fn trainings_give_their_figures() {
    let machine = Blocks::new(4);
    let (found, failed) = lines(|report| {
        trainings::steps(&machine, TRAININGS, report);
        trainings::encoding(&machine, TRAININGS, report);
    });
    assert!(!failed, "{found:?}");
    assert_eq!((with(&found, "step_ms"), with(&found, "pairs_per_minute")), (3, 4));
    assert!(found[0]["parts_ms"]["adam"].as_f64().unwrap() > 0.0, "{found:?}");
}
