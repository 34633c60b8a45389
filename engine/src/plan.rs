//! How a query was answered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use twinbit_kernels::{Isa, RowMask};

use crate::Modality;
use crate::entry::Hit;
use crate::snapshot::Snapshot;

/// The answers of a query and how they were found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Explanation {
    /// The hits of each query, nearest first.
    pub hits: Vec<Vec<Hit>>,
    /// How they were found.
    pub plan: Plan,
}

/// How a query was answered; `Display` prints it as a few lines.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) parts: Vec<PlannedPart>,
    pub(crate) queries: usize,
    pub(crate) filter_time: Duration,
    pub(crate) encode_time: Duration,
    pub(crate) scan_time: Duration,
    pub(crate) total_time: Duration,
    records: u64,
    segments: usize,
    limit: Option<usize>,
    radius: Option<u32>,
    kernel: &'static str,
}

/// One scan: the codes of one modality in one part.
#[derive(Debug, Clone)]
pub(crate) struct PlannedPart {
    pub(crate) number: usize,
    pub(crate) modality: Modality,
    pub(crate) rows: u32,
    /// Rows that are alive, have the modality and pass the filter.
    pub(crate) candidates: usize,
    pub(crate) mask: Arc<RowMask>,
}

impl Plan {
    pub(crate) fn new(snapshot: &Snapshot, limit: Option<usize>, radius: Option<u32>) -> Self {
        Self {
            parts: Vec::new(),
            queries: 0,
            filter_time: Duration::ZERO,
            encode_time: Duration::ZERO,
            scan_time: Duration::ZERO,
            total_time: Duration::ZERO,
            records: snapshot.len(),
            segments: snapshot.parts().iter().filter(|part| part.is_segment()).count(),
            limit,
            radius,
            kernel: Isa::best().name(),
        }
    }

    /// Number of queries answered.
    pub fn queries(&self) -> usize {
        self.queries
    }

    /// Scans made: one a part and modality that held candidates.
    pub fn scans(&self) -> usize {
        self.parts.len()
    }

    /// Codes in the parts that were scanned.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.rows)).sum()
    }

    /// Codes among them that were alive and passed the filter, so could be hits.
    pub fn candidates(&self) -> u64 {
        self.parts.iter().map(|part| part.candidates as u64).sum()
    }

    /// The instruction set of the scan.
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// Time to turn the filter into row masks.
    pub fn filter_time(&self) -> Duration {
        self.filter_time
    }

    /// Time to encode the queries.
    pub fn encode_time(&self) -> Duration {
        self.encode_time
    }

    /// Time of the scans and of merging their hits.
    pub fn scan_time(&self) -> Duration {
        self.scan_time
    }

    /// Time of everything.
    pub fn total_time(&self) -> Duration {
        self.total_time
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(f, "exact scan ({}) for {} queries", self.kernel, self.queries)?;
        match (self.radius, self.limit) {
            (Some(radius), Some(limit)) => writeln!(f, ", distance at most {radius}, first {limit}")?,
            (Some(radius), None) => writeln!(f, ", distance at most {radius}")?,
            (None, Some(limit)) => writeln!(f, ", first {limit}")?,
            (None, None) => writeln!(f)?,
        }
        writeln!(f, "  {} records in {} segments and fresh rows", self.records, self.segments)?;
        for part in &self.parts {
            writeln!(
                f,
                "  part {} {}: {} of {} rows are candidates",
                part.number, part.modality, part.candidates, part.rows
            )?;
        }
        write!(
            f,
            "  filter {:.3} ms, encode {:.3} ms, scan {:.3} ms, total {:.3} ms",
            ms(self.filter_time),
            ms(self.encode_time),
            ms(self.scan_time),
            ms(self.total_time)
        )
    }
}
