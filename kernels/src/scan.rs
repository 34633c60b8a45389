//! The exact scan: every query against every row, spread over threads.
//!
//! Rows are cut into *lanes* (contiguous ranges) and queries into groups; a task is one lane and
//! one group, walked as `lane.rs` tells. The order (distance, row) is total, so the answer depends
//! on neither lanes nor threads.

use rayon::prelude::*;

use crate::lane::{GROUP, Lane};
use crate::query::Query;
use crate::topk::TopK;
use crate::{Codes, Error, Hit, Isa, RowMask};

/// Fewer rows than this are not worth a task of their own.
const LANE_ROWS: usize = 1 << 13;
/// Queries that share one walk through the rows: so many that reading memory costs little beside
/// comparing, so few that what is kept for each stays in the second-level cache.
const QUERY_GROUP: usize = 256;
/// Rows kept for all queries of a group in one lane, at most, unless that is too few for four queries.
const GROUP_KEPT: usize = 1 << 20;
/// Tasks aimed at for every thread, so that a slow core delays the rest little.
const TASKS_PER_THREAD: usize = 4;
/// A lane is at least as many times as long as the rows it keeps, unless a thread had none: the more
/// lanes, the more rows are kept in vain.
const LANE_PER_KEPT: usize = 16;

/// An exact search over a matrix of codes.
///
/// The work is spread over the current `rayon` pool. Hits come in ascending order of
/// (distance, row); instruction set and number of threads never change them.
#[derive(Clone, Copy)]
pub struct Scan<'a> {
    pub(crate) codes: Codes<'a>,
    pub(crate) mask: Option<&'a RowMask>,
    pub(crate) isa: Isa,
    pub(crate) stop: Option<&'a (dyn Fn() -> bool + Sync)>,
}

impl<'a> Scan<'a> {
    /// A scan over all rows with the best instruction set of this machine.
    #[must_use]
    pub fn new(codes: Codes<'a>) -> Self {
        Self { codes, mask: None, isa: Isa::best(), stop: None }
    }

    /// Search only the rows in a mask; it must be as long as the matrix.
    #[must_use]
    pub fn mask(mut self, mask: Option<&'a RowMask>) -> Self {
        self.mask = mask;
        self
    }

    /// Use this instruction set instead of the best one.
    #[must_use]
    pub fn isa(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }

    /// Ask `stop` once in about 65,536 rows a task, also of a [`Search`](crate::Search) by an index; when
    /// it returns true the search ends with [`Error::Stopped`].
    #[must_use]
    pub fn stop(mut self, stop: &'a (dyn Fn() -> bool + Sync)) -> Self {
        self.stop = Some(stop);
        self
    }

    /// The `k` nearest rows to each query, fewer where there are fewer rows.
    ///
    /// # Errors
    /// [`Error::ZeroK`] when `k` is 0, [`Error::Shape`] when the queries have another code length
    /// or the mask another number of rows, [`Error::Stopped`] when `stop` said so.
    pub fn top_k(&self, queries: Codes<'_>, k: usize) -> Result<Vec<Vec<Hit>>, Error> {
        if k == 0 {
            return Err(Error::ZeroK);
        }
        self.nearest(queries, k, self.codes.bits().bits() as u32)
    }

    /// The rows at a distance of at most `radius` of each query; with a `limit`, its nearest ones.
    ///
    /// # Errors
    /// As [`top_k`](Self::top_k), but a limit of 0 is allowed and gives no rows.
    pub fn within(
        &self,
        queries: Codes<'_>,
        radius: u32,
        limit: Option<usize>,
    ) -> Result<Vec<Vec<Hit>>, Error> {
        let radius = radius.min(self.codes.bits().bits() as u32);
        self.nearest(queries, limit.unwrap_or(usize::MAX), radius)
    }

    /// How many rows are at a distance of at most `radius` of each query.
    ///
    /// # Errors
    /// As [`within`](Self::within).
    pub fn count_within(&self, queries: Codes<'_>, radius: u32) -> Result<Vec<u64>, Error> {
        self.run(
            queries,
            0,
            |lane, queries| {
                let mut counts = vec![0; queries.len()];
                lane.count(queries, radius, &mut counts)?;
                Ok(counts)
            },
            |lanes| lanes.sum(),
        )
    }

