//! Our side of the comparison with peers: `bench/peers/search.py` gives orders on standard input and
//! gets a line of JSON for each, so that it can let all engines take turns in the same minutes.

use std::fs;
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use twinbit_kernels::{CodeBits, CodesBuf, Hit, MultiIndex, MultiIndexBuilder, Scan, Search};

use crate::data::{self, Kind};
use crate::limits;
use crate::timing::in_turns;

/// Write the codes and queries to a folder, then obey: `single`, `index` and `batch` with a k, a number
/// of queries and a number of threads, `limit` with a number of threads; end with the input.
pub(crate) fn answer(folder: &Path, kind: &str, bits: &str, rows: &str) {
    let kind = if kind == Kind::Clustered.name() { Kind::Clustered } else { Kind::Uniform };
    let bits = bits.parse().ok().and_then(|bits| CodeBits::new(bits).ok()).expect("a code length");
    let (base, queries) = data::packed(kind, bits, rows.parse().expect("a number of rows"));
    fs::write(folder.join("base.bin"), &base).expect("room for the codes");
    fs::write(folder.join("queries.bin"), &queries).expect("room for the queries");
    let database = CodesBuf::from_packed(bits, &base).expect("whole codes");
    drop(base);
    let builder = MultiIndexBuilder::new(database.as_codes());
    let mut bytes = vec![0_u64; builder.byte_len() / 8];
    let start = Instant::now();
    builder.write_to(&mut bytemuck::cast_slice_mut::<u64, u8>(&mut bytes)).expect("room for the index");
    println!("{{\"ready\": true, \"index_seconds\": {:.3}}}", start.elapsed().as_secs_f64());
    let index = MultiIndex::from_bytes(bytemuck::cast_slice(&bytes)).expect("a sound index");

    for line in std::io::stdin().lock().lines() {
        let line = line.expect("text");
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok()).expect("a number");
        let threads = number(words.len() - 1);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
        pool.install(|| match words[0] {
            "limit" => println!(
                "{{\"comparisons\": {:.4e}, \"read\": {:.4e}}}",
                comparisons(&database, threads),
                reading(&database, threads)
            ),
            order => {
                let (k, count) = (number(1), number(2));
                let asked =
                    CodesBuf::from_packed(bits, &queries[..count * bits.bytes()]).expect("whole codes");
                report(order, &database, &index, &asked, k);
            }
        });
    }
}

/// Run one order and print the seconds it took, for each query where they came one by one, and the sum
/// of all distances found, by which the peer's answers are compared with ours.
fn report(order: &str, database: &CodesBuf, index: &MultiIndex<'_>, asked: &CodesBuf, k: usize) {
    let scan = Scan::new(database.as_codes());
    let search = Search::new(scan).index((order == "index").then_some(index));
    let find = |queries: &CodesBuf| search.top_k(queries.as_codes(), k).expect("a valid search").answers;
    let mut seconds = Vec::new();
    let mut distances = 0;
    let mut timed = |queries: &CodesBuf| {
        let start = Instant::now();
        let found: Vec<Vec<Hit>> = find(queries);
        seconds.push(start.elapsed().as_secs_f64());
        distances += found.iter().flatten().map(|hit| u64::from(hit.distance)).sum::<u64>();
    };
    if order == "batch" {
        timed(asked);
    } else {
        for row in 0..asked.rows() {
            timed(&CodesBuf::from_packed(asked.bits(), &asked.as_codes().row(row)).expect("one code"));
        }
    }
    println!("{{\"seconds\": {seconds:?}, \"distances\": {distances}}}");
}

/// Comparisons a second of codes that never leave the cache.
fn comparisons(database: &CodesBuf, threads: usize) -> f64 {
    let words = database.bits().words();
    let lines = database.as_codes().lines();
    let cached = lines[..lines.len().min((16 << 10) / 64)].to_vec();
    let start = Instant::now();
    let repeats = 20_000;
    rayon::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|_| {
                for _ in 0..repeats {
                    std::hint::black_box(limits::compare(std::hint::black_box(&cached), words));
                }
            });
        }
    });
    (repeats * threads * 4 * cached.len() * 8 / words) as f64 / start.elapsed().as_secs_f64()
}

/// Bytes a second of reading all codes, the better of one and two streams.
fn reading(database: &CodesBuf, threads: usize) -> f64 {
    let lines = database.as_codes().lines();
    let [one, two] =
        in_turns(3, [&mut || crate::read_all(lines, threads, 1), &mut || crate::read_all(lines, threads, 2)]);
    size_of_val(lines) as f64 / one.median().min(two.median())
}
