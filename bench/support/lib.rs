//! What the benches share: seeded data, the same on every machine, and their arguments.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use twinbit_kernels::{CodeBits, CodesBuf, Error};

/// A sequence of pseudo-random words, the same for the same seed (SplitMix64: Steele, Lea, Flood,
/// "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next word of the sequence.
    pub const fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }
}

/// Codes with independent, evenly distributed bits.
///
/// # Errors
/// When there are more rows than a matrix may have.
pub fn uniform_codes(bits: CodeBits, rows: usize, seed: u64) -> Result<CodesBuf, Error> {
    let mut random = Random::new(seed);
    let mut packed = vec![0; rows * bits.bytes()];
    for piece in packed.chunks_mut(8) {
        piece.copy_from_slice(&random.word().to_le_bytes()[..piece.len()]);
    }
    CodesBuf::from_packed(bits, &packed)
}

/// The arguments `--name value`; cargo's own `--bench` has no value.
///
/// # Errors
/// Says which argument is no option, or lacks its value.
pub fn arguments() -> Result<HashMap<String, String>, String> {
    let mut given = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut arguments = HashMap::new();
    while let Some(name) = given.next() {
        let name = name.strip_prefix("--").ok_or_else(|| format!("{name} is no option"))?.to_owned();
        let value = given.next().ok_or_else(|| format!("--{name} needs a value"))?;
        arguments.insert(name, value);
    }
    Ok(arguments)
}
