//! A set of rows: which are alive, have a modality, pass a filter.

use std::ops::Range;

use bitvec::order::Lsb0;
use bitvec::vec::BitVec;

use crate::Error;

/// A set of rows, one bit each; how filters and deletes reach a scan.
///
/// Bit `row % 64` of word `row / 64` stands for the row. Bits after the last row are zero.
#[derive(Clone, PartialEq, Eq)]
pub struct RowMask {
    bits: BitVec<u64, Lsb0>,
}

impl RowMask {
    /// All of `rows` rows.
    #[must_use]
    pub fn all(rows: usize) -> Self {
        Self::clean(BitVec::repeat(true, rows))
    }

    /// None of `rows` rows.
    #[must_use]
    pub fn none(rows: usize) -> Self {
        Self { bits: BitVec::repeat(false, rows) }
    }

    /// The rows that an iterator names, in any order, out of `rows` rows.
    ///
    /// # Panics
    /// When a row is not below `rows`, as indexing a slice does.
    #[must_use]
    pub fn from_rows(rows: usize, chosen: impl IntoIterator<Item = u32>) -> Self {
        let mut mask = Self::none(rows);
        for row in chosen {
            mask.set(row as usize, true);
        }
        mask
    }

    /// The mask of `rows` rows from its words; bits after the last row are cleared.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there are exactly `rows.div_ceil(64)` words.
    pub fn from_words(rows: usize, words: Vec<u64>) -> Result<Self, Error> {
        let expected = rows.div_ceil(64);
        let got = words.len();
        if got != expected {
            return Err(Error::Shape { what: "words of a row mask", expected, got });
        }
        let mut bits = BitVec::from_vec(words);
        bits.truncate(rows);
        Ok(Self::clean(bits))
    }

    fn clean(mut bits: BitVec<u64, Lsb0>) -> Self {
        bits.set_uninitialized(false);
        Self { bits }
    }

    /// The number of rows the mask speaks about, in it or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bits.len()
    }

    /// Whether the mask speaks about no rows at all; see [`any`](Self::any) for an empty set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// Whether a row is in the set; rows beyond the mask are not.
    #[must_use]
    pub fn get(&self, row: usize) -> bool {
        self.bits.get(row).is_some_and(|bit| *bit)
    }

    /// Put a row into the set or take it out.
    ///
    /// # Panics
    /// When the mask has no such row, as indexing a slice does.
    pub fn set(&mut self, row: usize, member: bool) {
        self.bits.set(row, member);
    }

    /// Put a range of rows into the set or take it out.
    ///
    /// # Panics
    /// When the mask does not have all these rows, as indexing a slice does.
    pub fn set_range(&mut self, rows: Range<usize>, member: bool) {
        self.bits[rows].fill(member);
    }

    /// The rows in both sets; of this mask's length, rows beyond `other` are not in it.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & b)
    }

    /// The rows in either set; of this mask's length, rows beyond `other` are not in it.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a | b)
    }

    /// The rows in this set and not in `other`; of this mask's length.
    #[must_use]
    pub fn and_not(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & !b)
    }

    /// The rows that are not in the set.
    #[must_use]
    pub fn not(&self) -> Self {
        Self::clean(!self.bits.clone())
    }

    fn combine(&self, other: &Self, operation: impl Fn(u64, u64) -> u64) -> Self {
        let mut bits = self.bits.clone();
        let others = other.words().iter().copied().chain(std::iter::repeat(0));
        for (word, other) in bits.as_raw_mut_slice().iter_mut().zip(others) {
            *word = operation(*word, other);
        }
        Self::clean(bits)
    }

    /// The number of rows in the set.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words().iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The rows in the set, ascending.
    pub fn ones(&self) -> impl Iterator<Item = u32> {
        self.bits.iter_ones().map(|row| row as u32)
    }

    /// The lowest row in the set.
    #[must_use]
    pub fn first(&self) -> Option<u32> {
        self.bits.first_one().map(|row| row as u32)
    }

    /// Whether any row is in the set.
    #[must_use]
    pub fn any(&self) -> bool {
        self.words().iter().any(|&word| word != 0)
    }

    /// Whether every row is in the set.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.bits.all()
    }

    /// The words of the mask, `len().div_ceil(64)` of them.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        self.bits.as_raw_slice()
    }
}

