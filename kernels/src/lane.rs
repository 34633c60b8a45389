//! One task of a scan: a group of queries taken through a range of rows.
//!
//! The rows come in *steps* whose codes fit the first-level cache, and every query is compared with
//! a step before the next one, so that a batch reads memory once a group of queries. A step is
//! *screened*: the nearest of 64 codes is held against the query's limit, several queries at a time
//! in registers, and only groups of 64 that hold a survivor, few after the first steps, are looked
//! at again. While most rows still survive, a query takes a whole step at once instead.
//!
//! Masked rows are removed from the survivors; 64 rows that are all masked are not compared at all;
//! and where a mask leaves few rows, they are fetched one by one, each asked for well before it is
//! needed, so that the time goes with the rows left and not with the rows there are.

use std::ops::Range;

use crate::mask::ROWS_SLACK;
use crate::query::Query;
use crate::scan::Scan;
use crate::topk::TopK;
use crate::{Codes, Error, Hit, Isa, Line, RowMask};

/// Rows are compared in groups of this many, one word of a mask.
pub(crate) const GROUP: usize = 64;
/// A step's codes take about this many bytes, half of a small first-level cache.
const STEP_BYTES: usize = 16 << 10;
/// The most rows in a step, whatever their size: as many groups as a word has bits.
const STEP_ROWS: usize = GROUP * GROUP;
/// The caller's `stop` is asked, and the mask's density judged, once in this many rows.
const STRETCH_ROWS: usize = 1 << 16;
/// With fewer rows left than one in this many, they are fetched one by one.
const SPARSE: usize = 20;
/// Rows compared together when they are fetched one by one.
const FETCH: usize = 32;
/// Rows asked for before they are compared: as many as keep the memory system busy.
const AHEAD: usize = 512;
/// Rows asked for a second time before they are compared: a processor whose queues are full forgets some
/// requests.
const AGAIN: usize = 128;
/// Words of a mask that are looked at together.
const WORDS: usize = 64;

/// A range of the rows of a scan, and the buffers to walk it.
pub(crate) struct Lane<'a> {
    codes: Codes<'a>,
    mask: Option<&'a RowMask>,
    isa: Isa,
    stop: Option<&'a (dyn Fn() -> bool + Sync)>,
    rows: Range<usize>,
    survivors: [u64; STEP_ROWS / GROUP],
    distances: Vec<u16>,
}

/// A part of a lane, as it is to be taken.
enum Piece<'r> {
    /// All rows of a range that starts at a multiple of 64, the masked ones among them.
    Run(Range<usize>),
    /// Single rows, ascending, none of them masked.
    Rows(&'r [u32]),
}

impl<'a> Lane<'a> {
    pub(crate) fn new(scan: &Scan<'a>, rows: Range<usize>) -> Self {
        Self {
            codes: scan.codes,
            mask: scan.mask,
            isa: scan.isa,
            stop: scan.stop,
            rows,
            survivors: [0; _],
            distances: vec![0; STEP_ROWS],
        }
    }

    /// Add the number of rows at a distance of at most `radius` of each query to `counts`.
    pub(crate) fn count(&mut self, queries: &[Query], radius: u32, counts: &mut [u64]) -> Result<(), Error> {
        self.walk(queries.len(), |lane, piece| {
            for (query, count) in queries.iter().zip(&mut *counts) {
                *count += match &piece {
                    Piece::Run(rows) => {
                        let survivors = lane.survivors(query, rows.clone(), radius);
                        survivors.iter().map(|word| u64::from(word.count_ones())).sum::<u64>()
                    }
                    Piece::Rows(rows) => {
                        let distances = lane.distances_of(query, rows);
                        distances.iter().filter(|&&distance| u32::from(distance) <= radius).count() as u64
                    }
                };
            }
        })
    }

