//! Search on a card: how near to the memory's speed one query comes, and how much a batch compares.
//!
//! Prints one JSON object. Times are the least of several runs of the whole call, from queries in
//! host memory to hits in host memory; before anything is timed, answers are compared with the CPU's.
//! The memory's speed is measured in the same run as a copy within the card (bytes read plus bytes
//! written).
#![allow(clippy::print_stdout, reason = "the report goes to standard output")]

mod least_time;

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream};
use least_time::least_time;
use rayon::prelude::*;
use twinbit_kernels::cuda::{Card, DeviceCodes, Search, Target, Variant};
use twinbit_kernels::{CodeBits, Codes, CodesBuf, Line, Scan};

/// Rows of one resident matrix.
const ROWS: usize = 100_000_000;

fn main() {
    let card = match Card::open(0) {
        Ok(card) => card,
        Err(reason) => {
            println!("{{\"skipped\": \"no device ({reason})\"}}");
            return;
        }
    };
    let copied = copy_speed();
    let mut lines = Vec::new();
    for bits in [64, 128] {
        let bits = CodeBits::new(bits).unwrap();
        let mut resident = Vec::new();
        for matrices in [1, 10, 40] {
            while resident.len() < matrices {
                let codes = random_lines(bits, ROWS, resident.len() as u64);
                let codes = Codes::new(bits, ROWS, &codes).unwrap();
                resident.push(DeviceCodes::upload(&card, codes).unwrap());
                if resident.len() == 1 {
                    compare(&card, codes, &resident[0]);
                }
            }
            let targets: Vec<_> = resident.iter().map(|codes| Target { codes, mask: None }).collect();
            let search = Search::new(&card, &targets);
            for k in [10, 100, 2048] {
                let seconds = least_time(|| {
                    search.top_k(queries(bits, 1).as_codes(), k).unwrap();
                });
                let speed = (matrices * ROWS * bits.bytes()) as f64 / seconds;
                lines.push(format!(
                    "{{\"bits\": {bits}, \"rows\": {}, \"queries\": 1, \"k\": {k}, \"seconds\": {seconds:.6}, \
                     \"bytes_per_second\": {speed:.4e}, \"of_copy\": {:.3}}}",
                    matrices * ROWS,
                    speed / copied
                ));
            }
            if matrices > 1 {
                continue;
            }
            for count in [16, 64, 256, 1024, 4096] {
                let batch = queries(bits, count);
                for variant in Variant::ALL {
                    let seconds = least_time(|| {
                        search.variant(variant).top_k(batch.as_codes(), 10).unwrap();
                    });
                    lines.push(format!(
                        "{{\"bits\": {bits}, \"rows\": {ROWS}, \"queries\": {count}, \"k\": 10, \
                         \"variant\": \"{variant:?}\", \"seconds\": {seconds:.6}, \
                         \"comparisons_per_second\": {:.4e}}}",
                        (ROWS * count) as f64 / seconds
                    ));
                }
            }
        }
    }
    println!(
        "{{\"device\": \"{}\", \"copy_bytes_per_second\": {copied:.4e}, \"searches\": [\n  {}\n]}}",
        card.name(),
        lines.join(",\n  ")
    );
}

/// Bytes read plus bytes written per second by a copy of 4 GiB within the card.
fn copy_speed() -> f64 {
    let bytes = 4 << 30;
    let stream: Arc<CudaStream> = CudaContext::new(0).unwrap().new_stream().unwrap();
    let from: CudaSlice<u8> = stream.alloc_zeros(bytes).unwrap();
    let mut to: CudaSlice<u8> = stream.alloc_zeros(bytes).unwrap();
    let seconds = least_time(|| {
        stream.memcpy_dtod(&from, &mut to).unwrap();
        stream.synchronize().unwrap();
    });
    2.0 * bytes as f64 / seconds
}

/// Lines of random codes, the same for the same number.
fn random_lines(bits: CodeBits, rows: usize, number: u64) -> Vec<Line> {
    let line = |place: usize| {
        let mut state = (number << 40 | place as u64).wrapping_mul(0xd134_2543_de82_ef95);
        Line(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        }))
    };
    (0..Codes::line_count(bits, rows)).into_par_iter().map(line).collect()
}

fn queries(bits: CodeBits, count: usize) -> CodesBuf {
    let lines = random_lines(bits, count, 1 << 20);
    let codes = Codes::new(bits, count, &lines).unwrap();
    CodesBuf::from_packed(bits, &codes.to_packed()).unwrap()
}

/// The answers of the card are those of the CPU.
fn compare(card: &Card, codes: Codes<'_>, resident: &DeviceCodes<Card>) {
    let queries = queries(codes.bits(), 32);
    let targets = [Target { codes: resident, mask: None }];
    let expected = Scan::new(codes).top_k(queries.as_codes(), 100).unwrap();
    for variant in Variant::ALL {
        let search = Search::new(card, &targets).variant(variant);
        let found = search.top_k(queries.as_codes(), 100).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            let found: Vec<_> = found.iter().map(|hit| (hit.distance, hit.row)).collect();
            let expected: Vec<_> = expected.iter().map(|hit| (hit.distance, hit.row)).collect();
            assert_eq!(found, expected, "{variant:?}");
        }
    }
}
