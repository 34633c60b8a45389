//! A query in the form the kernels compare lines with.

use crate::{CodeBits, Codes};

/// One query code, prepared for comparison with lines of codes of the same length.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) bits: CodeBits,
    /// The code's words. A packed code is repeated to fill its one word, so that a whole line can
    /// be compared with the word in every place.
    pub(crate) words: Vec<u64>,
}

impl Query {
    /// The query in a row of a matrix.
    pub(crate) fn of_row(codes: Codes<'_>, row: usize) -> Self {
        let bits = codes.bits();
        let mut words = vec![0; bits.words()];
        codes.row_into(row, &mut bytemuck::cast_slice_mut(&mut words)[..bits.bytes()]);
        match bits {
            CodeBits::B16 => words[0] *= 0x0001_0001_0001_0001,
            CodeBits::B32 => words[0] *= 0x0000_0001_0000_0001,
            _ => {}
        }
        Self { bits, words }
    }

    /// The distance to one code of a matrix, for the few rows that deserve no kernel call.
    pub(crate) fn distance(&self, codes: Codes<'_>, row: usize) -> u32 {
        let lines = codes.lines();
        if self.bits.is_packed() {
            let per_word = self.bits.rows_per_block() / 8;
            let word = lines[row / self.bits.rows_per_block()].0[row / per_word % 8] ^ self.words[0];
            let low = row % per_word * self.bits.bits();
            (word >> low << (64 - self.bits.bits())).count_ones()
        } else {
            let block = &lines[row / 8 * self.words.len()..];
            self.words.iter().zip(block).map(|(word, line)| (word ^ line.0[row % 8]).count_ones()).sum()
        }
    }

    /// The number of lines that hold 64 codes.
    pub(crate) const fn lines_per_group(bits: CodeBits) -> usize {
        64 / bits.rows_per_block() * bits.lines_per_block()
    }
}
