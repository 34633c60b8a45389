//! How good codes are as codes, whatever they are codes of: whether their bits are balanced and
//! independent, and how far they lie apart.
//!
//! A collection whose records come to differ from what its model was trained on shows it here: bits
//! that are nearly always the same, bits that say the same, distances that pile up.

use serde::Serialize;

use crate::snapshot::Snapshot;
use crate::{Modality, Result};

/// Records that are looked at, spread evenly over all of them.
const SAMPLE: usize = 4096;
/// Each code of the sample is compared with so many others.
const PARTNERS: usize = 8;

/// What the codes of one modality are like, by a sample of up to 4,096 records; serializes as the command
/// line prints it.
///
/// ```
/// # use twinbit::{CodeBits, Database, Field, IdKind, Input, Record, Schema};
/// use twinbit::Modality;
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// # let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).external_codes().field("year", Field::u64());
/// # let photos = database.create_collection("photos", schema)?;
/// # photos.put(Record::new(1).image(Input::code([0, 1])).text(Input::code([0, 3])).set("year", 2001_u64))?;
/// # photos.put(Record::new(2).image(Input::code([0, 7])).text(Input::code([0, 1])).set("year", 2002_u64))?;
/// let statistics = photos.snapshot()?.code_statistics(Modality::Image)?;
/// assert_eq!(statistics.map(|codes| codes.sample), Some(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CodeStatistics {
    /// Records in the sample.
    pub sample: usize,
    /// For each bit the share of codes in which it is set; 0.5 is best.
    pub ones: Vec<f64>,
    /// Bits that are the same in more than 95 of 100 codes.
    pub constant_bits: usize,
    /// Mean of the absolute correlation between two bits; 0 is best. Bits that never change count
    /// as 0.
    pub mean_correlation: f64,
    /// The largest absolute correlation between two bits.
    pub largest_correlation: f64,
    /// How many of the compared pairs of codes lie at each distance, from 0 to the number of bits.
    pub distances: Vec<u64>,
}

impl CodeStatistics {
    /// Mean over all bits of how far the share of set ones is from one half.
    pub fn imbalance(&self) -> f64 {
        let sum: f64 = self.ones.iter().map(|share| (share - 0.5).abs()).sum();
        sum / self.ones.len().max(1) as f64
    }

    /// Mean distance of the compared pairs of codes.
    pub fn mean_distance(&self) -> f64 {
        let pairs: u64 = self.distances.iter().sum();
        let sum: f64 = self.distances.iter().enumerate().map(|(d, count)| d as f64 * *count as f64).sum();
        sum / pairs.max(1) as f64
    }

    fn of(codes: &[Vec<u8>], bits: usize) -> Self {
        let columns = columns(codes, bits);
        let sample = codes.len();
        let counts: Vec<u64> = columns.iter().map(|column| ones(column)).collect();
        let ones: Vec<f64> = counts.iter().map(|count| *count as f64 / sample.max(1) as f64).collect();
        let (mut sum, mut largest) = (0.0, 0.0_f64);
        for (number, (first, p)) in columns.iter().zip(&ones).enumerate() {
            for (second, q) in columns.iter().zip(&ones).skip(number + 1) {
                let both: u64 = first.iter().zip(second).map(|(a, b)| u64::from((a & b).count_ones())).sum();
                let spread = (p * (1.0 - p) * q * (1.0 - q)).sqrt();
                let both = both as f64 / sample.max(1) as f64;
                let correlation = if spread > 0.0 { ((both - p * q) / spread).abs() } else { 0.0 };
                sum += correlation;
                largest = largest.max(correlation);
            }
        }
        let mut distances = vec![0; bits + 1];
        for (number, code) in codes.iter().enumerate() {
            // Partners at distances that do not divide one another, round the sample.
            for step in 0..PARTNERS.min(sample.saturating_sub(1)) {
                let partner = codes.get((number + 1 + step * step * 31) % sample);
                let Some(partner) = partner.filter(|_| (1 + step * step * 31) % sample != 0) else {
                    continue;
                };
                if let Some(count) = distances.get_mut(distance(code, partner)) {
                    *count += 1;
                }
            }
        }
        let pairs = bits * bits.saturating_sub(1) / 2;
        CodeStatistics {
            sample,
            constant_bits: ones.iter().filter(|share| **share < 0.05 || **share > 0.95).count(),
            ones,
            mean_correlation: sum / pairs.max(1) as f64,
            largest_correlation: largest,
            distances,
        }
    }
}

