//! The search: queries in groups, rows in pieces, answers as the CPU gives them.

use super::arguments::TILE_ROWS;
use super::candidates::DeviceCandidates;
use super::queries::DeviceQueries;
use super::targets::TargetTable;
use super::{DeviceMask, Machine, Plan, Target, Variant, launch};
use crate::{CodeBits, Codes, Error};

/// The most rows that can be asked for; more are searched for on the CPU.
pub const MOST_NEAREST: usize = 2048;

/// Words compared before a search that can be stopped waits for the card and asks: some tens of
/// milliseconds by the arithmetic of population counts on a large card.
const WORDS_UNWAITED: u64 = 1 << 34;

/// Asked whether a search is still wanted.
#[derive(Clone, Copy)]
struct Stop<'a>(&'a (dyn Fn() -> bool + Sync));

impl std::fmt::Debug for Stop<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stop")
    }
}

/// A row found in one of several matrices; ordered by (distance, segment, row).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentHit {
    /// The number of differing bits.
    pub distance: u32,
    /// Which of the targets, from 0.
    pub segment: usize,
    /// The row in that matrix, from 0.
    pub row: u32,
}

/// An exact search over matrices in the memory of a machine.
///
/// Hits come in ascending order of (distance, segment, row): what [`Scan`](crate::Scan) gives for
/// each matrix, merged.
#[derive(Debug)]
pub struct Search<'a, M: Machine> {
    machine: &'a M,
    targets: &'a [Target<'a, M>],
    plan: Option<Plan>,
    variant: Option<Variant>,
    stop: Option<Stop<'a>>,
}

impl<M: Machine> Clone for Search<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Machine> Copy for Search<'_, M> {}

