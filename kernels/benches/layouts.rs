//! Layouts of codes compared: blocks of 8 codes (what `Codes` stores), row after row, and slices of 64
//! codes; `cargo bench -p twinbit-kernels --bench layouts`.
//!
//! For each, in turns: one query over codes in memory, four queries over codes in the cache, and single
//! rows at random places, as a multi-index fetches them. Self-contained: kernels for AVX-512 only,
//! which come to the same sums.
#![allow(clippy::print_stdout, missing_docs, reason = "a program that prints what it measures")]

#[cfg(target_arch = "x86_64")]
fn main() {
    let features = ["avx512f", "avx512vpopcntdq", "popcnt"];
    let have = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vpopcntdq")
        && is_x86_feature_detected!("popcnt");
    if !have {
        println!("skipped: this machine lacks one of {features:?}");
        return;
    }
    // SAFETY: the features were just detected.
    unsafe { avx512::measure_all() }
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("skipped: the kernels compared are written for x86-64");
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512i, _MM_HINT_T1, _mm_prefetch, _mm512_add_epi64, _mm512_cmplt_epu64_mask, _mm512_load_si512,
        _mm512_min_epu32, _mm512_permutex_epi64, _mm512_popcnt_epi64, _mm512_set1_epi64, _mm512_setr_epi64,
        _mm512_shuffle_epi32, _mm512_xor_si512,
    };
    use std::hint::black_box;
    use std::time::Instant;

    use twinbit_kernels::Line;

    /// Where the words of a code lie.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Layout {
        /// Word 0 of 8 codes, word 1 of these 8, ...
        Blocks,
        /// All words of a code, then the next code.
        Rows,
        /// Word 0 of 64 codes, word 1 of these 64, ...
        Slices,
    }

    const LAYOUTS: [Layout; 3] = [Layout::Blocks, Layout::Rows, Layout::Slices];
    const MEMORY_LINES: usize = (512 << 20) / 64;
    const CACHE_LINES: usize = (16 << 10) / 64;
    const FETCHED: usize = 200_000;
    const TURNS: usize = 9;

    impl Layout {
        /// The line and the place in it of a word of a code.
        const fn place(self, words: usize, row: usize, word: usize) -> (usize, usize) {
            match self {
                Self::Blocks => (row / 8 * words + word, row % 8),
                Self::Rows => ((row * words + word) / 8, (row * words + word) % 8),
                Self::Slices => (row / 64 * 8 * words + word * 8 + row % 64 / 8, row % 8),
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512vpopcntdq,popcnt")]
    pub(super) fn measure_all() {
        measure::<2>();
        measure::<4>();
    }

    #[target_feature(enable = "avx512f,avx512vpopcntdq,popcnt")]
    fn measure<const WORDS: usize>() {
        let mut random = 7_u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random ^ random >> 29
        };
        let codes: Vec<Line> = (0..MEMORY_LINES).map(|_| Line(std::array::from_fn(|_| next()))).collect();
        let rows = MEMORY_LINES * 8 / WORDS;
        let chosen: Vec<u32> = (0..FETCHED).map(|_| (next() % rows as u64) as u32).collect();
        let queries: [[u64; WORDS]; 4] = std::array::from_fn(|_| std::array::from_fn(|_| next()));
        agree::<WORDS>(&codes, &queries[0]);

        let mut best = [[f64::INFINITY; 3]; 3];
        for _ in 0..TURNS {
            for (layout, best) in LAYOUTS.into_iter().zip(&mut best) {
                let mut timed = |place: usize, run: &mut dyn FnMut()| {
                    let start = Instant::now();
                    run();
                    best[place] = best[place].min(start.elapsed().as_secs_f64());
                };
                timed(0, &mut || _ = black_box(scan::<WORDS, 1>(layout, &codes, &queries)));
                timed(1, &mut || {
                    for _ in 0..2000 {
                        black_box(scan::<WORDS, 4>(layout, black_box(&codes[..CACHE_LINES]), &queries));
                    }
                });
                timed(2, &mut || _ = black_box(fetch::<WORDS>(layout, &codes, &queries[0], &chosen)));
            }
        }
        for (layout, best) in LAYOUTS.into_iter().zip(best) {
            println!(
                "{} bits, {:<6}  one query {:5.1} GB/s   batch in cache {:5.2} G comparisons/s   single rows {:5.1} ns",
                WORDS * 64,
                format!("{layout:?}"),
                MEMORY_LINES as f64 * 64.0 / best[0] / 1e9,
                (CACHE_LINES * 8 / WORDS * 4 * 2000) as f64 / best[1] / 1e9,
                best[2] * 1e9 / FETCHED as f64,
            );
        }
    }

    /// All layouts give the distances that their places say.
    #[target_feature(enable = "avx512f,avx512vpopcntdq,popcnt")]
    fn agree<const WORDS: usize>(codes: &[Line], query: &[u64; WORDS]) {
        let codes = &codes[..64 * WORDS];
        for layout in LAYOUTS {
            let rows: Vec<u32> = (0..64 * 8).collect();
            let sum: u32 = fetch::<WORDS>(layout, codes, query, &rows);
            let expected: u32 = rows
                .iter()
                .map(|&row| {
                    (0..WORDS)
                        .map(|word| {
                            let (line, at) = layout.place(WORDS, row as usize, word);
                            (codes[line].0[at] ^ query[word]).count_ones()
                        })
                        .sum::<u32>()
                })
                .sum();
            assert_eq!(sum, expected, "{layout:?}");
        }
    }

    /// How many groups of 64 codes come near one of the queries: nearly none.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn scan<const WORDS: usize, const QUERIES: usize>(
        layout: Layout,
        codes: &[Line],
        queries: &[[u64; WORDS]; 4],
    ) -> u32 {
        match layout {
            Layout::Blocks => sliced::<WORDS, QUERIES>(codes, queries, 1, WORDS),
            Layout::Slices => sliced::<WORDS, QUERIES>(codes, queries, 8, 1),
            Layout::Rows => by_rows::<WORDS, QUERIES>(codes, queries),
        }
    }

    /// Layouts in which a line holds one word of 8 codes: the words of the same 8 codes are `across`
    /// lines apart, and the next 8 codes `along`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn sliced<const WORDS: usize, const QUERIES: usize>(
        codes: &[Line],
        queries: &[[u64; WORDS]; 4],
        across: usize,
        along: usize,
    ) -> u32 {
        let words: [[__m512i; WORDS]; QUERIES] =
            std::array::from_fn(|query| queries[query].map(|word| _mm512_set1_epi64(word.cast_signed())));
        let limit = _mm512_set1_epi64(3 * WORDS as i64);
        let mut near = 0;
        for group in codes.chunks_exact(8 * WORDS) {
            let mut nearest = [_mm512_set1_epi64(-1); QUERIES];
            for eight in 0..8 {
                let lines: [__m512i; WORDS] =
                    std::array::from_fn(|word| load(&group[eight * along + word * across]));
                for (nearest, words) in nearest.iter_mut().zip(&words) {
                    let mut sums = _mm512_popcnt_epi64(_mm512_xor_si512(lines[0], words[0]));
                    for word in 1..WORDS {
                        let counts = _mm512_popcnt_epi64(_mm512_xor_si512(lines[word], words[word]));
                        sums = _mm512_add_epi64(sums, counts);
                    }
                    *nearest = _mm512_min_epu32(*nearest, sums);
                }
            }
            for nearest in nearest {
                near += u32::from(_mm512_cmplt_epu64_mask(nearest, limit) != 0);
            }
        }
        near
    }

    /// Row after row: the words of a code are added across the register.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn by_rows<const WORDS: usize, const QUERIES: usize>(codes: &[Line], queries: &[[u64; WORDS]; 4]) -> u32 {
        let words: [__m512i; QUERIES] = std::array::from_fn(|query| {
            let word = |at: usize| queries[query][at % WORDS].cast_signed();
            _mm512_setr_epi64(word(0), word(1), word(2), word(3), word(4), word(5), word(6), word(7))
        });
        let limit = _mm512_set1_epi64(3 * WORDS as i64);
        let mut near = 0;
        for group in codes.chunks_exact(8 * WORDS) {
            let mut nearest = [_mm512_set1_epi64(-1); QUERIES];
            for line in group {
                let codes = load(line);
                for (nearest, words) in nearest.iter_mut().zip(&words) {
                    let mut sums = _mm512_popcnt_epi64(_mm512_xor_si512(codes, *words));
                    sums = _mm512_add_epi64(sums, _mm512_shuffle_epi32::<0b01_00_11_10>(sums));
                    if WORDS == 4 {
                        sums = _mm512_add_epi64(sums, _mm512_permutex_epi64::<0b01_00_11_10>(sums));
                    }
                    *nearest = _mm512_min_epu32(*nearest, sums);
                }
            }
            for nearest in nearest {
                near += u32::from(_mm512_cmplt_epu64_mask(nearest, limit) != 0);
            }
        }
        near
    }

    /// The sum of the distances of single rows, each asked for well before.
    #[inline]
    #[target_feature(enable = "popcnt")]
    fn fetch<const WORDS: usize>(layout: Layout, codes: &[Line], query: &[u64; WORDS], rows: &[u32]) -> u32 {
        const AHEAD: usize = 256;
        let mut sum = 0;
        for (at, &row) in rows.iter().enumerate() {
            if let Some(&row) = rows.get(at + AHEAD) {
                let mut asked = usize::MAX;
                for word in 0..WORDS {
                    let (line, _) = layout.place(WORDS, row as usize, word);
                    if line != asked {
                        // SAFETY: a reference is a valid address, and a prefetch reads nothing.
                        unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(&codes[line]).cast()) };
                        asked = line;
                    }
                }
            }
            for (word, query) in query.iter().enumerate() {
                let (line, place) = layout.place(WORDS, row as usize, word);
                sum += (codes[line].0[place] ^ query).count_ones();
            }
        }
        sum
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(line: &Line) -> __m512i {
        // SAFETY: a `Line` is 64 bytes at a multiple of 64.
        unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
    }
}
