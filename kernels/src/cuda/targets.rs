//! What one search call walks through: matrices with their masks, cut into tiles.

use super::arguments::{Segment, TILE_ROWS, Tiles};
use super::search::SegmentHit;
use super::{CudaError, DeviceCodes, DeviceMask, Machine, Memory};
use crate::CodeBits;

/// One matrix to search, with the rows to search in it.
#[derive(Debug)]
pub struct Target<'a, M: Machine> {
    /// The codes.
    pub codes: &'a DeviceCodes<M>,
    /// The rows to search, or all; as long as the matrix.
    pub mask: Option<&'a DeviceMask<M>>,
}

impl<M: Machine> Clone for Target<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Machine> Copy for Target<'_, M> {}

/// The table of the targets in the memory of a machine.
///
/// Positions number the rows of all targets in their order, each target from a multiple of
/// [`TILE_ROWS`], so that the order of positions is the order of (target, row).
pub(crate) struct TargetTable<'a, M: Machine> {
    targets: &'a [Target<'a, M>],
    bits: CodeBits,
    /// The first tile of each segment of the table, and which target it is.
    first_tiles: Vec<(u64, usize)>,
    tiles: u64,
    memory: M::Memory,
}

impl<'a, M: Machine> TargetTable<'a, M> {
    /// The table of targets whose codes have `bits` bits and whose masks fit; those without rows
    /// are left out.
    pub(crate) fn upload(
        machine: &M,
        targets: &'a [Target<'a, M>],
        bits: CodeBits,
    ) -> Result<Self, CudaError> {
        let mut segments = Vec::new();
        let mut first_tiles = Vec::new();
        let mut tiles = 0;
        for (number, target) in targets.iter().enumerate() {
            let rows = target.codes.rows() as u64;
            if rows == 0 {
                continue;
            }
            segments.push(Segment {
                codes: target.codes.address(),
                mask: target.mask.map_or(0, DeviceMask::address),
                first_tile: tiles,
                rows,
            });
            first_tiles.push((tiles, number));
            tiles += rows.div_ceil(TILE_ROWS);
        }
        let mut memory = machine.allocate(size_of_val(&segments[..]))?;
        machine.write(&mut memory, 0, bytemuck::cast_slice(&segments))?;
        Ok(Self { targets, bits, first_tiles, tiles, memory })
    }

    pub(crate) const fn bits(&self) -> CodeBits {
        self.bits
    }

    /// The number of tiles of all targets.
    pub(crate) const fn tiles(&self) -> u64 {
        self.tiles
    }

    /// The number of bits that the largest position has.
    pub(crate) const fn position_bits(&self) -> u32 {
        u64::BITS - (self.tiles * TILE_ROWS).leading_zeros()
    }

    /// The tiles from `first` up to `last`, at most [`tiles`](Self::tiles).
    pub(crate) fn argument(&self, first: u64, last: u64) -> Tiles {
        assert!(first < last && last <= self.tiles, "tiles {first} to {last} of {}", self.tiles);
        Tiles {
            segments: self.memory.address(),
            first,
            last,
            segment_count: self.first_tiles.len() as u32,
            words: self.bits.words() as u32,
        }
    }

    /// The row at a position.
    pub(crate) fn hit(&self, distance: u32, position: u64) -> SegmentHit {
        let segment = self.first_tiles.partition_point(|&(first, _)| first * TILE_ROWS <= position) - 1;
        let (first_tile, target) = self.first_tiles[segment];
        let row = position - first_tile * TILE_ROWS;
        debug_assert!(row < self.targets[target].codes.rows() as u64, "a row that there is");
        SegmentHit { distance, segment: target, row: row as u32 }
    }
}
