//! Every plan of a search against the scalar scan: by the index alone, and as the planner chooses.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::sample::select;
use twinbit_kernels::{
    CodeBits, CodesBuf, Error, Isa, Method, MultiIndex, MultiIndexBuilder, RowMask, Scan, Search,
};

const BITS: [usize; 15] = [8, 16, 24, 32, 40, 64, 72, 96, 128, 192, 256, 512, 1000, 2048, 4096];

/// A sequence of numbers from a seed; proptest only draws the seed, for speed.
fn sequence(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

/// How the codes of a case lie.
#[derive(Debug, Clone, Copy)]
enum Content {
    Uniform,
    /// Near one of five centers.
    Clustered,
    /// One of five codes.
    Duplicates,
    /// All the same.
    Ties,
    /// Most bits follow one bit, the others are nearly always zero.
    Skewed,
}

fn codes(content: Content, bits: CodeBits, rows: usize, seed: u64) -> CodesBuf {
    let mut random = sequence(seed);
    let bytes = bits.bytes();
    let centers: Vec<u8> = (0..5 * bytes).map(|_| random() as u8).collect();
    let mut packed = Vec::with_capacity(rows * bytes);
    for _ in 0..rows {
        let center = random() as usize % 5 * bytes;
        let follow = if random().is_multiple_of(2) { 0xff } else { 0 };
        for byte in 0..bytes {
            packed.push(match content {
                Content::Uniform => random() as u8,
                Content::Clustered => {
                    centers[center + byte] ^ (random() & random() & random() & random()) as u8
                }
                Content::Duplicates => centers[center + byte],
                Content::Ties => centers[byte],
                Content::Skewed if byte % 3 == 0 => (random() & random() & random() & random()) as u8,
                Content::Skewed => follow ^ (random() & random() & random() & random() & random()) as u8,
            });
        }
    }
    CodesBuf::from_packed(bits, &packed).expect("whole codes")
}

fn built(codes: &CodesBuf, memory_bytes: usize) -> Vec<u64> {
    let builder = MultiIndexBuilder::new(codes.as_codes()).memory_bytes(memory_bytes);
    let mut bytes = Vec::new();
    builder.write_to(&mut bytes).expect("writing to memory");
    assert_eq!(bytes.len(), builder.byte_len());
    // Words, so that the index starts where it may.
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

fn mask(kind: u32, rows: usize, seed: u64) -> Option<RowMask> {
    let mut random = sequence(seed);
    let mut keep =
        |one_in: u64| RowMask::from_rows(rows, (0..rows as u32).filter(|_| random().is_multiple_of(one_in)));
    match kind {
        0 => None,
        1 => Some(RowMask::none(rows)),
        2 => Some(keep(100)),
        3 => Some(keep(2)),
        _ => Some(keep(50).not()),
    }
}

fn check(codes: &CodesBuf, queries: &CodesBuf, mask: Option<&RowMask>, k: usize, radius: u32, memory: usize) {
    let bytes = built(codes, memory);
    let index = MultiIndex::from_bytes(bytemuck::cast_slice(&bytes)).expect("a sound index");
    index.verify(codes.as_codes()).expect("a sound index");
    let scan = Scan::new(codes.as_codes()).mask(mask);
    let oracle = scan.isa(Isa::scalar());
    let top = oracle.top_k(queries.as_codes(), k).expect("a valid search");
    let within = oracle.within(queries.as_codes(), radius, None).expect("a valid search");
    let limited = oracle.within(queries.as_codes(), radius, Some(k)).expect("a valid search");
    let counts = oracle.count_within(queries.as_codes(), radius).expect("a valid search");
    for isa in Isa::available() {
        for method in [None, Some(Method::MultiIndex)] {
            let search = Search::new(scan.isa(isa)).index(Some(&index)).method(method);
            let found = search.top_k(queries.as_codes(), k).expect("a valid search");
            assert_eq!(found.answers, top, "{isa}, {method:?}, k = {k}");
            if let Some(method) = method {
                assert!(found.plans.iter().all(|plan| plan.method == method));
            }
            let found = search.within(queries.as_codes(), radius, None).expect("a valid search");
            assert_eq!(found.answers, within, "{isa}, {method:?}, radius {radius}");
            let found = search.within(queries.as_codes(), radius, Some(k)).expect("a valid search");
            assert_eq!(found.answers, limited, "{isa}, {method:?}, radius {radius}, limit {k}");
            let found = search.count_within(queries.as_codes(), radius).expect("a valid search");
            assert_eq!(found.answers, counts, "{isa}, {method:?}, radius {radius}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_answers_like_the_scalar_scan(
        bits in select(BITS.to_vec()),
        rows in prop_oneof![0..200_usize, 0..4096_usize],
        content in select(vec![
            Content::Uniform, Content::Clustered, Content::Duplicates, Content::Ties, Content::Skewed,
        ]),
        mask_kind in 0..5_u32,
        k in select(vec![1, 2, 10, 100, 4096, usize::MAX]),
        radius in 0..12_u32,
        seed in any::<u64>(),
    ) {
        let bits = CodeBits::new(bits).expect("a length that is allowed");
        // An index of long codes that are not near each other looks up more lists than there are rows.
        let rows = if bits.bits() > 256 { rows / 32 } else { rows };
        let database = codes(content, bits, rows, seed);
        let mut queries = codes(content, bits, 2, seed ^ 1);
        if rows > 0 {
            queries.push(&database.as_codes().row(seed as usize % rows)).expect("a code");
        }
        let mask = mask(mask_kind, rows, seed ^ 2);
        check(&database, &queries, mask.as_ref(), k, radius, 1 << (12 + seed % 12));
    }
}

#[test]
fn a_search_by_the_index_can_be_stopped_inside_one_query() {
    // One list that holds every row, and lists without end of which most are empty.
    let cases = [(Content::Ties, CodeBits::B64, 200_000), (Content::Uniform, CodeBits::B64, 140_000)];
    for (content, bits, rows) in cases {
        let database = codes(content, bits, rows, 11);
        let bytes = built(&database, 1 << 30);
        let index = MultiIndex::from_bytes(bytemuck::cast_slice(&bytes)).expect("a sound index");
        let query = codes(content, bits, 1, 11);
        let asked = AtomicUsize::new(0);
        let third_time = || asked.fetch_add(1, Ordering::Relaxed) == 2;
        let scan = Scan::new(database.as_codes()).stop(&third_time);
        let search = Search::new(scan).index(Some(&index)).method(Some(Method::MultiIndex));
        let stopped = search.top_k(query.as_codes(), rows);
        assert!(matches!(stopped, Err(Error::Stopped)), "{content:?}");
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }
}

/// An index over codes of 24 bits, small enough to damage everywhere.
fn small() -> (CodesBuf, Vec<u64>) {
    let codes = codes(Content::Clustered, CodeBits::new(24).expect("a length that is allowed"), 50, 3);
    let bytes = built(&codes, 1 << 20);
    (codes, bytes)
}

#[test]
fn every_damaged_bit_is_found_and_no_search_panics() {
    let (codes, words) = small();
    let sound: &[u8] = bytemuck::cast_slice(&words);
    for at in 0..sound.len() * 8 {
        // Every bit of the header and the rows, some of the long and sparse lists of starts.
        if at > 2048 && at % 13 != 0 {
            continue;
        }
        let mut words = words.clone();
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        bytes[at / 8] ^= 1 << (at % 8);
        let opened = MultiIndex::from_bytes(bytes);
        let Ok(index) = opened else { continue };
        assert!(index.verify(codes.as_codes()).is_err(), "bit {at} flipped unnoticed");
        let search = Search::new(Scan::new(codes.as_codes())).index(Some(&index));
        for method in [None, Some(Method::MultiIndex)] {
            let found = search.method(method).top_k(codes.as_codes(), 3);
            assert!(matches!(found, Ok(_) | Err(Error::DamagedIndex { .. } | Error::Shape { .. })));
        }
    }
}

#[test]
fn bytes_that_are_no_index_are_refused() {
    let (codes, words) = small();
    let sound: &[u8] = bytemuck::cast_slice(&words);
    for length in (0..sound.len()).filter(|length| *length < 200 || length % 97 == 0) {
        let cut = MultiIndex::from_bytes(&sound[..length]);
        assert!(matches!(cut, Err(Error::DamagedIndex { .. })), "{length} bytes");
    }
    let mut random = sequence(5);
    for _ in 0..2000 {
        // Random numbers where the header has its own.
        let mut words = words.clone();
        let place = 1 + random() as usize % 8;
        words[place] = random() << (random() % 60);
        let _ = MultiIndex::from_bytes(bytemuck::cast_slice(&words));
    }
    let index = MultiIndex::from_bytes(sound).expect("a sound index");
    let more = CodesBuf::with_rows(codes.bits(), 51).expect("few rows");
    let search = Search::new(Scan::new(more.as_codes())).index(Some(&index));
    assert!(matches!(search.top_k(codes.as_codes(), 1), Err(Error::Shape { expected: 51, got: 50, .. })));
    assert!(matches!(search.top_k(codes.as_codes(), 0), Err(Error::ZeroK)));
}

#[test]
fn an_index_of_a_million_codes_of_128_bits_takes_at_most_twice_the_codes() {
    for rows in [1 << 20, 1_500_000, 3_000_000, 1 << 22] {
        let codes = CodesBuf::with_rows(CodeBits::B128, rows).expect("few rows");
        let builder = MultiIndexBuilder::new(codes.as_codes());
        assert!(builder.byte_len() <= 2 * codes.as_bytes().len(), "{rows} rows");
    }
}

#[test]
fn the_bytes_depend_neither_on_threads_nor_on_memory() {
    let codes = codes(Content::Skewed, CodeBits::B128, 3000, 9);
    let expected = built(&codes, 1 << 30);
    for memory in [1, 10_000, 30_000] {
        assert_eq!(built(&codes, memory), expected);
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a pool of threads");
    assert_eq!(pool.install(|| built(&codes, 20_000)), expected);
}

#[test]
fn a_build_called_off_says_so() {
    let codes = codes(Content::Uniform, CodeBits::B64, 1000, 4);
    let builder = MultiIndexBuilder::new(codes.as_codes());
    let stopped = builder.clone().stop(&|| true).write_to(&mut Vec::new()).expect_err("a build that stops");
    let source = stopped.get_ref().and_then(|source| source.downcast_ref::<Error>());
    assert!(matches!(source, Some(Error::Stopped)), "{stopped}");
    assert!(builder.stop(&|| false).write_to(&mut Vec::new()).is_ok());
}

#[test]
fn the_index_answers_within_a_small_radius_that_holds_fewer_rows_than_asked_for() {
    let database = codes(Content::Uniform, CodeBits::B64, 200_000, 6);
    let bytes = built(&database, 1 << 30);
    let index = MultiIndex::from_bytes(bytemuck::cast_slice(&bytes)).expect("a sound index");
    let queries = codes(Content::Uniform, CodeBits::B64, 3, 7);
    let scan = Scan::new(database.as_codes());
    let found = Search::new(scan).index(Some(&index)).within(queries.as_codes(), 4, Some(10));
    let found = found.expect("a valid search");
    assert_eq!(found.answers, scan.within(queries.as_codes(), 4, Some(10)).expect("a valid search"));
    assert!(found.plans.iter().all(|plan| plan.method == Method::MultiIndex), "{:?}", found.plans);
}
