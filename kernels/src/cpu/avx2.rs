//! AVX2: bits are counted by looking up both halves of every byte (Mula, Kurz, Lemire, "Faster
//! population counts using AVX2 instructions", 2018); a line is two registers.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi8, _mm256_add_epi64, _mm256_and_si256, _mm256_castsi256_pd, _mm256_castsi256_ps,
    _mm256_cmpgt_epi16, _mm256_cmpgt_epi32, _mm256_cmpgt_epi64, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_min_epu16, _mm256_movemask_epi8, _mm256_movemask_pd, _mm256_movemask_ps,
    _mm256_packs_epi16, _mm256_permute4x64_epi64, _mm256_sad_epu8, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_setr_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_srli_epi16, _mm256_storeu_si256, _mm256_xor_si256,
};

use super::{Kernel, screen_together};
use crate::mask::rows_of;
use crate::query::Query;
use crate::{CodeBits, Line};

pub(super) const KERNEL: Kernel = Kernel {
    name: "avx2",
    detected: || {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("popcnt")
    },
    within,
    distances,
    at,
    rows,
    screen: Some(screen),
};

/// Queries that share a walk through the codes.
const TOGETHER: usize = 4;
/// So many counts of at most 8 fit a byte.
const COUNTS_PER_BYTE: usize = 31;