    /// Offer every query's collector the rows that it could keep.
    pub(crate) fn nearest(&mut self, queries: &[Query], tops: &mut [TopK]) -> Result<(), Error> {
        let mut groups = vec![0; queries.len()];
        let mut limits = vec![0; queries.len()];
        // Whether most queries had many survivors in the last step, as all have in the first.
        let mut crowded = true;
        self.walk(queries.len(), |lane, piece| match piece {
            Piece::Rows(rows) => {
                for (query, top) in queries.iter().zip(&mut *tops) {
                    lane.offer_rows(query, rows, top);
                }
            }
            Piece::Run(run) if crowded => {
                let mut survivors = 0;
                for (query, top) in queries.iter().zip(&mut *tops) {
                    survivors += lane.collect(query, run.clone(), top);
                }
                crowded = survivors * GROUP > run.len() * queries.len();
            }
            Piece::Run(run) => {
                let whole = run.start..run.end / GROUP * GROUP;
                let lines = lane.codes.lines_of(whole.start, whole.end);
                for (limit, top) in limits.iter_mut().zip(&*tops) {
                    *limit = top.bound().map_or(0, |bound| bound + 1);
                }
                lane.isa.screen(queries, lines, &limits, &mut groups);
                let mut survivors = 0;
                for ((query, &groups), top) in queries.iter().zip(&groups).zip(&mut *tops) {
                    if groups != 0 {
                        survivors += lane.collect_groups(query, whole.clone(), groups, top);
                    }
                    if whole.end < run.end {
                        lane.collect(query, whole.end..run.end, top);
                    }
                }
                crowded = survivors * GROUP > run.len() * queries.len();
            }
        })
    }

