//! The kernels on a card, against the definition and against the scan on the CPU.
//!
//! Without a card (or without the feature `cuda`) nothing is tested and the test says so. All cases of a test
//! are tried, each told as soon as it is known; of those that fail, the first thing that differs is printed.

#[path = "support/attempts.rs"]
mod attempts;
#[path = "support/cases.rs"]
mod cases;
#[path = "support/differences.rs"]
mod differences;
#[path = "support/fixture.rs"]
mod fixture;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/training.rs"]
mod training;

use std::io::Write;
use std::sync::OnceLock;

use attempts::Attempts;
use cases::{Case, Numbers, Spread};
use differences::same;
use fixture::Fixture;
use training::{CHANGES, Run, Sizes, chained_codes, check_codes, losses_of, network, same_trained, settings};
use twinbit_kernels::cuda::train::{BatchKeys, Encoder, Precision};
use twinbit_kernels::cuda::{
    Card, DeviceCodes, DeviceMask, MOST_NEAREST, Plan, Search, SegmentHit, Target, Variant,
};
use twinbit_kernels::{CodeBits, CodesBuf, Hit, Modality, RowMask, Scan};

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

/// Tries cases on a card.
struct OnCard {
    card: &'static Card,
    attempts: Attempts,
}

impl OnCard {
    /// None without a card.
    fn begin() -> Option<Self> {
        Some(Self { card: card()?, attempts: Attempts::default() })
    }

