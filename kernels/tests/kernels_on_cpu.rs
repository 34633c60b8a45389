//! The CUDA kernels, compiled from their sources for the CPU, against the definition of a search.
//!
//! Threads and blocks run in orders drawn from seeds, so that a kernel that lacks a barrier fails
//! in some of them; what else this can and cannot find is said in `cu/cpu/blocks.h`.
#![cfg(target_os = "linux")]

#[path = "support/blocks.rs"]
mod blocks;
#[path = "support/cases.rs"]
mod cases;
#[path = "support/compiled.rs"]
mod compiled;
#[path = "support/differences.rs"]
mod differences;

use blocks::Blocks;
use cases::{Case, Numbers, Spread};
use twinbit_kernels::cuda::{
    AnyMachine, CudaError, DeviceCodes, DeviceMask, MOST_NEAREST, Machine, Plan, Search, Target, Variant,
};
use twinbit_kernels::{CodeBits, CodesBuf, Error, RowMask};

#[test]
fn every_code_length_gives_the_nearest_rows() {
    let mut numbers = Numbers::new(1);
    for (seed, bits) in (1..).zip([8, 16, 24, 32, 40, 64, 72, 128, 192, 256, 512, 1000, 1024, 4096]) {
        let rows = 300 + numbers.below(2000);
        let case = Case::new(&mut numbers, bits, Spread::Random, &[(rows, None)], 2);
        case.check(&Blocks::new(seed), None, 10, bits as u32 * 2 / 5);
    }
}

#[test]
fn ties_come_in_the_order_of_segments_and_rows() {
    let mut numbers = Numbers::new(2);
    let segments = [(700, None), (0, None), (2500, None), (1, None), (90, None)];
    for (seed, bits, k) in [(1, 16, 500), (2, 64, 1), (3, 64, 700), (4, 128, 1000)] {
        let case = Case::new(&mut numbers, bits, Spread::Repeated, &segments, 3);
        case.check(&Blocks::new(seed), None, k, 0);
    }
}

#[test]
fn masked_rows_never_appear() {
    let mut numbers = Numbers::new(3);
    let segments = [(2100, Some(4)), (333, None), (64, Some(0)), (2048, Some(8)), (1500, Some(1))];
    for (seed, bits) in [(1, 16), (2, 32), (3, 64), (4, 128), (5, 200)] {
        let case = Case::new(&mut numbers, bits, Spread::Random, &segments, 2);
        case.check(&Blocks::new(seed), None, 20, bits as u32 / 2);
    }
}

#[test]
fn batches_are_cut_into_groups_and_tiles() {
    let mut numbers = Numbers::new(4);
    let case = Case::new(&mut numbers, 64, Spread::Random, &[(1200, None), (500, Some(5))], 70);
    case.check(&Blocks::new(1), None, 7, 24);
    case.check(&Blocks::new(2), Some(Plan::new(33, 4096, 8)), 7, 24);
    // 36 words a query: 56 queries fit a block.
    let case = Case::new(&mut numbers, 36 * 64, Spread::Random, &[(60, None)], 60);
    case.check(&Blocks::new(3), None, 7, 36 * 31);
}

#[test]
fn bounds_fall_from_piece_to_piece() {
    let mut numbers = Numbers::new(5);
    for (seed, spread) in [(1, Spread::Random), (2, Spread::Repeated)] {
        let case = Case::new(&mut numbers, 32, spread, &[(9000, None), (9000, Some(6))], 2);
        case.check(&Blocks::new(seed), Some(Plan::new(2, 3000, 1)), 60, 9);
    }
}

