//! Query codes in the form the kernels compare rows with.

use std::ops::Range;

use super::arguments::{self, QUERY_TILE, QUERY_TILE_WORDS};
use super::{CudaError, Machine, Memory};
use crate::{CodeBits, Codes};

/// Some queries in the memory of a machine, [`CodeBits::words`] words each.
pub(crate) struct DeviceQueries<M: Machine> {
    bits: CodeBits,
    count: u32,
    memory: M::Memory,
}

impl<M: Machine> DeviceQueries<M> {
    /// Copy the queries in some rows of a matrix.
    pub(crate) fn upload(machine: &M, codes: Codes<'_>, rows: Range<usize>) -> Result<Self, CudaError> {
        let words: Vec<u64> = rows.clone().flat_map(|row| query_words(codes, row)).collect();
        let mut memory = machine.allocate(words.len() * size_of::<u64>())?;
        machine.write(&mut memory, 0, bytemuck::cast_slice(&words))?;
        Ok(Self { bits: codes.bits(), count: rows.len() as u32, memory })
    }

    pub(crate) const fn bits(&self) -> CodeBits {
        self.bits
    }

    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// The argument for a kernel whose blocks take `per_tile` queries.
    pub(crate) fn argument(&self, per_tile: u32) -> arguments::Queries {
        arguments::Queries { words: self.memory.address(), count: self.count, per_tile }
    }

    /// As many queries as a block's shared memory holds.
    pub(crate) fn per_tile(&self) -> u32 {
        QUERY_TILE.min(QUERY_TILE_WORDS / self.bits.words()) as u32
    }
}

/// The words of a query; a 16- or 32-bit code is repeated to fill its word.
fn query_words(codes: Codes<'_>, row: usize) -> Vec<u64> {
    let bits = codes.bits();
    let mut words = vec![0_u64; bits.words()];
    codes.row_into(row, &mut bytemuck::cast_slice_mut(&mut words)[..bits.bytes()]);
    match bits {
        CodeBits::B16 => words[0] *= 0x0001_0001_0001_0001,
        CodeBits::B32 => words[0] *= 0x0000_0001_0000_0001,
        _ => {}
    }
    words
}