    fn case(&mut self, name: &str, run: impl FnOnce(&'static Card)) {
        self.attempts.case(name, || self.card.memory().is_ok(), || run(self.card));
    }

    fn finish(self) {
        self.attempts.finish();
    }
}

#[test]
fn small_searches_match_the_definition() {
    let Some(mut on) = OnCard::begin() else { return };
    let mut numbers = Numbers::new(1);
    let segments = [(3000, None), (0, None), (7000, Some(4)), (1, None), (2048, Some(0)), (100, Some(7))];
    for bits in [8, 16, 24, 32, 40, 64, 72, 128, 192, 256, 512, 1000, 1024, 4096] {
        for (spread, k) in [(Spread::Random, 10), (Spread::Repeated, 3000), (Spread::Approaching, 100)] {
            let k = k.min(MOST_NEAREST);
            for plan in [None, Some(Plan::new(7, 0, 2))] {
                let case = Case::new(&mut numbers, bits, spread, &segments, 20);
                let pieces = if plan.is_some() { "small" } else { "usual" };
                on.case(&format!("{bits} bits, {spread:?}, k {k}, {pieces} pieces"), |card| {
                    case.check(card, plan, k, bits as u32 * 2 / 5);
                });
            }
        }
    }
    on.finish();
}

#[test]
fn batches_match_the_definition() {
    let Some(mut on) = OnCard::begin() else { return };
    let mut numbers = Numbers::new(2);
    for bits in [64, 128, 256] {
        let case = Case::new(&mut numbers, bits, Spread::Random, &[(4000, None), (3000, Some(4))], 700);
        on.case(&format!("{bits} bits, 700 queries"), |card| {
            case.check(card, Some(Plan::new(4096, 0, 8)), 50, bits as u32 * 2 / 5);
        });
    }
    on.finish();
}

/// More positions than 32 bits count: a matrix that is there many times.
#[test]
fn billions_of_rows_are_told_apart() {
    let Some(mut on) = OnCard::begin() else { return };
    const TIMES: usize = 90;
    let mut numbers = Numbers::new(4);
    for bits in [CodeBits::B64, CodeBits::B128] {
        let codes = matrix(&mut numbers, bits, 50_000_000);
        let queries = matrix(&mut numbers, bits, 20);
        on.case(&format!("{bits} bits, {TIMES} times {} rows", codes.rows()), |card| {
            let resident = DeviceCodes::upload(card, codes.as_codes()).unwrap();
            let targets = [Target { codes: &resident, mask: None }; TIMES];
            let search = Search::new(card, &targets);
            for (count, k) in [(1, 10), (20, 1000)] {
                let some = first_rows(&queries, count);
                let once = Scan::new(codes.as_codes()).top_k(some.as_codes(), k).unwrap();
                for variant in Variant::ALL {
                    let found = search.variant(variant).top_k(some.as_codes(), k).unwrap();
                    for (query, (found, once)) in found.iter().zip(&once).enumerate() {
                        let hit = |segment| {
                            let of =
                                move |hit: &Hit| SegmentHit { distance: hit.distance, segment, row: hit.row };
                            once.iter().map(of)
                        };
                        let mut expected: Vec<_> = (0..TIMES).flat_map(hit).collect();
                        expected.sort_unstable();
                        expected.truncate(k);
                        same(&format!("{variant:?}, query {query} of {count}, k {k}"), found, &expected);
                    }
                }
            }
            let radius = bits.bits() as u32 * 9 / 20;
            let once = Scan::new(codes.as_codes()).count_within(queries.as_codes(), radius).unwrap();
            let expected: Vec<u64> = once.iter().map(|count| count * TIMES as u64).collect();
            same("counts", &search.count_within(queries.as_codes(), radius).unwrap(), &expected);
        });
    }
    on.finish();
}

/// A matrix whose bytes 32 bits do not count.
#[test]
fn matrices_beyond_4_gib_match_the_scan_on_the_cpu() {
    let Some(mut on) = OnCard::begin() else { return };
    let mut numbers = Numbers::new(5);
    for bits in [CodeBits::B64, CodeBits::new(1024).unwrap()] {
        let rows = 4_600_000_000 / bits.bytes();
        let codes = matrix(&mut numbers, bits, rows);
        let mut queries = CodesBuf::new(bits);
        for row in [0, rows / 2, rows - 1] {
            queries.push(&codes.as_codes().row(row)).unwrap();
        }
        on.case(&format!("{bits} bits, {rows} rows"), |card| {
            let resident = DeviceCodes::upload(card, codes.as_codes()).unwrap();
            let targets = [Target { codes: &resident, mask: None }];
            let expected = Scan::new(codes.as_codes()).top_k(queries.as_codes(), 100).unwrap();
            for variant in Variant::ALL {
                let search = Search::new(card, &targets).variant(variant);
                let found = search.top_k(queries.as_codes(), 100).unwrap();
                for (query, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    let found: Vec<_> = found.iter().map(|hit| (hit.distance, hit.row)).collect();
                    let expected: Vec<_> = expected.iter().map(|hit| (hit.distance, hit.row)).collect();
                    same(&format!("{variant:?}, query {query}"), &found, &expected);
                }
            }
        });
    }
    on.finish();
}

/// Millions of rows in two matrices, the second one masked: what the CPU finds in both, merged.
#[test]
fn large_searches_match_the_scan_on_the_cpu() {
    let Some(mut on) = OnCard::begin() else { return };
    let mut numbers = Numbers::new(3);
    for bits in [16, 32, 64, 128, 256, 512, 1024] {
        let bits = CodeBits::new(bits).unwrap();
        let rows = 600_000_000 / 8 / bits.bytes();
        let matrices = [matrix(&mut numbers, bits, rows), matrix(&mut numbers, bits, rows / 3)];
        let mask =
            RowMask::from_words(rows / 3, (0..(rows / 3).div_ceil(64)).map(|_| numbers.next()).collect());
        let mask = mask.unwrap();
        let queries = matrix(&mut numbers, bits, 40);
        let masks = [None, Some(&mask)];
        on.case(&format!("{bits} bits, {rows} and {} rows", rows / 3), |card| {
            let resident =
                matrices.each_ref().map(|codes| DeviceCodes::upload(card, codes.as_codes()).unwrap());
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
                for (query, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    same(&format!("query {query} of {count}, k {k}"), found, expected);
                }
                let found = search.variant(Variant::Tensor).top_k(some.as_codes(), k).unwrap();
                for (query, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    same(&format!("query {query} of {count}, k {k}, matrix units"), found, expected);
                }
            }
            let radius = bits.bits() as u32 * 9 / 20;
            let mut expected = vec![0; 40];
            for (codes, mask) in matrices.iter().zip(masks) {
                let counts = Scan::new(codes.as_codes()).mask(mask).count_within(queries.as_codes(), radius);
                expected.iter_mut().zip(counts.unwrap()).for_each(|(sum, count)| *sum += count);
            }
            same("counts", &search.count_within(queries.as_codes(), radius).unwrap(), &expected);
        });
    }
    on.finish();
}

