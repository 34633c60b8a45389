//! The argument structures of the kernels, field by field as in `cu/arguments.cuh`.
//!
//! Addresses are `u64`. No structure has padding, so that its bytes can be given to the driver as
//! they are.

use bytemuck::{Pod, Zeroable};

/// Rows of a segment are searched in tiles of this many.
pub(crate) const TILE_ROWS: u64 = 2048;
/// The most queries that a block takes, and the most words of them.
pub(crate) const QUERY_TILE: usize = 64;
/// See [`QUERY_TILE`].
pub(crate) const QUERY_TILE_WORDS: usize = 2048;
/// The most queries that a block of the matrix units' kernels takes.
pub(crate) const TENSOR_QUERIES: u32 = 128;
/// A key holds the position in this many low bits and the distance above.
pub(crate) const POSITION_BITS: u32 = 48;

/// The sizes of `ScanArgument`, `CountArgument`, `NarrowArgument` and `OrderArgument`, which
/// the tests compare with those of the compiled kernels.
pub const ARGUMENT_BYTES: [usize; 4] = [
    size_of::<ScanArgument>(),
    size_of::<CountArgument>(),
    size_of::<NarrowArgument>(),
    size_of::<OrderArgument>(),
];

/// One matrix of codes to search.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Segment {
    pub(crate) codes: u64,
    pub(crate) mask: u64,
    pub(crate) first_tile: u64,
    pub(crate) rows: u64,
}

/// The tiles that one launch walks through.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Tiles {
    pub(crate) segments: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) segment_count: u32,
    pub(crate) words: u32,
}

/// The queries of a launch.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Queries {
    pub(crate) words: u64,
    pub(crate) count: u32,
    pub(crate) per_tile: u32,
}

/// Where the nearest rows so far are.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Candidates {
    pub(crate) keys: u64,
    pub(crate) counts: u64,
    pub(crate) kept: u64,
    pub(crate) bounds: u64,
    pub(crate) overflow: u64,
    pub(crate) capacity: u32,
    pub(crate) piece: u32,
}

/// The argument of the `scan` kernels.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct ScanArgument {
    pub(crate) tiles: Tiles,
    pub(crate) queries: Queries,
    pub(crate) candidates: Candidates,
}

/// The argument of the `count` kernels.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct CountArgument {
    pub(crate) tiles: Tiles,
    pub(crate) queries: Queries,
    pub(crate) totals: u64,
    pub(crate) radius: i32,
    pub(crate) unused: u32,
}

/// The argument of `narrow`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct NarrowArgument {
    pub(crate) candidates: Candidates,
    pub(crate) k: u32,
    pub(crate) levels: u32,
    pub(crate) position_bits: u32,
    pub(crate) unused: u32,
}

/// The argument of `order`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct OrderArgument {
    pub(crate) candidates: Candidates,
    pub(crate) results: u64,
    pub(crate) k: u32,
    pub(crate) unused: u32,
}

/// State that structures are plain bytes, with the sum of the sizes of their fields.
macro_rules! plain {
    ($($name:ty: $bytes:expr),* $(,)?) => {$(
        const _: () = assert!(size_of::<$name>() == $bytes);
        // SAFETY: the fields are numbers or such structures, for which all zeros are a value.
        unsafe impl Zeroable for $name {}
        // SAFETY: `repr(C)`, every bit pattern is a value of every field, and the assertion above
        // shows that there is no padding between or after the fields.
        unsafe impl Pod for $name {}
    )*};
}
pub(crate) use plain;

plain! {
    Segment: 4 * 8,
    Tiles: 3 * 8 + 2 * 4,
    Queries: 8 + 2 * 4,
    Candidates: 5 * 8 + 2 * 4,
    ScanArgument: 32 + 16 + 48,
    CountArgument: 32 + 16 + 8 + 2 * 4,
    NarrowArgument: 48 + 4 * 4,
    OrderArgument: 48 + 8 + 2 * 4,
}
