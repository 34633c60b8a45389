//! The exact scan: one query and a batch of 64 over a million codes, for every instruction set.
//!
//! Answers are compared with the scalar ones before anything is timed. `SCAN_ROWS` overrides the
//! number of rows, `RAYON_NUM_THREADS` the number of threads.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use twinbit_bench::uniform_codes;
use twinbit_kernels::{CodeBits, CodesBuf, Isa, RowMask, Scan};

const K: usize = 10;

fn rows() -> usize {
    std::env::var("SCAN_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1_000_000)
}

fn codes(bits: CodeBits, rows: usize, seed: u64) -> CodesBuf {
    uniform_codes(bits, rows, seed).expect("the rows fit a matrix")
}

fn check(isa: Isa, database: &CodesBuf, queries: &CodesBuf, mask: Option<&RowMask>) {
    let scan = Scan::new(database.as_codes()).mask(mask);
    let expected = scan.isa(Isa::scalar()).top_k(queries.as_codes(), K);
    assert_eq!(scan.isa(isa).top_k(queries.as_codes(), K), expected, "{isa} differs from scalar");
}

fn scan(criterion: &mut Criterion) {
    let rows = rows();
    for bits in [CodeBits::B64, CodeBits::B128, CodeBits::B256] {
        let database = codes(bits, rows, 1);
        for batch in [1, 64] {
            let queries = codes(bits, batch, 2);
            let mut group = criterion.benchmark_group(format!("top{K}/{bits} bits/{batch} queries"));
            // Elements are comparisons of two codes; times bits / 8 they are bytes.
            group.throughput(Throughput::Elements((rows * batch) as u64));
            for isa in Isa::available() {
                check(isa, &database, &queries, None);
                let scan = Scan::new(database.as_codes()).isa(isa);
                group.bench_function(isa.name(), |bencher| {
                    bencher.iter(|| scan.top_k(black_box(queries.as_codes()), K));
                });
            }
            group.finish();
        }
    }
}

fn masked(criterion: &mut Criterion) {
    let rows = rows();
    let database = codes(CodeBits::B128, rows, 1);
    let queries = codes(CodeBits::B128, 1, 2);
    let mut group = criterion.benchmark_group(format!("top{K}/128 bits/masked"));
    for step in [2, 1000] {
        let mask = RowMask::from_rows(rows, (0..rows as u32).step_by(step));
        check(Isa::best(), &database, &queries, Some(&mask));
        let scan = Scan::new(database.as_codes()).mask(Some(&mask));
        group.bench_function(format!("one row in {step}"), |bencher| {
            bencher.iter(|| scan.top_k(black_box(queries.as_codes()), K));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = scan, masked
}
criterion_main!(benches);
