//! The multi-index against the scan of the same codes.

use std::hint::black_box;
use std::time::Instant;

use twinbit_kernels::{
    CodeBits, Codes, CodesBuf, Method, MultiIndex, MultiIndexBuilder, RowMask, Scan, Search,
};

use crate::data::{self, Kind};
use crate::setting;

/// Whether `SEARCH_INDEX` (all unless set) names a case, as in `uniform128x10000000`.
fn wanted(kind: Kind, bits: CodeBits, rows: usize) -> bool {
    std::env::var("SEARCH_INDEX")
        .map_or(true, |asked| asked.contains(&format!("{}{bits}x{rows}", kind.name())))
}

/// Build and search: clustered and uniform codes and their index, both mapped, with one row in a hundred
/// deleted.
pub(crate) fn index(rows: usize) {
    let cases = [
        (Kind::Clustered, CodeBits::B64, rows),
        (Kind::Clustered, CodeBits::B64, rows / 10),
        (Kind::Clustered, CodeBits::B128, rows / 10),
        (Kind::Clustered, CodeBits::B128, rows),
        (Kind::Uniform, CodeBits::B64, rows / 10),
        (Kind::Uniform, CodeBits::B128, rows / 10),
        (Kind::Uniform, CodeBits::B64, rows),
        (Kind::Uniform, CodeBits::B128, rows),
    ];
    for (kind, bits, rows) in cases {
        if !wanted(kind, bits, rows) {
            continue;
        }
        let (database, queries) = data::codes(kind, bits, rows);
        let map = data::mapped(database.as_bytes());
        let database = Codes::from_bytes(bits, rows, &map).expect("whole blocks");
        let start = Instant::now();
        let builder = MultiIndexBuilder::new(database);
        let mut bytes = vec![0_u64; builder.byte_len() / 8];
        let mut out: &mut [u8] = bytemuck::cast_slice_mut(&mut bytes);
        builder.write_to(&mut out).expect("room for the index");
        let took = start.elapsed().as_secs_f64();
        let map = data::mapped(bytemuck::cast_slice(&bytes));
        drop(bytes);
        let index = MultiIndex::from_bytes(&map).expect("a sound index");
        println!(
            "index, {} {bits} bits, {rows} codes: built in {took:.2} s; {:.2} times the codes' bytes; substrings of \
             {:?} bits",
            kind.name(),
            index.byte_len() as f64 / Codes::byte_len(bits, rows) as f64,
            index.widths().collect::<Vec<_>>(),
        );
        let alive = data::random_mask(rows, 0.99);
        for k in [1, 10, 100] {
            compare(kind, database, &queries, &index, &alive, k);
        }
    }
}

fn compare(
    kind: Kind,
    database: Codes<'_>,
    queries: &CodesBuf,
    index: &MultiIndex<'_>,
    alive: &RowMask,
    k: usize,
) {
    let scan = Scan::new(database).mask(Some(alive));
    let search = Search::new(scan).index(Some(index));
    let count = setting("SEARCH_QUERIES", 100);
    let single: Vec<CodesBuf> = (0..count)
        .map(|row| CodesBuf::from_packed(queries.bits(), &queries.as_codes().row(row)).expect("one code"))
        .collect();
    let (mut scanned, mut planned, mut forced) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lists, mut compared, mut by_index) = (0, 0, 0);
    let (mut predicted, mut predicted_scan) = (0.0, 0.0);
    let timed = |times: &mut Vec<f64>, run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    };
    for query in &single {
        let query = query.as_codes();
        let mut expected = None;
        timed(&mut scanned, &mut || expected = Some(black_box(scan.top_k(query, k))));
        let mut found = None;
        timed(&mut planned, &mut || found = Some(black_box(search.top_k(query, k))));
        let found = found.expect("it ran").expect("a valid search");
        assert_eq!(found.answers, expected.expect("it ran").expect("a valid search"));
        let plan = found.plans[0];
        lists += plan.lists;
        compared += plan.rows;
        by_index += usize::from(plan.method == Method::MultiIndex);
        predicted += plan.index.map_or(0.0, |time| time.as_secs_f64()) * 1e3;
        predicted_scan += plan.scan.as_secs_f64() * 1e3;
        if plan.method == Method::MultiIndex {
            timed(&mut forced, &mut || drop(black_box(search.top_k(query, k))));
        }
    }
    let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len().max(1) as f64;
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let (planned_mean, again_mean) = (mean(&planned), mean(&forced));
    let (scanned, planned, forced) = (median(&mut scanned), median(&mut planned), median(&mut forced));
    println!(
        "  {} {} bits, k = {k}: scan {scanned:.3} ms, planner {planned:.4} (mean {planned_mean:.4}; again, index only \
         {forced:.4}, mean {again_mean:.4}): {:.1} times faster; {by_index} of {count} by the index, {} lists, \
         {} rows each; expected {:.3} ms, scan {:.3}",
        kind.name(),
        database.bits(),
        scanned / planned,
        lists as usize / count,
        compared as usize / count,
        predicted / count as f64,
        predicted_scan / count as f64,
    );
}