    /// The at most `k` nearest rows no farther than `radius`.
    pub(crate) fn nearest(&self, queries: Codes<'_>, k: usize, radius: u32) -> Result<Vec<Vec<Hit>>, Error> {
        // Without a limit nobody knows how many there will be.
        let kept = if k == usize::MAX { 0 } else { k.min(self.codes.rows()) };
        self.run(
            queries,
            kept,
            |lane, queries| {
                let mut tops = vec![TopK::new(k, radius); queries.len()];
                lane.nearest(queries, &mut tops)?;
                Ok(tops)
            },
            |mut lanes| {
                let Some(mut all) = lanes.next() else { return Vec::new() };
                // Lanes come in ascending order of rows, as `TopK` wants its offers.
                for lane in lanes {
                    lane.into_rows().into_iter().for_each(|hit| all.offer(hit));
                    all.tighten();
                }
                all.into_sorted()
            },
        )
    }

    /// Walk every lane with every group of queries, of which each keeps `kept` rows, then merge what each
    /// query got from its lanes.
    fn run<S: Send, T: Send>(
        &self,
        queries: Codes<'_>,
        kept: usize,
        walk: impl Fn(&mut Lane<'_>, &[Query]) -> Result<Vec<S>, Error> + Sync,
        merge: impl Fn(std::vec::IntoIter<S>) -> T + Sync,
    ) -> Result<Vec<T>, Error> {
        self.check(queries)?;
        let rows = self.codes.rows();
        let most = (GROUP_KEPT / kept.max(1)).clamp(4, QUERY_GROUP);
        let groups = queries.rows().div_ceil(most).max(1);
        let group_queries = queries.rows().div_ceil(groups).next_multiple_of(4);
        // Every lane collects as many rows as are asked for, so there are no more than are of use.
        let threads = rayon::current_num_threads();
        let tasks = if threads == 1 { 1 } else { (threads * TASKS_PER_THREAD).div_ceil(groups) };
        let shortest = LANE_ROWS.max(kept.saturating_mul(LANE_PER_KEPT).min(rows / threads));
        let lanes = tasks.min(rows / shortest).max(1);
        let lane_rows = rows.div_ceil(lanes).next_multiple_of(GROUP);

        let groups: Result<Vec<Vec<T>>, Error> = (0..groups)
            .into_par_iter()
            .map(|group| {
                let first = queries.rows().min(group * group_queries);
                let last = queries.rows().min(first + group_queries);
                let prepared: Vec<Query> = (first..last).map(|row| Query::of_row(queries, row)).collect();
                let walked: Result<Vec<Vec<S>>, Error> = (0..lanes)
                    .into_par_iter()
                    .map(|lane| {
                        let rows = rows.min(lane * lane_rows)..rows.min((lane + 1) * lane_rows);
                        walk(&mut Lane::new(self, rows), &prepared)
                    })
                    .collect();
                let mut lanes: Vec<_> = walked?.into_iter().map(Vec::into_iter).collect();
                let by_query: Vec<Vec<S>> =
                    prepared.iter().map(|_| lanes.iter_mut().filter_map(Iterator::next).collect()).collect();
                Ok(by_query.into_par_iter().map(|states| merge(states.into_iter())).collect())
            })
            .collect();
        Ok(groups?.into_iter().flatten().collect())
    }

    pub(crate) fn check(&self, queries: Codes<'_>) -> Result<(), Error> {
        let (expected, got) = (self.codes.bits().bits(), queries.bits().bits());
        if expected != got {
            return Err(Error::Shape { what: "bits of a query", expected, got });
        }
        let expected = self.codes.rows();
        match self.mask {
            Some(mask) if mask.len() != expected => {
                Err(Error::Shape { what: "rows of the mask", expected, got: mask.len() })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{CodeBits, CodesBuf};

    fn rows(hits: &[Hit]) -> Vec<(u32, u32)> {
        hits.iter().map(|hit| (hit.distance, hit.row)).collect()
    }

    /// Codes of 8 bits with 0 to 8 leading ones.
    fn staircase() -> CodesBuf {
        let codes: Vec<u8> = (0..=8).map(|ones| !(0xff_u16 >> ones) as u8).collect();
        CodesBuf::from_packed(CodeBits::new(8).unwrap(), &codes).unwrap()
    }

    #[test]
    fn nearest_rows_come_first() {
        let codes = staircase();
        let queries = CodesBuf::from_packed(codes.bits(), &[0xe0, 0xff]).unwrap();
        let hits = Scan::new(codes.as_codes()).top_k(queries.as_codes(), 3).unwrap();
        assert_eq!(rows(&hits[0]), [(0, 3), (1, 2), (1, 4)]);
        assert_eq!(rows(&hits[1]), [(0, 8), (1, 7), (2, 6)]);
        let hits = Scan::new(codes.as_codes()).top_k(queries.as_codes(), usize::MAX).unwrap();
        assert_eq!(hits[0].len(), 9);
    }

    #[test]
    fn a_radius_is_inclusive_and_a_limit_keeps_the_nearest() {
        let codes = staircase();
        let query = CodesBuf::from_packed(codes.bits(), &[0xe0]).unwrap();
        let scan = Scan::new(codes.as_codes());
        let within = |radius, limit| rows(&scan.within(query.as_codes(), radius, limit).unwrap()[0]);
        assert_eq!(within(1, None), [(0, 3), (1, 2), (1, 4)]);
        assert_eq!(within(1, Some(2)), [(0, 3), (1, 2)]);
        assert_eq!(within(1, Some(0)), []);
        assert_eq!(within(u32::MAX, None).len(), 9);
        assert_eq!(scan.count_within(query.as_codes(), 2).unwrap(), [5]);
        assert_eq!(scan.count_within(query.as_codes(), u32::MAX).unwrap(), [9]);
    }

    #[test]
    fn masked_rows_never_appear() {
        let codes = staircase();
        let query = CodesBuf::from_packed(codes.bits(), &[0xe0]).unwrap();
        let mask = RowMask::from_rows(9, [0, 4, 8]);
        let scan = Scan::new(codes.as_codes()).mask(Some(&mask));
        assert_eq!(rows(&scan.top_k(query.as_codes(), 2).unwrap()[0]), [(1, 4), (3, 0)]);
        assert_eq!(scan.count_within(query.as_codes(), 8).unwrap(), [3]);
        let none = RowMask::none(9);
        assert_eq!(scan.mask(Some(&none)).top_k(query.as_codes(), 2).unwrap(), [[]]);
    }

    #[test]
    fn wrong_requests_are_refused() {
        let codes = staircase();
        let scan = Scan::new(codes.as_codes());
        assert!(matches!(scan.top_k(codes.as_codes(), 0), Err(Error::ZeroK)));
        let wide = CodesBuf::with_rows(CodeBits::B16, 1).unwrap();
        assert!(matches!(scan.top_k(wide.as_codes(), 1), Err(Error::Shape { expected: 8, got: 16, .. })));
        let short = RowMask::all(8);
        assert!(matches!(
            scan.mask(Some(&short)).count_within(codes.as_codes(), 1),
            Err(Error::Shape { expected: 9, got: 8, .. })
        ));
    }

    #[test]
    fn no_rows_and_no_queries_give_no_hits() {
        let codes = staircase();
        let empty = CodesBuf::new(codes.bits());
        let hits = Scan::new(empty.as_codes()).top_k(codes.as_codes(), 1).unwrap();
        assert_eq!(hits, vec![Vec::new(); 9]);
        assert!(Scan::new(codes.as_codes()).top_k(empty.as_codes(), 1).unwrap().is_empty());
    }

    #[test]
    fn a_stopped_scan_says_so() {
        let codes = CodesBuf::with_rows(CodeBits::B16, 300_000).unwrap();
        let query = CodesBuf::with_rows(CodeBits::B16, 1).unwrap();
        let asked = AtomicUsize::new(0);
        let third_time = || asked.fetch_add(1, Ordering::Relaxed) == 2;
        let stopped = Scan::new(codes.as_codes()).stop(&third_time).top_k(query.as_codes(), 1);
        assert!(matches!(stopped, Err(Error::Stopped)));
        let never = || false;
        assert!(Scan::new(codes.as_codes()).stop(&never).top_k(query.as_codes(), 1).is_ok());
    }
}
