//! A bounded share of the disk.

use std::time::{Duration, Instant};

/// Spreads bytes over time.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    /// When everything so far is paid for.
    due: Instant,
}

impl Pace {
    /// So many bytes a second, 0 for no bound.
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Pace { bytes_per_second, due: Instant::now() }
    }

    /// How long to wait after so many bytes more. Time without work is not saved up.
    pub(super) fn wait_after(&mut self, bytes: u64, now: Instant) -> Duration {
        if self.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        self.due = self.due.max(now) + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        self.due - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_spread_over_time() {
        let mut pace = Pace::new(1000);
        let start = pace.due;
        assert_eq!(pace.wait_after(500, start), Duration::from_millis(500));
        assert_eq!(pace.wait_after(500, start), Duration::from_secs(1));
        assert_eq!(pace.wait_after(0, start + Duration::from_millis(900)), Duration::from_millis(100));
        // An hour of rest does not allow an hour of haste.
        let later = start + Duration::from_secs(3600);
        assert_eq!(pace.wait_after(2000, later), Duration::from_secs(2));
        assert_eq!(Pace::new(0).wait_after(u64::MAX, start), Duration::ZERO);
    }
}
