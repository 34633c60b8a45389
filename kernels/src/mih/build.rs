//! From rows to lists.
//!
//! The substrings are built one after the other. For each, the rows are cut into chunks, and every
//! chunk deals its (value, row) pairs into *parts* by the value's highest bits; then every part, taken
//! from all chunks in order, is sorted by the rest of the value by counting, within the cache. Both
//! steps run on all threads of the pool and give the same bytes on any number of them. Pairs that do
//! not fit the memory budget at once are made in several passes over the codes, a range of parts each.

use std::io::{self, Write};
use std::ops::Range;

use rayon::prelude::*;

use super::format::{Shape, width};
use super::key::KeyReader;
use super::split::split;
use crate::{Codes, Error};

/// Memory for (value, row) pairs unless the caller says otherwise.
const MEMORY_BYTES: usize = 1 << 30;
/// A substring has at most two to this many parts.
const PART_BITS: u32 = 10;
/// Rows in a chunk.
const CHUNK_ROWS: usize = 1 << 19;
/// Parts sorted before what they gave is written.
const PARTS_AT_ONCE: usize = 64;

/// Builds a multi-index over a matrix of codes and writes it to a file or any other writer.
///
/// The work is spread over the current `rayon` pool; the bytes do not depend on it.
#[derive(Clone)]
pub struct MultiIndexBuilder<'a> {
    codes: Codes<'a>,
    shape: Shape,
    memory_bytes: usize,
    stop: Option<&'a (dyn Fn() -> bool + Sync)>,
}

impl<'a> MultiIndexBuilder<'a> {
    /// Choose the substrings for these codes, from a sample of them.
    #[must_use]
    pub fn new(codes: Codes<'a>) -> Self {
        let shape = Shape { bits: codes.bits(), rows: codes.rows(), masks: split(codes) };
        Self { codes, shape, memory_bytes: MEMORY_BYTES, stop: None }
    }

    /// Use about this much memory, 1 GiB unless set; less memory means more passes over the codes.
    ///
    /// The starts of one substring's lists, at most 4 bytes a row, come on top.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Ask `stop` once in about 500,000 rows a pass; when it returns true the build ends with
    /// [`Error::Stopped`] as the source of what [`write_to`](Self::write_to) returns.
    #[must_use]
    pub fn stop(mut self, stop: &'a (dyn Fn() -> bool + Sync)) -> Self {
        self.stop = Some(stop);
        self
    }

    /// The number of bytes that [`write_to`](Self::write_to) writes.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.shape.byte_len().unwrap_or(usize::MAX)
    }

    /// Build the index and write it, from front to back.
    ///
    /// # Errors
    /// What the writer reports; [`Error::Stopped`] when `stop` said so.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.shape.header())?;
        self.shape.substrings().try_for_each(|mask| self.write_substring(mask, out))
    }

    fn write_substring(&self, mask: &[u64], out: &mut impl Write) -> io::Result<()> {
        let width = width(mask);
        let reader = KeyReader::new(mask);
        let low_bits = width.saturating_sub(PART_BITS);
        let parts = 1_usize << (width - low_bits);
        let pair_bytes = self.shape.rows.saturating_mul(size_of::<Pair>());
        let passes = pair_bytes.div_ceil(self.memory_bytes.max(1)).clamp(1, parts);
        let pass_parts = parts.div_ceil(passes);

        let mut starts: Vec<u32> = Vec::with_capacity((1 << width) + 1);
        let mut written = 0_u32;
        for first in (0..parts).step_by(pass_parts) {
            let wanted = first..parts.min(first + pass_parts);
            let chunks = self.deal(&reader, low_bits, &wanted)?;
            for some in (0..wanted.len()).step_by(PARTS_AT_ONCE) {
                let some = some..wanted.len().min(some + PARTS_AT_ONCE);
                let sorted: Vec<Sorted> = some
                    .into_par_iter()
                    .map(|part| {
                        let pairs: Vec<&[Pair]> = chunks.iter().map(|chunk| chunk.part(part)).collect();
                        Sorted::new(&pairs, low_bits, Shape::id_bytes(self.shape.rows))
                    })
                    .collect();
                for part in sorted {
                    out.write_all(&part.ids)?;
                    for count in part.counts {
                        starts.push(written);
                        written += count;
                    }
                }
            }
        }
        starts.push(written);
        pad(self.shape.rows * Shape::id_bytes(self.shape.rows), out)?;
        out.write_all(bytemuck::cast_slice(&starts))?;
        pad(starts.len() * 4, out)
    }

    /// Deal the rows whose value is in some parts into these parts, chunk by chunk.
    fn deal(&self, reader: &KeyReader, low_bits: u32, wanted: &Range<usize>) -> io::Result<Vec<Chunk>> {
        let rows = self.shape.rows;
        (0..rows.div_ceil(CHUNK_ROWS))
            .into_par_iter()
            .map(|chunk| {
                if self.stop.is_some_and(|stop| stop()) {
                    return Err(io::Error::other(Error::Stopped));
                }
                let first = chunk * CHUNK_ROWS;
                let last = rows.min(first + CHUNK_ROWS);
                let keys: Vec<u32> =
                    (first..last).map(|row| reader.key(|word| self.codes.word(row, word))).collect();
                Ok(Chunk::new(&keys, first as u32, low_bits, wanted))
            })
            .collect()
    }
}

