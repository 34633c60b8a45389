//! The checksum of the format, XXH3 with 64 bits, beside CRC-32C in hardware.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::figure::{Figure, Report};
use crate::{Outcome, Settings};

pub(crate) fn measure(settings: &Settings, report: &mut Report) -> Outcome<()> {
    for (name, size) in [("4 KiB", 4 << 10), ("64 KiB", 64 << 10), ("16 MiB", 16 << 20)] {
        let bytes: Vec<u8> = (0..size).map(|i: usize| (i * 31 + i / 7) as u8).collect();
        let (mut xxh3, mut crc) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            xxh3.push(speed(&bytes, xxhash_rust::xxh3::xxh3_64));
            crc.push(speed(&bytes, |bytes| u64::from(crc32c::crc32c(bytes))));
        }
        report.add(
            Figure::new(format!("XXH3-64 of {name}"), "GB/s", xxh3).beside("CRC-32C in hardware, GB/s", crc),
        );
    }
    Ok(())
}

/// GB a second: the best of short runs, as other work on the machine only slows down.
fn speed(bytes: &[u8], hash: impl Fn(&[u8]) -> u64) -> f64 {
    let repeats = ((64 << 20) / bytes.len()).max(1);
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        for _ in 0..repeats {
            black_box(hash(black_box(bytes)));
        }
        best = best.min(started.elapsed());
    }
    (bytes.len() * repeats) as f64 / best.as_secs_f64() / 1e9
}
