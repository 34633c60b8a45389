//! The planner: each query by the index or by the scan, whichever is expected to cost less.

use std::time::Duration;

use rayon::prelude::*;

use crate::mih::{Outcome, Walk, scan_cost};
use crate::query::Query;
use crate::{Codes, CodesBuf, Error, Hit, MultiIndex, RowMask, Scan};

/// How a query was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Every row was compared.
    Scan,
    /// Only rows that the multi-index named were compared.
    MultiIndex,
}

/// How a query was answered, and what the planner expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueryPlan {
    /// What answered the query.
    pub method: Method,
    /// The time expected of the scan, on the machine that the planner was calibrated on.
    pub scan: Duration,
    /// The time expected of the index; `None` without one. As far as it was reckoned: once it is beyond
    /// the scan's, nobody reckons on.
    pub index: Option<Duration>,
    /// The lists of the index that were looked up.
    pub lists: u64,
    /// The rows in these lists that were compared; the scan compares all.
    pub rows: u64,
}

impl QueryPlan {
    /// The time expected of what was done: the index, the scan, or one after the other.
    #[must_use]
    pub fn time(&self) -> Duration {
        let index = self.index.unwrap_or_default();
        match self.method {
            Method::MultiIndex => index,
            Method::Scan => index + self.scan,
        }
    }
}

/// The answers to some queries, and how each was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<T> {
    /// The answer to each query.
    pub answers: Vec<T>,
    /// How it was found.
    pub plans: Vec<QueryPlan>,
}

/// An exact search that uses a multi-index where it has one and gains by it.
///
/// The answers are those of the [`Scan`], whatever the plan.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    scan: Scan<'a>,
    index: Option<&'a MultiIndex<'a>>,
    method: Option<Method>,
}

impl<'a> Search<'a> {
    /// A search over the rows that a scan would compare, by its mask, instruction set and stop.
    #[must_use]
    pub fn new(scan: Scan<'a>) -> Self {
        Self { scan, index: None, method: None }
    }

    /// Use this index of the same codes.
    #[must_use]
    pub fn index(mut self, index: Option<&'a MultiIndex<'a>>) -> Self {
        self.index = index;
        self
    }

    /// Answer every query in this way, whatever it costs; a search without an index always scans.
    #[must_use]
    pub fn method(mut self, method: Option<Method>) -> Self {
        self.method = method;
        self
    }

    /// The time expected of scanning for so many queries together, on the machine that the planner was
    /// calibrated on.
    #[must_use]
    pub fn scan_time(&self, queries: usize) -> Duration {
        let codes = self.scan.codes;
        let left = self.scan.mask.map_or(1.0, share_left);
        let threads = rayon::current_num_threads();
        nanoseconds(queries as f64 * scan_cost(codes.bits(), codes.rows(), left, queries, threads))
    }

    /// The `k` nearest rows to each query, as [`Scan::top_k`] finds them.
    ///
    /// # Errors
    /// As [`Scan::top_k`]; [`Error::Shape`] when the index is about other codes,
    /// [`Error::DamagedIndex`] when it cannot be read.
    pub fn top_k(&self, queries: Codes<'_>, k: usize) -> Result<Answer<Vec<Hit>>, Error> {
        if k == 0 {
            return Err(Error::ZeroK);
        }
        let radius = self.scan.codes.bits().bits() as u32;
        self.run(
            queries,
            Some(k),
            radius,
            |walk| walk.into_hits(),
            |scan, queries| scan.nearest(queries, k, radius),
        )
    }

    /// The rows within a radius of each query, as [`Scan::within`] finds them.
    ///
    /// # Errors
    /// As [`top_k`](Self::top_k), but a limit of 0 is allowed and gives no rows.
    pub fn within(
        &self,
        queries: Codes<'_>,
        radius: u32,
        limit: Option<usize>,
    ) -> Result<Answer<Vec<Hit>>, Error> {
        let k = limit.unwrap_or(usize::MAX);
        let radius = radius.min(self.scan.codes.bits().bits() as u32);
        let scanning = |scan: &Scan<'_>, queries: Codes<'_>| scan.nearest(queries, k, radius);
        if k == 0 {
            return Self { method: Some(Method::Scan), ..*self }.run(
                queries,
                None,
                radius,
                |walk| walk.into_hits(),
                scanning,
            );
        }
        self.run(queries, Some(k), radius, |walk| walk.into_hits(), scanning)
    }

