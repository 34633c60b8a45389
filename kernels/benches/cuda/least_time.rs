//! The time of a call on a card.

use std::time::Instant;

const RUNS: usize = 7;

/// The least time of several runs after a first one, in seconds.
pub(crate) fn least_time(mut run: impl FnMut()) -> f64 {
    run();
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..RUNS).map(time).fold(f64::INFINITY, f64::min)
}
