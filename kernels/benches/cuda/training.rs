//! Training steps (`steps`) and encoding (`encoding`) on a card at the paper's size: 4096 and 1386 features,
//! width 8192, 128 bits, batches of 256 with 4,096 negatives of 18,015 pairs; the arguments name the parts to
//! run, none stands for both.
//!
//! Prints one JSON object a line. A step's time is the least of several runs of 50 queued steps, over 50: captured
//! as a CUDA graph, and one by one. Parts are timed in a run of their own that waits for every kernel and
//! product; each contains a wait, so that they add up to more than a step.

#[path = "report.rs"]
mod report;
#[path = "timed.rs"]
mod timed;
#[path = "trainings.rs"]
mod trainings;

use std::process::ExitCode;

use report::Report;
use trainings::Sizes;
use twinbit_kernels::cuda::Card;

const PAPER: Sizes = Sizes {
    pairs: 18_015,
    batch: 256,
    negatives: 4096,
    bits: 128,
    hidden: 8192,
    features: [4096, 1386],
    steps: 50,
    epochs: 20,
    encoded: 100_000,
};

fn main() -> ExitCode {
    report::run(&["steps", "encoding"], part)
}

fn part(card: &Card, name: &str, report: &mut Report<'_>) {
    match name {
        "steps" => trainings::steps(card, PAPER, report),
        _ => trainings::encoding(card, PAPER, report),
    }
}
