//! The kernels on a card, against the definition and against the scan on the CPU.
//!
//! Without a card (or without the feature `cuda`) nothing is tested and the test says so.

#[path = "support/cases.rs"]
mod cases;
#[path = "support/fixture.rs"]
mod fixture;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/training.rs"]
mod training;

use std::io::Write;
use std::sync::OnceLock;

use cases::{Case, Numbers, Spread};
use fixture::Fixture;
use training::{CHANGES, Run, Sizes, chained_codes, check_codes, network, settings};
use twinbit_kernels::cuda::train::{BatchKeys, Encoder, Precision};
use twinbit_kernels::cuda::{
    Card, DeviceCodes, DeviceMask, MOST_NEAREST, Plan, Search, SegmentHit, Target, Variant,
};
use twinbit_kernels::{CodeBits, CodesBuf, RowMask, Scan};

/// The first card, or the reason why there is none, printed.
fn card() -> Option<&'static Card> {
    static CARD: OnceLock<Option<Card>> = OnceLock::new();
    // Written past the test harness: who runs this has to see whether anything was tested.
    let say = |line: String| std::io::stderr().write_all(line.as_bytes()).unwrap();
    let card = CARD.get_or_init(|| match Card::open(0) {
        Ok(card) => {
            say(format!("device: {}\n", card.name()));
            Some(card)
        }
        Err(reason) => {
            // On a machine that has a card this must not pass for a test.
            assert!(std::env::var_os("TWINBIT_REQUIRE_CARD").is_none(), "{reason}");
            say(format!("skipped: no device ({reason})\n"));
            None
        }
    });
    card.as_ref()
}

#[test]
fn small_searches_match_the_definition() {
    let Some(card) = card() else { return };
    let mut numbers = Numbers::new(1);
    let segments = [(3000, None), (0, None), (7000, Some(4)), (1, None), (2048, Some(0)), (100, Some(7))];
    for bits in [8, 16, 24, 32, 40, 64, 72, 128, 192, 256, 512, 1000, 1024, 4096] {
        for (spread, k) in [(Spread::Random, 10), (Spread::Repeated, 3000), (Spread::Approaching, 100)] {
            let k = k.min(MOST_NEAREST);
            for plan in [None, Some(Plan::new(7, 0, 2))] {
                let case = Case::new(&mut numbers, bits, spread, &segments, 20);
                case.check(card, plan, k, bits as u32 * 2 / 5);
            }
        }
    }
}

#[test]
fn batches_match_the_definition() {
    let Some(card) = card() else { return };
    let mut numbers = Numbers::new(2);
    for bits in [64, 128, 256] {
        let case = Case::new(&mut numbers, bits, Spread::Random, &[(4000, None), (3000, Some(4))], 700);
        case.check(card, Some(Plan::new(4096, 0, 8)), 50, bits as u32 * 2 / 5);
    }
}

