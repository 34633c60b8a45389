//! The search against the limits of the machine, in one process and in turns.
//!
//! `cargo bench -p twinbit-kernels --bench search -- SECTION...` with the sections `single`, `batch`,
//! `depth` (k up to 100,000), `masks` and `index`; without one, all. Every figure names what it is a share of. `SEARCH_ROWS`
//! (10,000,000) and `SEARCH_THREADS` (1) change the size, `SEARCH_TURNS` how often each has its turn,
//! `SEARCH_ISA` the instruction set of the scans.
//! `bench/peers/search.py` talks to the section `peers`.
#![allow(clippy::print_stdout, missing_docs, reason = "a program that prints what it measures")]

mod data;
mod index;
mod limits;
mod peers;
mod timing;

use std::hint::black_box;
use std::io::Write;

use data::{Kind, Random};
use timing::in_turns;
use twinbit_kernels::{CodeBits, Codes, CodesBuf, Isa, Line, RowMask, Scan};

const K: usize = 10;

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// The instruction set asked for, or the best one.
fn isa() -> Isa {
    std::env::var("SEARCH_ISA")
        .map_or_else(|_| Isa::best(), |name| name.parse().expect("an instruction set of this machine"))
}

fn main() {
    let threads = setting("SEARCH_THREADS", 1);
    let rows = setting("SEARCH_ROWS", 10_000_000);
    let asked: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [section, folder, kind, bits, rows] = asked.as_slice()
        && section == "peers"
    {
        peers::answer(folder.as_ref(), kind, bits, rows);
        return;
    }
    let wanted = |section: &str| asked.is_empty() || asked.iter().any(|asked| asked == section);
    println!("{} on {threads} threads, {rows} codes, k = {K}", isa());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
    pool.install(|| {
        if wanted("single") {
            single(threads);
        }
        if wanted("batch") {
            batch(rows, threads);
        }
        if wanted("depth") {
            depth(rows);
        }
        if wanted("masks") {
            masks(rows);
        }
        if wanted("index") {
            index::index(rows);
        }
    });
}

/// The first of some queries.
fn one(queries: &CodesBuf) -> CodesBuf {
    let bits = queries.bits();
    CodesBuf::from_packed(bits, &queries.as_codes().row(0)).expect("one code")
}

/// The limit of reading these lines with all threads of the pool, the best number of streams.
fn read_all(lines: &[Line], threads: usize, streams: usize) {
    let part = lines.len().div_ceil(threads);
    rayon::scope(|scope| {
        for lines in lines.chunks(part) {
            scope.spawn(move |_| {
                black_box(limits::read(lines, streams));
            });
        }
    });
}

/// One query over a mapped gibibyte of codes, against reading the same bytes.
fn single(threads: usize) {
    let bytes = setting("SEARCH_MAPPED_MIB", 1024) << 20;
    let mut file = tempfile::tempfile().expect("a temporary file");
    let mut random = Random::new(9);
    for _ in 0..bytes >> 20 {
        let block: Vec<u64> = (0..1 << 17).map(|_| random.word()).collect();
        file.write_all(bytemuck::cast_slice(&block)).expect("room for the codes");
    }
    // SAFETY: the file has no name, so nobody else can change it.
    let map = unsafe { memmap2::Mmap::map(&file) }.expect("a mapping");
    let lines: &[Line] = bytemuck::cast_slice(&map);
    for bits in [CodeBits::B64, CodeBits::B128, CodeBits::B256, CodeBits::B512] {
        let rows = bytes / bits.bytes();
        let database = Codes::from_bytes(bits, rows, &map).expect("whole blocks");
        let query = one(&data::codes(Kind::Uniform, bits, 1).1);
        let scan = Scan::new(database).isa(isa());
        let times = in_turns(
            setting("SEARCH_TURNS", 9),
            [
                &mut || read_all(lines, threads, 1),
                &mut || read_all(lines, threads, 2),
                &mut || read_all(lines, threads, 4),
                &mut || drop(black_box(scan.top_k(query.as_codes(), K))),
            ],
        );
        let speed = |seconds: f64| bytes as f64 / seconds / 1e9;
        let [one, two, four, search] = times;
        let limit = [&one, &two, &four].map(|times| times.best()).into_iter().fold(f64::MAX, f64::min);
        let typical = [&one, &two, &four].map(|times| times.median()).into_iter().fold(f64::MAX, f64::min);
        println!(
            "single, {bits} bits, {rows} codes: {:.2} ms best, {:.2} median; {:.1} GB/s; reading 1, 2, 4 \
             streams {:.1}, {:.1}, {:.1}; {:.0} % of the best reading (medians: {:.0} %)",
            search.best() * 1e3,
            search.median() * 1e3,
            speed(search.best()),
            speed(one.best()),
            speed(two.best()),
            speed(four.best()),
            100.0 * limit / search.best(),
            100.0 * typical / search.median(),
        );
    }
}