#[test]
fn matrix_units_give_the_nearest_rows() {
    let mut numbers = Numbers::new(11);
    let segments = [(2048, None), (300, Some(6)), (1, None), (2055, None)];
    for (seed, bits) in (1..).zip([8, 64, 128, 256, 512, 1024, 136]) {
        // 17 queries are more than one instruction takes; approaching rows all enter.
        let (spread, queries) = if bits == 128 { (Spread::Random, 17) } else { (Spread::Approaching, 2) };
        let case = Case::new(&mut numbers, bits, spread, &segments, queries);
        case.check(&Blocks::new(seed), Some(Plan::new(200, 0, 8)), 30, bits as u32 * 2 / 5);
    }
    // More queries than a block takes.
    let case = Case::new(&mut numbers, 128, Spread::Random, &[(2056, None)], 129);
    case.run(&Blocks::new(9), Some(Plan::new(200, 0, 8)), |search, queries| {
        let hits = search.variant(Variant::Tensor).within(queries, 50, 3).unwrap();
        let expected: Vec<_> = (0..queries.rows()).map(|query| case.expected(query, 50, 3)).collect();
        assert_eq!(hits, expected);
    });
}

#[test]
fn a_piece_with_too_many_candidates_is_searched_again() {
    let mut numbers = Numbers::new(6);
    // Every row is nearer than those before it, so that all of a piece enter.
    let case = Case::new(&mut numbers, 128, Spread::Approaching, &[(7000, None), (14_000, None)], 2);
    for seed in 1..4 {
        let machine = Blocks::new(seed);
        case.run(&machine, Some(Plan::new(2, 0, 4)), |search, queries| {
            let before = machine.launches();
            let hits = search.top_k(queries, 50).unwrap();
            assert_eq!(hits, [case.expected(0, u32::MAX, 50), case.expected(1, u32::MAX, 50)]);
            // 11 tiles: 1, 4 and 6 would do, with 2 launches each and 1 in the end.
            assert!(machine.launches() - before > 7, "no piece was searched again");
        });
    }
}

#[test]
fn as_many_rows_as_there_are_can_be_asked_for() {
    let mut numbers = Numbers::new(7);
    let case = Case::new(&mut numbers, 64, Spread::Random, &[(3000, None)], 1);
    case.check(&Blocks::new(1), None, MOST_NEAREST, 64);
    case.check(&Blocks::new(2), None, MOST_NEAREST - 1, 30);
    // So many candidates that a block reads them in several stretches.
    let case = Case::new(&mut numbers, 64, Spread::Approaching, &[(12_000, None)], 1);
    case.check(&Blocks::new(5), None, 600, 3);
    let case = Case::new(&mut numbers, 64, Spread::Random, &[(5, None)], 1);
    case.check(&Blocks::new(3), None, MOST_NEAREST, 64);
    case.check(&Blocks::new(4), None, 5, 0);
}

#[test]
fn no_rows_and_no_queries_give_no_hits() {
    let mut numbers = Numbers::new(8);
    for segments in [&[][..], &[(0, None)][..]] {
        let case = Case::new(&mut numbers, 64, Spread::Random, segments, 2);
        case.check(&Blocks::new(1), None, 3, 64);
    }
    let case = Case::new(&mut numbers, 64, Spread::Random, &[(10, None)], 0);
    case.check(&Blocks::new(1), None, 3, 64);
    let case = Case::new(&mut numbers, 64, Spread::Random, &[(10, None)], 2);
    case.run(&Blocks::new(1), None, |search, queries| {
        assert_eq!(search.within(queries, 64, 0).unwrap(), [[], []]);
    });
}

#[test]
fn wrong_requests_are_refused() {
    let mut numbers = Numbers::new(9);
    let mut case = Case::new(&mut numbers, 64, Spread::Random, &[(10, None)], 1);
    case.run(&Blocks::new(1), None, |search, queries| {
        assert!(matches!(search.top_k(queries, 0), Err(Error::ZeroK)));
        let k = MOST_NEAREST + 1;
        assert!(matches!(search.top_k(queries, k), Err(Error::TooManyNearest { most: MOST_NEAREST, .. })));
        let wide = CodesBuf::with_rows(CodeBits::B128, 1).unwrap();
        let wrong = search.count_within(wide.as_codes(), 1);
        assert!(matches!(wrong, Err(Error::Shape { expected: 128, got: 64, .. })));
    });
    case.segments[0].1 = Some(RowMask::all(9));
    case.run(&Blocks::new(1), None, |search, queries| {
        assert!(matches!(search.top_k(queries, 1), Err(Error::Shape { expected: 10, got: 9, .. })));
    });
}

