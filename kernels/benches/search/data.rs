//! Seeded codes: uniform bits, and clusters of the kind that the peers are measured with.

use std::io::Write;

use memmap2::Mmap;
use twinbit_kernels::{CodeBits, CodesBuf, RowMask};

/// How the codes of a set lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Independent, even bits.
    Uniform,
    /// 1,000 random centers; each bit of a code differs from its center's with probability 26 / 256.
    Clustered,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Clustered => "clustered",
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    /// A word whose bits are set with probability 26 / 256: eight rounds, a bit of 26 each.
    fn flips(&mut self) -> u64 {
        (0..8).fold(0, |flips, bit| {
            let word = self.word();
            if 26 >> bit & 1 == 1 { flips | word } else { flips & word }
        })
    }
}

/// `rows` packed codes of whole words, row after row, and 1,000 queries drawn alike.
pub(crate) fn packed(kind: Kind, bits: CodeBits, rows: usize) -> (Vec<u8>, Vec<u8>) {
    let words = bits.words();
    let mut random = Random::new(20_240_607 + bits.bits() as u64);
    let centers: Vec<u64> = (0..1000 * words).map(|_| random.word()).collect();
    let mut draw = |rows: usize| {
        let mut codes = Vec::with_capacity(rows * bits.bytes());
        for _ in 0..rows {
            let center = random.word() as usize % 1000 * words;
            for word in 0..words {
                let code = match kind {
                    Kind::Uniform => random.word(),
                    Kind::Clustered => centers[center + word] ^ random.flips(),
                };
                codes.extend_from_slice(&code.to_le_bytes());
            }
        }
        codes
    };
    let queries = draw(1000);
    (draw(rows), queries)
}

/// The codes and queries of [`packed`] as matrices.
pub(crate) fn codes(kind: Kind, bits: CodeBits, rows: usize) -> (CodesBuf, CodesBuf) {
    let (base, queries) = packed(kind, bits, rows);
    let matrix = |packed: &[u8]| CodesBuf::from_packed(bits, packed).expect("whole codes");
    (matrix(&base), matrix(&queries))
}

/// These bytes in a file of their own, mapped as a segment's file is.
pub(crate) fn mapped(bytes: &[u8]) -> Mmap {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("room for the file");
    // SAFETY: the file has no name, so nobody else can change it.
    unsafe { Mmap::map(&file) }.expect("a mapping")
}

/// A mask in which a row is with probability `share`.
pub(crate) fn random_mask(rows: usize, share: f64) -> RowMask {
    let mut random = Random::new(77);
    let limit = (share * u64::MAX as f64) as u64;
    let chosen: Vec<u32> = (0..rows as u32).filter(|_| random.word() <= limit).collect();
    RowMask::from_rows(rows, chosen)
}
