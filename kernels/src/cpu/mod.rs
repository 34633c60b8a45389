//! One implementation of the comparison per instruction set, and the choice among them.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::query::Query;
use crate::{Error, Line};

/// Compare queries with codes; see the methods of the same names of [`Isa`].
///
/// # Safety
/// The processor has the features that the kernel's `detected` asks for.
type Within = unsafe fn(query: &Query, lines: &[Line], bound: u32, survivors: &mut [u64]);
type Distances = unsafe fn(query: &Query, lines: &[Line], distances: &mut [u16]);
type At = unsafe fn(query: &Query, lines: &[Line], rows: &[u32], distances: &mut [u16]);
type Rows = unsafe fn(words: &[u64], first: u32, rows: &mut [u32]) -> usize;
type Screen = unsafe fn(queries: &[Query], lines: &[Line], limits: &[u32], groups: &mut [u64]);

/// The functions of one instruction set.
struct Kernel {
    name: &'static str,
    detected: fn() -> bool,
    within: Within,
    distances: Distances,
    at: At,
    rows: Rows,
    /// For codes of whole words; `within` serves where there is none.
    screen: Option<Screen>,
}

/// All implementations of this target, best first; the last one runs everywhere.
static KERNELS: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    avx512::KERNEL,
    #[cfg(target_arch = "x86_64")]
    avx2::KERNEL,
    #[cfg(target_arch = "aarch64")]
    neon::KERNEL,
    scalar::KERNEL,
];

/// An instruction set that this machine was found to have, and the scan written for it.
///
/// A value exists only after its features were detected, so holding one proves that its functions
/// may be called. All instruction sets give the same answers.
#[derive(Clone, Copy)]
pub struct Isa(&'static Kernel);

impl Isa {
    /// The instruction sets of this machine, best first; the last is always `scalar`.
    #[must_use]
    pub fn available() -> Vec<Self> {
        KERNELS.iter().filter(|kernel| (kernel.detected)()).map(Self).collect()
    }

    /// The best instruction set of this machine, detected once.
    #[must_use]
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Self::available().into_iter().next().unwrap_or_else(Self::scalar))
    }

    /// Portable code, the reference for the others.
    #[must_use]
    pub fn scalar() -> Self {
        static SCALAR: Kernel = scalar::KERNEL;
        Self(&SCALAR)
    }

    /// The name: `avx512`, `avx2`, `neon` or `scalar`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// Find the codes with a distance of at most `bound`.
    ///
    /// `lines` are whole blocks of codes; bit `i % 64` of `survivors[i / 64]` tells of code i. Bits
    /// beyond the codes that the lines hold are left as they are.
    #[inline]
    pub(crate) fn within(self, query: &Query, lines: &[Line], bound: u32, survivors: &mut [u64]) {
        // SAFETY: an `Isa` is only made of kernels whose features were detected.
        unsafe { (self.0.within)(query, lines, bound, survivors) }
    }

    /// Write the distances of the codes that `lines`, whole blocks, hold.
    #[inline]
    pub(crate) fn distances(self, query: &Query, lines: &[Line], distances: &mut [u16]) {
        // SAFETY: an `Isa` is only made of kernels whose features were detected.
        unsafe { (self.0.distances)(query, lines, distances) }
    }

    /// Write the distances of single rows, wherever they lie in `lines`, a whole matrix.
    #[inline]
    pub(crate) fn at(self, query: &Query, lines: &[Line], rows: &[u32], distances: &mut [u16]) {
        // SAFETY: an `Isa` is only made of kernels whose features were detected.
        unsafe { (self.0.at)(query, lines, rows, distances) }
    }

    /// Write the rows of some words of a mask, of which the first is `first`; how many there are.
    ///
    /// `rows` has room for every row and [`ROWS_SLACK`](crate::mask::ROWS_SLACK) more.
    #[inline]
    pub(crate) fn rows(self, words: &[u64], first: u32, rows: &mut [u32]) -> usize {
        // SAFETY: an `Isa` is only made of kernels whose features were detected.
        unsafe { (self.0.rows)(words, first, rows) }
    }

    /// Find the groups of 64 codes in which a query has a code nearer than its limit.
    ///
    /// `lines` are at most 64 whole groups; bit g of `groups[q]` tells of group g and query q.
    #[inline]
    pub(crate) fn screen(self, queries: &[Query], lines: &[Line], limits: &[u32], groups: &mut [u64]) {
        let packed = queries.first().is_some_and(|query| query.bits.is_packed());
        if let Some(screen) = self.0.screen
            && !packed
        {
            // SAFETY: an `Isa` is only made of kernels whose features were detected.
            return unsafe { screen(queries, lines, limits, groups) };
        }
        for ((query, &limit), groups) in queries.iter().zip(limits).zip(groups) {
            *groups = 0;
            if let Some(bound) = limit.checked_sub(1) {
                self.screen_one(query, lines, bound, groups);
            }
        }
    }

    fn screen_one(self, query: &Query, lines: &[Line], bound: u32, groups: &mut u64) {
        let mut survivors = [0; 64];
        let survivors = &mut survivors[..lines.len() / Query::lines_per_group(query.bits)];
        self.within(query, lines, bound, survivors);
        for (group, &word) in survivors.iter().enumerate() {
            *groups |= u64::from(word != 0) << group;
        }
    }
}

