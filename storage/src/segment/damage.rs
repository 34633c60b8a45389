//! Rows 6 and 7 of the scorecard for segment files: every bit flipped, every length cut, bursts.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::tests::{MODES, Open, small_files};
use crate::ReadMode;
use crate::error::Error;
use crate::scorecard::row::{Row, first_seed, scratch, size};

/// How damage came to light.
#[derive(Debug, Default)]
struct Found {
    at_open: u64,
    by_verify: u64,
}

impl Found {
    /// Opens the damaged file, reads all of it and verifies it.
    fn try_open(&mut self, path: &Path, open: Open, length: u64, mode: ReadMode, what: &str) {
        match open(path, length, mode) {
            Err(Error::Corrupt { .. } | Error::Version { .. }) => self.at_open += 1,
            Ok(problems) if problems > 0 => self.by_verify += 1,
            other => panic!("{}, {what}: {other:?}", path.display()),
        }
    }

    fn figures(&self) -> String {
        format!("{} found at open, {} by verify, 0 missed", self.at_open, self.by_verify)
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let row = Row::begin(6, "every bit of a segment's files flipped");
    let folder = scratch();
    let (mut bits, mut found) = (0, Found::default());
    for (path, open) in small_files(folder.path()) {
        let sound = fs::read(&path).unwrap();
        let length = sound.len() as u64;
        // Damaged in place and repaired again: nothing has it mapped in between.
        let file = File::options().write(true).open(&path).unwrap();
        for bit in 0..sound.len() * 8 {
            let at = bit / 8;
            let put = |byte: u8| file.write_all_at(&[byte], at as u64).unwrap();
            put(sound[at] ^ 1 << (bit % 8));
            found.try_open(&path, open, length, ReadMode::Mapped, &format!("bit {bit}"));
            if bit % 13 == 0 {
                found.try_open(&path, open, length, ReadMode::Read, &format!("bit {bit}"));
            }
            put(sound[at]);
            bits += 1;
        }
        assert!(MODES.iter().all(|mode| matches!(open(&path, length, *mode), Ok(0))));
    }
    row.passed(&format!("{bits} bits"), &found.figures());
}

#[test]
fn every_burst_is_found() {
    let row = Row::begin(6, "bursts of damage in a segment's files");
    let folder = scratch();
    let mut random = ChaCha8Rng::seed_from_u64(6 + first_seed());
    let (bursts, mut found) = (size("BURSTS", 5_000, 2_000_000), Found::default());
    for (path, open) in small_files(folder.path()) {
        let sound = fs::read(&path).unwrap();
        let length = sound.len() as u64;
        let file = File::options().write(true).open(&path).unwrap();
        for burst in 0..bursts / 2 {
            let at = random.random_range(0..sound.len());
            let end = (at + random.random_range(1..300)).min(sound.len());
            let mut damaged = vec![0; end - at];
            match burst % 3 {
                0 => random.fill_bytes(&mut damaged),
                1 => damaged.fill(0xff),
                _ => {}
            }
            if damaged == sound[at..end] {
                continue;
            }
            file.write_all_at(&damaged, at as u64).unwrap();
            let mode = MODES[burst as usize % MODES.len()];
            found.try_open(&path, open, length, mode, &format!("burst {burst} at {at}"));
            file.write_all_at(&sound[at..end], at as u64).unwrap();
        }
    }
    row.passed(&format!("{bursts} bursts"), &found.figures());
}

#[test]
fn every_cut_is_found() {
    let row = Row::begin(7, "a segment's files cut at every length");
    let folder = scratch();
    let mut cuts = 0;
    for (path, open) in small_files(folder.path()) {
        let sound = fs::read(&path).unwrap();
        let damaged = folder.path().join("damaged");
        fs::write(&damaged, &sound).unwrap();
        let file = File::options().write(true).open(&damaged).unwrap();
        for length in (0..sound.len()).rev() {
            file.set_len(length as u64).unwrap();
            cuts += 1;
            // Also when the catalog itself states the short length.
            for stated in [sound.len(), length] {
                for mode in MODES {
                    let cut = open(&damaged, stated as u64, mode);
                    assert!(matches!(cut, Err(Error::Corrupt { .. })), "{length}");
                }
            }
        }
    }
    row.passed(&format!("{cuts} lengths"), "each refused with a typed error, in both modes of reading");
}
