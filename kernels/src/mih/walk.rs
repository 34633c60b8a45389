//! One query: shell after shell, the cheapest next, until every row that could be near was met.

use super::cost::{self, Growth};
use super::key::flips;
use super::nearest::Nearest;
use super::view::{List, MultiIndex, Substring};
use crate::query::Query;
use crate::{Codes, Error, Hit, Isa, RowMask};

/// Rows compared together; as many more have been asked for.
const FETCH: usize = 512;
/// Lists that are found together.
const LISTS: usize = 64;
/// Rows fetched, or lists found, between two questions whether to stop: about a millisecond.
const ASK_ROWS: usize = 1 << 16;
/// While all shells cost less than this share of a scan, nobody looks ahead but once:
const FREE: f64 = 1.0 / 256.0;
/// with one list of each substring taken, little is known, and the search ends where what follows is
/// expected to cost as many scans as this.
const HOPELESS: f64 = 8.0;
/// Rows of each of the first lists that are asked for before all else.
const FIRST: usize = 16;
/// While it is not known how far the nearest rows are, this share of a scan may be spent.
const UNKNOWN: f64 = 1.0 / 16.0;

/// A search of the index for one query.
pub(crate) struct Walk<'w, 'a> {
    index: &'w MultiIndex<'a>,
    codes: Codes<'a>,
    mask: Option<&'w RowMask>,
    isa: Isa,
    query: Query,
    /// The query's code by words, without the repetition of packed codes.
    words: Vec<u64>,
    /// The query's value in each substring.
    keys: Vec<u32>,
    growth: Vec<Growth>,
    /// The rows in the last shell of each substring.
    last: Vec<Option<f64>>,
    nearest: Nearest,
    /// Whether to look at the mask before the code: where it leaves few rows.
    mask_first: bool,
    lists: Vec<List>,
    rows: Vec<u32>,
    distances: Vec<u16>,
    stop: Option<&'w (dyn Fn() -> bool + Sync)>,
    /// Rows that may be fetched until `stop` is asked again.
    unasked: usize,
    outcome: Outcome,
}

/// What a search of the index did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Outcome {
    /// Whether the answer is complete; otherwise a scan is cheaper.
    pub(crate) complete: bool,
    /// The expected cost of the whole search when it ended, in nanoseconds.
    pub(crate) cost: f64,
    /// Lists looked up, and rows in those whose rows were fetched.
    pub(crate) lists: u64,
    pub(crate) rows: u64,
}

