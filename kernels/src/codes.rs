//! The borrowed matrix of codes: where each byte of a code lies in memory and on disk.

use crate::cpu::prefetch;
use crate::{CodeBits, Error};

/// 64 bytes, aligned to 64: the unit of the layout of codes, one vector register or cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C, align(64))]
pub struct Line(pub [u64; 8]);

// SAFETY: a `Line` is an array of integers, for which all zeros are a value.
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: its size (64) equals its alignment and its one field's size, so there is no padding; every
// bit pattern is a value.
unsafe impl bytemuck::Pod for Line {}

/// A borrowed matrix of binary codes, one code a row; cheap to copy.
///
/// # Layout
/// A packed code is `bits / 8` bytes in the order of `numpy.packbits`: the first bit is the most
/// significant bit of byte 0. In memory and on disk codes lie in blocks of 64-byte [`Line`]s:
///
/// - 16-bit codes: a line is 32 consecutive codes, 2 bytes each, in order.
/// - 32-bit codes: a line is 16 consecutive codes, 4 bytes each, in order.
/// - Every other length: a code is padded with zero bytes to W = ceil(bits / 64) words of 8 bytes.
///   Block b holds the codes 8b to 8b + 7 as W lines; line w holds word w of the 8 codes in order,
///   so byte j of code 8b + i is byte `8 * i + j % 8` of line `W * b + j / 8`.
///
/// Rows of the last block beyond the last code are zero in what [`CodesBuf`](crate::CodesBuf)
/// writes, and are ignored here.
#[derive(Debug, Clone, Copy)]
pub struct Codes<'a> {
    bits: CodeBits,
    rows: usize,
    lines: &'a [Line],
}

impl<'a> Codes<'a> {
    /// A matrix of `rows` codes over lines in the layout above.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there are exactly [`line_count`](Self::line_count) lines,
    /// [`Error::TooManyRows`] beyond `u32::MAX` rows.
    pub fn new(bits: CodeBits, rows: usize, lines: &'a [Line]) -> Result<Self, Error> {
        check_rows(rows)?;
        let expected = Self::line_count(bits, rows);
        if lines.len() != expected {
            return Err(Error::Shape { what: "64-byte lines of codes", expected, got: lines.len() });
        }
        Ok(Self { bits, rows, lines })
    }

    /// A matrix of `rows` codes over a stored column, for example a mapped file; nothing is copied.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there are exactly [`byte_len`](Self::byte_len) bytes,
    /// [`Error::Alignment`] unless they start at a multiple of 64 bytes.
    pub fn from_bytes(bits: CodeBits, rows: usize, bytes: &'a [u8]) -> Result<Self, Error> {
        check_rows(rows)?;
        let expected = Self::byte_len(bits, rows);
        if bytes.len() != expected {
            return Err(Error::Shape { what: "bytes of a column of codes", expected, got: bytes.len() });
        }
        if bytes.is_empty() {
            return Self::new(bits, rows, &[]);
        }
        let lines = bytemuck::try_cast_slice(bytes).map_err(|_| {
            let unit = size_of::<Line>();
            Error::Alignment { what: "a column of codes", unit, remainder: bytes.as_ptr().addr() % unit }
        })?;
        Self::new(bits, rows, lines)
    }

    /// The number of lines that `rows` codes take.
    #[must_use]
    pub const fn line_count(bits: CodeBits, rows: usize) -> usize {
        rows.div_ceil(bits.rows_per_block()) * bits.lines_per_block()
    }

    /// The number of bytes that `rows` codes take, 64 a line.
    #[must_use]
    pub const fn byte_len(bits: CodeBits, rows: usize) -> usize {
        Self::line_count(bits, rows) * size_of::<Line>()
    }

    /// The length of a code.
    #[must_use]
    pub const fn bits(&self) -> CodeBits {
        self.bits
    }