/// Places that [`rows_of`] may write to beyond the rows it names.
pub(crate) const ROWS_SLACK: usize = 16;

/// Write the rows of some words of a mask, of which the first is `first`, ascending to the front of
/// `rows`; how many there are. Each instruction set compiles its own.
///
/// `rows` has room for every row and [`ROWS_SLACK`] more.
#[inline(always)]
pub(crate) fn rows_of(words: &[u64], first: u32, rows: &mut [u32]) -> usize {
    let mut filled = 0;
    let mut first = first;
    for &word in words {
        // Most words of a sparse mask have two bits at most: no branch depends on how many. Without a
        // bit the row is not kept, and may lie beyond the last number there is.
        let second = word & word.wrapping_sub(1);
        let mut more = second & second.wrapping_sub(1);
        rows[filled] = first.wrapping_add(word.trailing_zeros());
        rows[filled + 1] = first.wrapping_add(second.trailing_zeros());
        let mut next = filled + 2;
        while more != 0 {
            rows[next] = first + more.trailing_zeros();
            next += 1;
            more &= more - 1;
        }
        filled += word.count_ones() as usize;
        first = first.wrapping_add(64);
    }
    filled
}

impl std::fmt::Debug for RowMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowMask({} of {} rows)", self.count(), self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_after_the_last_row_stay_zero() {
        for rows in [0, 1, 63, 64, 65, 130] {
            let all = RowMask::all(rows);
            let none = RowMask::none(rows);
            assert_eq!(all.words().len(), rows.div_ceil(64));
            assert_eq!(all.count(), rows);
            assert_eq!(none.not(), all);
            assert_eq!(all.not(), none);
            assert_eq!(all.not().words(), none.words());
            assert_eq!(none.or(&RowMask::all(1000)), all);
            let full = RowMask::from_words(rows, vec![u64::MAX; rows.div_ceil(64)]).unwrap();
            assert_eq!(full.words(), all.words());
            assert!(all.is_all());
            assert_eq!(all.any(), rows > 0);
            assert!(!none.any());
        }
    }

    #[test]
    fn rows_are_set_and_read() {
        let mut mask = RowMask::from_rows(100, [3, 99, 64, 3]);
        assert_eq!(mask.ones().collect::<Vec<_>>(), [3, 64, 99]);
        assert_eq!(mask.words(), [1 << 3, 1 | 1 << 35]);
        assert_eq!(mask.first(), Some(3));
        assert!(mask.get(64) && !mask.get(65) && !mask.get(100));
        mask.set(3, false);
        mask.set_range(60..70, true);
        assert_eq!(mask.count(), 11);
        mask.set_range(0..100, false);
        assert_eq!(mask.first(), None);
        assert_eq!(mask, RowMask::none(100));
    }

    #[test]
    fn sets_combine() {
        let a = RowMask::from_rows(70, [1, 2, 65]);
        let b = RowMask::from_rows(70, [2, 3, 65, 69]);
        let rows = |mask: RowMask| mask.ones().collect::<Vec<_>>();
        assert_eq!(rows(a.and(&b)), [2, 65]);
        assert_eq!(rows(a.or(&b)), [1, 2, 3, 65, 69]);
        assert_eq!(rows(a.and_not(&b)), [1]);
        let short = RowMask::all(2);
        assert_eq!(rows(a.and(&short)), [1]);
        assert_eq!(rows(a.and_not(&short)), [2, 65]);
        assert_eq!(a.or(&short).len(), 70);
    }

    #[test]
    fn words_must_fit_the_rows() {
        assert!(matches!(RowMask::from_words(65, vec![0]), Err(Error::Shape { expected: 2, got: 1, .. })));
    }
}