/// A thousand queries at once, against comparing codes that never leave the cache.
fn batch(rows: usize, threads: usize) {
    for bits in [CodeBits::B64, CodeBits::B128, CodeBits::B256] {
        let (database, queries) = data::codes(Kind::Uniform, bits, rows);
        let cached = database.as_codes().lines()[..(16 << 10) / 64].to_vec();
        let comparisons = (rows * queries.rows()) as f64;
        // The limit takes a tenth of the comparisons, which is long enough.
        let repeats = rows * queries.rows() / 10 / (cached.len() / bits.words() * 8) / 4 / threads;
        let scan = Scan::new(database.as_codes()).isa(isa());
        for k in [K, 100] {
            let times = in_turns(
                3,
                [
                    &mut || {
                        rayon::scope(|scope| {
                            for _ in 0..threads {
                                scope.spawn(|_| {
                                    for _ in 0..repeats {
                                        black_box(limits::compare(black_box(&cached), bits.words()));
                                    }
                                });
                            }
                        });
                    },
                    &mut || drop(black_box(scan.top_k(queries.as_codes(), k))),
                ],
            );
            let [limit, search] = times;
            let limit_speed = |seconds: f64| comparisons / 10.0 / seconds / 1e9;
            let speed = |seconds: f64| comparisons / seconds / 1e9;
            println!(
                "batch of {}, {bits} bits, k = {k}: {:.2} s best, {:.0} queries/s; {:.2} G comparisons/s; \
                 in cache {:.2}; {:.0} % (medians: {:.0} %)",
                queries.rows(),
                search.best(),
                queries.rows() as f64 / search.best(),
                speed(search.best()),
                limit_speed(limit.best()),
                100.0 * speed(search.best()) / limit_speed(limit.best()),
                100.0 * speed(search.median()) / limit_speed(limit.median()),
            );
        }
    }
}

/// What it costs to ask for many rows: one query, and a batch.
fn depth(rows: usize) {
    let bits = CodeBits::B128;
    let (database, queries) = data::codes(Kind::Uniform, bits, rows);
    let scan = Scan::new(database.as_codes()).isa(isa());
    for (count, turns) in [(1, setting("SEARCH_TURNS", 9)), (64, 1)] {
        let packed = queries.as_codes().to_packed();
        let asked = CodesBuf::from_packed(bits, &packed[..count * bits.bytes()]).expect("whole codes");
        for k in [10, 100, 1_000, 10_000, 100_000] {
            let [times] = in_turns(turns, [&mut || drop(black_box(scan.top_k(asked.as_codes(), k)))]);
            println!(
                "depth, {bits} bits, {count} queries, k = {k}: {:.2} ms a query best, {:.2} median",
                times.best() * 1e3 / count as f64,
                times.median() * 1e3 / count as f64,
            );
        }
    }
}

/// One query over mapped codes where a mask leaves some rows.
fn masks(rows: usize) {
    for bits in [CodeBits::B64, CodeBits::B128] {
        let (database, queries) = data::codes(Kind::Uniform, bits, rows);
        let query = one(&queries);
        let map = data::mapped(database.as_bytes());
        let scan = Scan::new(Codes::from_bytes(bits, rows, &map).expect("whole blocks"));
        let mut contiguous = RowMask::none(rows);
        contiguous.set_range(rows / 3..rows / 3 + rows / 100, true);
        let some = [0.99, 0.5, 0.1, 0.01, 0.001].map(|share| (share, data::random_mask(rows, share)));
        let masks = some.iter().map(|(share, mask)| (format!("random {share}"), mask));
        for (name, mask) in masks.chain([("contiguous 0.01".to_owned(), &contiguous)]) {
            let masked = scan.mask(Some(mask));
            let expected = masked.isa(Isa::scalar()).top_k(query.as_codes(), K);
            assert_eq!(masked.top_k(query.as_codes(), K), expected, "{bits} bits, {name}");
            let [all, left] = in_turns(
                setting("SEARCH_TURNS", 15),
                [&mut || drop(black_box(scan.top_k(query.as_codes(), K))), &mut || {
                    drop(black_box(masked.top_k(query.as_codes(), K)))
                }],
            );
            println!(
                "mask {name}, {bits} bits: {:.3} ms best, {:.3} median; without mask {:.3}, {:.3}; {:.1} % \
                 (medians: {:.1} %)",
                left.best() * 1e3,
                left.median() * 1e3,
                all.best() * 1e3,
                all.median() * 1e3,
                100.0 * left.best() / all.best(),
                100.0 * left.median() / all.median(),
            );
        }
    }
}