/// Millions of rows in two matrices, the second one masked: what the CPU finds in both, merged.
#[test]
fn large_searches_match_the_scan_on_the_cpu() {
    let Some(card) = card() else { return };
    let mut numbers = Numbers::new(3);
    for bits in [16, 32, 64, 128, 256, 512, 1024] {
        let bits = CodeBits::new(bits).unwrap();
        let rows = 1_200_000_000 / 8 / bits.bytes();
        let matrices = [matrix(&mut numbers, bits, rows), matrix(&mut numbers, bits, rows / 3)];
        let mask =
            RowMask::from_words(rows / 3, (0..(rows / 3).div_ceil(64)).map(|_| numbers.next()).collect());
        let mask = mask.unwrap();
        let queries = matrix(&mut numbers, bits, 40);
        let masks = [None, Some(&mask)];
        let resident = matrices.each_ref().map(|codes| DeviceCodes::upload(card, codes.as_codes()).unwrap());
        let resident_mask = DeviceMask::upload(card, &mask).unwrap();
        let targets = [
            Target { codes: &resident[0], mask: None },
            Target { codes: &resident[1], mask: Some(&resident_mask) },
        ];
        let search = Search::new(card, &targets);
        for (count, k) in [(1, 10), (1, MOST_NEAREST), (40, 100)] {
            let some = first_rows(&queries, count);
            let found = search.top_k(some.as_codes(), k).unwrap();
            let mut expected = vec![Vec::new(); count];
            for (segment, (codes, mask)) in matrices.iter().zip(masks).enumerate() {
                let hits = Scan::new(codes.as_codes()).mask(mask).top_k(some.as_codes(), k).unwrap();
                for (all, hits) in expected.iter_mut().zip(hits) {
                    all.extend(hits.iter().map(|hit| SegmentHit {
                        distance: hit.distance,
                        segment,
                        row: hit.row,
                    }));
                }
            }
            for hits in &mut expected {
                hits.sort_unstable();
                hits.truncate(k);
            }
            assert_eq!(found, expected, "{bits} bits, {count} queries, k {k}");
            let found = search.variant(Variant::Tensor).top_k(some.as_codes(), k).unwrap();
            assert_eq!(found, expected, "{bits} bits, {count} queries, k {k}, matrix units");
        }
        let radius = bits.bits() as u32 * 9 / 20;
        let mut expected = vec![0; 40];
        for (codes, mask) in matrices.iter().zip(masks) {
            let counts = Scan::new(codes.as_codes()).mask(mask).count_within(queries.as_codes(), radius);
            expected.iter_mut().zip(counts.unwrap()).for_each(|(sum, count)| *sum += count);
        }
        assert_eq!(search.count_within(queries.as_codes(), radius).unwrap(), expected, "{bits} bits");
    }
}

#[test]
fn small_training_runs_match_the_definition() {
    let Some(card) = card() else { return };
    for fixture in Fixture::all() {
        fixture.replay(card);
        for precision in [Precision::Tf32, Precision::Bf16] {
            fixture.check_rounded_losses(card, precision);
        }
    }
    let odd = Sizes { pairs: 37, features: [13, 7], hidden: 21, layers: [3, 2], bits: 40 };
    for (seed, change) in (1..).zip(CHANGES) {
        let mut settings = settings(9, 33);
        change(&mut settings);
        let run = Run::new(&mut Numbers::new(seed), odd, settings);
        run.check(card, 1, 3);
        let features = run.upload(card);
        let start = || run.start(card, &features, &run.state);
        assert_eq!(run.epochs(start()), run.epochs(start().one_by_one()), "with a graph and without");
    }
    let mut narrow = Run::new(&mut Numbers::new(6), odd, settings(9, 33));
    let types = narrow.draw_narrow(&mut Numbers::new(2));
    let [wide, features] = [narrow.upload(card), narrow.upload_as(card, types)];
    let [wide, narrow] =
        [wide, features].map(|features| narrow.epochs(narrow.start(card, &features, &narrow.state)));
    assert_eq!(wide, narrow, "narrow features");
    let long = Sizes { pairs: 5, features: [3, 3], hidden: 4, layers: [1, 1], bits: 4096 };
    Run::new(&mut Numbers::new(6), long, settings(2, 5)).check(card, 0, 1);
}

#[test]
fn small_networks_give_the_codes_of_their_outputs() {
    let Some(card) = card() else { return };
    let mut numbers = Numbers::new(9);
    for (layers, bits) in (1..).zip([8, 16, 32, 128, 1000]) {
        let layers = network(&mut numbers, 19, 23, layers, bits);
        let features = features(&mut numbers, 33 * 19);
        check_codes(card, &layers, &features, 14, Precision::Float32, 1e-6);
        check_codes(card, &layers, &features, 14, Precision::Bf16, 2e-2);
    }
}