impl<'a, M: Machine> Search<'a, M> {
    /// A search over some matrices, all of the same code length.
    #[must_use]
    pub const fn new(machine: &'a M, targets: &'a [Target<'a, M>]) -> Self {
        Self { machine, targets, plan: None, variant: None, stop: None }
    }

    /// Use these sizes instead of [`Plan::of`] the request.
    #[must_use]
    pub const fn plan(mut self, plan: Plan) -> Self {
        self.plan = Some(plan);
        self
    }

    /// Compare in this way instead of [`Variant::of`] the request.
    #[must_use]
    pub const fn variant(mut self, variant: Variant) -> Self {
        self.variant = Some(variant);
        self
    }

    /// Ask `stop` between pieces of work of some tens of milliseconds; when it returns true the search
    /// ends with [`Error::Stopped`].
    #[must_use]
    pub const fn stop(mut self, stop: &'a (dyn Fn() -> bool + Sync)) -> Self {
        self.stop = Some(Stop(stop));
        self
    }

    /// The `k` nearest rows to each query, fewer where there are fewer rows.
    ///
    /// # Errors
    /// [`Error::ZeroK`] when `k` is 0, [`Error::TooManyNearest`] beyond [`MOST_NEAREST`],
    /// [`Error::Shape`] when a matrix or the queries have another code length or a mask another
    /// number of rows, [`Error::Cuda`] when the machine fails or a matrix is in the memory of another,
    /// [`Error::Stopped`] when `stop` said so.
    pub fn top_k(&self, queries: Codes<'_>, k: usize) -> Result<Vec<Vec<SegmentHit>>, Error> {
        if k == 0 {
            return Err(Error::ZeroK);
        }
        self.nearest(queries, k, queries.bits().bits() as u32)
    }

    /// The rows at a distance of at most `radius` of each query, the nearest `limit` of them.
    ///
    /// [`count_within`](Self::count_within) tells which limit gives all.
    ///
    /// # Errors
    /// As [`top_k`](Self::top_k), but a limit of 0 is allowed and gives no rows.
    pub fn within(
        &self,
        queries: Codes<'_>,
        radius: u32,
        limit: usize,
    ) -> Result<Vec<Vec<SegmentHit>>, Error> {
        if limit == 0 {
            self.check(queries)?;
            return Ok(vec![Vec::new(); queries.rows()]);
        }
        self.nearest(queries, limit, radius.min(queries.bits().bits() as u32))
    }

    /// How many rows are at a distance of at most `radius` of each query.
    ///
    /// # Errors
    /// As [`top_k`](Self::top_k).
    pub fn count_within(&self, queries: Codes<'_>, radius: u32) -> Result<Vec<u64>, Error> {
        self.check(queries)?;
        let table = TargetTable::upload(self.machine, self.targets, queries.bits())?;
        let mut counts = vec![0_u64; queries.rows()];
        if table.tiles() == 0 {
            return Ok(counts);
        }
        let mut group_size = self.plan.unwrap_or_else(|| Plan::of(queries.rows(), 1)).queries();
        if self.stop.is_some() {
            let fitting = WORDS_UNWAITED / (table.tiles() * words_a_tile(queries.bits(), 1));
            group_size = group_size.min(fitting as usize).max(1);
        }
        for (number, counts) in counts.chunks_mut(group_size).enumerate() {
            let first = number * group_size;
            self.ask()?;
            let group = DeviceQueries::upload(self.machine, queries, first..first + counts.len())?;
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(counts);
            let mut totals = self.machine.allocate(bytes.len())?;
            self.machine.write(&mut totals, 0, bytes)?;
            let radius = radius.min(queries.bits().bits() as u32);
            launch::count(self.machine, &table, &group, &mut totals, radius)?;
            self.machine.read(&totals, 0, bytes)?;
        }
        Ok(counts)
    }

    /// The at most `k` nearest rows no farther than `radius`.
    fn nearest(&self, queries: Codes<'_>, k: usize, radius: u32) -> Result<Vec<Vec<SegmentHit>>, Error> {
        self.check(queries)?;
        if k > MOST_NEAREST {
            return Err(Error::TooManyNearest { k, most: MOST_NEAREST });
        }
        let table = TargetTable::upload(self.machine, self.targets, queries.bits())?;
        if table.tiles() == 0 {
            return Ok(vec![Vec::new(); queries.rows()]);
        }
        let plan = self.plan.unwrap_or_else(|| Plan::of(queries.rows(), k));
        let mut hits = Vec::with_capacity(queries.rows());
        for first in (0..queries.rows()).step_by(plan.queries()) {
            let last = queries.rows().min(first + plan.queries());
            self.ask()?;
            let group = DeviceQueries::upload(self.machine, queries, first..last)?;
            hits.extend(self.search_group(&table, &group, plan, k as u32, radius)?);
        }
        Ok(hits)
    }

    fn search_group(
        &self,
        table: &TargetTable<'_, M>,
        queries: &DeviceQueries<M>,
        plan: Plan,
        k: u32,
        radius: u32,
    ) -> Result<Vec<Vec<SegmentHit>>, Error> {
        let machine = self.machine;
        let mut candidates = DeviceCandidates::new(machine, queries.count(), plan.capacity(k), k, radius)?;
        let variant = self.variant.unwrap_or_else(|| Variant::of(queries.bits(), queries.count() as usize));
        let words_a_tile = words_a_tile(queries.bits(), queries.count());
        let mut pieces = plan.pieces(table.tiles(), k);
        if self.stop.is_some() {
            pieces = Plan::cut(pieces, WORDS_UNWAITED / words_a_tile);
        }
        loop {
            let mut unwaited = 0;
            for (number, piece) in pieces.iter().enumerate() {
                // All rows of the very first piece enter, which the matrix units do not speed up.
                let scan = match variant {
                    Variant::Tensor if piece.start > 0 => launch::tensor_scan,
                    _ => launch::scan,
                };
                unwaited += (piece.end - piece.start) * words_a_tile;
                if self.stop.is_some() && unwaited > WORDS_UNWAITED {
                    // Reading waits for what was launched before.
                    candidates.overflow(machine)?;
                    self.ask()?;
                    unwaited = 0;
                }
                scan(machine, table, piece.clone(), queries, &candidates, number)?;
                launch::narrow(machine, table, &candidates, number)?;
            }
            launch::order(machine, &candidates)?;
            let Some(number) = candidates.overflow(machine)? else { break };
            // Nothing was searched after this piece, and what it offered itself is forgotten.
            let rest = pieces.split_off(number);
            pieces = plan.split(rest[0].clone(), k);
            pieces.extend_from_slice(&rest[1..]);
            candidates.clear_overflow(machine)?;
        }
        let answers = candidates.answers(machine)?;
        let hit = |(distance, position)| table.hit(distance, position);
        Ok(answers.into_iter().map(|keys| keys.into_iter().map(hit).collect()).collect())
    }

    /// Ask whether the search is still wanted.
    fn ask(&self) -> Result<(), Error> {
        match self.stop {
            Some(Stop(stop)) if stop() => Err(Error::Stopped),
            _ => Ok(()),
        }
    }

    fn check(&self, queries: Codes<'_>) -> Result<(), Error> {
        let expected = queries.bits().bits();
        for target in self.targets {
            let owners = [Some(target.codes.owner()), target.mask.map(DeviceMask::owner)];
            owners.into_iter().flatten().try_for_each(|owner| self.machine.identity().check(owner))?;
            let got = target.codes.bits().bits();
            if got != expected {
                return Err(Error::Shape { what: "bits of the codes to search", expected, got });
            }
            let rows = target.codes.rows();
            match target.mask {
                Some(mask) if mask.rows() != rows => {
                    return Err(Error::Shape { what: "rows of the mask", expected: rows, got: mask.rows() });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Words that the queries of a group compare in a tile.
fn words_a_tile(bits: CodeBits, queries: u32) -> u64 {
    TILE_ROWS * u64::from(queries) * bits.words() as u64
}