#[test]
fn the_order_of_threads_and_blocks_changes_nothing() {
    let mut numbers = Numbers::new(10);
    let case = Case::new(&mut numbers, 64, Spread::Repeated, &[(5000, Some(7)), (800, None)], 2);
    for seed in 100..112 {
        case.check(&Blocks::new(seed), Some(Plan::new(2, 0, 2)), 40, 0);
    }
}

#[test]
fn memory_of_another_machine_is_refused() {
    let (ours, other) = (Blocks::new(1), Blocks::new(2));
    let codes = CodesBuf::with_rows(CodeBits::B64, 10).unwrap();
    let mask = RowMask::all(10);
    let upload = |machine| {
        let codes = DeviceCodes::upload(machine, codes.as_codes()).unwrap();
        (codes, DeviceMask::upload(machine, &mask).unwrap())
    };
    let ((our_codes, our_mask), (other_codes, other_mask)) = (upload(&ours), upload(&other));
    let query = CodesBuf::with_rows(CodeBits::B64, 1).unwrap();
    let search = |codes, mask| {
        let targets = [Target { codes, mask: Some(mask) }];
        Search::new(&ours, &targets).top_k(query.as_codes(), 1).map(|hits| hits.len())
    };
    assert_eq!(search(&our_codes, &our_mask), Ok(1));
    assert_eq!(search(&other_codes, &our_mask), Err(Error::Cuda(CudaError::OtherMachine)));
    assert_eq!(search(&our_codes, &other_mask), Err(Error::Cuda(CudaError::OtherMachine)));
    let mut memory = other.allocate(8).unwrap();
    assert_eq!(ours.write(&mut memory, 0, &[1]), Err(CudaError::OtherMachine));
    assert_eq!(ours.read(&memory, 0, &mut [1]), Err(CudaError::OtherMachine));
}

#[test]
fn a_machine_without_its_type_answers_the_same_and_knows_its_own_memory() {
    let mut numbers = Numbers::new(12);
    let case = Case::new(&mut numbers, 64, Spread::Random, &[(700, None), (500, Some(4))], 3);
    case.check(&AnyMachine::new(Blocks::new(1)), None, 20, 26);
    let codes = case.segments[0].0.as_codes();
    let (one, other) = (AnyMachine::new(Blocks::new(1)), AnyMachine::new(Blocks::new(1)));
    let resident = DeviceCodes::upload(&one, codes).unwrap();
    let targets = [Target { codes: &resident, mask: None }];
    let found = Search::new(&other, &targets).top_k(case.queries.as_codes(), 1);
    assert_eq!(found, Err(Error::Cuda(CudaError::OtherMachine)));
    assert!(Search::new(&one.clone(), &targets).top_k(case.queries.as_codes(), 1).is_ok());
}

#[test]
fn copies_and_searches_end_when_they_are_told_to() {
    let mut numbers = Numbers::new(13);
    let case = Case::new(&mut numbers, 64, Spread::Random, &[(3000, None)], 2);
    let machine = Blocks::new(1);
    let codes = case.segments[0].0.as_codes();
    assert_eq!(DeviceCodes::upload_until(&machine, codes, &|| true).unwrap_err(), Error::Stopped);
    let resident = DeviceCodes::upload(&machine, codes).unwrap();
    let targets = [Target { codes: &resident, mask: None }];
    let queries = case.queries.as_codes();
    let stopped = Search::new(&machine, &targets).stop(&|| true);
    assert_eq!(stopped.top_k(queries, 5), Err(Error::Stopped));
    assert_eq!(stopped.count_within(queries, 5), Err(Error::Stopped));
    let search = Search::new(&machine, &targets);
    assert_eq!(search.stop(&|| false).top_k(queries, 5), search.top_k(queries, 5));
    assert_eq!(search.stop(&|| false).count_within(queries, 25), search.count_within(queries, 25));
}
