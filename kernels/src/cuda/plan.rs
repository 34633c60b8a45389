//! In which pieces a search walks through the rows.
//!
//! Within a piece a row is kept when it is no farther than the query's bound; after the piece the
//! nearest k are selected, which lowers the bound for the next piece. The first piece is small, since
//! all of it becomes candidates; every later one is several times as long as all before it, so that
//! few pieces do. Of n rows of random codes k lie within the bound after n rows; of the g n rows of
//! the next piece about g k do, and several times as many because whole distances are kept. A piece
//! with more than fit (codes that come nearer and nearer) is searched again in smaller pieces, in
//! the end ones that fit whatever they hold.

use std::ops::Range;

use super::arguments::TILE_ROWS;

/// Sizes that decide about speed and memory of a [`Search`](super::Search), never about its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    queries: usize,
    candidates: usize,
    growth: u64,
}

impl Plan {
    /// Bytes of candidates that a group of queries may take.
    const MEMORY: usize = 512 << 20;
    /// Tiles of the first piece, all of whose rows become candidates: a few times k rows.
    const FIRST_TILES: u64 = 2;
    /// Tiles of a piece: the rows offered in it are counted with 32 bits.
    const MOST_TILES: u64 = 1 << 20;

    /// Search at most `queries` queries together, with room for `candidates` rows for each, in
    /// pieces `growth` times as long as all pieces before. Values too small to work are raised.
    #[must_use]
    pub fn new(queries: usize, candidates: usize, growth: usize) -> Self {
        Self {
            queries: queries.clamp(1, 1 << 12),
            candidates: candidates.min(1 << 30),
            growth: growth.max(1) as u64,
        }
    }

    /// The sizes for a number of queries and of rows to be found.
    #[must_use]
    pub fn of(queries: usize, k: usize) -> Self {
        if queries <= 16 {
            // One block selects from a query's candidates, which takes longer the more there are.
            let growth = if k <= 256 { 16 } else { 8 };
            return Self::new(queries, (1 << 16).max(256 * k), growth);
        }
        let candidates = (1 << 14).max(128 * k);
        Self::new(queries.min(Self::MEMORY / (8 * candidates)), candidates, 8)
    }

    /// How many queries are searched together.
    pub(crate) const fn queries(&self) -> usize {
        self.queries
    }

    /// Room for each query's candidates: for those kept and a tile more.
    pub(crate) fn capacity(&self, k: u32) -> u32 {
        (self.candidates as u32).max(k + TILE_ROWS as u32)
    }

    /// The pieces of some tiles.
    pub(crate) fn pieces(&self, tiles: u64, k: u32) -> Vec<Range<u64>> {
        let mut pieces = Vec::new();
        let mut first = 0;
        let mut size = (u64::from(self.capacity(k)) / TILE_ROWS).min(Self::FIRST_TILES);
        while first < tiles {
            let last = tiles.min(first + size);
            pieces.push(first..last);
            first = last;
            size = last.saturating_mul(self.growth).min(Self::MOST_TILES);
        }
        pieces
    }

    /// The same pieces, cut so that none has more than `most` tiles.
    pub(crate) fn cut(pieces: Vec<Range<u64>>, most: u64) -> Vec<Range<u64>> {
        let cut = |piece: Range<u64>| {
            let starts = piece.clone().step_by(most.max(1) as usize);
            starts.map(move |first| first..piece.end.min(first + most.max(1)))
        };
        pieces.into_iter().flat_map(cut).collect()
    }

    /// Smaller pieces for one that did not fit.
    pub(crate) fn split(&self, piece: Range<u64>, k: u32) -> Vec<Range<u64>> {
        let fitting = u64::from(self.capacity(k) - k) / TILE_ROWS;
        let size = ((piece.end - piece.start) / 16).max(fitting);
        let starts = (piece.start..piece.end).step_by(size as usize);
        starts.map(|first| first..piece.end.min(first + size)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether pieces follow each other without a gap.
    fn cover(pieces: &[Range<u64>], whole: Range<u64>) -> bool {
        let mut next = whole.start;
        pieces.iter().all(|piece| {
            let follows = piece.start == next && piece.end > piece.start;
            next = piece.end;
            follows
        }) && next == whole.end
    }

    #[test]
    fn a_billion_rows_take_few_pieces() {
        let tiles = 1_000_000_000_u64.div_ceil(TILE_ROWS);
        for (queries, k) in [(1, 1), (1, 2048), (1024, 10), (4096, 2048)] {
            let plan = Plan::of(queries, k);
            let pieces = plan.pieces(tiles, k as u32);
            assert!(cover(&pieces, 0..tiles));
            assert!(pieces.len() <= 8, "{pieces:?}");
            assert!(plan.queries() * plan.capacity(k as u32) as usize * 8 <= Plan::MEMORY);
        }
        assert!(Plan::of(1, 10).pieces(0, 10).is_empty());
        let cut = Plan::cut(Plan::of(1, 10).pieces(tiles, 10), 1000);
        assert!(cover(&cut, 0..tiles) && cut.iter().all(|piece| piece.end - piece.start <= 1000));
        let many = Plan::of(1, 10).pieces(Plan::MOST_TILES * 10, 10);
        assert!(many.iter().all(|piece| piece.end - piece.start <= Plan::MOST_TILES));
    }

    #[test]
    fn a_piece_is_split_until_it_fits() {
        let plan = Plan::new(1, 0, 4);
        let k = 100;
        let mut piece = 3..10_000;
        while piece.end - piece.start > 1 {
            let parts = plan.split(piece.clone(), k);
            assert!(cover(&parts, piece.clone()) && parts.len() > 1);
            piece = parts[0].clone();
        }
        assert!(plan.capacity(k) - k >= TILE_ROWS as u32);
    }
}
