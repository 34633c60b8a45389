//! The memory bank: one continuous row for each training pair, whose signs are contrastive keys.

use twinbit_kernels::CodeBits;

use crate::Error;
use crate::net::norm;
use crate::random::{Purpose, stream, unit};
use crate::real::Real;

/// Probability that z - 1/2 is positive for a standard normal z.
const INITIAL_POSITIVE: f64 = 0.308_537_538_725_986_9;

/// V (eq. 5): (rows, bits), row i belongs to training pair i; with the packed signs of its rows.
///
/// Rows are copied nowhere during a step: keys are read as packed signs, a bit a number.
#[derive(Clone, Debug)]
pub struct MemoryBank<T> {
    bits: usize,
    values: Vec<T>,
    signs: Vec<u8>,
}

impl<T: Real> MemoryBank<T> {
    /// A bank of the given rows, row-major, `bits` values each.
    ///
    /// # Errors
    /// [`Error::Shape`] when the values do not fill whole rows.
    pub fn new(bits: CodeBits, values: Vec<T>) -> Result<Self, Error> {
        let bits = bits.bits();
        if !values.len().is_multiple_of(bits) {
            return Err(Error::Shape {
                what: "values in the last row of the memory bank",
                expected: bits,
                got: values.len() % bits,
            });
        }
        let mut signs = vec![0; values.len() / 8];
        pack(&values, &mut signs);
        Ok(Self { bits, values, signs })
    }

    /// The initial bank: sgn(z - 1/2) / sqrt(bits) with z standard normal.
    pub(crate) fn initialize(rows: usize, bits: CodeBits, seed: u64) -> Result<Self, Error> {
        let mut generator = stream(seed, Purpose::Bank, 0);
        let size = T::from_f64(1.0 / (bits.bits() as f64).sqrt());
        let draw = |_| {
            if unit(&mut generator) < INITIAL_POSITIVE { size } else { T::zero() - size }
        };
        Self::new(bits, (0..rows * bits.bits()).map(draw).collect())
    }

    pub(crate) fn bits(&self) -> usize {
        self.bits
    }

    /// Number of rows: training pairs.
    pub fn rows(&self) -> usize {
        self.values.len() / self.bits
    }

    /// All rows, row-major.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// The packed signs of all rows, `bits / 8` bytes each.
    pub(crate) fn signs(&self) -> &[u8] {
        &self.signs
    }

    /// Moves the rows of `pairs` towards the mean of their two outputs (eq. 5, with the
    /// normalizations of the public code): u = (h^x + h^y) / 2, u /= |u|,
    /// V = momentum V + (1 - momentum) u, V /= |V|.
    ///
    /// A pair whose outputs cancel out, so that u has no direction, keeps its row; so does one
    /// whose new row would be zero.
    pub(crate) fn update(&mut self, pairs: &[u32], outputs: [&[T]; 2], momentum: f64) {
        let (keep, take) = (T::from_f64(momentum), T::from_f64(1.0 - momentum));
        let half = T::from_f64(0.5);
        let mut mean = vec![T::zero(); self.bits];
        let rows = outputs[0].chunks_exact(self.bits).zip(outputs[1].chunks_exact(self.bits));
        for (&pair, (image, text)) in pairs.iter().zip(rows) {
            let at = pair as usize * self.bits;
            let row = &mut self.values[at..at + self.bits];
            for ((mean, &image), &text) in mean.iter_mut().zip(image).zip(text) {
                *mean = (image + text) * half;
            }
            if !normalize(&mut mean) {
                continue;
            }
            for (mean, &old) in mean.iter_mut().zip(&*row) {
                *mean = keep * old + take * *mean;
            }
            if normalize(&mut mean) {
                row.copy_from_slice(&mean);
                pack(row, &mut self.signs[at / 8..(at + self.bits) / 8]);
            }
        }
    }
}

/// Divides a row by its norm; false, and the row unchanged, when that is zero.
pub(crate) fn normalize<T: Real>(row: &mut [T]) -> bool {
    let norm = norm(row);
    if norm > T::zero() {
        row.iter_mut().for_each(|value| *value /= norm);
        return true;
    }
    false
}

/// Packs signs, the first value as the most significant bit of the first byte; sgn(0) = +1.
pub(crate) fn pack<T: Real>(values: &[T], signs: &mut [u8]) {
    for (byte, values) in signs.iter_mut().zip(values.chunks_exact(8)) {
        *byte = values.iter().fold(0, |bits, &value| (bits << 1) | u8::from(value >= T::zero()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_counts_as_positive() {
        let mut signs = [0u8];
        pack(&[0.0, -0.0, -1.0, 1.0, -1.0, -1.0, -1.0, 0.0f32], &mut signs);
        assert_eq!(signs, [0b1101_0001]);
    }

    #[test]
    fn initial_rows_have_unit_norm_and_a_third_of_positive_signs() {
        let bank = MemoryBank::<f64>::initialize(500, CodeBits::B64, 9).unwrap();
        assert!(bank.values().chunks(64).all(|row| (norm(row) - 1.0).abs() < 1e-12));
        let positive = bank.values().iter().filter(|&&value| value > 0.0).count();
        let share = positive as f64 / bank.values().len() as f64;
        assert!((share - INITIAL_POSITIVE).abs() < 0.01, "{share}");
    }

    #[test]
    fn outputs_that_cancel_out_leave_their_row() {
        let mut bank = MemoryBank::<f64>::initialize(2, CodeBits::new(8).unwrap(), 1).unwrap();
        let before = bank.clone();
        let image = [[0.5f64; 8], [0.25; 8]].concat();
        let text = [[-0.5f64; 8], [0.25; 8]].concat();
        bank.update(&[0, 1], [&image, &text], 0.0);
        assert_eq!(bank.values()[..8], before.values()[..8]);
        assert_eq!(bank.values()[8..], [0.125f64.sqrt(); 8]);
        assert_eq!(bank.signs()[1], 0xff);
    }
}
