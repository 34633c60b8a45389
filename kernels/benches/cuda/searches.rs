//! What the search bench measures, on any machine.

use rayon::prelude::*;
use twinbit_kernels::cuda::{DeviceCodes, MOST_NEAREST, Machine, Search, Target, Variant};
use twinbit_kernels::{CodeBits, Codes, CodesBuf, Error, Line, Scan};

use crate::report::{Outcome, Report, least_time};

/// How large the searches are.
pub(crate) struct Sizes {
    /// Rows of one resident matrix.
    pub(crate) rows: usize,
    /// How many matrices are searched together by one query.
    pub(crate) matrices: Vec<usize>,
    /// Queries of a batch, over one matrix.
    pub(crate) batches: Vec<usize>,
    /// Bytes that stay free beside the codes.
    pub(crate) spare: usize,
}

const LENGTHS: [CodeBits; 2] = [CodeBits::B64, CodeBits::B128];

/// One query over more and more rows; `copied` is the speed of a copy within the card, where it is known,
/// and `free` tells the machine's free memory.
pub(crate) fn scan<M: Machine>(
    machine: &M,
    sizes: &Sizes,
    copied: Option<f64>,
    free: &dyn Fn() -> usize,
    report: &mut Report<'_>,
) {
    for bits in LENGTHS {
        let mut resident = Vec::new();
        for &matrices in &sizes.matrices {
            let rows = matrices * sizes.rows;
            let name = format!("\"bits\": {bits}, \"rows\": {rows}, \"queries\": 1");
            let missing = (matrices - resident.len()) * Codes::byte_len(bits, sizes.rows);
            let room = free().saturating_sub(sizes.spare);
            if missing > room {
                let reason = format!("{missing} bytes more do not fit the {room} that are free");
                report.line(&format!("{name}, \"skipped\": {reason:?}"));
                continue;
            }
            let uploaded: Result<(), Error> = (resident.len()..matrices).try_for_each(|number| {
                upload(machine, bits, sizes.rows, number).map(|codes| resident.push(codes))
            });
            if let Err(error) = uploaded {
                report.case(&name, || Err(error.into()));
                continue;
            }
            let targets: Vec<_> = resident.iter().map(|codes| Target { codes, mask: None }).collect();
            let search = Search::new(machine, &targets);
            for k in [10, 100, MOST_NEAREST] {
                report.case(&format!("{name}, \"k\": {k}"), || {
                    let query = queries(bits, 1);
                    let seconds = least_time(|| Ok(search.top_k(query.as_codes(), k)?))?;
                    let speed = (rows * bits.bytes()) as f64 / seconds;
                    let share = copied.map_or("null".to_owned(), |copied| format!("{:.3}", speed / copied));
                    Ok(format!(
                        "\"seconds\": {seconds:.6}, \"bytes_per_second\": {speed:.4e}, \"of_copy\": {share}"
                    ))
                });
            }
        }
    }
}

/// Batches of queries over one matrix, in every variant, whose answers are compared with the CPU's first.
pub(crate) fn batch<M: Machine>(machine: &M, sizes: &Sizes, report: &mut Report<'_>) {
    for bits in LENGTHS {
        let name = format!("\"bits\": {bits}, \"rows\": {}", sizes.rows);
        let codes = random_lines(bits, sizes.rows, 0);
        let resident = Codes::new(bits, sizes.rows, &codes)
            .and_then(|codes| Ok((codes, DeviceCodes::upload(machine, codes)?)));
        let (codes, resident) = match resident {
            Ok(both) => both,
            Err(error) => {
                report.case(&name, || Err(error.into()));
                continue;
            }
        };
        let targets = [Target { codes: &resident, mask: None }];
        let search = Search::new(machine, &targets);
        report.case(&format!("{name}, \"queries\": 32, \"k\": 100"), || compare(search, codes));
        for &count in &sizes.batches {
            for variant in Variant::ALL {
                let name = format!("{name}, \"queries\": {count}, \"k\": 10, \"variant\": \"{variant:?}\"");
                report.case(&name, || {
                    let batch = queries(bits, count);
                    let search = search.variant(variant);
                    let seconds = least_time(|| Ok(search.top_k(batch.as_codes(), 10)?))?;
                    let speed = (sizes.rows * count) as f64 / seconds;
                    Ok(format!("\"seconds\": {seconds:.6}, \"comparisons_per_second\": {speed:.4e}"))
                });
            }
        }
    }
}

fn upload<M: Machine>(
    machine: &M,
    bits: CodeBits,
    rows: usize,
    number: usize,
) -> Result<DeviceCodes<M>, Error> {
    let lines = random_lines(bits, rows, number as u64);
    DeviceCodes::upload(machine, Codes::new(bits, rows, &lines)?)
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

/// Whether the machine's answers are those of the CPU; an error names the first one that is not.
fn compare<M: Machine>(search: Search<'_, M>, codes: Codes<'_>) -> Outcome<String> {
    let queries = queries(codes.bits(), 32);
    let expected = Scan::new(codes).top_k(queries.as_codes(), 100)?;
    for variant in Variant::ALL {
        let found = search.variant(variant).top_k(queries.as_codes(), 100)?;
        for (query, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let found = found.iter().map(|hit| (hit.distance, hit.row));
            let expected = expected.iter().map(|hit| (hit.distance, hit.row));
            if let Some((place, (found, expected))) =
                found.zip(expected).enumerate().find(|(_, (found, expected))| found != expected)
            {
                let got = format!("{variant:?}, query {query}, hit {place}: {found:?}");
                return Err(format!("{got} is not {expected:?}, as (distance, row)").into());
            }
        }
    }
    Ok("\"answers\": \"those of the CPU\"".to_owned())
}
