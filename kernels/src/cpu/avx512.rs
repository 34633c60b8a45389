//! AVX-512 with the population counts of VPOPCNTDQ and BITALG: a line is one register.

use std::arch::x86_64::{
    __m128i, __m512i, _mm_storeu_si128, _mm256_storeu_si256, _mm512_add_epi32, _mm512_add_epi64,
    _mm512_and_si512, _mm512_andnot_si512, _mm512_cmple_epu16_mask, _mm512_cmple_epu32_mask,
    _mm512_cmple_epu64_mask, _mm512_cmplt_epu32_mask, _mm512_cmplt_epu64_mask, _mm512_cvtepi32_epi16,
    _mm512_cvtepi64_epi16, _mm512_load_si512, _mm512_loadu_si512, _mm512_maskz_compress_epi32,
    _mm512_min_epu32, _mm512_mullo_epi32, _mm512_or_si512, _mm512_popcnt_epi16, _mm512_popcnt_epi32,
    _mm512_popcnt_epi64, _mm512_set1_epi16, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_setr_epi32,
    _mm512_slli_epi64, _mm512_storeu_si512, _mm512_sub_epi64, _mm512_test_epi64_mask, _mm512_xor_si512,
};

use super::{Kernel, prefetch, screen_together};
use crate::mask::rows_of;
use crate::query::Query;
use crate::{CodeBits, Line};

pub(super) const KERNEL: Kernel = Kernel {
    name: "avx512",
    detected: || {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vpopcntdq")
            && is_x86_feature_detected!("avx512bitalg")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("popcnt")
    },
    within,
    distances,
    at,
    rows,
    screen: Some(screen),
};

/// How far ahead lines are asked for, a page, and of how many one is.
const ASKED_AHEAD: usize = 64;
const ASKED_EVERY: usize = 8;

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx512bitalg")]
fn within(query: &Query, lines: &[Line], bound: u32, survivors: &mut [u64]) {
    match query.bits {
        CodeBits::B16 => {
            let (word, bound) = (broadcast(query.words[0]), _mm512_set1_epi16(bound as i16));
            for (line, bits) in lines.iter().zip(bytemuck::cast_slice_mut(survivors)) {
                let sums = _mm512_popcnt_epi16(_mm512_xor_si512(load(line), word));
                *bits = _mm512_cmple_epu16_mask(sums, bound);
            }
        }
        CodeBits::B32 => {
            let (word, bound) = (broadcast(query.words[0]), _mm512_set1_epi32(bound as i32));
            for (line, bits) in lines.iter().zip(bytemuck::cast_slice_mut(survivors)) {
                let sums = _mm512_popcnt_epi32(_mm512_xor_si512(load(line), word));
                *bits = _mm512_cmple_epu32_mask(sums, bound);
            }
        }
        _ => match query.words.as_slice() {
            &[word] => within_fixed([word], lines, bound, survivors),
            &[a, b] => within_fixed([a, b], lines, bound, survivors),
            &[a, b, c, d] => within_fixed([a, b, c, d], lines, bound, survivors),
            &[a, b, c, d, e, f, g, h] => within_fixed([a, b, c, d, e, f, g, h], lines, bound, survivors),
            words => {
                let bound = broadcast(u64::from(bound));
                let blocks = lines.chunks_exact(words.len());
                for (block, bits) in blocks.zip(bytemuck::cast_slice_mut(survivors)) {
                    *bits = _mm512_cmple_epu64_mask(sums(words, block), bound);
                }
            }
        },
    }
}

