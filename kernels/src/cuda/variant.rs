//! The ways to compare a batch of queries with rows.

use crate::CodeBits;

/// How rows are compared with the queries of a batch; all give the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Variant {
    /// Population counts of the differing bits, a row and a query at a time.
    #[default]
    Popcount,
    /// Bits in common counted by the matrix units, 8 rows and 16 queries at a time; for codes of 1,
    /// 2, 4, 8 or 16 words (others, and 16- and 32-bit codes, take population counts).
    Tensor,
}

impl Variant {
    /// All variants.
    pub const ALL: [Self; 2] = [Self::Popcount, Self::Tensor];

    /// The variant for a batch that is expected to be the fastest.
    ///
    /// `benches/cuda/search.rs` measures both on a card; until it was run on one, this is the
    /// variant that needs nothing but population counts.
    #[must_use]
    pub const fn of(_bits: CodeBits, _queries: usize) -> Self {
        Self::Popcount
    }
}
