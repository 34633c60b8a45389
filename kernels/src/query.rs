//! A query in the form the kernels compare lines with.

use crate::{CodeBits, Codes, Line};

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

    /// Write the distances of single rows of a matrix; each instruction set compiles its own.
    #[inline(always)]
    pub(crate) fn distances_at(&self, lines: &[Line], rows: &[u32], distances: &mut [u16]) {
        match (self.bits, self.words.as_slice()) {
            (CodeBits::B16 | CodeBits::B32, _) => {
                let (per_line, bits) = (self.bits.rows_per_block(), self.bits.bits());
                let per_word = per_line / 8;
                for (&row, distance) in rows.iter().zip(distances) {
                    let row = row as usize;
                    let word = lines[row / per_line].0[row / per_word % 8] ^ self.words[0];
                    let low = row % per_word * bits;
                    *distance = (word >> low << (64 - bits)).count_ones() as u16;
                }
            }
            (_, &[word]) => {
                for (&row, distance) in rows.iter().zip(distances) {
                    let row = row as usize;
                    *distance = (lines[row / 8].0[row % 8] ^ word).count_ones() as u16;
                }
            }
            (_, &[a, b]) => {
                let (blocks, _) = lines.as_chunks::<2>();
                for (&row, distance) in rows.iter().zip(distances) {
                    let row = row as usize;
                    let [first, second] = &blocks[row / 8];
                    let differing = [first.0[row % 8] ^ a, second.0[row % 8] ^ b];
                    *distance = (differing[0].count_ones() + differing[1].count_ones()) as u16;
                }
            }
            (_, words) => {
                for (&row, distance) in rows.iter().zip(distances) {
                    let row = row as usize;
                    let block = &lines[row / 8 * words.len()..][..words.len()];
                    let differing = words.iter().zip(block).map(|(word, line)| word ^ line.0[row % 8]);
                    *distance = differing.map(u64::count_ones).sum::<u32>() as u16;
                }
            }
        }
    }

    /// The number of lines that hold 64 codes.
    pub(crate) const fn lines_per_group(bits: CodeBits) -> usize {
        64 / bits.rows_per_block() * bits.lines_per_block()
    }
}