#[test]
fn small_training_runs_match_the_definition() {
    let Some(mut on) = OnCard::begin() else { return };
    for (number, fixture) in Fixture::all().into_iter().enumerate() {
        on.case(&format!("recorded run {number}"), |card| fixture.replay(card));
        for precision in [Precision::Tf32, Precision::Bf16] {
            on.case(&format!("recorded run {number}, {precision}"), |card| {
                fixture.check_rounded_losses(card, precision);
            });
        }
    }
    let odd = Sizes { pairs: 37, features: [13, 7], hidden: 21, layers: [3, 2], bits: 40 };
    for (seed, change) in (1..).zip(CHANGES) {
        let mut settings = settings(9, 33);
        change(&mut settings);
        let run = Run::new(&mut Numbers::new(seed), odd, settings);
        on.case(&format!("change {seed}"), |card| drop(run.check(card, 1, 3)));
        on.case(&format!("change {seed}, with a graph and without"), |card| {
            let features = run.upload(card);
            let start = || run.start(card, &features, &run.state);
            same_trained("captured", &run.epochs(start()), &run.epochs(start().one_by_one()));
        });
    }
    on.case("narrow features", |card| {
        let mut narrow = Run::new(&mut Numbers::new(6), odd, settings(9, 33));
        let types = narrow.draw_narrow(&mut Numbers::new(2));
        let [wide, features] = [narrow.upload(card), narrow.upload_as(card, types)];
        let [wide, narrow] =
            [wide, features].map(|features| narrow.epochs(narrow.start(card, &features, &narrow.state)));
        same_trained("narrow", &narrow, &wide);
    });
    on.case("the longest codes", |card| {
        let long = Sizes { pairs: 5, features: [3, 3], hidden: 4, layers: [1, 1], bits: 4096 };
        Run::new(&mut Numbers::new(6), long, settings(2, 5)).check(card, 0, 1);
    });
    on.finish();
}

#[test]
fn small_networks_give_the_codes_of_their_outputs() {
    let Some(mut on) = OnCard::begin() else { return };
    let mut numbers = Numbers::new(9);
    for (depth, bits) in (1..).zip([8, 16, 32, 128, 1000]) {
        let layers = network(&mut numbers, 19, 23, depth, bits);
        let features = features(&mut numbers, 33 * 19);
        on.case(&format!("{depth} layers, {bits} bits"), |card| {
            check_codes(card, &layers, &features, 14, Precision::Float32, 1e-6);
            check_codes(card, &layers, &features, 14, Precision::Bf16, 2e-2);
            let mut chains = Encoder::exact(card, &layers, 14).unwrap();
            let codes = chains.encode(&features).unwrap();
            same("bytes of chains", codes.as_bytes(), chained_codes(&layers, &features).as_bytes());
        });
    }
    on.finish();
}

/// Steps with a batch as large as in training, on networks that float64 still gets through.
#[test]
fn training_runs_match_the_definition() {
    let Some(mut on) = OnCard::begin() else { return };
    let sizes = Sizes { pairs: 3000, features: [512, 300], hidden: 700, layers: [3, 2], bits: 128 };
    let run = Run::new(&mut Numbers::new(7), sizes, settings(256, 4096));
    on.case(&format!("{sizes:?}"), |card| drop(run.check(card, 1, 2)));
    on.finish();
}

const PAPER: Sizes = Sizes { pairs: 18_015, features: [4096, 1386], hidden: 8192, layers: [3, 2], bits: 128 };