/// Screen as many queries together as `several` takes, then the rest one by one.
///
/// Always inlined, so that it is compiled for the features of the kernel that calls it.
#[inline(always)]
fn screen_together<const TOGETHER: usize>(
    queries: &[Query],
    limits: &[u32],
    groups: &mut [u64],
    several: impl Fn(&[Query], &[u32]) -> [u64; TOGETHER],
    one: impl Fn(&[Query], &[u32]) -> [u64; 1],
) {
    let together = queries.len() / TOGETHER * TOGETHER;
    for first in (0..together).step_by(TOGETHER) {
        let found = several(&queries[first..], &limits[first..]);
        groups[first..first + TOGETHER].copy_from_slice(&found);
    }
    for first in together..queries.len() {
        [groups[first]] = one(&queries[first..], &limits[first..]);
    }
}

/// Ask for a place in memory that is needed soon; a hint that changes nothing but time.
///
/// It is brought to the second-level cache only: the first level follows fewer requests at a time,
/// which was measured to take three times as long.
#[inline]
pub(crate) fn prefetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of the target, and a prefetch reads nothing that a program can see.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

impl PartialEq for Isa {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Isa {}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Isa({})", self.name())
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Isa {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let available = Self::available();
        available.iter().copied().find(|isa| isa.name() == name).ok_or_else(|| Error::UnknownIsa {
            name: name.to_owned(),
            available: available.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::ROWS_SLACK;

    #[test]
    fn the_rows_of_words_come_in_order_however_many_bits_they_have() {
        let mut state = 5_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ state >> 29
        };
        for thinned in 0..8 {
            for length in [0, 1, 7, 8, 9, 16, 31] {
                let words: Vec<u64> =
                    (0..length).map(|_| (0..thinned).fold(u64::MAX, |word, _| word & random())).collect();
                let first = u32::MAX - 64 * 31 + 1;
                let bit = |place: usize| words[place / 64] >> (place % 64) & 1 == 1;
                let expected: Vec<u32> = (0..words.len() * 64)
                    .filter(|&place| bit(place))
                    .map(|place| first + place as u32)
                    .collect();
                for isa in Isa::available() {
                    let mut rows = vec![0; length * 64 + ROWS_SLACK];
                    let filled = isa.rows(&words, first, &mut rows);
                    assert_eq!(rows[..filled], expected, "{isa}, {length} words");
                }
            }
        }
    }
}