#[target_feature(enable = "avx2")]
fn within(query: &Query, lines: &[Line], bound: u32, survivors: &mut [u64]) {
    // There is no "at most" for integers, only "greater": compare with one more.
    let limit = bound + 1;
    match query.bits {
        CodeBits::B16 => {
            let (word, limit) = (broadcast(query.words[0]), _mm256_set1_epi16(limit as i16));
            for (line, bits) in lines.iter().zip(bytemuck::cast_slice_mut::<u64, u32>(survivors)) {
                let [low, high] = halves(line).map(|half| sums_16(half, word));
                let nearer =
                    _mm256_packs_epi16(_mm256_cmpgt_epi16(limit, low), _mm256_cmpgt_epi16(limit, high));
                // Packing works on halves of registers: put the four quarters back in order.
                let nearer = _mm256_permute4x64_epi64::<0b11_01_10_00>(nearer);
                *bits = _mm256_movemask_epi8(nearer).cast_unsigned();
            }
        }
        CodeBits::B32 => {
            let (word, limit) = (broadcast(query.words[0]), _mm256_set1_epi32(limit as i32));
            for (line, bits) in lines.iter().zip(bytemuck::cast_slice_mut::<u64, u16>(survivors)) {
                let [low, high] = halves(line).map(|half| {
                    let nearer = _mm256_cmpgt_epi32(limit, sums_32(half, word));
                    _mm256_movemask_ps(_mm256_castsi256_ps(nearer))
                });
                *bits = (low | high << 8) as u16;
            }
        }
        _ => match query.words.as_slice() {
            &[a] => within_words(&[a], lines, limit, survivors),
            &[a, b] => within_words(&[a, b], lines, limit, survivors),
            &[a, b, c, d] => within_words(&[a, b, c, d], lines, limit, survivors),
            words => within_words(words, lines, limit, survivors),
        },
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn within_words(words: &[u64], lines: &[Line], limit: u32, survivors: &mut [u64]) {
    let limit = broadcast(u64::from(limit));
    let blocks = lines.chunks_exact(words.len());
    for (block, bits) in blocks.zip(bytemuck::cast_slice_mut::<u64, u8>(survivors)) {
        let [low, high] = sums_64(words, block).map(|sums| {
            let nearer = _mm256_cmpgt_epi64(limit, sums);
            _mm256_movemask_pd(_mm256_castsi256_pd(nearer))
        });
        *bits = (low | high << 4) as u8;
    }
}

#[target_feature(enable = "avx2")]
fn distances(query: &Query, lines: &[Line], distances: &mut [u16]) {
    match query.bits {
        CodeBits::B16 => {
            let word = broadcast(query.words[0]);
            for (line, out) in lines.iter().zip(distances.as_chunks_mut::<32>().0) {
                let [low, high] = halves(line).map(|half| store(sums_16(half, word)));
                bytemuck::cast_slice_mut(out).copy_from_slice(&[low, high]);
            }
        }
        CodeBits::B32 => {
            let word = broadcast(query.words[0]);
            for (line, out) in lines.iter().zip(distances.as_chunks_mut::<16>().0) {
                let sums: [[u32; 8]; 2] = halves(line).map(|half| bytemuck::cast(store(sums_32(half, word))));
                narrow(sums.as_flattened(), out);
            }
        }
        _ => {
            let blocks = lines.chunks_exact(query.words.len());
            for (block, out) in blocks.zip(distances.as_chunks_mut::<8>().0) {
                let sums = sums_64(&query.words, block).map(|sums| store(sums));
                for (out, sum) in out.iter_mut().zip(sums.as_flattened()) {
                    *out = *sum as u16;
                }
            }
        }
    }
}

#[target_feature(enable = "popcnt")]
fn at(query: &Query, lines: &[Line], rows: &[u32], distances: &mut [u16]) {
    query.distances_at(lines, rows, distances);
}

#[target_feature(enable = "bmi1,popcnt")]
fn rows(words: &[u64], first: u32, rows: &mut [u32]) -> usize {
    rows_of(words, first, rows)
}

#[target_feature(enable = "avx2")]
fn screen(queries: &[Query], lines: &[Line], limits: &[u32], groups: &mut [u64]) {
    match queries.first().map(|query| query.words.len()) {
        Some(1) => screen_fixed::<1>(queries, lines, limits, groups),
        Some(2) => screen_fixed::<2>(queries, lines, limits, groups),
        Some(4) => screen_fixed::<4>(queries, lines, limits, groups),
        Some(8) => screen_fixed::<8>(queries, lines, limits, groups),
        _ => {
            for ((query, &limit), groups) in queries.iter().zip(limits).zip(groups) {
                *groups = screen_long(&query.words, lines, limit);
            }
        }
    }
}

/// The case of few words: several queries take each half of a line together, and share its halves of
/// bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn screen_fixed<const WORDS: usize>(queries: &[Query], lines: &[Line], limits: &[u32], groups: &mut [u64]) {
    let several = |queries: &[Query], limits: &[u32]| screen_block::<WORDS, TOGETHER>(queries, lines, limits);
    let one = |queries: &[Query], limits: &[u32]| screen_block::<WORDS, 1>(queries, lines, limits);
    screen_together(queries, limits, groups, several, one);
}

/// Screen the first `QUERIES` of the queries.
#[inline]
#[target_feature(enable = "avx2")]
fn screen_block<const WORDS: usize, const QUERIES: usize>(
    queries: &[Query],
    lines: &[Line],
    limits: &[u32],
) -> [u64; QUERIES] {
    let (table, nibble, zero) = (table(), _mm256_set1_epi8(0x0f), _mm256_setzero_si256());
    let words: [[[__m256i; 2]; WORDS]; QUERIES] = std::array::from_fn(|query| {
        std::array::from_fn(|word| {
            let word = broadcast(queries[query].words[word]);
            [_mm256_and_si256(word, nibble), _mm256_and_si256(_mm256_srli_epi16::<4>(word), nibble)]
        })
    });
    let mut groups = [0; QUERIES];
    for (group, lines) in lines.chunks_exact(8 * WORDS).enumerate() {
        // The nearest of 64 codes is compared with the limit, not each code.
        let mut nearest = [broadcast(u64::MAX); QUERIES];
        for block in lines.as_chunks::<WORDS>().0 {
            for half in 0..2 {
                let mut bytes = [zero; QUERIES];
                for (word, line) in block.iter().enumerate() {
                    let codes = halves(line)[half];
                    let low = _mm256_and_si256(codes, nibble);
                    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble);
                    for (bytes, words) in bytes.iter_mut().zip(&words) {
                        let [low_word, high_word] = words[word];
                        let low = _mm256_shuffle_epi8(table, _mm256_xor_si256(low, low_word));
                        let high = _mm256_shuffle_epi8(table, _mm256_xor_si256(high, high_word));
                        *bytes = _mm256_add_epi8(*bytes, _mm256_add_epi8(low, high));
                    }
                }
                for (nearest, bytes) in nearest.iter_mut().zip(bytes) {
                    // A sum fits the lowest 16 of its 64 bits; the minimum of the others is zero.
                    *nearest = _mm256_min_epu16(*nearest, _mm256_sad_epu8(bytes, zero));
                }
            }
        }
        for ((groups, nearest), &limit) in groups.iter_mut().zip(nearest).zip(limits) {
            *groups |= u64::from(is_below(nearest, limit)) << group;
        }
    }
    groups
}