/// The low bits of a value, and the row that has it.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    low: u32,
    row: u32,
}

/// The pairs of some rows, part after part, ascending by row in each.
struct Chunk {
    pairs: Vec<Pair>,
    starts: Vec<usize>,
}

impl Chunk {
    fn new(keys: &[u32], first_row: u32, low_bits: u32, wanted: &Range<usize>) -> Self {
        // Parts that are not wanted all count as one after the last.
        let part = |key: u32| {
            let part = (key >> low_bits) as usize;
            if wanted.contains(&part) { part - wanted.start } else { wanted.len() }
        };
        let mut starts = vec![0_usize; wanted.len() + 2];
        for &key in keys {
            starts[part(key) + 1] += 1;
        }
        for part in 0..=wanted.len() {
            starts[part + 1] += starts[part];
        }
        starts.pop();
        let mut places = starts.clone();
        let mut pairs = vec![Pair::default(); starts[wanted.len()]];
        for (&key, row) in keys.iter().zip(first_row..) {
            let part = part(key);
            if part < wanted.len() {
                pairs[places[part]] = Pair { low: key & ((1 << low_bits) - 1), row };
                places[part] += 1;
            }
        }
        Self { pairs, starts }
    }

    fn part(&self, part: usize) -> &[Pair] {
        &self.pairs[self.starts[part]..self.starts[part + 1]]
    }
}

/// A part's rows in their final order.
struct Sorted {
    ids: Vec<u8>,
    /// How many rows each value has.
    counts: Vec<u32>,
}

impl Sorted {
    fn new(pairs: &[&[Pair]], low_bits: u32, id_bytes: usize) -> Self {
        let mut counts = vec![0_u32; 1 << low_bits];
        for pair in pairs.iter().copied().flatten() {
            counts[pair.low as usize] += 1;
        }
        let mut places = Vec::with_capacity(counts.len());
        let mut total = 0;
        for &count in &counts {
            places.push(total);
            total += count as usize;
        }
        let mut ids = vec![0; total * id_bytes];
        for pair in pairs.iter().copied().flatten() {
            let place = &mut places[pair.low as usize];
            ids[*place * id_bytes..][..id_bytes].copy_from_slice(&pair.row.to_le_bytes()[..id_bytes]);
            *place += 1;
        }
        Self { ids, counts }
    }
}

/// Write zeros up to a multiple of 8.
fn pad(written: usize, out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 8][..written.next_multiple_of(8) - written])
}