impl<'w, 'a> Walk<'w, 'a> {
    /// A search for the `k` nearest rows, at least one, no farther than `radius`; `k` of `None` counts
    /// them. `left` is the share of rows that the mask leaves.
    pub(crate) fn new(
        index: &'w MultiIndex<'a>,
        codes: Codes<'a>,
        mask: Option<(&'w RowMask, f64)>,
        isa: Isa,
        query: Query,
        k: Option<usize>,
        radius: u32,
    ) -> Self {
        let low = u64::MAX >> (64 - query.bits.bits().min(64));
        let words: Vec<u64> =
            query.words.iter().map(|&word| if query.bits.is_packed() { word & low } else { word }).collect();
        let key = |substring: &Substring<'_>| substring.reader.key(|word| words[word]);
        let keys = index.substrings().iter().map(key).collect();
        let growth: Vec<Growth> =
            index.substrings().iter().map(|substring| Growth::new(substring.width, index.rows())).collect();
        Self {
            index,
            codes,
            mask: mask.map(|(mask, _)| mask),
            isa,
            query,
            words,
            keys,
            last: vec![None; growth.len()],
            growth,
            nearest: k.map_or_else(|| Nearest::counter(radius), |k| Nearest::new(k, radius)),
            mask_first: mask.is_some_and(|(_, left)| left < 0.5),
            lists: Vec::new(),
            rows: Vec::with_capacity(3 * FETCH),
            distances: vec![0; FETCH],
            stop: None,
            unasked: ASK_ROWS,
            outcome: Outcome::default(),
        }
    }

    /// Ask `stop` every now and then; when it returns true the search ends with [`Error::Stopped`].
    pub(crate) fn stop(mut self, stop: Option<&'w (dyn Fn() -> bool + Sync)>) -> Self {
        self.stop = stop;
        self
    }

    /// Count work done, in rows, and ask whether to stop where there was enough since the last time.
    fn worked(&mut self, rows: usize) -> Result<(), Error> {
        if let Some(rest) = self.unasked.checked_sub(rows) {
            self.unasked = rest;
            return Ok(());
        }
        self.unasked = ASK_ROWS;
        if self.stop.is_some_and(|stop| stop()) { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Search until the answer is complete or would cost more than `scan`, whose unit is `cost.rs`'s.
    pub(crate) fn run(&mut self, scan: f64) -> Result<Outcome, Error> {
        let bits = self.codes.bits();
        let substrings = self.index.substrings();
        let mut covered = 0;
        let mut spent = 0.0;
        if !self.nearest.is_full() && self.nearest.k() == usize::MAX {
            // The radius is given: what all of it costs is known to good approximation at once.
            spent = cost::of_shells(bits, &self.growth, covered, self.nearest.bound(), scan);
            if spent > scan {
                return Ok(self.stopped(spent));
            }
            spent = 0.0;
        }
        self.prefetch_first()?;
        while covered <= self.nearest.bound() {
            let next = (0..substrings.len())
                .min_by(|&a, &b| self.growth[a].cost(bits).total_cmp(&self.growth[b].cost(bits)));
            let Some((next, substring)) = next.and_then(|next| Some((next, substrings.get(next)?))) else {
                break;
            };
            let lists = self.growth[next].lists;
            if spent + cost::of_lists(bits, lists, 0.0) > scan {
                return Ok(self.stopped(spent + self.growth[next].cost(bits)));
            }
            if covered as usize == substrings.len() {
                let hopeless = scan * HOPELESS;
                let expected = self
                    .likely_distance()
                    .map_or(0.0, |distance| cost::of_shells(bits, &self.growth, covered, distance, hopeless));
                if expected > hopeless {
                    return Ok(self.stopped(expected));
                }
            }
            let rows = self.find(substring, self.keys[next], self.growth[next].next)?;
            spent += cost::of_lists(bits, lists, rows as f64);
            let expected = spent + self.ahead(covered + 1, spent, scan);
            if expected > scan {
                return Ok(self.stopped(expected));
            }
            self.outcome.rows += rows as u64;
            self.compare(next, substring)?;
            self.growth[next].took(rows as f64, self.last[next]);
            self.last[next] = Some(rows as f64);
            covered += 1;
        }
        self.outcome.complete = true;
        self.outcome.cost = spent;
        Ok(self.outcome)
    }

    fn stopped(&mut self, expected: f64) -> Outcome {
        self.outcome.cost = expected;
        self.outcome
    }

    /// Ask for what the first shells, a list of each substring, will read, and the first of their rows: so
    /// all of them wait for memory together.
    fn prefetch_first(&mut self) -> Result<(), Error> {
        let of_query = || self.index.substrings().iter().zip(&self.keys);
        for (substring, &key) in of_query() {
            substring.prefetch_list(key);
        }
        for (substring, &key) in of_query() {
            substring.prefetch_rows(substring.list(key)?);
        }
        for (substring, &key) in of_query() {
            substring.read(substring.list(key)?.split(FIRST).0, &mut self.rows)?;
        }
        self.codes.prefetch(&self.rows);
        self.rows.clear();
        Ok(())
    }

    /// The distance of the last row of the answer, as far as can be told; none while nothing can.
    fn likely_distance(&self) -> Option<u32> {
        let bound = self.nearest.bound();
        if self.nearest.k() == usize::MAX {
            return Some(bound);
        }
        let likely = cost::likely_distance(self.codes.bits(), &self.growth, &self.nearest);
        likely.map(|likely| likely.min(bound))
    }

    /// The expected cost of what follows the shell just found, or a scan's when it is not worth it.
    fn ahead(&self, covered: u32, spent: f64, scan: f64) -> f64 {
        if spent < scan * FREE {
            return 0.0;
        }
        let distance = match self.likely_distance() {
            Some(likely) => likely,
            None if spent < scan * UNKNOWN => return 0.0,
            // All within the radius; where none was given that is more than any scan.
            None => self.nearest.bound(),
        };
        cost::of_shells(self.codes.bits(), &self.growth, covered, distance, scan)
    }

    /// Find the lists of a shell; the number of rows in them.
    fn find(&mut self, substring: &Substring<'_>, key: u32, radius: u32) -> Result<usize, Error> {
        self.lists.clear();
        let mut total = 0;
        let mut flips = flips(substring.width, radius);
        loop {
            let mut keys = [0; LISTS];
            let mut found = 0;
            for (place, flips) in keys.iter_mut().zip(&mut flips) {
                *place = key ^ flips;
                substring.prefetch_list(*place);
                found += 1;
            }
            for &key in &keys[..found] {
                let list = substring.list(key)?;
                if list.len() > 0 {
                    substring.prefetch_rows(list);
                    total += list.len();
                    self.lists.push(list);
                }
            }
            self.outcome.lists += found as u64;
            self.worked(found)?;
            if found < LISTS {
                return Ok(total);
            }
        }
    }

    /// Compare the rows of the lists found with the query.
    fn compare(&mut self, current: usize, substring: &Substring<'_>) -> Result<(), Error> {
        let lists = std::mem::take(&mut self.lists);
        for &list in &lists {
            let mut list = list;
            while list.len() > 0 {
                let (some, rest) = list.split(FETCH);
                list = rest;
                let first = self.rows.len();
                substring.read(some, &mut self.rows)?;
                if self.mask_first
                    && let Some(mask) = self.mask
                {
                    let mut kept = first;
                    for at in first..self.rows.len() {
                        self.rows[kept] = self.rows[at];
                        kept += usize::from(mask.get(self.rows[at] as usize));
                    }
                    self.rows.truncate(kept);
                }
                self.codes.prefetch(&self.rows[first..]);
                if self.rows.len() >= 2 * FETCH {
                    self.offer(current, FETCH);
                }
                self.worked(some.len())?;
            }
        }
        while !self.rows.is_empty() {
            self.offer(current, FETCH);
        }
        self.lists = lists;
        Ok(())
    }

    /// Offer those of the first rows read that are met here for the first time.
    fn offer(&mut self, current: usize, most: usize) {
        let most = most.min(self.rows.len());
        let rows = &self.rows[..most];
        self.isa.at(&self.query, self.codes.lines(), rows, &mut self.distances[..most]);
        for place in 0..most {
            let hit = Hit { distance: u32::from(self.distances[place]), row: self.rows[place] };
            if hit.distance <= self.nearest.bound() && self.is_new(current, hit.row) {
                self.nearest.offer(hit);
            }
        }
        self.rows.drain(..most);
    }

    /// Whether a row of the current shell is alive and in no shell taken before: it differs from the
    /// query in as many bits of every other substring as shells of it have been taken.
    fn is_new(&self, current: usize, row: u32) -> bool {
        let differing = |substring: &Substring<'_>| -> u32 {
            let words = self.words.iter().zip(&substring.mask).enumerate();
            words
                .map(|(at, (word, mask))| ((self.codes.word(row as usize, at) ^ word) & mask).count_ones())
                .sum()
        };
        let mut others = self.index.substrings().iter().zip(&self.growth).enumerate();
        (self.mask_first || self.mask.is_none_or(|mask| mask.get(row as usize)))
            && others.all(|(at, (substring, growth))| at == current || differing(substring) >= growth.next)
    }

    /// The answer of a complete search for rows.
    pub(crate) fn into_hits(self) -> Vec<Hit> {
        self.nearest.into_sorted()
    }

    /// The answer of a complete search that counts.
    pub(crate) const fn count(&self) -> u64 {
        self.nearest.count()
    }
}
