//! Several programs timed in turns, so that all of them meet the same neighbors on the machine.

use std::time::Instant;

/// Seconds that one program took, a number for each turn.
pub(crate) struct Times(Vec<f64>);

impl Times {
    pub(crate) fn best(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

/// Run all programs once untimed, then in turns A B C A B C; the times of each.
pub(crate) fn in_turns<const N: usize>(turns: usize, mut programs: [&mut dyn FnMut(); N]) -> [Times; N] {
    for program in &mut programs {
        program();
    }
    let mut times: [Times; N] = std::array::from_fn(|_| Times(Vec::new()));
    for _ in 0..turns {
        for (program, times) in programs.iter_mut().zip(&mut times) {
            let start = Instant::now();
            program();
            times.0.push(start.elapsed().as_secs_f64());
        }
    }
    times
}