#[inline]
#[target_feature(enable = "avx2")]
fn screen_long(words: &[u64], lines: &[Line], limit: u32) -> u64 {
    let mut groups = 0;
    for (group, lines) in lines.chunks_exact(8 * words.len()).enumerate() {
        let mut nearest = broadcast(u64::MAX);
        for block in lines.chunks_exact(words.len()) {
            let [low, high] = sums_64(words, block);
            nearest = _mm256_min_epu16(nearest, _mm256_min_epu16(low, high));
        }
        groups |= u64::from(is_below(nearest, limit)) << group;
    }
    groups
}

/// Whether any of four sums is below a limit.
#[inline]
#[target_feature(enable = "avx2")]
fn is_below(sums: __m256i, limit: u32) -> bool {
    _mm256_movemask_epi8(_mm256_cmpgt_epi64(broadcast(u64::from(limit)), sums)) != 0
}

fn narrow(sums: &[u32], out: &mut [u16]) {
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = *sum as u16;
    }
}

/// The number of bits set in each half of a byte, to look up.
#[inline]
#[target_feature(enable = "avx2")]
fn table() -> __m256i {
    #[rustfmt::skip]
    let table = _mm256_setr_epi8(
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
    );
    table
}

/// The number of bits set in each byte.
#[inline]
#[target_feature(enable = "avx2")]
fn counts(bytes: __m256i) -> __m256i {
    let (table, nibble) = (table(), _mm256_set1_epi8(0x0f));
    let low = _mm256_and_si256(bytes, nibble);
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble);
    _mm256_add_epi8(_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high))
}

/// The distances of 16 codes of 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn sums_16(codes: __m256i, word: __m256i) -> __m256i {
    _mm256_maddubs_epi16(counts(_mm256_xor_si256(codes, word)), _mm256_set1_epi8(1))
}

/// The distances of 8 codes of 32 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn sums_32(codes: __m256i, word: __m256i) -> __m256i {
    _mm256_madd_epi16(sums_16(codes, word), _mm256_set1_epi16(1))
}

/// The distances of the 8 codes of a block of whole words.
#[inline]
#[target_feature(enable = "avx2")]
fn sums_64(words: &[u64], block: &[Line]) -> [__m256i; 2] {
    let zero = _mm256_setzero_si256();
    let mut sums = [zero; 2];
    for (words, lines) in words.chunks(COUNTS_PER_BYTE).zip(block.chunks(COUNTS_PER_BYTE)) {
        let mut bytes = [zero; 2];
        for (line, &word) in lines.iter().zip(words) {
            let word = broadcast(word);
            for (bytes, half) in bytes.iter_mut().zip(halves(line)) {
                *bytes = _mm256_add_epi8(*bytes, counts(_mm256_xor_si256(half, word)));
            }
        }
        for (sum, bytes) in sums.iter_mut().zip(bytes) {
            *sum = _mm256_add_epi64(*sum, _mm256_sad_epu8(bytes, zero));
        }
    }
    sums
}

#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(word: u64) -> __m256i {
    _mm256_set1_epi64x(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn halves(line: &Line) -> [__m256i; 2] {
    let (halves, _) = line.0.as_chunks::<4>();
    [load(&halves[0]), load(&halves[1])]
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(words: &[u64; 4]) -> __m256i {
    // SAFETY: the words are 32 bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(register: __m256i) -> [u64; 4] {
    let mut words = [0; 4];
    // SAFETY: `words` is 32 bytes that may be written; the store needs no alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), register) }
    words
}
