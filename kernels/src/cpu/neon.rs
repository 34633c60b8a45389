//! NEON: bits are counted per byte and summed over the places of a code; a line is four registers.

use std::arch::aarch64::{
    uint8x16_t, uint16x8_t, vaddq_u8, vaddq_u16, vcntq_u8, vdupq_n_u16, vdupq_n_u64, veorq_u8, vld1q_u64,
    vminq_u16, vminvq_u16, vpaddlq_u8, vpaddq_u8, vpaddq_u16, vreinterpretq_u8_u64, vst1q_u16,
};

use super::{Kernel, screen_together};
use crate::mask::rows_of;
use crate::query::Query;
use crate::{CodeBits, Line};

pub(super) const KERNEL: Kernel = Kernel {
    name: "neon",
    detected: || std::arch::is_aarch64_feature_detected!("neon"),
    within,
    distances,
    at,
    rows,
    screen: Some(screen),
};

/// Queries that share a walk through the codes.
const TOGETHER: usize = 4;

#[target_feature(enable = "neon")]
fn within(query: &Query, lines: &[Line], bound: u32, survivors: &mut [u64]) {
    // The bits of a block of 8 codes, in order: the unit in which distances come.
    let mut bytes = bytemuck::cast_slice_mut::<u64, u8>(survivors).iter_mut();
    each(query, lines, |sums| {
        if let Some(byte) = bytes.next() {
            let nearer = sums.map(|sum| u8::from(u32::from(sum) <= bound));
            *byte = nearer.iter().rev().fold(0, |byte, bit| byte << 1 | bit);
        }
    });
}

#[target_feature(enable = "neon")]
fn distances(query: &Query, lines: &[Line], distances: &mut [u16]) {
    let mut places = distances.as_chunks_mut::<8>().0.iter_mut();
    each(query, lines, |sums| {
        if let Some(place) = places.next() {
            *place = sums;
        }
    });
}

#[target_feature(enable = "neon")]
fn at(query: &Query, lines: &[Line], rows: &[u32], distances: &mut [u16]) {
    query.distances_at(lines, rows, distances);
}

#[target_feature(enable = "neon")]
fn rows(words: &[u64], first: u32, rows: &mut [u32]) -> usize {
    rows_of(words, first, rows)
}

#[target_feature(enable = "neon")]
fn screen(queries: &[Query], lines: &[Line], limits: &[u32], groups: &mut [u64]) {
    match queries.first().map(|query| query.words.len()) {
        Some(1) => screen_fixed::<1>(queries, lines, limits, groups),
        Some(2) => screen_fixed::<2>(queries, lines, limits, groups),
        Some(4) => screen_fixed::<4>(queries, lines, limits, groups),
        _ => {
            for ((query, &limit), groups) in queries.iter().zip(limits).zip(groups) {
                *groups = screen_long(query, lines, limit);
            }
        }
    }
}

/// The case of few words: several queries take each line together.
#[inline]
#[target_feature(enable = "neon")]
fn screen_fixed<const WORDS: usize>(queries: &[Query], lines: &[Line], limits: &[u32], groups: &mut [u64]) {
    let several = |queries: &[Query], limits: &[u32]| screen_block::<WORDS, TOGETHER>(queries, lines, limits);
    let one = |queries: &[Query], limits: &[u32]| screen_block::<WORDS, 1>(queries, lines, limits);
    screen_together(queries, limits, groups, several, one);
}

