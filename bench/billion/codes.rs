//! Codes around centers, the same for the same block.

use rayon::prelude::*;
use twinbit::{CodeBits, CodesBuf};
use twinbit_bench::Random;

use crate::Outcome;

/// Rows made at once.
pub(crate) const BLOCK: usize = 1 << 20;
/// Rows that one thread makes.
const PIECE: usize = 1 << 14;
const CENTERS: usize = 1000;
/// A bit is flipped with a probability of so many in 256.
const FLIPPED: u32 = 26;

/// A source of codes of one length.
pub(crate) struct Source {
    bits: CodeBits,
    centers: Vec<u64>,
}

impl Source {
    pub(crate) fn new(bits: CodeBits) -> Self {
        let mut random = Random::new(0);
        Self { bits, centers: (0..CENTERS * bits.words()).map(|_| random.word()).collect() }
    }

    /// The codes of a block; blocks of queries have numbers that no block of rows has.
    pub(crate) fn block(&self, number: u64, rows: usize) -> Outcome<CodesBuf> {
        let bytes = self.bits.bytes();
        let mut packed = vec![0; rows * bytes];
        packed.par_chunks_mut(PIECE * bytes).enumerate().for_each(|(piece, packed)| {
            let mut random = Random::new(1 + number * (BLOCK / PIECE) as u64 + piece as u64);
            // Seeds that follow each other give sequences that overlap: begin somewhere else in each.
            let mut random = Random::new(random.word());
            for code in packed.chunks_mut(bytes) {
                self.fill(code, &mut random);
            }
        });
        Ok(CodesBuf::from_packed(self.bits, &packed)?)
    }

    fn fill(&self, code: &mut [u8], random: &mut Random) {
        let words = self.bits.words();
        let center = (random.word() % CENTERS as u64) as usize * words;
        for (piece, center) in code.chunks_mut(8).zip(&self.centers[center..center + words]) {
            let word = (center ^ flips(random)).to_le_bytes();
            piece.copy_from_slice(&word[..piece.len()]);
        }
    }
}

/// A word of which every bit is set with a probability of 26 in 256.
fn flips(random: &mut Random) -> u64 {
    (0..8).fold(0, |flips, bit| {
        let word = random.word();
        if FLIPPED >> bit & 1 == 1 { flips | word } else { flips & word }
    })
}
