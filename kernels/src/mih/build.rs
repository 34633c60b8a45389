//! From rows to lists.
//!
//! The substrings are built one after the other. For each, the rows are cut into chunks, and every
//! chunk deals its (value, row) pairs into *parts* by the value's highest bits; then every part, taken
//! from all chunks in order, is sorted by the rest of the value by counting, within the cache. Both
//! steps run on all threads of the pool and give the same bytes on any number of them.
//!
//! Pairs that do not fit the memory budget at once are made in several passes over the codes, a range of
//! parts each: as many as were counted to fit. A part that does not fit alone, as codes that agree in
//! many bits have them, is cut into parts itself; and the rows of a single value, which need no sorting,
//! are written as they are found.

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
/// Rows in a chunk; the values of one chunk a thread are in memory besides.
const CHUNK_ROWS: usize = 1 << 19;
/// Memory for a row of a pass: its pair and its place in the list.
const ROW_BYTES: usize = size_of::<Pair>() + 4;
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
    /// Whatever the codes. What comes on top does not depend on how they lie: the starts of one
    /// substring's lists, at most 4 bytes a row, and 2 MiB a thread.
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
        let mut lists = Lists {
            source: Source { codes: self.codes, reader: KeyReader::new(mask), stop: self.stop },
            id_bytes: Shape::id_bytes(self.shape.rows),
            pass_rows: (self.memory_bytes / ROW_BYTES).max(1),
            starts: Vec::with_capacity((1 << width) + 1),
            written: 0,
            out,
        };
        lists.write(Values { first: 0, bits: width }, self.shape.rows)?;
        let Lists { mut starts, written, .. } = lists;
        starts.push(written);
        pad(self.shape.rows * Shape::id_bytes(self.shape.rows), out)?;
        out.write_all(bytemuck::cast_slice(&starts))?;
        pad(starts.len() * 4, out)
    }
}

/// The values of a substring that agree in all but the lowest `bits` bits.
#[derive(Debug, Clone, Copy)]
struct Values {
    first: u32,
    bits: u32,
}

impl Values {
    /// The bits of a value that do not tell its part.
    const fn low_bits(self) -> u32 {
        self.bits.saturating_sub(PART_BITS)
    }

    const fn parts(self) -> usize {
        1 << (self.bits - self.low_bits())
    }

    const fn part(self, part: usize) -> Self {
        Self { first: self.first + ((part as u32) << self.low_bits()), bits: self.low_bits() }
    }

    /// The part of a value, if it is one of these.
    fn part_of(self, key: u32) -> Option<usize> {
        let place = key.checked_sub(self.first)? as usize >> self.low_bits();
        (place < self.parts()).then_some(place)
    }
}

/// The values of one substring, row after row.
struct Source<'a> {
    codes: Codes<'a>,
    reader: KeyReader,
    stop: Option<&'a (dyn Fn() -> bool + Sync)>,
}

impl Source<'_> {
    /// The first row of each chunk, and the values of its rows, until it is to stop.
    fn chunks(&self) -> impl IndexedParallelIterator<Item = io::Result<(u32, Vec<u32>)>> {
        let rows = self.codes.rows();
        (0..rows.div_ceil(CHUNK_ROWS)).into_par_iter().map(move |chunk| {
            let first = chunk * CHUNK_ROWS;
            Ok((first as u32, self.keys(first..rows.min(first + CHUNK_ROWS))?))
        })
    }

    fn keys(&self, rows: Range<usize>) -> io::Result<Vec<u32>> {
        if self.stop.is_some_and(|stop| stop()) {
            return Err(io::Error::other(Error::Stopped));
        }
        Ok(rows.map(|row| self.reader.key(|word| self.codes.word(row, word))).collect())
    }
}

/// The lists of one substring on their way to a writer, in the order of values.
struct Lists<'a, 'o, W> {
    source: Source<'a>,
    id_bytes: usize,
    /// Rows whose pairs fit the memory budget.
    pass_rows: usize,
    /// Where the list of each value written starts.
    starts: Vec<u32>,
    /// Rows written.
    written: u32,
    out: &'o mut W,
}

impl<W: Write> Lists<'_, '_, W> {
    /// Write the lists of some values, which `rows` rows have.
    fn write(&mut self, values: Values, rows: usize) -> io::Result<()> {
        if rows <= self.pass_rows {
            return self.sort(values, 0..values.parts());
        }
        if values.bits == 0 {
            return self.copy(values.first);
        }
        let counts = self.count(values)?;
        let mut first = 0;
        while first < counts.len() {
            let mut rows = counts[first];
            let mut last = first + 1;
            while last < counts.len() && rows + counts[last] <= self.pass_rows {
                rows += counts[last];
                last += 1;
            }
            if rows <= self.pass_rows {
                self.sort(values, first..last)?;
            } else {
                self.write(values.part(first), rows)?;
            }
            first = last;
        }
        Ok(())
    }

    /// How many rows each part of some values has.
    fn count(&self, values: Values) -> io::Result<Vec<usize>> {
        let none = || vec![0; values.parts()];
        let counts = |mut counts: Vec<usize>, chunk: io::Result<(u32, Vec<u32>)>| {
            for part in chunk?.1.into_iter().filter_map(|key| values.part_of(key)) {
                counts[part] += 1;
            }
            Ok(counts)
        };
        let sum = |mut a: Vec<usize>, b: Vec<usize>| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            Ok(a)
        };
        self.source.chunks().try_fold(none, counts).try_reduce(none, sum)
    }

    /// Write the lists of some parts, of which all pairs fit in memory.
    fn sort(&mut self, values: Values, wanted: Range<usize>) -> io::Result<()> {
        let chunks: Vec<Chunk> = self
            .source
            .chunks()
            .map(|chunk| chunk.map(|(first, keys)| Chunk::new(&keys, first, values, &wanted)))
            .collect::<io::Result<_>>()?;
        for some in (0..wanted.len()).step_by(PARTS_AT_ONCE) {
            let some = some..wanted.len().min(some + PARTS_AT_ONCE);
            let sorted: Vec<Sorted> = some
                .into_par_iter()
                .map(|part| {
                    let pairs: Vec<&[Pair]> = chunks.iter().map(|chunk| chunk.part(part)).collect();
                    Sorted::new(&pairs, values.low_bits(), self.id_bytes)
                })
                .collect();
            for part in sorted {
                self.out.write_all(&part.ids)?;
                for count in part.counts {
                    self.starts.push(self.written);
                    self.written += count;
                }
            }
        }
        Ok(())
    }

    /// Write the list of one value, however long.
    fn copy(&mut self, value: u32) -> io::Result<()> {
        self.starts.push(self.written);
        let rows = self.source.codes.rows();
        for first in (0..rows).step_by(CHUNK_ROWS) {
            let keys = self.source.keys(first..rows.min(first + CHUNK_ROWS))?;
            let mut ids = Vec::new();
            for (_, row) in keys.into_iter().zip(first as u32..).filter(|(key, _)| *key == value) {
                ids.extend_from_slice(&row.to_le_bytes()[..self.id_bytes]);
                self.written += 1;
            }
            self.out.write_all(&ids)?;
        }
        Ok(())
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
    fn new(keys: &[u32], first_row: u32, values: Values, wanted: &Range<usize>) -> Self {
        // What is not wanted counts as one part after the last.
        let part = |key: u32| match values.part_of(key) {
            Some(part) if wanted.contains(&part) => part - wanted.start,
            _ => wanted.len(),
        };
        let low = (1 << values.low_bits()) - 1;
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
                pairs[places[part]] = Pair { low: key & low, row };
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