    /// How many rows are within a radius of each query, as [`Scan::count_within`] counts them.
    ///
    /// # Errors
    /// As [`top_k`](Self::top_k).
    pub fn count_within(&self, queries: Codes<'_>, radius: u32) -> Result<Answer<u64>, Error> {
        let most = radius.min(self.scan.codes.bits().bits() as u32);
        self.run(queries, None, most, |walk| walk.count(), |scan, queries| scan.count_within(queries, radius))
    }

    fn run<T: Send>(
        &self,
        queries: Codes<'_>,
        k: Option<usize>,
        radius: u32,
        answer: impl Fn(Walk<'_, '_>) -> T + Sync,
        scanning: impl Fn(&Scan<'_>, Codes<'_>) -> Result<Vec<T>, Error>,
    ) -> Result<Answer<T>, Error> {
        self.scan.check(queries)?;
        let codes = self.scan.codes;
        let left = self.scan.mask.map_or(1.0, share_left);
        let threads = rayon::current_num_threads();
        let cost = scan_cost(codes.bits(), codes.rows(), left, queries.rows(), threads);
        let index = self.index.filter(|_| self.method != Some(Method::Scan));
        let mut answers: Vec<Option<T>> = (0..queries.rows()).map(|_| None).collect();
        let mut outcomes = vec![Outcome::default(); queries.rows()];
        if let Some(index) = index {
            index.check_fits(codes)?;
            let limit = if self.method.is_some() { f64::INFINITY } else { cost };
            let mask = self.scan.mask.map(|mask| (mask, left));
            answers.par_iter_mut().zip(&mut outcomes).enumerate().try_for_each(
                |(row, (place, outcome))| {
                    if self.scan.stop.is_some_and(|stop| stop()) {
                        return Err(Error::Stopped);
                    }
                    let query = Query::of_row(queries, row);
                    let walk = Walk::new(index, codes, mask, self.scan.isa, query, k, radius);
                    let mut walk = walk.stop(self.scan.stop);
                    *outcome = walk.run(limit)?;
                    *place = outcome.complete.then(|| answer(walk));
                    Ok(())
                },
            )?;
        }
        self.scan_rest(queries, &mut answers, &scanning)?;
        let plan = |outcome: Outcome| QueryPlan {
            method: if outcome.complete { Method::MultiIndex } else { Method::Scan },
            scan: nanoseconds(cost),
            index: index.is_some().then(|| nanoseconds(outcome.cost)),
            lists: outcome.lists,
            rows: outcome.rows,
        };
        let plans = outcomes.into_iter().map(plan).collect();
        Ok(Answer { answers: answers.into_iter().flatten().collect(), plans })
    }

    /// Scan for all queries that have no answer yet, together.
    fn scan_rest<T>(
        &self,
        queries: Codes<'_>,
        answers: &mut [Option<T>],
        scanning: impl Fn(&Scan<'_>, Codes<'_>) -> Result<Vec<T>, Error>,
    ) -> Result<(), Error> {
        let open = answers.iter().filter(|answer| answer.is_none()).count();
        if open == 0 {
            return Ok(());
        }
        let mut rest = CodesBuf::new(queries.bits());
        if open < answers.len() {
            for (row, _) in answers.iter().enumerate().filter(|(_, answer)| answer.is_none()) {
                rest.push(&queries.row(row))?;
            }
        }
        let scanned = scanning(&self.scan, if open < answers.len() { rest.as_codes() } else { queries })?;
        for (place, found) in answers.iter_mut().filter(|answer| answer.is_none()).zip(scanned) {
            *place = Some(found);
        }
        Ok(())
    }
}

/// The share of rows that a mask leaves, from at most 256 of its words.
fn share_left(mask: &RowMask) -> f64 {
    let words = mask.words();
    let step = (words.len() / 256).max(1);
    let looked_at = words.len().div_ceil(step).max(1);
    let left: u32 = words.iter().step_by(step).map(|word| word.count_ones()).sum();
    f64::from(left) / (looked_at * 64) as f64
}

fn nanoseconds(cost: f64) -> Duration {
    Duration::from_nanos(cost.min(u64::MAX as f64) as u64)
}