/// The case of few words, which stay in registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx512bitalg")]
fn within_fixed<const WORDS: usize>(words: [u64; WORDS], lines: &[Line], bound: u32, survivors: &mut [u64]) {
    let words = words.map(|word| broadcast(word));
    let bound = broadcast(u64::from(bound));
    let (blocks, _) = lines.as_chunks::<WORDS>();
    for (block, bits) in blocks.iter().zip(bytemuck::cast_slice_mut(survivors)) {
        let mut sums = _mm512_set1_epi64(0);
        for (line, &word) in block.iter().zip(&words) {
            sums = _mm512_add_epi64(sums, _mm512_popcnt_epi64(_mm512_xor_si512(load(line), word)));
        }
        *bits = _mm512_cmple_epu64_mask(sums, bound);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx512bitalg")]
fn distances(query: &Query, lines: &[Line], distances: &mut [u16]) {
    match query.bits {
        CodeBits::B16 => {
            let word = broadcast(query.words[0]);
            for (line, out) in lines.iter().zip(distances.as_chunks_mut::<32>().0) {
                let sums = _mm512_popcnt_epi16(_mm512_xor_si512(load(line), word));
                // SAFETY: `out` is 64 bytes that may be written; the store needs no alignment.
                unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) }
            }
        }
        CodeBits::B32 => {
            let word = broadcast(query.words[0]);
            for (line, out) in lines.iter().zip(distances.as_chunks_mut::<16>().0) {
                let sums = _mm512_popcnt_epi32(_mm512_xor_si512(load(line), word));
                let sums = _mm512_cvtepi32_epi16(sums);
                // SAFETY: `out` is 32 bytes that may be written; the store needs no alignment.
                unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sums) }
            }
        }
        _ => {
            let blocks = lines.chunks_exact(query.words.len());
            for (block, out) in blocks.zip(distances.as_chunks_mut::<8>().0) {
                let sums: __m128i = _mm512_cvtepi64_epi16(sums(&query.words, block));
                // SAFETY: `out` is 16 bytes that may be written; the store needs no alignment.
                unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), sums) }
            }
        }
    }
}

#[target_feature(enable = "popcnt")]
fn at(query: &Query, lines: &[Line], rows: &[u32], distances: &mut [u16]) {
    query.distances_at(lines, rows, distances);
}

#[target_feature(enable = "avx512f,avx512vpopcntdq,bmi1,popcnt")]
fn rows(words: &[u64], first: u32, rows: &mut [u32]) -> usize {
    let (eights, rest) = words.as_chunks::<8>();
    // The first row of each word, for its lowest bit and for the one above.
    let starts = _mm512_mullo_epi32(
        _mm512_set1_epi32(64),
        _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
    );
    let mut filled = 0;
    let mut first = first;
    for eight in eights {
        let words = load_words(eight);
        let above = without_lowest(words);
        let more = without_lowest(above);
        match rows[filled..].first_chunk_mut::<16>() {
            // The two lowest bits of a word become two numbers side by side, so that all come in order.
            Some(place) if _mm512_test_epi64_mask(more, more) == 0 => {
                let bits = _mm512_or_si512(lowest(words), _mm512_slli_epi64::<32>(lowest(above)));
                let set = _mm512_cmplt_epu32_mask(bits, _mm512_set1_epi32(64));
                let numbers = _mm512_add_epi32(_mm512_set1_epi32(first.cast_signed()), starts);
                let found = _mm512_maskz_compress_epi32(set, _mm512_add_epi32(numbers, bits));
                // SAFETY: `place` is 64 bytes that may be written; the store needs no alignment.
                unsafe { _mm512_storeu_si512(place.as_mut_ptr().cast(), found) }
                filled += set.count_ones() as usize;
            }
            _ => filled += rows_of(eight, first, &mut rows[filled..]),
        }
        first = first.wrapping_add(8 * 64);
    }
    filled + rows_of(rest, first, &mut rows[filled..])
}

/// Each word without its lowest bit set.
#[inline]
#[target_feature(enable = "avx512f")]
fn without_lowest(words: __m512i) -> __m512i {
    _mm512_and_si512(words, _mm512_sub_epi64(words, broadcast(1)))
}

/// The place of the lowest bit set in each word, 64 where there is none.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn lowest(words: __m512i) -> __m512i {
    _mm512_popcnt_epi64(_mm512_andnot_si512(words, _mm512_sub_epi64(words, broadcast(1))))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx512bitalg")]
fn screen(queries: &[Query], lines: &[Line], limits: &[u32], groups: &mut [u64]) {
    match queries.first().map(|query| query.words.len()) {
        Some(1) => screen_fixed::<1, 4>(queries, lines, limits, groups),
        Some(2) => screen_fixed::<2, 4>(queries, lines, limits, groups),
        Some(4) => screen_fixed::<4, 4>(queries, lines, limits, groups),
        Some(8) => screen_fixed::<8, 2>(queries, lines, limits, groups),
        _ => {
            for ((query, &limit), groups) in queries.iter().zip(limits).zip(groups) {
                *groups = screen_long(&query.words, lines, limit);
            }
        }
    }
}

