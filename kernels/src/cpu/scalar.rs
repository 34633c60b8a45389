//! Portable code: the reference for the other instruction sets.

use super::Kernel;
use crate::mask::rows_of;
use crate::query::Query;
use crate::{CodeBits, Line};

pub(super) const KERNEL: Kernel =
    Kernel { name: "scalar", detected: || true, within, distances, at, rows, screen: None };

fn within(query: &Query, lines: &[Line], bound: u32, survivors: &mut [u64]) {
    let mut row = 0;
    each(query, lines, |distance| {
        let word = &mut survivors[row / 64];
        *word = *word & !(1 << (row % 64)) | u64::from(u32::from(distance) <= bound) << (row % 64);
        row += 1;
    });
}

fn distances(query: &Query, lines: &[Line], distances: &mut [u16]) {
    let mut places = distances.iter_mut();
    each(query, lines, |distance| {
        if let Some(place) = places.next() {
            *place = distance;
        }
    });
}

fn at(query: &Query, lines: &[Line], rows: &[u32], distances: &mut [u16]) {
    query.distances_at(lines, rows, distances);
}

fn rows(words: &[u64], first: u32, rows: &mut [u32]) -> usize {
    rows_of(words, first, rows)
}

/// Call `found` with the distance of every code that the lines hold, in order.
fn each(query: &Query, lines: &[Line], mut found: impl FnMut(u16)) {
    match query.bits {
        CodeBits::B16 | CodeBits::B32 => {
            let bits = query.bits.bits();
            for word in lines.iter().flat_map(|line| line.0) {
                let differing = word ^ query.words[0];
                for place in 0..64 / bits {
                    found((differing << (64 - bits - place * bits) >> (64 - bits)).count_ones() as u16);
                }
            }
        }
        _ => {
            for block in lines.chunks_exact(query.words.len()) {
                let mut sums = [0_u16; 8];
                for (line, word) in block.iter().zip(&query.words) {
                    for (sum, other) in sums.iter_mut().zip(line.0) {
                        *sum = sum.wrapping_add((word ^ other).count_ones() as u16);
                    }
                }
                sums.into_iter().for_each(&mut found);
            }
        }
    }
}
