//! Which bits of a code go to which substring.
//!
//! Lists are short when a substring's value tells much about a row. Bits of real codes are skewed and
//! follow each other, so the split is chosen from a sample of the codes: bits are dealt out, the most
//! telling first, each to the substring that knows least so far and says least about the bit already.

use super::format::{MAX_WIDTH, Shape, offset_bytes};
use crate::{CodeBits, Codes};

/// Rows of the sample, fewer for long codes.
const SAMPLE: usize = 4096;
/// How much what is said twice counts against a place, in terms of what is said there at all.
const REPEATED: f64 = 8.0;

/// The masks of the substrings chosen for some codes.
pub(super) fn split(codes: Codes<'_>) -> Vec<u64> {
    let bits = codes.bits();
    let widths = widths(bits, codes.rows());
    let sample = Sample::of(codes);
    let mut order: Vec<usize> = (0..bits.bits()).collect();
    let entropies: Vec<f64> = order.iter().map(|&bit| sample.entropy(bit)).collect();
    order.sort_by(|&a, &b| entropies[b].total_cmp(&entropies[a]).then(a.cmp(&b)));

    let mut members: Vec<Vec<usize>> = vec![Vec::new(); widths.len()];
    let mut known = vec![0.0; widths.len()];
    let mut masks = vec![0_u64; widths.len() * bits.words()];
    for bit in order {
        let cost = |substring: usize| -> f64 {
            let repeated = members[substring].iter().map(|&other| sample.shared(bit, other));
            known[substring] + REPEATED * repeated.sum::<f64>()
        };
        let open =
            (0..widths.len()).filter(|&substring| members[substring].len() < widths[substring] as usize);
        let costs: Vec<(usize, f64)> = open.map(|substring| (substring, cost(substring))).collect();
        let Some(&(chosen, _)) = costs.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else { break };
        members[chosen].push(bit);
        known[chosen] += entropies[bit];
        masks[chosen * bits.words() + bit / 64] |= 1 << (bit % 64);
    }
    masks
}

/// The widths of the substrings: as wide as lists of about one row allow, which is the fewest
/// substrings, but in no more than twice the bytes of the codes if that can be had.
fn widths(bits: CodeBits, rows: usize) -> Vec<u32> {
    let widest = rows.max(256).ilog2().min(MAX_WIDTH) as usize;
    let fewest = bits.bits().div_ceil(widest);
    let deal = |substrings: usize| -> Vec<u32> {
        let (width, wider) = (bits.bits() / substrings, bits.bits() % substrings);
        (0..substrings).map(|substring| (width + usize::from(substring < wider)) as u32).collect()
    };
    let bytes = |substrings: usize| -> usize {
        let starts: usize = deal(substrings).into_iter().map(offset_bytes).sum();
        starts + substrings * rows * Shape::id_bytes(rows)
    };
    let candidates = fewest..=(2 * fewest).min(bits.bits());
    let fits = |substrings: &usize| bytes(*substrings) <= 2 * Codes::byte_len(bits, rows);
    let chosen = candidates.clone().find(fits).or_else(|| candidates.min_by_key(|&some| bytes(some)));
    deal(chosen.unwrap_or(fewest))
}

/// Some rows of a matrix, as columns of bits.
struct Sample {
    rows: usize,
    words: usize,
    columns: Vec<u64>,
    /// The share of rows in which each bit is set.
    shares: Vec<f64>,
}

impl Sample {
    fn of(codes: Codes<'_>) -> Self {
        let bits = codes.bits().bits();
        let most = ((1 << 28) / (bits * bits)).clamp(256, SAMPLE);
        let rows = codes.rows().min(most);
        let words = rows.div_ceil(64);
        let mut columns = vec![0; bits * words];
        for place in 0..rows {
            // Evenly spread, so that codes that come sorted are sampled from end to end.
            let row = (place as u64 * codes.rows() as u64 / rows as u64) as usize;
            for bit in 0..bits {
                let set = codes.word(row, bit / 64) >> (bit % 64) & 1;
                columns[bit * words + place / 64] |= set << (place % 64);
            }
        }
        let ones = |column: &[u64]| column.iter().map(|word| word.count_ones()).sum::<u32>();
        let shares = if rows == 0 {
            vec![0.5; bits]
        } else {
            columns.chunks_exact(words).map(|column| f64::from(ones(column)) / rows as f64).collect()
        };
        Self { rows, words, columns, shares }
    }

    fn column(&self, bit: usize) -> &[u64] {
        &self.columns[bit * self.words..(bit + 1) * self.words]
    }

    /// What a bit tells, from 0 to 1.
    fn entropy(&self, bit: usize) -> f64 {
        let share = self.shares[bit];
        let part = |share: f64| if share > 0.0 { -share * share.log2() } else { 0.0 };
        part(share) + part(1.0 - share)
    }

    /// The square of the correlation of two bits beyond what chance gives, from 0 to 1.
    fn shared(&self, a: usize, b: usize) -> f64 {
        let both = self.column(a).iter().zip(self.column(b)).map(|(a, b)| (a & b).count_ones()).sum::<u32>();
        let (share_a, share_b) = (self.shares[a], self.shares[b]);
        let variance = share_a * (1.0 - share_a) * share_b * (1.0 - share_b);
        if variance <= 0.0 {
            return 0.0;
        }
        let covariance = f64::from(both) / self.rows as f64 - share_a * share_b;
        (covariance * covariance / variance - 4.0 / self.rows as f64).max(0.0)
    }
}