/// At the size of the paper: rounded products give nearly the same losses, and the same run twice
/// gives the same bits.
#[test]
fn large_training_runs_repeat_themselves() {
    let Some(mut on) = OnCard::begin() else { return };
    let mut numbers = Numbers::new(10);
    let mut run = Run::new(&mut numbers, PAPER, settings(256, 4096));
    let batches: Vec<Vec<u32>> = (0..4).map(|_| run.batch(&mut numbers)).collect();
    let features = run.upload(on.card);
    // The losses of the steps, and the text network's weights and biases.
    let train = |run: &Run, card, graph| {
        let training = run.start(card, &features, &run.state);
        let mut training = if graph { training } else { training.one_by_one() };
        for pairs in &batches {
            training.step(pairs, BatchKeys::Drawn, 1e-4).unwrap();
        }
        let losses: Vec<_> = training.losses().unwrap().iter().map(losses_of).collect();
        let layers = training.network(Modality::Text).unwrap();
        (losses, layers.into_iter().flat_map(|layer| [layer.weight, layer.bias].concat()).collect::<Vec<_>>())
    };
    let mut exact = Vec::new();
    for precision in Precision::ALL {
        run.settings.precision = precision;
        let mut rounded = Default::default();
        on.case(&format!("{precision}"), |card| {
            rounded = train(&run, card, true);
            if exact.is_empty() {
                exact.clone_from(&rounded.0);
            }
            for (step, (rounded, exact)) in rounded.0.iter().zip(&exact).enumerate() {
                let error = (rounded[2] / exact[2] - 1.0).abs();
                assert!(error < 2e-2, "step {step}: {rounded:?}, exact {exact:?}, error {error:.1e}");
            }
        });
        for graph in [true, false] {
            on.case(
                &format!("{precision} again, {}", if graph { "captured" } else { "one by one" }),
                |card| {
                    let again = train(&run, card, graph);
                    same("losses", &again.0, &rounded.0);
                    same("weights", &again.1, &rounded.1);
                },
            );
        }
    }
    on.finish();
}

#[test]
fn large_networks_give_the_codes_of_their_outputs() {
    let Some(mut on) = OnCard::begin() else { return };
    const ROWS: usize = 10_000;
    let mut numbers = Numbers::new(11);
    let layers = network(&mut numbers, 4096, 8192, 3, 128);
    let features = features(&mut numbers, ROWS * 4096);
    on.case("float32, beside float64", |card| {
        let few = &features[..32 * 4096];
        check_codes(card, &layers, few, Encoder::<Card>::ROWS, Precision::Float32, 1e-5);
    });
    on.case("chains, to the bit", |card| {
        let few = &features[..16 * 4096];
        let codes = Encoder::exact(card, &layers, Encoder::<Card>::ROWS).unwrap().encode(few).unwrap();
        same("bytes", codes.as_bytes(), chained_codes(&layers, few).as_bytes());
    });
    let encode = |card, precision| {
        let mut encoder = Encoder::new(card, &layers, Encoder::<Card>::ROWS, precision).unwrap();
        encoder.encode(&features).unwrap()
    };
    for precision in [Precision::Tf32, Precision::Bf16] {
        on.case(&format!("{precision}, beside float32"), |card| {
            let [exact, rounded] = [Precision::Float32, precision].map(|precision| encode(card, precision));
            let pairs = exact.as_bytes().iter().zip(rounded.as_bytes());
            let different: u32 = pairs.map(|(a, b)| (a ^ b).count_ones()).sum();
            let share = f64::from(different) / (ROWS as f64 * 128.0);
            let said = format!("{precision}: {share:.2e} of bits differ\n");
            std::io::stderr().write_all(said.as_bytes()).unwrap();
            assert!(share < 2e-2, "{precision}: {share}");
        });
    }
    on.finish();
}

fn features(numbers: &mut Numbers, count: usize) -> Vec<f32> {
    (0..count).map(|_| numbers.below(2000) as f32 / 1000.0 - 1.0).collect()
}

fn matrix(numbers: &mut Numbers, bits: CodeBits, rows: usize) -> CodesBuf {
    let words = (rows * bits.bytes()).div_ceil(8);
    let mut bytes: Vec<u8> = (0..words).flat_map(|_| numbers.next().to_le_bytes()).collect();
    bytes.truncate(rows * bits.bytes());
    CodesBuf::from_packed(bits, &bytes).unwrap()
}

fn first_rows(codes: &CodesBuf, rows: usize) -> CodesBuf {
    let bytes = codes.bits().bytes();
    CodesBuf::from_packed(codes.bits(), &codes.as_codes().to_packed()[..rows * bytes]).unwrap()
}
