//! Row 11 of the scorecard for segment files.

use std::fs;

use super::tests::{MODES, small_files};
use crate::format::{FOOTER_BYTES, PAGE, hash};
use crate::scorecard::mutate::fuzz;
use crate::scorecard::row::{Row, fuzz_time, scratch};

/// Gives a file the length and the checksum of its header in the footer, so that what lies behind
/// these checks is met, too.
fn with_footer(bytes: &mut [u8]) {
    let length = bytes.len();
    if length < PAGE + FOOTER_BYTES {
        return;
    }
    let checksum = hash(&bytes[..PAGE]);
    let footer = length - FOOTER_BYTES;
    bytes[footer..footer + 8].copy_from_slice(&(length as u64).to_le_bytes());
    bytes[footer + 8..footer + 16].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn segment_files_of_any_content_are_read_or_refused() {
    let row = Row::begin(11, "fuzzing: segment files");
    let folder = scratch();
    let (mut tried, mut accepted) = (0, 0);
    for (path, open) in small_files(folder.path()) {
        let inputs = [fs::read(&path).unwrap()];
        let mut turn = 0;
        let counts = fuzz("segment", &inputs, fuzz_time() / 2, &mut |bytes| {
            turn += 1;
            let mut bytes = bytes.to_vec();
            if turn % 4 != 0 {
                with_footer(&mut bytes);
            }
            // A new file each time: an earlier one may still be mapped.
            let target = folder.path().join("target");
            let _ = fs::remove_file(&target);
            fs::write(&target, &bytes).unwrap();
            open(&target, bytes.len() as u64, MODES[turn % MODES.len()]).is_ok()
        });
        (tried, accepted) = (tried + counts.0, accepted + counts.1);
    }
    row.passed(&format!("{tried} inputs"), &format!("{accepted} opened, the others typed errors, 0 panics"));
}
