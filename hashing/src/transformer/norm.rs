//! Layer normalization, and sums in a fixed order.

use pulp::{Arch, Simd, WithSimd};

/// Partial sums of a long sum: enough for the widest vector unit, and the same on all.
const LANES: usize = 16;

/// Brings each row to mean 0 and variance 1, then scales and shifts its columns (Ba, Kiros, Hinton,
/// "Layer Normalization", 2016).
#[derive(Clone)]
pub(crate) struct LayerNorm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) epsilon: f32,
}

impl LayerNorm {
    /// Normalizes each row of `rows` where it lies.
    pub(crate) fn apply(&self, rows: &mut [f32]) {
        Arch::new().dispatch(Apply { norm: self, rows });
    }
}

/// A type of its own rather than a closure, which may not be compiled for the machine's vectors.
struct Apply<'a> {
    norm: &'a LayerNorm,
    rows: &'a mut [f32],
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let LayerNorm { weight, bias, epsilon } = self.norm;
        let width = weight.len();
        for row in self.rows.chunks_exact_mut(width) {
            let mean = sum(row, |value| value) / width as f32;
            let variance = sum(row, |value| (value - mean) * (value - mean)) / width as f32;
            let scale = 1.0 / (variance + epsilon).sqrt();
            for ((value, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
                *value = (*value - mean) * scale * weight + bias;
            }
        }
    }
}

/// The sum of a function over a row.
#[inline(always)]
pub(super) fn sum(row: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let (blocks, rest) = row.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for block in blocks {
        for (sum, value) in sums.iter_mut().zip(block) {
            *sum += term(*value);
        }
    }
    total(sums) + rest.iter().map(|value| term(*value)).sum::<f32>()
}

/// Adds halves, so that it takes four vector additions.
#[inline(always)]
fn total(mut sums: [f32; LANES]) -> f32 {
    let mut count = LANES / 2;
    while count > 0 {
        let (low, high) = sums.split_at_mut(count);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
        count /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_get_mean_and_variance_of_the_parameters() {
        let (width, epsilon) = (35, 1e-12);
        let norm = LayerNorm { weight: vec![2.0; width], bias: vec![3.0; width], epsilon };
        let mut rows: Vec<f32> = (0..2 * width).map(|at| ((at * 37) % 23) as f32 - 4.0).collect();
        norm.apply(&mut rows);
        for row in rows.chunks_exact(width) {
            let mean = row.iter().sum::<f32>() / width as f32;
            let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / width as f32;
            assert!((mean - 3.0).abs() < 1e-5 && (variance - 4.0).abs() < 1e-4, "{mean} {variance}");
        }
    }

    #[test]
    fn sums_take_every_number_in() {
        for length in [0, 1, 15, 16, 17, 70] {
            let row: Vec<f32> = (0..length).map(|value| value as f32).collect();
            assert_eq!(sum(&row, |value| value), (0..length).sum::<usize>() as f32);
            assert_eq!(
                sum(&row, |value| value * value),
                (0..length).map(|value| value * value).sum::<usize>() as f32
            );
        }
    }
}