/// The case of few words: as many queries as leave registers for a block of codes take each block
/// together, so that the counting and not the loads are the limit.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx512bitalg")]
fn screen_fixed<const WORDS: usize, const QUERIES: usize>(
    queries: &[Query],
    lines: &[Line],
    limits: &[u32],
    groups: &mut [u64],
) {
    let several = |queries: &[Query], limits: &[u32]| screen_block::<WORDS, QUERIES>(queries, lines, limits);
    let one = |queries: &[Query], limits: &[u32]| screen_block::<WORDS, 1>(queries, lines, limits);
    screen_together(queries, limits, groups, several, one);
}

/// Screen the first `QUERIES` of the queries.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx512bitalg")]
fn screen_block<const WORDS: usize, const QUERIES: usize>(
    queries: &[Query],
    lines: &[Line],
    limits: &[u32],
) -> [u64; QUERIES] {
    let words: [[__m512i; WORDS]; QUERIES] =
        std::array::from_fn(|query| std::array::from_fn(|word| broadcast(queries[query].words[word])));
    let limits: [__m512i; QUERIES] = std::array::from_fn(|query| broadcast(u64::from(limits[query])));
    let mut groups = [0; QUERIES];
    for (group, lines) in lines.chunks_exact(8 * WORDS).enumerate() {
        // The nearest of 64 codes is compared with the limit, not each code.
        let mut nearest = [broadcast(u64::MAX); QUERIES];
        if QUERIES == 1 {
            // One query alone waits for memory, and the processor asks for nothing of the next page by
            // itself. The place may lie beyond the codes: nothing is read there.
            for line in (0..lines.len()).step_by(ASKED_EVERY) {
                prefetch(lines.as_ptr().wrapping_add(line + ASKED_AHEAD));
            }
        }
        let (blocks, _) = lines.as_chunks::<WORDS>();
        for block in blocks {
            let codes: [__m512i; WORDS] = std::array::from_fn(|word| load(&block[word]));
            for (nearest, words) in nearest.iter_mut().zip(&words) {
                let mut sums = _mm512_popcnt_epi64(_mm512_xor_si512(codes[0], words[0]));
                for word in 1..WORDS {
                    let differing = _mm512_xor_si512(codes[word], words[word]);
                    sums = _mm512_add_epi64(sums, _mm512_popcnt_epi64(differing));
                }
                // Sums fit the low half of 64 bits, and the minimum of halves is the cheaper one.
                *nearest = _mm512_min_epu32(*nearest, sums);
            }
        }
        let near: [u8; QUERIES] =
            std::array::from_fn(|query| _mm512_cmplt_epu64_mask(nearest[query], limits[query]));
        if near != [0; QUERIES] {
            for (groups, near) in groups.iter_mut().zip(near) {
                *groups |= u64::from(near != 0) << group;
            }
        }
    }
    groups
}

#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn screen_long(words: &[u64], lines: &[Line], limit: u32) -> u64 {
    let limit = broadcast(u64::from(limit));
    let mut groups = 0;
    for (group, lines) in lines.chunks_exact(8 * words.len()).enumerate() {
        let mut nearest = broadcast(u64::MAX);
        for block in lines.chunks_exact(words.len()) {
            nearest = _mm512_min_epu32(nearest, sums(words, block));
        }
        groups |= u64::from(_mm512_cmplt_epu64_mask(nearest, limit) != 0) << group;
    }
    groups
}

/// The distances of the 8 codes of a block.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn sums(words: &[u64], block: &[Line]) -> __m512i {
    let mut sums = _mm512_set1_epi64(0);
    for (line, &word) in block.iter().zip(words) {
        let differing = _mm512_xor_si512(load(line), broadcast(word));
        sums = _mm512_add_epi64(sums, _mm512_popcnt_epi64(differing));
    }
    sums
}

#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast(word: u64) -> __m512i {
    _mm512_set1_epi64(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_words(words: &[u64; 8]) -> __m512i {
    // SAFETY: the words are 64 bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(line: &Line) -> __m512i {
    // SAFETY: a `Line` is 64 bytes at a multiple of 64.
    unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
}
