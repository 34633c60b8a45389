//! The bytes of a multi-index.
//!
//! All numbers are little-endian. `W` is the number of 64-bit words of a code.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `TWINMIH` and a zero |
//! | 4 | format version, 0 |
//! | 4 | bits of a code |
//! | 8 | rows |
//! | 4 | substrings, m |
//! | 4 | bytes of a row number: 1, 2, 3 or 4, the least that names every row |
//! | m x W x 8 | for each substring the bits that belong to it, as a mask over the words of a code |
//!
//! Then for each substring, of w bits:
//!
//! | bytes | what |
//! |---|---|
//! | rows x row number bytes, zeros up to a multiple of 8 | the rows, ordered by the substring's value, then ascending |
//! | (2^w + 1) x 4, zeros up to a multiple of 8 | where the list of each value starts, and the last one ends, counted in rows |
//!
//! A substring's value has its bits in ascending order: bit 0 is the lowest bit of the first word that
//! is in the mask. Nothing follows the last substring.

use crate::{CodeBits, Error};

pub(super) const MAGIC: [u8; 8] = *b"TWINMIH\0";
pub(super) const VERSION: u32 = 0;
/// Bytes before the masks.
pub(super) const HEADER: usize = 32;
/// The widest substring: lists are addressed by its value.
pub(super) const MAX_WIDTH: u32 = 26;

/// The shape of an index, from which the place of everything follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) bits: CodeBits,
    pub(super) rows: usize,
    /// The masks of the substrings, one after the other.
    pub(super) masks: Vec<u64>,
}

impl Shape {
    pub(super) fn id_bytes(rows: usize) -> usize {
        let last = rows.saturating_sub(1).max(1);
        (usize::BITS - last.leading_zeros()).div_ceil(8) as usize
    }

    /// The masks of the substrings, in order.
    pub(super) fn substrings(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        self.masks.chunks_exact(self.bits.words())
    }

    /// The length of the whole index, or `None` when it is beyond any memory.
    pub(super) fn byte_len(&self) -> Option<usize> {
        let header = HEADER.checked_add(self.masks.len().checked_mul(8)?)?;
        let ids = self.rows.checked_mul(Self::id_bytes(self.rows))?.checked_next_multiple_of(8)?;
        self.substrings().try_fold(header, |total, mask| {
            total.checked_add(ids)?.checked_add(offset_bytes(width(mask)).next_multiple_of(8))
        })
    }

    pub(super) fn header(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((self.bits.bits() as u32).to_le_bytes());
        bytes.extend((self.rows as u64).to_le_bytes());
        bytes.extend((self.substrings().len() as u32).to_le_bytes());
        bytes.extend((Self::id_bytes(self.rows) as u32).to_le_bytes());
        bytes.extend(self.masks.iter().flat_map(|mask| mask.to_le_bytes()));
        bytes
    }

    /// Read a header, and refuse what no builder writes.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let Some((magic, rest)) = bytes.split_first_chunk::<8>() else {
            return Err(damaged("bytes of the header", HEADER as u64, bytes.len() as u64));
        };
        let number = |at: usize| {
            let four = rest.get(at..).and_then(|rest| rest.first_chunk::<4>());
            four.map(|four| u32::from_le_bytes(*four))
                .ok_or_else(|| damaged("bytes of the header", HEADER as u64, bytes.len() as u64))
        };
        let check = |what, expected: u64, got: u64| {
            if expected == got { Ok(()) } else { Err(damaged(what, expected, got)) }
        };
        check("magic number", u64::from_le_bytes(MAGIC), u64::from_le_bytes(*magic))?;
        check("format version", u64::from(VERSION), u64::from(number(0)?))?;
        let bits = CodeBits::new(number(4)? as usize)?;
        check("upper half of the number of rows", 0, u64::from(number(12)?))?;
        let rows = number(8)? as usize;
        let substrings = number(16)? as usize;
        if substrings == 0 || substrings > bits.bits() {
            return Err(damaged("substrings, at most", bits.bits() as u64, substrings as u64));
        }
        check("bytes of a row number", Self::id_bytes(rows) as u64, u64::from(number(20)?))?;
        let words = substrings * bits.words();
        let masks = rest.get(24..24 + words * 8).unwrap_or_default();
        check("bytes of masks", words as u64 * 8, masks.len() as u64)?;
        let masks = masks.as_chunks::<8>().0.iter().map(|mask| u64::from_le_bytes(*mask)).collect();
        let shape = Self { bits, rows, masks };
        shape.check_masks()?;
        Ok(shape)
    }

    /// Every bit of a code is in exactly one substring, and no substring is empty or too wide.
    fn check_masks(&self) -> Result<(), Error> {
        let mut seen = vec![0_u64; self.bits.words()];
        for mask in self.substrings() {
            let width = width(mask);
            if width == 0 || width > MAX_WIDTH {
                return Err(damaged("bits of a substring, at most", u64::from(MAX_WIDTH), u64::from(width)));
            }
            for (seen, mask) in seen.iter_mut().zip(mask) {
                if *seen & mask != 0 {
                    return Err(damaged("bits in two substrings", 0, u64::from((*seen & mask).count_ones())));
                }
                *seen |= mask;
            }
        }
        for (word, seen) in seen.into_iter().enumerate() {
            let left = (self.bits.bits() - word * 64).min(64);
            let expected = u64::MAX >> (64 - left);
            if seen != expected {
                return Err(damaged("bits of the substrings", expected, seen));
            }
        }
        Ok(())
    }
}

/// The number of bits of a substring.
pub(super) fn width(mask: &[u64]) -> u32 {
    mask.iter().map(|word| word.count_ones()).sum()
}

/// The bytes of a substring's list of starts, without padding.
pub(super) const fn offset_bytes(width: u32) -> usize {
    ((1 << width) + 1) * 4
}

pub(super) const fn damaged(what: &'static str, expected: u64, got: u64) -> Error {
    Error::DamagedIndex { what, expected, got }
}
