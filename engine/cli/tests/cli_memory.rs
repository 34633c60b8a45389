//! Memory of `twinbit ingest` on arrays of features, measured from outside. `TWINBIT_MEMORY_PAIRS` asks
//! for more pairs than those of an ordinary run.
#![cfg(target_os = "linux")]

mod support;

use std::io::{BufWriter, Write};
use std::process::Stdio;
use std::time::Duration;

use support::*;

const IMAGE: usize = 512;
const TEXT: usize = 384;
/// What an ingest may take beside the files that it maps.
const LIMIT: u64 = 500 << 20;

/// Writes an array of float16 of so many rows.
fn write_array(place: &Place, name: &str, rows: usize, width: usize) {
    let mut file = BufWriter::new(std::fs::File::create(place.path(name)).unwrap());
    file.write_all(&npy("<f2", &format!("({rows}, {width})"), &[])).unwrap();
    let mut random = Random::new(width as u64);
    // Numbers between 1 and 2, row by row others.
    let block: Vec<u8> =
        (0..width * 64).flat_map(|_| (0x3c00 + (random.next() * 1024.0) as u16).to_le_bytes()).collect();
    let bytes = width * 2;
    for row in 0..rows {
        let start = row * 2 % (block.len() - bytes);
        file.write_all(&block[start..][..bytes]).unwrap();
    }
    file.flush().unwrap();
}

/// A line of `/proc/PID/status` in bytes.
fn status(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

#[test]
fn an_ingest_of_arrays_stays_within_its_memory_whatever_their_size() {
    let pairs = std::env::var("TWINBIT_MEMORY_PAIRS").ok().and_then(|pairs| pairs.parse().ok());
    let pairs: usize = pairs.unwrap_or(60_000);
    let place = Place::new();
    write_array(&place, "image.npy", pairs, IMAGE);
    write_array(&place, "text.npy", pairs, TEXT);
    place.write("ids.txt", (0..pairs).map(|row| format!("{row}\n")).collect::<String>());
    // One commit at the end, and one every 64 MiB.
    for (ids, more) in [("auto", ""), ("u64", "--ids ids.txt")] {
        place.ok(&format!("create a.db --bits 128 --ids {ids} --image-width {IMAGE} --text-width {TEXT}"));
        let line = format!("ingest a.db --image image.npy --text text.npy {more}");
        let mut child = place.command(&line).stdout(Stdio::null()).spawn().unwrap();
        let (mut private, mut peak) = (0, 0);
        while child.try_wait().unwrap().is_none() {
            private = private.max(status(child.id(), "RssAnon:").unwrap_or(0));
            peak = peak.max(status(child.id(), "VmHWM:").unwrap_or(0));
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(child.wait().unwrap().success());
        assert_eq!(place.json("stats a.db")[0]["rows"], pairs);
        println!(
            "{pairs} pairs of {IMAGE} and {TEXT} values, {ids} ids: {} MiB at most, {} MiB with mapped files",
            private >> 20,
            peak >> 20
        );
        assert!(private > 1 << 20 && private <= LIMIT, "{private} bytes");
        std::fs::remove_dir_all(place.path("a.db")).unwrap();
    }
}
