//! A growing string of bits with rank: which rows have a modality, which rows have a field.

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
