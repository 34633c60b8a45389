//! The exact scan: every query against every row, spread over threads.
//!
//! Rows are cut into *lanes* (contiguous ranges) and queries into groups; a task is one lane and
//! one group. A task walks its lane in *steps* whose codes fit the first-level cache and compares
//! every query of the group with a step before it goes on, so that a batch reads memory once a
//! group. The kernel compares in registers with the query's current bound and gives back one bit a
//! row; only rows that survive, few after the first steps, are looked at one by one. Masked rows
//! are removed from those bits, and 64 rows that are all masked are not compared at all.
//!
//! The order (distance, row) is total, so the answer depends on neither lanes nor threads.

use std::ops::Range;

use rayon::prelude::*;

use crate::query::Query;
use crate::topk::TopK;
use crate::{Codes, Error, Hit, Isa, RowMask};

/// Rows are compared in groups of this many, one word of a mask.
const GROUP: usize = 64;
/// A step's codes take about this many bytes, half of a small first-level cache.
const STEP_BYTES: usize = 16 << 10;
/// The most rows in a step, whatever their size.
const STEP_ROWS: usize = 4096;
/// The caller's `stop` is asked once in this many rows.
const STOP_ROWS: usize = 1 << 16;
/// Fewer rows than this are not worth a task of their own.
const LANE_ROWS: usize = 1 << 13;
/// Queries that share one walk through the rows.
const QUERY_GROUP: usize = 64;
/// Tasks aimed at for every thread, so that a slow core delays the rest little.
const TASKS_PER_THREAD: usize = 4;

