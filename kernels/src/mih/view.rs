//! The lists of an index, read where they lie.

use std::fmt;

use super::format::{HEADER, Shape, damaged, offset_bytes, width};
use super::key::KeyReader;
use crate::cpu::prefetch;
use crate::{CodeBits, Codes, Error};

/// An exact index over the codes of one matrix, borrowed from its bytes, for example of a mapped file.
///
/// Opening reads the header only, so it takes no time whatever the size. The rest is checked as it is
/// read: whatever the bytes, a search gives an error and does not panic. What no search can notice,
/// such as a row under a wrong value, [`verify`](Self::verify) does.
#[derive(Clone)]
pub struct MultiIndex<'a> {
    shape: Shape,
    substrings: Vec<Substring<'a>>,
    byte_len: usize,
}

/// One substring and its lists.
#[derive(Clone)]
pub(super) struct Substring<'a> {
    /// The bits that belong to it.
    pub(super) mask: Vec<u64>,
    pub(super) width: u32,
    pub(super) reader: KeyReader,
    rows: usize,
    id_bytes: usize,
    ids: &'a [u8],
    starts: &'a [u32],
}

impl<'a> MultiIndex<'a> {
    /// The index that [`MultiIndexBuilder`](crate::MultiIndexBuilder) wrote; nothing is copied.
    ///
    /// # Errors
    /// [`Error::DamagedIndex`] when the header does not hold together or the bytes are not as many as
    /// it says, [`Error::Alignment`] when they do not start at a multiple of 8 bytes.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, Error> {
        let shape = Shape::parse(bytes)?;
        let expected = shape.byte_len().unwrap_or(usize::MAX);
        if expected != bytes.len() {
            return Err(damaged("bytes", expected as u64, bytes.len() as u64));
        }
        let id_bytes = Shape::id_bytes(shape.rows);
        let mut rest = &bytes[HEADER + shape.masks.len() * 8..];
        let mut take = |length: usize| {
            let (taken, padding) = rest[..length.next_multiple_of(8)].split_at(length);
            rest = &rest[length.next_multiple_of(8)..];
            match padding.iter().find(|&&byte| byte != 0) {
                Some(&byte) => Err(damaged("padding", 0, u64::from(byte))),
                None => Ok(taken),
            }
        };
        let mut substrings = Vec::new();
        for mask in shape.substrings() {
            let width = width(mask);
            let ids = take(shape.rows * id_bytes)?;
            let starts = take(offset_bytes(width))?;
            let starts = bytemuck::try_cast_slice(starts).map_err(|_| Error::Alignment {
                what: "a multi-index",
                unit: 8,
                remainder: bytes.as_ptr().addr() % 8,
            })?;
            let (mask, reader) = (mask.to_vec(), KeyReader::new(mask));
            substrings.push(Substring { mask, width, reader, rows: shape.rows, id_bytes, ids, starts });
        }
        Ok(Self { shape, substrings, byte_len: bytes.len() })
    }

    /// The length of the codes that the index is about.
    #[must_use]
    pub const fn bits(&self) -> CodeBits {
        self.shape.bits
    }

    /// The number of codes that the index is about.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.shape.rows
    }

    /// The number of bytes of the index.
    #[must_use]
    pub const fn byte_len(&self) -> usize {
        self.byte_len
    }

    /// The number of bits of each substring.
    pub fn widths(&self) -> impl ExactSizeIterator<Item = u32> {
        self.substrings.iter().map(|substring| substring.width)
    }

    pub(super) fn substrings(&self) -> &[Substring<'a>] {
        &self.substrings
    }

    /// Check that the index is about as many codes of the same length as a matrix has.
    ///
    /// # Errors
    /// [`Error::Shape`] when it is not.
    pub fn check_fits(&self, codes: Codes<'_>) -> Result<(), Error> {
        let (expected, got) = (codes.bits().bits(), self.bits().bits());
        if expected != got {
            return Err(Error::Shape { what: "bits of a multi-index", expected, got });
        }
        let (expected, got) = (codes.rows(), self.rows());
        if expected != got {
            return Err(Error::Shape { what: "rows of a multi-index", expected, got });
        }
        Ok(())
    }

    /// Read everything and compare it with the codes: every list holds, ascending, exactly the rows
    /// whose code has its value.
    ///
    /// # Errors
    /// [`Error::Shape`] when the index is about other codes, [`Error::DamagedIndex`] at the first
    /// thing that is not as the builder writes it.
    pub fn verify(&self, codes: Codes<'_>) -> Result<(), Error> {
        self.check_fits(codes)?;
        self.substrings.iter().try_for_each(|substring| substring.verify(codes))
    }
}

