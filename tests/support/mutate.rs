//! A fuzzing loop without coverage: inputs that the program itself made, changed again and again.
//!
//! Only the standard library is used, so that the unit tests of other packages can include this file.
//! Inputs that once failed are kept in `tests/fuzz/corpus/NAME/` and tried first.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Numbers from a seed (splitmix64).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers from a seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }
}

/// Numbers that break arithmetic more often than others.
const EDGES: [u64; 12] =
    [0, 1, 7, 8, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 32, i64::MAX as u64, u64::MAX];

/// One of the inputs with a few changes.
fn mutated(inputs: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = inputs[random.below(inputs.len())].clone();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len());
        let end = at + random.below(64.min(bytes.len() - at + 1));
        match random.below(9) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = random.number() as u8,
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                let target = random.below(bytes.len() + 1);
                bytes.splice(target..target, copy);
            }
            4 | 5 => {
                let edge = EDGES[random.below(EDGES.len())].wrapping_sub(random.below(3) as u64);
                let width = [1, 2, 4, 8][random.below(4)];
                let (order, end) = (random.below(4), (at + width).min(bytes.len()));
                let number = if order == 0 { edge.to_be_bytes() } else { edge.to_le_bytes() };
                let number = if order == 0 { &number[8 - (end - at)..] } else { &number[..end - at] };
                bytes[at..end].copy_from_slice(number);
            }
            6 => bytes.truncate(at),
            7 => {
                let other = &inputs[random.below(inputs.len())];
                let from = random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let digits = EDGES[random.below(EDGES.len())].to_string();
                bytes.splice(at..at, digits.bytes());
            }
        }
    }
    bytes
}

fn kept(name: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().find(|folder| folder.join("tests/fuzz").is_dir());
    root.unwrap_or(here).join("tests/fuzz/corpus").join(name)
}

/// Tries inputs until the time is over; returns how many were tried and how many were accepted.
///
/// # Panics
/// When the target panics; the input is kept before.
pub fn fuzz(
    name: &str,
    inputs: &[Vec<u8>],
    time: Duration,
    target: &mut dyn FnMut(&[u8]) -> bool,
) -> (u64, u64) {
    let folder = kept(name);
    let mut random = Random::new(0x7477_696e_6269_7421);
    let (mut tried, mut accepted) = (0, 0);
    let mut attempt = |bytes: &[u8]| {
        let result = catch_unwind(AssertUnwindSafe(|| target(bytes)));
        tried += 1;
        accepted += u64::from(result.as_ref().is_ok_and(|accepted| *accepted));
        if result.is_err() {
            let number =
                bytes.iter().fold(0_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte)));
            let path = folder.join(format!("{number:016x}"));
            let kept = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, bytes));
            panic!("{name}: a panic; the input is {} ({kept:?})", path.display());
        }
    };
    inputs.iter().for_each(|input| attempt(input));
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        attempt(&fs::read(entry.path()).unwrap_or_default());
    }
    let end = Instant::now() + time;
    while Instant::now() < end {
        for _ in 0..16 {
            attempt(&mutated(inputs, &mut random));
        }
    }
    (tried, accepted)
}