/// An exact search over a matrix of codes.
///
/// The work is spread over the current `rayon` pool. Hits come in ascending order of
/// (distance, row); instruction set and number of threads never change them.
#[derive(Clone, Copy)]
pub struct Scan<'a> {
    codes: Codes<'a>,
    mask: Option<&'a RowMask>,
    isa: Isa,
    stop: Option<&'a (dyn Fn() -> bool + Sync)>,
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

    /// Ask `stop` once in about 65,536 rows a task; when it returns true the scan ends with
    /// [`Error::Stopped`].
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
            || 0_u64,
            |lane, query, rows, count| {
                let survivors = lane.survivors(query, rows, radius);
                *count += survivors.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
            },
            |lanes| lanes.sum(),
        )
    }

    /// The at most `k` nearest rows no farther than `radius`.
    fn nearest(&self, queries: Codes<'_>, k: usize, radius: u32) -> Result<Vec<Vec<Hit>>, Error> {
        self.run(
            queries,
            || TopK::new(k, radius),
            |lane, query, rows, top| lane.collect(query, rows, top),
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

    /// Walk the rows with a state for each query and lane, then merge each query's lanes.
    fn run<S: Send, T: Send>(
        &self,
        queries: Codes<'_>,
        start: impl Fn() -> S + Sync,
        step: impl Fn(&mut Lane<'_>, &Query, Range<usize>, &mut S) + Sync,
        merge: impl Fn(std::vec::IntoIter<S>) -> T + Sync,
    ) -> Result<Vec<T>, Error> {
        self.check(queries)?;
        let rows = self.codes.rows();
        let groups = queries.rows().div_ceil(QUERY_GROUP).max(1);
        let tasks = (rayon::current_num_threads() * TASKS_PER_THREAD).div_ceil(groups);
        let lanes = tasks.min(rows / LANE_ROWS).max(1);
        let lane_rows = rows.div_ceil(lanes).next_multiple_of(GROUP);

        let groups: Result<Vec<Vec<T>>, Error> = (0..groups)
            .into_par_iter()
            .map(|group| {
                let first = group * QUERY_GROUP;
                let last = queries.rows().min(first + QUERY_GROUP);
                let prepared: Vec<Query> = (first..last).map(|row| Query::of_row(queries, row)).collect();
                let walked: Result<Vec<Vec<S>>, Error> = (0..lanes)
                    .into_par_iter()
                    .map(|lane| {
                        let rows = rows.min(lane * lane_rows)..rows.min((lane + 1) * lane_rows);
                        let mut states: Vec<S> = prepared.iter().map(|_| start()).collect();
                        self.walk(rows, &prepared, &mut states, &step)?;
                        Ok(states)
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

    fn check(&self, queries: Codes<'_>) -> Result<(), Error> {
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

    /// Take the rows of one lane through the queries of one group, step by step.
    fn walk<S>(
        &self,
        rows: Range<usize>,
        queries: &[Query],
        states: &mut [S],
        step: &impl Fn(&mut Lane<'_>, &Query, Range<usize>, &mut S),
    ) -> Result<(), Error> {
        let group_bytes = Query::lines_per_group(self.codes.bits()) * size_of::<crate::Line>();
        let step_rows = (STEP_BYTES / group_bytes * GROUP).clamp(GROUP, STEP_ROWS);
        let mut lane = Lane::new(self);
        let mut rows_to_stop = 0;
        let mut first = rows.start;
        // A query has no useful bound yet, so that every row of its first step survives: begin small.
        let mut size = GROUP;
        while first < rows.end {
            if rows_to_stop == 0 {
                if self.stop.is_some_and(|stop| stop()) {
                    return Err(Error::Stopped);
                }
                rows_to_stop = STOP_ROWS;
            }
            let last = rows.end.min(first + size);
            rows_to_stop = rows_to_stop.saturating_sub(size);
            let mut from = first;
            while let Some(run) = self.next_run(from..last) {
                from = run.end;
                for (query, state) in queries.iter().zip(&mut *states) {
                    step(&mut lane, query, run.clone(), state);
                }
            }
            first = last;
            size = (size * 2).min(step_rows);
        }
        Ok(())
    }

    /// The first run of rows in a range, from a multiple of 64, none of whose groups is all masked.
    fn next_run(&self, rows: Range<usize>) -> Option<Range<usize>> {
        if rows.is_empty() {
            return None;
        }
        let Some(mask) = self.mask else { return Some(rows) };
        let words = &mask.words()[rows.start / GROUP..rows.end.div_ceil(GROUP)];
        let skipped = words.iter().position(|&word| word != 0)?;
        let kept = words[skipped..].iter().position(|&word| word == 0).unwrap_or(words.len() - skipped);
        let first = rows.start + skipped * GROUP;
        Some(first..rows.end.min(first + kept * GROUP))
    }
}

/// The buffers of one task.
struct Lane<'a> {
    codes: Codes<'a>,
    mask: Option<&'a RowMask>,
    isa: Isa,
    survivors: [u64; STEP_ROWS / GROUP],
    distances: Vec<u16>,
}

impl<'a> Lane<'a> {
    fn new(scan: &Scan<'a>) -> Self {
        Self {
            codes: scan.codes,
            mask: scan.mask,
            isa: scan.isa,
            survivors: [0; _],
            distances: vec![0; STEP_ROWS],
        }
    }

    /// One bit for each row of a run: in the mask and at a distance of at most `bound`.
    fn survivors(&mut self, query: &Query, rows: Range<usize>, bound: u32) -> &[u64] {
        let words = &mut self.survivors[..rows.len().div_ceil(GROUP)];
        if bound < self.codes.bits().bits() as u32 {
            self.isa.within(query, self.codes.lines_of(rows.start, rows.end), bound, words);
        } else {
            words.fill(u64::MAX);
        }
        // Rows after the last one of the matrix: padding of a block, or left by an earlier run.
        let tail = rows.len() % GROUP;
        if tail != 0
            && let Some(last) = words.last_mut()
        {
            *last &= (1 << tail) - 1;
        }
        if let Some(mask) = self.mask {
            for (word, mask) in words.iter_mut().zip(&mask.words()[rows.start / GROUP..]) {
                *word &= mask;
            }
        }
        words
    }

    /// Offer the rows of a run that could be among the nearest.
    fn collect(&mut self, query: &Query, rows: Range<usize>, top: &mut TopK) {
        let Some(bound) = top.bound() else { return };
        let survivors = self.survivors(query, rows.clone(), bound);
        let count: u32 = survivors.iter().map(|word| word.count_ones()).sum();
        if count == 0 {
            return;
        }
        let words = rows.len().div_ceil(GROUP);
        let dense = count as usize > rows.len() / 16;
        if dense {
            let lines = self.codes.lines_of(rows.start, rows.end);
            self.isa.distances(query, lines, &mut self.distances);
        }
        for (word, group) in self.survivors[..words].iter().zip((0..).step_by(GROUP)) {
            let mut word = *word;
            while word != 0 {
                let place = group + word.trailing_zeros() as usize;
                word &= word - 1;
                let row = rows.start + place;
                let distance =
                    if dense { u32::from(self.distances[place]) } else { query.distance(self.codes, row) };
                top.offer(Hit { distance, row: row as u32 });
            }
        }
        top.tighten();
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
