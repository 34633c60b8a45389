//! When a search is worth the way to the card.

use std::time::Duration;

/// Queries that a card compares with a row in the time of reading it.
const QUERIES_A_READ: f64 = 4.0;

/// What work on a card is expected to cost; decides where [`Device::Auto`](crate::Device::Auto)
/// searches, encodes and trains, never what is found and which codes are stored.
///
/// A segment goes to the card once searching it there would have saved as much time as copying it takes
/// (and opening the card, for the first). Once there, it is searched there whenever that is expected to take
/// less time. Inputs are encoded there once the card is open, or opening it has been earned, and a training run
/// goes there when it is expected to end sooner. The defaults are reckoned from data sheets of small cards: they have not been measured on one.
///
/// ```
/// use std::time::Duration;
/// use twinbit::{Database, DeviceCosts};
///
/// let costs = DeviceCosts { scan_bytes_per_second: 4 << 40, ..DeviceCosts::default() };
/// assert_eq!(costs.open, Duration::from_millis(500));
/// let builder = Database::builder().device_costs(costs);
/// # drop(builder);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceCosts {
    /// To open the card and to load the kernels.
    pub open: Duration,
    /// To ask for a search and to get its answer.
    pub call: Duration,
    /// Bytes of codes or masks copied to the card in a second.
    pub upload_bytes_per_second: u64,
    /// Bytes of codes read from the card's memory in a second.
    pub scan_bytes_per_second: u64,
    /// Multiplications and additions of matrix products that the card does in a second.
    pub card_operations_per_second: u64,
    /// The same of the processor.
    pub processor_operations_per_second: u64,
}

impl Default for DeviceCosts {
    fn default() -> Self {
        Self {
            open: Duration::from_millis(500),
            call: Duration::from_micros(200),
            upload_bytes_per_second: 4_000_000_000,
            scan_bytes_per_second: 200_000_000_000,
            card_operations_per_second: 5_000_000_000_000,
            processor_operations_per_second: 200_000_000_000,
        }
    }
}

impl DeviceCosts {
    /// To copy so many bytes to the card.
    pub(crate) fn upload(&self, bytes: u64) -> Duration {
        time(bytes as f64, self.upload_bytes_per_second)
    }

    /// To search codes of so many bytes on the card for some queries, with a mask of so many bytes.
    pub(crate) fn search(&self, bytes: u64, mask_bytes: u64, queries: usize) -> Duration {
        let reads = (queries as f64 / QUERIES_A_READ).max(1.0);
        self.call + self.upload(mask_bytes) + time(bytes as f64 * reads, self.scan_bytes_per_second)
    }

    /// To do some multiplications and additions on the card, with inputs of so many bytes.
    pub(crate) fn compute(&self, operations: u64, bytes: u64) -> Duration {
        self.call + self.upload(bytes) + time(operations as f64, self.card_operations_per_second)
    }

    /// To do them on the processor.
    pub(crate) fn on_processor(&self, operations: u64) -> Duration {
        time(operations as f64, self.processor_operations_per_second)
    }
}

/// A day where it would be longer.
fn time(bytes: f64, bytes_per_second: u64) -> Duration {
    const DAY: f64 = 86_400.0;
    Duration::from_secs_f64((bytes / bytes_per_second.max(1) as f64).min(DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_grow_with_bytes_and_queries() {
        let costs = DeviceCosts::default();
        assert_eq!(costs.upload(4_000_000_000), Duration::from_secs(1));
        let one = costs.search(200_000_000_000, 0, 1);
        assert_eq!(one, Duration::from_secs(1) + costs.call);
        assert_eq!(costs.search(200_000_000_000, 0, 4), one);
        assert_eq!(costs.search(200_000_000_000, 0, 8), Duration::from_secs(2) + costs.call);
        assert_eq!(costs.search(0, 4_000_000_000, 1), Duration::from_secs(1) + costs.call);
        assert_eq!(costs.compute(5_000_000_000_000, 4_000_000_000), Duration::from_secs(2) + costs.call);
        assert_eq!(costs.on_processor(200_000_000_000), Duration::from_secs(1));
        let nothing = DeviceCosts { upload_bytes_per_second: 0, ..costs };
        assert_eq!(nothing.upload(u64::MAX), Duration::from_secs(86_400));
    }
}