impl fmt::Debug for MultiIndex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, bits, count) = (self.rows(), self.bits(), self.substrings.len());
        write!(f, "MultiIndex({rows} codes of {bits} bits, {count} substrings)")
    }
}

/// The list of one value: where it lies among a substring's rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    start: usize,
    end: usize,
}

impl List {
    pub(super) const fn len(self) -> usize {
        self.end - self.start
    }

    /// The first `most` rows of the list, and the rest.
    pub(super) fn split(self, most: usize) -> (Self, Self) {
        let middle = self.end.min(self.start + most);
        (Self { end: middle, ..self }, Self { start: middle, ..self })
    }
}

/// Little-endian numbers of `BYTES` bytes.
#[inline]
fn numbers<const BYTES: usize>(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<BYTES>().0.iter().map(|bytes| {
        let mut number = [0; 4];
        number[..BYTES].copy_from_slice(bytes);
        u32::from_le_bytes(number)
    })
}

impl Substring<'_> {
    /// Ask for what [`list`](Self::list) will read.
    #[inline]
    pub(super) fn prefetch_list(&self, key: u32) {
        if let Some(start) = self.starts.get(key as usize) {
            prefetch(start);
        }
    }

    /// The list of a value.
    #[inline]
    pub(super) fn list(&self, key: u32) -> Result<List, Error> {
        let ends = self.starts.get(key as usize..key as usize + 2);
        match ends {
            Some(&[start, end]) if start <= end && end as usize <= self.rows => {
                Ok(List { start: start as usize, end: end as usize })
            }
            Some(&[start, end]) => Err(damaged("end of a list", u64::from(start), u64::from(end))),
            _ => Err(damaged("lists", self.starts.len() as u64, u64::from(key))),
        }
    }

    /// Ask for what [`read`](Self::read) will read first.
    #[inline]
    pub(super) fn prefetch_rows(&self, list: List) {
        if let Some(id) = self.ids.get(list.start * self.id_bytes) {
            prefetch(id);
        }
    }

    /// Append the rows of a list to `rows`.
    #[inline]
    pub(super) fn read(&self, list: List, rows: &mut Vec<u32>) -> Result<(), Error> {
        let first = rows.len();
        let ids = &self.ids[list.start * self.id_bytes..list.end * self.id_bytes];
        match self.id_bytes {
            1 => rows.extend(numbers::<1>(ids)),
            2 => rows.extend(numbers::<2>(ids)),
            3 => rows.extend(numbers::<3>(ids)),
            _ => rows.extend(numbers::<4>(ids)),
        }
        match rows[first..].iter().find(|&&row| row as usize >= self.rows) {
            Some(&row) => Err(damaged("row in a list, below", self.rows as u64, u64::from(row))),
            None => Ok(()),
        }
    }

    fn verify(&self, codes: Codes<'_>) -> Result<(), Error> {
        let (mut seen, mut rows) = (0, Vec::new());
        for key in 0..1_u32 << self.width {
            let list = self.list(key)?;
            if list.start != seen {
                return Err(damaged("start of a list", seen as u64, list.start as u64));
            }
            seen = list.end;
            let mut next = 0;
            rows.clear();
            self.read(list, &mut rows)?;
            for &row in &rows {
                if row < next {
                    return Err(damaged("row in a list, at least", u64::from(next), u64::from(row)));
                }
                next = row + 1;
                let expected = self.reader.key(|word| codes.word(row as usize, word));
                if expected != key {
                    return Err(damaged("value of a row", u64::from(expected), u64::from(key)));
                }
            }
        }
        if seen == self.rows { Ok(()) } else { Err(damaged("rows", self.rows as u64, seen as u64)) }
    }
}