    /// Cut the lane into pieces; one query alone needs none of them twice, so they may be long.
    fn walk(&mut self, queries: usize, mut take: impl FnMut(&mut Self, Piece<'_>)) -> Result<(), Error> {
        let group_bytes = Query::lines_per_group(self.codes.bits()) * size_of::<Line>();
        let step_bytes = if queries == 1 { usize::MAX } else { STEP_BYTES };
        let step_rows = (step_bytes / group_bytes).saturating_mul(GROUP).clamp(GROUP, STEP_ROWS);
        // A query has no useful bound yet, so that every row of its first step survives: begin small.
        let mut size = GROUP;
        let mut queue = Queue::new();
        let end = self.rows.end;
        for start in self.rows.clone().step_by(STRETCH_ROWS) {
            if self.stop.is_some_and(|stop| stop()) {
                return Err(Error::Stopped);
            }
            let mut stretch = start..end.min(start + STRETCH_ROWS);
            if let Some(mask) = self.mask {
                stretch.start = stretch.end.min(start + masked_rows(mask, &stretch));
                if is_sparse(mask, &stretch) {
                    self.fetch(mask, stretch, &mut queue, &mut take);
                    continue;
                }
                self.drain(&mut queue, &mut take);
            }
            let mut first = stretch.start;
            while let Some(run) = self.next_run(first..stretch.end, size) {
                first = run.end;
                size = (size * 2).min(step_rows);
                take(self, Piece::Run(run));
            }
        }
        self.drain(&mut queue, &mut take);
        Ok(())
    }

    /// The first run of at most `size` rows in a range, from a multiple of 64, none of whose groups is
    /// all masked.
    fn next_run(&self, rows: Range<usize>, size: usize) -> Option<Range<usize>> {
        if rows.is_empty() {
            return None;
        }
        let Some(mask) = self.mask else { return Some(rows.start..rows.end.min(rows.start + size)) };
        let words = &mask.words()[rows.start / GROUP..rows.end.div_ceil(GROUP)];
        let skipped = words.iter().position(|&word| word != 0)?;
        let words = &words[skipped..];
        let words = &words[..words.len().min(size / GROUP)];
        let kept = words.iter().position(|&word| word == 0).unwrap_or(words.len());
        let first = rows.start + skipped * GROUP;
        Some(first..rows.end.min(first + kept * GROUP))
    }

    /// Put the rows that a mask leaves of a stretch into the queue, ask for them, and take those that
    /// were asked for long enough ago.
    fn fetch(
        &mut self,
        mask: &RowMask,
        rows: Range<usize>,
        queue: &mut Queue,
        take: &mut impl FnMut(&mut Self, Piece<'_>),
    ) {
        let words = &mask.words()[rows.start / GROUP..rows.end.div_ceil(GROUP)];
        for (words, first) in words.chunks(WORDS).zip((rows.start..).step_by(WORDS * GROUP)) {
            let asked = queue.filled;
            queue.filled += self.isa.rows(words, first as u32, &mut queue.rows[asked..]);
            self.codes.prefetch(&queue.rows[asked..queue.filled]);
            while queue.filled - queue.taken >= AHEAD + FETCH {
                let next = queue.taken + FETCH;
                self.codes.prefetch(&queue.rows[queue.taken + AGAIN..next + AGAIN]);
                take(self, Piece::Rows(&queue.rows[queue.taken..next]));
                queue.taken = next;
            }
            queue.make_room();
        }
    }

    /// Take all rows in the queue.
    fn drain(&mut self, queue: &mut Queue, take: &mut impl FnMut(&mut Self, Piece<'_>)) {
        for rows in queue.rows[queue.taken..queue.filled].chunks(FETCH) {
            take(self, Piece::Rows(rows));
        }
        (queue.taken, queue.filled) = (0, 0);
    }

    /// The distances of single rows, at most [`STEP_ROWS`].
    fn distances_of(&mut self, query: &Query, rows: &[u32]) -> &[u16] {
        self.isa.at(query, self.codes.lines(), rows, &mut self.distances);
        &self.distances[..rows.len()]
    }

    /// Offer those of single unmasked rows that a collector could keep.
    fn offer_rows(&mut self, query: &Query, rows: &[u32], top: &mut TopK) {
        let Some(bound) = top.bound() else { return };
        let distances = self.distances_of(query, rows);
        let nearest = distances.iter().copied().min();
        if nearest.is_some_and(|nearest| u32::from(nearest) <= bound) {
            for (&row, &distance) in rows.iter().zip(distances) {
                top.offer(Hit { distance: u32::from(distance), row });
            }
            top.tighten();
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

    /// Offer the rows of a run that could be among the nearest; how many there were.
    fn collect(&mut self, query: &Query, rows: Range<usize>, top: &mut TopK) -> usize {
        let Some(bound) = top.bound() else { return 0 };
        let survivors = self.survivors(query, rows.clone(), bound);
        let count = survivors.iter().map(|word| word.count_ones() as usize).sum();
        if count == 0 {
            return 0;
        }
        let words = rows.len().div_ceil(GROUP);
        let dense = count > rows.len() / 16;
        if dense {
            let lines = self.codes.lines_of(rows.start, rows.end);
            self.isa.distances(query, lines, &mut self.distances);
        }
        for (word, group) in self.survivors[..words].iter().zip((0..).step_by(GROUP)) {
            let mut word = *word;
            while word != 0 {
                let place = group + word.trailing_zeros() as usize;
                word &= word - 1;
                let row = (rows.start + place) as u32;
                if !dense {
                    let distance = &mut self.distances[place..=place];
                    self.isa.at(query, self.codes.lines(), &[row], distance);
                }
                top.offer(Hit { distance: u32::from(self.distances[place]), row });
            }
        }
        top.tighten();
        count
    }

    /// Offer the rows of some groups of a run that could be among the nearest; how many there were.
    fn collect_groups(&mut self, query: &Query, rows: Range<usize>, groups: u64, top: &mut TopK) -> usize {
        if groups.count_ones() as usize * GROUP > rows.len() / 2 {
            return self.collect(query, rows, top);
        }
        let mut groups = groups;
        let mut count = 0;
        while groups != 0 {
            let first = rows.start + groups.trailing_zeros() as usize * GROUP;
            groups &= groups - 1;
            count += self.collect(query, first..first + GROUP, top);
        }
        count
    }
}

/// Single rows, ascending: asked for from the memory system as they come, taken some time later.
struct Queue {
    rows: [u32; 4 * AHEAD + WORDS * GROUP + ROWS_SLACK],
    /// Rows before this place are done with.
    taken: usize,
    filled: usize,
}

impl Queue {
    const fn new() -> Self {
        Self { rows: [0; _], taken: 0, filled: 0 }
    }

    /// Room for every row of the next words that are looked at together.
    fn make_room(&mut self) {
        if self.filled + WORDS * GROUP + ROWS_SLACK > self.rows.len() {
            self.rows.copy_within(self.taken..self.filled, 0);
            self.filled -= self.taken;
            self.taken = 0;
        }
    }
}

/// How many rows at the start of a stretch are all masked, in units large enough to look at quickly.
fn masked_rows(mask: &RowMask, rows: &Range<usize>) -> usize {
    let words = &mask.words()[rows.start / GROUP..rows.end.div_ceil(GROUP)];
    let all_zero = |words: &&[u64]| words.iter().fold(0, |all, word| all | word) == 0;
    words.chunks(GROUP).take_while(all_zero).count() * GROUP * GROUP
}

/// Whether a mask leaves few rows of a stretch, judged by one word in sixteen.
fn is_sparse(mask: &RowMask, rows: &Range<usize>) -> bool {
    let words = mask.words()[rows.start / GROUP..rows.end.div_ceil(GROUP)].iter().step_by(16);
    let looked_at = words.len() * GROUP;
    let left: u32 = words.map(|word| word.count_ones()).sum();
    left as usize * SPARSE < looked_at
}
