//! Search on a card: how near to the memory's speed one query comes (`scan`), and how much a batch compares
//! (`batch`); the arguments name the parts to run, none stands for both.
//!
//! Prints one JSON object a line. Times are the least of several runs of the whole call, from queries in
//! host memory to hits in host memory. The memory's speed is measured in the same run as a copy within the
//! card (bytes read plus bytes written).

#[path = "report.rs"]
mod report;
#[path = "searches.rs"]
mod searches;

use std::process::ExitCode;

use cudarc::driver::{CudaContext, CudaSlice, DriverError};
use report::{Outcome, Report, least_time};
use searches::Sizes;
use twinbit_kernels::cuda::Card;

fn main() -> ExitCode {
    report::run(&["scan", "batch"], part)
}

fn part(card: &Card, name: &str, report: &mut Report<'_>) {
    let sizes = Sizes {
        rows: 100_000_000,
        matrices: vec![1, 10, 40],
        batches: vec![16, 64, 256, 1024, 4096],
        spare: 4 << 30,
    };
    match name {
        "scan" => {
            let mut copied = None;
            report.case("\"copy\": \"4 GiB within the card\"", || {
                let speed = copy_speed()?;
                copied = Some(speed);
                Ok(format!("\"bytes_per_second\": {speed:.4e}"))
            });
            let free = || card.memory().map_or(0, |(free, _)| free);
            searches::scan(card, &sizes, copied, &free, report);
        }
        _ => searches::batch(card, &sizes, report),
    }
}

/// Bytes read plus bytes written per second by a copy of 4 GiB within the card.
fn copy_speed() -> Outcome<f64> {
    let refused = |error: DriverError| format!("{:?}", error.0);
    let bytes = 4 << 30;
    let stream = CudaContext::new(0).and_then(|context| context.new_stream()).map_err(refused)?;
    let from: CudaSlice<u8> = stream.alloc_zeros(bytes).map_err(refused)?;
    let mut to: CudaSlice<u8> = stream.alloc_zeros(bytes).map_err(refused)?;
    let seconds = least_time(|| {
        stream.memcpy_dtod(&from, &mut to).map_err(refused)?;
        Ok(stream.synchronize().map_err(refused)?)
    })?;
    Ok(2.0 * bytes as f64 / seconds)
}
