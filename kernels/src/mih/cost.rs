//! What the next shells will cost, and how many of them a query still needs.
//!
//! Costs are nanoseconds on the machine that the constants were measured on (`docs/performance.md`);
//! only their ratios decide.

use super::key::choose;
use super::nearest::Nearest;
use crate::CodeBits;

/// To find a list: a start, and the first of the list's rows.
const LIST: f64 = 20.0;
/// To fetch a row's code and compare it, apart from its words.
const ROW: f64 = 7.0;
/// To fetch each word of a row's code, a line of its own.
const ROW_WORD: f64 = 5.0;
/// To read a byte of the codes from memory, in a scan for a single query.
const SCAN_BYTE: f64 = 0.04;
/// To compare eight codes by one word, in a scan for many queries.
const SCAN_WORD: f64 = 0.5;

/// The cost of some lists with some rows in all.
pub(super) fn of_lists(bits: CodeBits, lists: f64, rows: f64) -> f64 {
    lists * LIST + rows * (ROW + ROW_WORD * bits.words() as f64)
}

/// The cost to each of some queries of a scan of which `rows` are left by the mask.
pub(crate) fn of_scan(bits: CodeBits, rows: usize, left: f64, queries: usize, threads: usize) -> f64 {
    let rows = rows as f64;
    let bytes = rows * bits.words() as f64 / (bits.rows_per_block() as f64 / 8.0) * 8.0;
    let reading = bytes * SCAN_BYTE / queries.max(1) as f64;
    let comparing = bytes / 64.0 * SCAN_WORD;
    let all = reading.max(comparing);
    // Where few rows are left they are fetched as an index does; the mask is read in any case.
    let cost = if left < 0.05 { all.min(rows / 64.0 + of_lists(bits, 0.0, rows * left)) } else { all };
    // Few queries are spread over all threads; an index searches for each on one.
    cost * (queries.max(1) as f64 / threads as f64).min(1.0)
}

/// How the lists of a substring grow from shell to shell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    width: u32,
    /// The radius of the next shell: as many shells have been taken.
    pub(super) next: u32,
    /// The lists of the next shell; none where there is no such shell.
    pub(super) lists: f64,
    /// Rows that the next shell is expected to hold.
    rows: f64,
    /// The rows of a shell are expected to be those of the one before it times the growth of the number
    /// of lists times this: 1 where rows are spread evenly, less where they lie near the query.
    slope: f64,
}

impl Growth {
    pub(super) fn new(width: u32, rows: usize) -> Self {
        Self { width, next: 0, lists: 1.0, rows: rows as f64 / f64::from(1_u32 << width), slope: 1.0 }
    }

    /// The expected cost of the next shell; without end when there is none.
    pub(super) fn cost(&self, bits: CodeBits) -> f64 {
        if self.next > self.width { f64::INFINITY } else { of_lists(bits, self.lists, self.rows) }
    }

    /// The next shell was taken and held this many rows.
    pub(super) fn took(&mut self, rows: f64, before: Option<f64>) {
        let growth = choose(self.width, self.next) / choose(self.width, self.next.saturating_sub(1));
        if let Some(before) = before {
            self.slope = ((rows + 1.0) / (before + 1.0) / growth).clamp(0.02, 1.0);
        }
        self.advance(rows);
    }

    fn advance(&mut self, rows: f64) {
        let growth = f64::from(self.width.saturating_sub(self.next)) / f64::from(self.next + 1);
        self.next += 1;
        self.lists *= growth;
        self.rows = (rows + 1.0) * growth * self.slope;
    }
}

/// The expected cost of as many more shells as it takes to meet all rows nearer than `distance` + 1.
pub(super) fn of_shells(bits: CodeBits, growth: &[Growth], covered: u32, distance: u32, limit: f64) -> f64 {
    let mut growth = growth.to_vec();
    let mut cost = 0.0;
    for _ in covered..=distance {
        let Some(cheapest) = growth.iter_mut().min_by(|a, b| a.cost(bits).total_cmp(&b.cost(bits))) else {
            break;
        };
        cost += cheapest.cost(bits);
        if cost > limit {
            break;
        }
        cheapest.advance(cheapest.rows);
    }
    cost
}

/// The distance at which the k-th nearest row is likely to be, from those met so far.
///
/// A row at distance d has been met if it differs in less than s(i) bits of any substring i; were its d
/// differing bits anywhere with equal probability, one row met would stand for as many as the inverse
/// of the probability to meet it. `None` while what was met stands for less than k rows.
pub(super) fn likely_distance(bits: CodeBits, growth: &[Growth], nearest: &Nearest) -> Option<u32> {
    let mut rows = 0.0;
    for (distance, &met) in nearest.histogram().iter().enumerate() {
        if met == 0 {
            continue;
        }
        let share = distance as f64 / bits.bits() as f64;
        let missed: f64 = growth.iter().map(|growth| missed(growth.width, growth.next, share)).product();
        rows += met as f64 / (1.0 - missed).max(1e-12);
        if rows >= nearest.k() as f64 {
            return Some(distance as u32);
        }
    }
    None
}

/// The probability that at least `taken` of `width` bits differ when each does with probability `share`.
fn missed(width: u32, taken: u32, share: f64) -> f64 {
    let of = |ones: u32| {
        choose(width, ones)
            * share.powi(ones as i32)
            * (1.0 - share).powi((width.saturating_sub(ones)) as i32)
    };
    (1.0 - (0..taken.min(width + 1)).map(of).sum::<f64>()).clamp(0.0, 1.0)
}
