//! One safe function for each kind of kernel: it checks what belongs together and launches.
//!
//! What all launches rely on: an address in an argument comes from memory that one of the function's
//! parameters owns, so that it is alive now; the machine runs launches, copies and the freeing of
//! memory in the order of the calls, so that it is alive until the kernel is done.

use std::ops::Range;

use super::arguments::{CountArgument, NarrowArgument, OrderArgument, ScanArgument, TENSOR_QUERIES};
use super::candidates::DeviceCandidates;
use super::queries::DeviceQueries;
use super::targets::TargetTable;
use super::{CudaError, Kernel, Launch, Machine, Memory};

/// Offer the rows of a piece (tiles) to the candidates of the queries.
pub(crate) fn scan<M: Machine>(
    machine: &M,
    targets: &TargetTable<'_, M>,
    piece: Range<u64>,
    queries: &DeviceQueries<M>,
    candidates: &DeviceCandidates<M>,
    number: usize,
) -> Result<(), CudaError> {
    let kernel = Kernel::scan(targets.bits());
    let (blocks, argument) =
        scan_argument(machine, targets, piece, queries, queries.per_tile(), candidates, number);
    // SAFETY: the structure is the one of the `scan` kernels. Segments, codes and masks are held by
    // `targets`, which refused tiles beyond their rows, and the kernel is the one for their layout;
    // words of `count` queries of that length are held by `queries`, and as many as a block takes fit
    // its shared memory; counts, bounds and `capacity` keys for as many by `candidates`.
    unsafe { machine.launch(Launch { kernel, blocks }, bytemuck::bytes_of(&argument)) }
}

/// The same by the matrix units, or as `scan` for codes that they do not take.
pub(crate) fn tensor_scan<M: Machine>(
    machine: &M,
    targets: &TargetTable<'_, M>,
    piece: Range<u64>,
    queries: &DeviceQueries<M>,
    candidates: &DeviceCandidates<M>,
    number: usize,
) -> Result<(), CudaError> {
    let Some(kernel) = Kernel::tensor_scan(targets.bits()) else {
        return scan(machine, targets, piece, queries, candidates, number);
    };
    let (blocks, argument) =
        scan_argument(machine, targets, piece, queries, TENSOR_QUERIES, candidates, number);
    // SAFETY: as in `scan`; these kernels take the same structure and `TENSOR_QUERIES` queries a block.
    unsafe { machine.launch(Launch { kernel, blocks }, bytemuck::bytes_of(&argument)) }
}

/// The blocks and the argument of a scan whose blocks take `per_tile` queries.
fn scan_argument<M: Machine>(
    machine: &M,
    targets: &TargetTable<'_, M>,
    piece: Range<u64>,
    queries: &DeviceQueries<M>,
    per_tile: u32,
    candidates: &DeviceCandidates<M>,
    number: usize,
) -> ([u32; 2], ScanArgument) {
    assert_eq!(queries.count(), candidates.queries(), "queries with room for candidates");
    let blocks = blocks(machine, targets, &piece, queries, per_tile);
    let argument = ScanArgument {
        tiles: targets.argument(piece.start, piece.end),
        queries: queries.argument(per_tile),
        candidates: candidates.argument(number as u32),
    };
    (blocks, argument)
}

/// Add the number of rows within `radius` to the totals, one for each query.
pub(crate) fn count<M: Machine>(
    machine: &M,
    targets: &TargetTable<'_, M>,
    queries: &DeviceQueries<M>,
    totals: &mut M::Memory,
    radius: u32,
) -> Result<(), CudaError> {
    assert_eq!(totals.len(), queries.count() as usize * size_of::<u64>(), "bytes of totals");
    let all = 0..targets.tiles();
    let per_tile = queries.per_tile();
    let blocks = blocks(machine, targets, &all, queries, per_tile);
    let argument = CountArgument {
        tiles: targets.argument(all.start, all.end),
        queries: queries.argument(per_tile),
        totals: totals.address(),
        radius: radius as i32,
        unused: 0,
    };
    let launch = Launch { kernel: Kernel::count(targets.bits()), blocks };
    // SAFETY: the structure is the one of the `count` kernels. Segments, codes, masks and queries
    // are as in `scan`; `totals` has a number for each query.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// Keep the k nearest candidates of each query and lower its bound; `number` is the piece before.
pub(crate) fn narrow<M: Machine>(
    machine: &M,
    targets: &TargetTable<'_, M>,
    candidates: &DeviceCandidates<M>,
    number: usize,
) -> Result<(), CudaError> {
    let argument = NarrowArgument {
        candidates: candidates.argument(number as u32),
        k: candidates.k(),
        levels: targets.bits().bits() as u32 + 1,
        position_bits: targets.position_bits(),
        unused: 0,
    };
    let launch = Launch { kernel: Kernel::Narrow, blocks: [candidates.queries(), 1] };
    // SAFETY: the structure is the one of `narrow`, a block a query; counts, bounds and `capacity`
    // keys for each are held by `candidates`. A code has at most 4096 bits, for which the kernel has
    // bins, and every key holds a distance of at most as many.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// Write the candidates of each query, at most k, in ascending order to the results.
pub(crate) fn order<M: Machine>(machine: &M, candidates: &DeviceCandidates<M>) -> Result<(), CudaError> {
    let argument = OrderArgument {
        candidates: candidates.argument(0),
        results: candidates.results(),
        k: candidates.k(),
        unused: 0,
    };
    assert!(argument.k as usize <= super::MOST_NEAREST, "rows that the kernel can sort");
    let launch = Launch { kernel: Kernel::Order, blocks: [candidates.queries(), 1] };
    // SAFETY: the structure is the one of `order`, a block a query; counts, `capacity` keys and `k`
    // results for each are held by `candidates`, and the kernel has room for that many.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// How many blocks walk through the tiles, for each of as many rows of blocks as there are groups
/// of `per_tile` queries. A block counts with 32 bits, which limits its tiles.
fn blocks<M: Machine>(
    machine: &M,
    targets: &TargetTable<'_, M>,
    tiles: &Range<u64>,
    queries: &DeviceQueries<M>,
    per_tile: u32,
) -> [u32; 2] {
    assert_eq!(queries.bits(), targets.bits(), "bits of queries and rows");
    assert!(queries.count() > 0, "at least one query");
    let query_tiles = queries.count().div_ceil(per_tile);
    let tiles = tiles.end - tiles.start;
    let wanted = u64::from(machine.busy_blocks().div_ceil(query_tiles)).max(tiles >> 20);
    [tiles.min(wanted) as u32, query_tiles]
}