    /// The number of codes.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The lines of the layout.
    #[must_use]
    pub const fn lines(&self) -> &'a [Line] {
        self.lines
    }

    /// Write the packed code of a row into `out`, which is `bits / 8` bytes long.
    ///
    /// # Panics
    /// When there is no such row or `out` has another length, as indexing a slice does.
    pub fn row_into(&self, row: usize, out: &mut [u8]) {
        assert!(row < self.rows, "row {row} of {} codes", self.rows);
        assert_eq!(out.len(), self.bits.bytes(), "bytes of a packed code");
        let bytes: &[u8] = bytemuck::cast_slice(self.lines);
        for (piece, start) in out.chunks_mut(8).zip(word_offsets(self.bits, row)) {
            piece.copy_from_slice(&bytes[start..start + piece.len()]);
        }
    }

    /// The packed code of a row, `bits / 8` bytes.
    ///
    /// # Panics
    /// When there is no such row, as indexing a slice does.
    #[must_use]
    pub fn row(&self, row: usize) -> Vec<u8> {
        let mut code = vec![0; self.bits.bytes()];
        self.row_into(row, &mut code);
        code
    }

    /// All codes row after row, `bits / 8` bytes each: the inverse of
    /// [`CodesBuf::from_packed`](crate::CodesBuf::from_packed).
    #[must_use]
    pub fn to_packed(&self) -> Vec<u8> {
        let bytes = self.bits.bytes();
        let mut packed = vec![0; self.rows * bytes];
        for (row, code) in packed.chunks_exact_mut(bytes).enumerate() {
            self.row_into(row, code);
        }
        packed
    }

    /// A word of a row's code; for 16- and 32-bit codes the code in the low bits.
    #[inline]
    pub(crate) fn word(&self, row: usize, word: usize) -> u64 {
        let per_block = self.bits.rows_per_block();
        if self.bits.is_packed() {
            let (bits, per_word) = (self.bits.bits(), per_block / 8);
            let code = self.lines[row / per_block].0[row / per_word % 8] >> (row % per_word * bits);
            code & (u64::MAX >> (64 - bits))
        } else {
            self.lines[row / 8 * self.bits.words() + word].0[row % 8]
        }
    }

    /// Ask the memory system for the codes of some rows, which are needed soon.
    pub(crate) fn prefetch(&self, rows: &[u32]) {
        // Shifts, because a division would take longer than all the rest.
        let shift = self.bits.rows_per_block().trailing_zeros();
        match self.bits.lines_per_block() {
            1 => {
                for &row in rows {
                    prefetch(&self.lines[row as usize >> shift]);
                }
            }
            lines => {
                for &row in rows {
                    let first = (row as usize >> shift) * lines;
                    self.lines[first..first + lines].iter().for_each(|line| prefetch(line));
                }
            }
        }
    }

    /// The lines of the blocks that hold the rows from `start` (a multiple of 64) to `end`.
    pub(crate) fn lines_of(&self, start: usize, end: usize) -> &'a [Line] {
        &self.lines[Self::line_count(self.bits, start)..Self::line_count(self.bits, end)]
    }
}

/// Where the 8-byte pieces of a row's code start, in bytes from the start of the column.
pub(crate) fn word_offsets(bits: CodeBits, row: usize) -> impl Iterator<Item = usize> {
    let (start, stride) = if bits.is_packed() {
        (row * bits.bytes(), 0)
    } else {
        (row / 8 * bits.lines_per_block() * size_of::<Line>() + row % 8 * 8, size_of::<Line>())
    };
    (0..bits.words()).map(move |word| start + word * stride)
}

pub(crate) fn check_rows(rows: usize) -> Result<(), Error> {
    if u32::try_from(rows).is_ok() { Ok(()) } else { Err(Error::TooManyRows { rows }) }
}

/// The Hamming distance of two packed codes of the same length.
///
/// Bytes that only one of them has are not counted.
#[must_use]
pub fn distance(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CodesBuf;

    fn bits(bits: usize) -> CodeBits {
        CodeBits::new(bits).unwrap()
    }

    #[test]
    fn lengths_and_alignment_are_checked() {
        let lines = [Line::default(); 4];
        let bytes: &[u8] = bytemuck::cast_slice(&lines);
        assert_eq!(Codes::from_bytes(CodeBits::B128, 9, bytes).unwrap().rows(), 9);
        assert_eq!(Codes::new(CodeBits::B128, 16, &lines).unwrap().rows(), 16);
        assert!(matches!(
            Codes::new(CodeBits::B128, 17, &lines),
            Err(Error::Shape { expected: 6, got: 4, .. })
        ));
        assert!(matches!(
            Codes::from_bytes(CodeBits::B128, 8, bytes),
            Err(Error::Shape { expected: 128, got: 256, .. })
        ));
        assert!(matches!(
            Codes::from_bytes(CodeBits::B64, 8, &bytes[8..72]),
            Err(Error::Alignment { unit: 64, remainder: 8, .. })
        ));
        assert!(matches!(
            Codes::new(CodeBits::B64, 1 << 33, &[]),
            Err(Error::TooManyRows { rows }) if rows == 1 << 33
        ));
    }

    #[test]
    fn no_rows_need_no_bytes() {
        // An empty slice of a mapped file may start anywhere.
        let bytes = [0_u8; 3];
        assert_eq!(Codes::from_bytes(bits(24), 0, &bytes[1..1]).unwrap().rows(), 0);
    }

    #[test]
    fn rows_come_back_as_they_went_in() {
        for length in [8, 16, 24, 32, 40, 64, 72, 128, 200, 1000, 4096] {
            let bits = bits(length);
            let packed: Vec<u8> = (0..70 * bits.bytes()).map(|i| (i * 31 + i / 7) as u8).collect();
            let codes = CodesBuf::from_packed(bits, &packed).unwrap();
            assert_eq!(codes.as_codes().to_packed(), packed, "{length} bits");
            assert_eq!(codes.as_codes().row(69), packed[69 * bits.bytes()..]);
        }
    }

    #[test]
    fn distance_counts_differing_bits() {
        assert_eq!(distance(&[0b1010_0000, 0xff], &[0b0110_0000, 0xfe]), 3);
        assert_eq!(distance(&[], &[]), 0);
    }
}