/// The bits of codes, bit by bit: bit i of word w is that of code 64 w + i.
fn columns(codes: &[Vec<u8>], bits: usize) -> Vec<Vec<u64>> {
    let mut columns = vec![vec![0_u64; codes.len().div_ceil(64)]; bits];
    for (row, code) in codes.iter().enumerate() {
        for (number, column) in columns.iter_mut().enumerate() {
            let set = code.get(number / 8).is_some_and(|byte| byte >> (7 - number % 8) & 1 == 1);
            if let Some(word) = column.get_mut(row / 64) {
                *word |= u64::from(set) << (row % 64);
            }
        }
    }
    columns
}

fn ones(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

fn distance(first: &[u8], second: &[u8]) -> usize {
    first.iter().zip(second).map(|(a, b)| (a ^ b).count_ones() as usize).sum()
}

impl Snapshot {
    /// What the codes of one modality are like; `None` where there are fewer than two.
    ///
    /// # Errors
    /// [`Error::Untrained`](crate::Error::Untrained) before there is a model.
    ///
    /// ```
    /// use twinbit::{CodeBits, Database, Modality, Record, Schema};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let database = Database::open(folder.path())?;
    /// let things = database.create_collection("things", Schema::new(CodeBits::new(8)?).external_codes())?;
    /// let mut writer = things.writer()?;
    /// writer.extend((0..=255_u8).map(|code| Record::auto().code(Modality::Image, [code])))?;
    /// writer.commit()?;
    /// let statistics = things.snapshot()?.code_statistics(Modality::Image)?.unwrap();
    /// assert_eq!((statistics.sample, statistics.constant_bits), (256, 0));
    /// assert!(statistics.ones.iter().all(|share| *share == 0.5) && statistics.largest_correlation == 0.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn code_statistics(&self, modality: Modality) -> Result<Option<CodeStatistics>> {
        self.require_codes()?;
        let parts = || self.parts().iter().filter(|part| part.codes(modality).is_some());
        let rows: usize = parts().map(|part| part.searchable(modality).count()).sum();
        if rows < 2 {
            return Ok(None);
        }
        let step = rows.div_ceil(SAMPLE);
        let mut codes = Vec::with_capacity(SAMPLE);
        let mut passed = 0;
        for part in parts() {
            let Some(all) = part.codes(modality) else { continue };
            for row in part.searchable(modality).ones() {
                if passed % step == 0 {
                    codes.push(all.row(row as usize));
                }
                passed += 1;
            }
        }
        Ok(Some(CodeStatistics::of(&codes, self.schema().bits().bits())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_that_say_the_same_and_bits_that_say_nothing_are_seen() {
        // Bits 0 and 1 are the same, bit 2 is their opposite, bit 3 is always set, bit 4 is on its own.
        let code = |row: usize| {
            let (a, b) = (row.is_multiple_of(2), (row / 2).is_multiple_of(2));
            let bits = [a, a, !a, true, b, false, false, false];
            vec![bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))]
        };
        let codes: Vec<Vec<u8>> = (0..100).map(code).collect();
        let statistics = CodeStatistics::of(&codes, 8);
        assert_eq!(statistics.ones, [0.5, 0.5, 0.5, 1.0, 0.5, 0.0, 0.0, 0.0]);
        assert_eq!(statistics.constant_bits, 4);
        assert!((statistics.largest_correlation - 1.0).abs() < 1e-12);
        // Three of 28 pairs are fully correlated.
        assert!((statistics.mean_correlation - 3.0 / 28.0).abs() < 1e-12, "{statistics:?}");
        assert!((statistics.imbalance() - 0.25).abs() < 1e-12);
        // Codes differ in bit 4, in bits 0 to 2, in both, or not at all.
        let at: Vec<usize> = (0..=8).filter(|distance| statistics.distances[*distance] > 0).collect();
        assert!(at.iter().all(|distance| [0, 1, 3, 4].contains(distance)), "{at:?}");
    }
}