/// A step with a batch as large as in training, on networks that float64 still gets through.
#[test]
fn training_runs_match_the_definition() {
    let Some(card) = card() else { return };
    let sizes = Sizes { pairs: 3000, features: [512, 300], hidden: 700, layers: [3, 2], bits: 128 };
    Run::new(&mut Numbers::new(7), sizes, settings(256, 4096)).check(card, 1, 2);
}

const PAPER: Sizes = Sizes { pairs: 18_015, features: [4096, 1386], hidden: 8192, layers: [3, 2], bits: 128 };

/// At the size of the paper: rounded products give nearly the same losses, and the same run twice
/// gives the same bits.
#[test]
fn large_training_runs_repeat_themselves() {
    let Some(card) = card() else { return };
    let mut numbers = Numbers::new(10);
    let mut run = Run::new(&mut numbers, PAPER, settings(256, 4096));
    let batches: Vec<Vec<u32>> = (0..4).map(|_| run.batch(&mut numbers)).collect();
    let features = run.upload(card);
    let mut losses = |precision, graph| {
        run.settings.precision = precision;
        let training = run.start(card, &features, &run.state);
        let mut training = if graph { training } else { training.one_by_one() };
        for pairs in &batches {
            training.step(pairs, BatchKeys::Drawn, 1e-4).unwrap();
        }
        (training.losses().unwrap(), training.state().unwrap().networks[1].clone())
    };
    let exact = losses(Precision::Float32, true);
    for precision in [Precision::Tf32, Precision::Bf16] {
        let rounded = losses(precision, true);
        for (rounded, exact) in rounded.0.iter().zip(&exact.0) {
            assert!(
                (rounded.total / exact.total - 1.0).abs() < 2e-2,
                "{precision:?}: {rounded:?}, {exact:?}"
            );
        }
        assert_eq!(losses(precision, true), rounded, "{precision:?}");
        assert_eq!(losses(precision, false), rounded, "{precision:?}, without a graph");
    }
}

#[test]
fn large_networks_give_the_codes_of_their_outputs() {
    let Some(card) = card() else { return };
    let mut numbers = Numbers::new(11);
    let layers = network(&mut numbers, 4096, 8192, 3, 128);
    let features = features(&mut numbers, 10_000 * 4096);
    check_codes(card, &layers, &features[..32 * 4096], Encoder::<Card>::ROWS, Precision::Float32, 1e-5);
    let encode = |precision| {
        let mut encoder = Encoder::new(card, &layers, Encoder::<Card>::ROWS, precision).unwrap();
        encoder.encode(&features).unwrap()
    };
    let exact = encode(Precision::Float32);
    let mut chains = Encoder::exact(card, &layers, Encoder::<Card>::ROWS).unwrap();
    let few = &features[..64 * 4096];
    assert_eq!(chains.encode(few).unwrap(), chained_codes(&layers, few), "chains to the bit");
    for precision in [Precision::Tf32, Precision::Bf16] {
        let rounded = encode(precision);
        let pairs = exact.as_bytes().iter().zip(rounded.as_bytes());
        let different: u32 = pairs.map(|(a, b)| (a ^ b).count_ones()).sum();
        let share = f64::from(different) / (10_000.0 * 128.0);
        std::io::stderr()
            .write_all(format!("{precision:?}: {share:.2e} of bits differ\n").as_bytes())
            .unwrap();
        assert!(share < 2e-2, "{precision:?}: {share}");
    }
}

fn features(numbers: &mut Numbers, count: usize) -> Vec<f32> {
    (0..count).map(|_| numbers.below(2000) as f32 / 1000.0 - 1.0).collect()
}

fn matrix(numbers: &mut Numbers, bits: CodeBits, rows: usize) -> CodesBuf {
    CodesBuf::from_packed(bits, &numbers.bytes(rows * bits.bytes())).unwrap()
}

fn first_rows(codes: &CodesBuf, rows: usize) -> CodesBuf {
    let bytes = codes.bits().bytes();
    CodesBuf::from_packed(codes.bits(), &codes.as_codes().to_packed()[..rows * bytes]).unwrap()
}
