//! What the machine can do at most, measured in the process that measures the search: reading memory
//! and comparing codes that are in the cache. Written apart from the kernels, so that it cannot
//! share their shortcomings.

use twinbit_kernels::Line;

/// XOR all lines together, the least that can be done with each, in several streams at once.
pub(crate) fn read(lines: &[Line], streams: usize) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the feature was just detected.
        return unsafe { x86::read(lines, streams) };
    }
    let _ = streams;
    lines.iter().flat_map(|line| line.0).fold(0, |sum, word| sum ^ word)
}

/// Compare every code in `lines` (at most a first-level cache of them, whole groups of 64) with four
/// queries; the number of 64-code groups that came below an unlikely limit.
///
/// `None` where the machine cannot count bits of vectors: then there is no such limit to compare with.
pub(crate) fn compare(lines: &[Line], words: usize) -> Option<u32> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vpopcntdq") {
        // SAFETY: the features were just detected.
        return Some(unsafe { x86::compare(lines, words) });
    }
    let _ = (lines, words);
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m512i, _mm512_add_epi64, _mm512_cmplt_epu64_mask, _mm512_load_si512, _mm512_min_epu64,
        _mm512_popcnt_epi64, _mm512_reduce_add_epi64, _mm512_set1_epi64, _mm512_setzero_si512,
        _mm512_xor_si512,
    };

    use super::Line;

    /// Lines that a stream reads before the next stream has its turn: a page.
    const TURN: usize = 64;

    #[target_feature(enable = "avx512f")]
    pub(super) fn read(lines: &[Line], streams: usize) -> u64 {
        let streams: Vec<&[Line]> = lines.chunks(lines.len().div_ceil(streams).max(1)).collect();
        let longest = streams.first().map_or(0, |stream| stream.len());
        let mut sums = [_mm512_setzero_si512(); 4];
        for start in (0..longest).step_by(TURN) {
            for stream in &streams {
                let turn = &stream[start.min(stream.len())..stream.len().min(start + TURN)];
                let (fours, rest) = turn.as_chunks::<4>();
                for four in fours {
                    for (sum, line) in sums.iter_mut().zip(four) {
                        *sum = _mm512_xor_si512(*sum, load(line));
                    }
                }
                for line in rest {
                    sums[0] = _mm512_xor_si512(sums[0], load(line));
                }
            }
        }
        let [a, b, c, d] = sums;
        let all = _mm512_xor_si512(_mm512_xor_si512(a, b), _mm512_xor_si512(c, d));
        _mm512_reduce_add_epi64(all).cast_unsigned()
    }

    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    pub(super) fn compare(lines: &[Line], words: usize) -> u32 {
        match words {
            1 => compare_words::<1>(lines),
            2 => compare_words::<2>(lines),
            _ => compare_words::<4>(lines),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn compare_words<const WORDS: usize>(lines: &[Line]) -> u32 {
        let queries: [[__m512i; WORDS]; 4] = std::array::from_fn(|query| {
            std::array::from_fn(|word| {
                _mm512_set1_epi64(0x5bd1_e995_7b93_15a7_i64.wrapping_mul((query * 8 + word + 1) as i64))
            })
        });
        let limit = _mm512_set1_epi64(3 * WORDS as i64);
        let mut below = 0;
        for group in lines.chunks_exact(8 * WORDS) {
            let mut nearest = [_mm512_set1_epi64(1 << 20); 4];
            for block in group.as_chunks::<WORDS>().0 {
                let codes: [__m512i; WORDS] = std::array::from_fn(|word| load(&block[word]));
                for (nearest, query) in nearest.iter_mut().zip(&queries) {
                    let mut sum = _mm512_popcnt_epi64(_mm512_xor_si512(codes[0], query[0]));
                    for word in 1..WORDS {
                        let count = _mm512_popcnt_epi64(_mm512_xor_si512(codes[word], query[word]));
                        sum = _mm512_add_epi64(sum, count);
                    }
                    *nearest = _mm512_min_epu64(*nearest, sum);
                }
            }
            for nearest in nearest {
                below += u32::from(_mm512_cmplt_epu64_mask(nearest, limit) != 0);
            }
        }
        below
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(line: &Line) -> __m512i {
        // SAFETY: a `Line` is 64 bytes at a multiple of 64.
        unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
    }
}