/// Screen the first `QUERIES` of the queries; at most 7 words, so that the counts of four bytes of a
/// code fit one.
#[inline]
#[target_feature(enable = "neon")]
fn screen_block<const WORDS: usize, const QUERIES: usize>(
    queries: &[Query],
    lines: &[Line],
    limits: &[u32],
) -> [u64; QUERIES] {
    let words: [[uint8x16_t; WORDS]; QUERIES] =
        std::array::from_fn(|query| std::array::from_fn(|word| broadcast(queries[query].words[word])));
    let mut groups = [0; QUERIES];
    for (group, lines) in lines.chunks_exact(8 * WORDS).enumerate() {
        // The nearest of 64 codes is compared with the limit, not each code.
        let mut nearest = [vdupq_n_u16(u16::MAX); QUERIES];
        for block in lines.as_chunks::<WORDS>().0 {
            for (nearest, words) in nearest.iter_mut().zip(&words) {
                let [mut a, mut b, mut c, mut d] = counts(&block[0], words[0]);
                for (line, &word) in block.iter().zip(words).skip(1) {
                    let [e, f, g, h] = counts(line, word);
                    (a, b, c, d) = (vaddq_u8(a, e), vaddq_u8(b, f), vaddq_u8(c, g), vaddq_u8(d, h));
                }
                // Four registers hold 8 codes: a sum of four bytes each, then of eight.
                let sums = vpaddlq_u8(vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d)));
                *nearest = vminq_u16(*nearest, sums);
            }
        }
        for ((groups, nearest), &limit) in groups.iter_mut().zip(nearest).zip(limits) {
            *groups |= u64::from(u32::from(vminvq_u16(nearest)) < limit) << group;
        }
    }
    groups
}

#[inline]
#[target_feature(enable = "neon")]
fn screen_long(query: &Query, lines: &[Line], limit: u32) -> u64 {
    let mut groups = 0;
    for (group, lines) in lines.chunks_exact(8 * query.words.len()).enumerate() {
        let mut near = false;
        each(query, lines, |sums| near |= sums.iter().any(|&sum| u32::from(sum) < limit));
        groups |= u64::from(near) << group;
    }
    groups
}

/// Call `found` codes that the lines hold, in order.
#[inline]
#[target_feature(enable = "neon")]
fn each(query: &Query, lines: &[Line], mut found: impl FnMut([u16; 8])) {
    match query.bits {
        CodeBits::B16 => {
            for line in lines {
                // A register holds 8 codes.
                for quarter in differing(line, query.words[0]) {
                    found(store(vpaddlq_u8(quarter)));
                }
            }
        }
        CodeBits::B32 => {
            for line in lines {
                // Two registers hold 8 codes; a code is two of the 16-bit sums.
                let [a, b, c, d] = differing(line, query.words[0]).map(|quarter| vpaddlq_u8(quarter));
                found(store(vpaddq_u16(a, b)));
                found(store(vpaddq_u16(c, d)));
            }
        }
        _ => {
            for block in lines.chunks_exact(query.words.len()) {
                // Four registers hold a word of 8 codes; a code is four of the 16-bit sums.
                let mut sums = [vdupq_n_u16(0); 4];
                for (line, &word) in block.iter().zip(&query.words) {
                    for (sum, quarter) in sums.iter_mut().zip(differing(line, word)) {
                        *sum = vaddq_u16(*sum, vpaddlq_u8(quarter));
                    }
                }
                let [a, b, c, d] = sums;
                found(store(vpaddq_u16(vpaddq_u16(a, b), vpaddq_u16(c, d))));
            }
        }
    }
}

/// The number of bits in which each byte of a line differs from the query's word.
#[inline]
#[target_feature(enable = "neon")]
fn differing(line: &Line, word: u64) -> [uint8x16_t; 4] {
    counts(line, broadcast(word))
}

/// The same with the word in every place of a register.
#[inline]
#[target_feature(enable = "neon")]
fn counts(line: &Line, word: uint8x16_t) -> [uint8x16_t; 4] {
    let (quarters, _) = line.0.as_chunks::<2>();
    let count = |place: usize| vcntq_u8(veorq_u8(load(&quarters[place]), word));
    [count(0), count(1), count(2), count(3)]
}

#[inline]
#[target_feature(enable = "neon")]
fn broadcast(word: u64) -> uint8x16_t {
    vreinterpretq_u8_u64(vdupq_n_u64(word))
}

#[inline]
#[target_feature(enable = "neon")]
fn load(words: &[u64; 2]) -> uint8x16_t {
    // SAFETY: the words are 16 bytes, which is what the load reads.
    vreinterpretq_u8_u64(unsafe { vld1q_u64(words.as_ptr()) })
}

#[inline]
#[target_feature(enable = "neon")]
fn store(sums: uint16x8_t) -> [u16; 8] {
    let mut values = [0; 8];
    // SAFETY: `values` is 16 bytes that may be written, which is what the store writes.
    unsafe { vst1q_u16(values.as_mut_ptr(), sums) }
    values
}
