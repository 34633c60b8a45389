//! The kernels on a card, against the definition and against the scan on the CPU.
//!
//! Without a card (or without the feature `cuda`) nothing is tested and the test says so.

#[path = "support/cases.rs"]
mod cases;

use std::io::Write;
use std::sync::OnceLock;

use cases::{Case, Numbers, Spread};
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

fn matrix(numbers: &mut Numbers, bits: CodeBits, rows: usize) -> CodesBuf {
    CodesBuf::from_packed(bits, &numbers.bytes(rows * bits.bytes())).unwrap()
}

fn first_rows(codes: &CodesBuf, rows: usize) -> CodesBuf {
    let bytes = codes.bits().bytes();
    CodesBuf::from_packed(codes.bits(), &codes.as_codes().to_packed()[..rows * bytes]).unwrap()
}
