//! A growing string of bits with rank: which rows have a modality, which rows have a field.

use std::ops::Range;

use twinbit_kernels::RowMask;

/// One bit a row, lowest bit of the first word first; bits past the end are zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
    len: usize,
    ones: usize,
}

impl Bits {
    pub(crate) fn push(&mut self, bit: bool) {
        let (word, shift) = (self.len / 64, self.len % 64);
        if shift == 0 {
            self.words.push(0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= u64::from(bit) << shift;
        }
        self.len += 1;
        self.ones += usize::from(bit);
    }

    /// Appends bits of another string.
    pub(crate) fn extend(&mut self, from: BitSlice<'_>, rows: Range<usize>) {
        let mut row = rows.start;
        while row < rows.end {
            let count = (rows.end - row).min(64);
            let word = from.word(row, count);
            let shift = self.len % 64;
            match self.words.last_mut().filter(|_| shift > 0) {
                None => self.words.push(word),
                Some(last) => {
                    *last |= word << shift;
                    if shift + count > 64 {
                        self.words.push(word >> (64 - shift));
                    }
                }
            }
            self.len += count;
            self.ones += word.count_ones() as usize;
            row += count;
        }
    }

    /// Takes the words that are full out of the string; what follows goes on as if they were there.
    pub(crate) fn take_full_words(&mut self) -> Vec<u64> {
        let rest = self.words.split_off(self.len / 64);
        self.len %= 64;
        std::mem::replace(&mut self.words, rest)
    }

    pub(crate) fn get(&self, row: usize) -> bool {
        row < self.len && bit(&self.words, row)
    }

    pub(crate) fn count(&self) -> usize {
        self.ones
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(crate) fn to_mask(&self) -> RowMask {
        mask_of_words(self.len, &self.words)
    }
}

/// A string of bits that is not stored when all are the same.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BitSlice<'a> {
    Zeros,
    Ones,
    Words(&'a [u64]),
}

impl BitSlice<'_> {
    /// The `count` bits (at most 64) from `row` on, lowest bit first.
    fn word(&self, row: usize, count: usize) -> u64 {
        let mask = u64::MAX.checked_shr(64 - count as u32).unwrap_or(0);
        match self {
            BitSlice::Zeros => 0,
            BitSlice::Ones => mask,
            BitSlice::Words(words) => {
                let at = |word: usize| words.get(word).copied().unwrap_or_default();
                let (word, shift) = (row / 64, row % 64);
                let high = if shift == 0 { 0 } else { at(word + 1) << (64 - shift) };
                (at(word) >> shift | high) & mask
            }
        }
    }

    /// Ones among some rows.
    pub(crate) fn ones(&self, rows: Range<usize>) -> usize {
        match self {
            BitSlice::Zeros => 0,
            BitSlice::Ones => rows.len(),
            BitSlice::Words(_) => rows
                .clone()
                .step_by(64)
                .map(|row| self.word(row, (rows.end - row).min(64)).count_ones() as usize)
                .sum(),
        }
    }
}

/// Bit `row` of a bit string; false past its end.
pub(crate) fn bit(words: &[u64], row: usize) -> bool {
    words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
}

/// A mask of `rows` rows from the words of a bit string; missing words count as zero.
pub(crate) fn mask_of_words(rows: usize, words: &[u64]) -> RowMask {
    let mut words = words.to_vec();
    words.resize(rows.div_ceil(64), 0);
    RowMask::from_words(rows, words).unwrap_or_else(|_| RowMask::none(rows))
}

/// Ones before every 512th row, so that a rank reads at most eight words.
pub(crate) struct RankDirectory(Vec<u32>);

const WORDS_PER_STEP: usize = 8;

impl RankDirectory {
    pub(crate) fn new(words: &[u64]) -> Self {
        let mut before = 0_u32;
        RankDirectory(
            words
                .chunks(WORDS_PER_STEP)
                .map(|step| {
                    let here = before;
                    before += step.iter().map(|word| word.count_ones()).sum::<u32>();
                    here
                })
                .collect(),
        )
    }

    /// Ones before `row`.
    pub(crate) fn rank(&self, words: &[u64], row: usize) -> usize {
        let word = row / 64;
        let step = word / WORDS_PER_STEP;
        let whole = words
            .get(step * WORDS_PER_STEP..word)
            .unwrap_or_default()
            .iter()
            .map(|word| word.count_ones())
            .sum::<u32>();
        let last = words.get(word).map_or(0, |word| (word & ((1_u64 << (row % 64)) - 1)).count_ones());
        (self.0.get(step).copied().unwrap_or_default() + whole + last) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(len: usize) -> (Vec<bool>, Bits) {
        let plain: Vec<bool> = (0..len).map(|i| (i * i) % 7 < 3).collect();
        let mut bits = Bits::default();
        plain.iter().for_each(|bit| bits.push(*bit));
        (plain, bits)
    }

    #[test]
    fn holds_what_was_pushed() {
        for len in [0, 1, 63, 64, 65, 1500] {
            let (plain, bits) = pattern(len);
            assert_eq!(bits.len, len);
            assert_eq!(bits.count(), plain.iter().filter(|bit| **bit).count());
            let mask = bits.to_mask();
            for (row, expected) in plain.iter().enumerate() {
                assert_eq!(bits.get(row), *expected);
                assert_eq!(mask.get(row), *expected);
            }
            assert!(!bits.get(len));
        }
    }

    #[test]
    fn parts_of_strings_are_joined_and_counted() {
        let (plain, bits) = pattern(500);
        for (from, until) in [(0, 0), (0, 64), (3, 64), (60, 200), (63, 65), (128, 500), (499, 500)] {
            let slice = BitSlice::Words(bits.words());
            let expected: Vec<bool> = plain[from..until].to_vec();
            assert_eq!(slice.ones(from..until), expected.iter().filter(|bit| **bit).count());
            assert_eq!(
                (BitSlice::Zeros.ones(from..until), BitSlice::Ones.ones(from..until)),
                (0, until - from)
            );
            let (mut joined, mut pushed) = (Bits::default(), Bits::default());
            let mut words = Vec::new();
            for _ in 0..3 {
                joined.extend(slice, from..until);
                joined.extend(BitSlice::Ones, 0..5);
                joined.extend(BitSlice::Zeros, 7..8);
                words.extend(joined.take_full_words());
                expected.iter().chain(&[true; 5]).chain(&[false]).for_each(|bit| pushed.push(*bit));
            }
            words.extend(joined.words());
            assert_eq!(words, pushed.words());
            assert_eq!(joined.count(), pushed.count());
        }
    }

    #[test]
    fn rank_counts_ones_before() {
        let (plain, bits) = pattern(2000);
        let directory = RankDirectory::new(bits.words());
        let mut expected = 0;
        for (row, bit) in plain.iter().enumerate() {
            assert_eq!(directory.rank(bits.words(), row), expected, "row {row}");
            expected += usize::from(*bit);
        }
    }
}
