//! The contrastive hashing loss L_c (eq. 3 and 4).
//!
//! For pair i with output h and keys k_j (its own first, then negatives), logits are
//! <h, k_j> / tau and the loss is minus the logarithm of the softmax's first entry, averaged over
//! the batch, for both networks' outputs, added up. The gradient is
//! dL/dh_i = sum_j (p_ij - t_ij) k_j / (tau B), where t_ij is 1 for the own key and else 0.
//!
//! Where a pair has neighbors (not in the paper), t_ij spreads over its own key and theirs, and the loss is
//! the cross entropy: log sum_j exp(l_ij) - sum_j t_ij l_ij.
//!
//! Keys are signs over sqrt(L), so a dot product is a sum of +-h. A table of all 256 signed sums
//! of each eight neighboring values of h turns it into one look-up a byte; the gradient is the same
//! walk backwards: probabilities are added up by byte value, and each byte's 256 sums are unfolded
//! once into its eight gradients.

use candle_core::{D, Tensor};

use super::{Differentiated, mean_over_samples};
use crate::real::Real;

/// Sums of one byte position.
const VALUES: usize = 256;

/// Packed keys: `indices` holds `keys` rows of `signs` for each sample, its own first.
pub(crate) struct PackedKeys<'a> {
    /// Packed signs, `bits / 8` bytes a row.
    pub(crate) signs: &'a [u8],
    /// Row-major (samples, keys).
    pub(crate) indices: &'a [u32],
    /// Keys of a sample.
    pub(crate) keys: usize,
}

/// The loss and its gradient, in one pass over the keys; `outputs` are row-major (samples, bits).
pub(crate) fn fused<T: Real>(
    outputs: [&[T]; 2],
    bits: usize,
    keys: &PackedKeys<'_>,
    targets: &[T],
    temperature: f64,
) -> Differentiated<T> {
    let samples = outputs[0].len() / bits;
    let scale = T::from_f64(1.0 / ((bits as f64).sqrt() * temperature));
    let share = T::from_f64(1.0 / samples as f64);
    let scratch = || Scratch::new(bits, keys.keys);
    mean_over_samples(outputs, bits, scratch, |scratch, sample, outputs, gradients| {
        let indices = &keys.indices[sample * keys.keys..(sample + 1) * keys.keys];
        scratch.fold(outputs);
        scratch.logits(keys.signs, indices, scale);
        let loss = softmax(&mut scratch.weights, targets);
        scratch.scatter(keys.signs, indices);
        scratch.unfold(gradients, scale * share);
        loss
    })
}

/// One thread's working memory; the image's and the text's numbers lie side by side.
struct Scratch<T> {
    bytes: usize,
    /// (bytes, 256): signed sums on the way in, sums of probabilities on the way back.
    sums: Vec<[T; 2]>,
    /// Logits, then probabilities less the target.
    weights: Vec<[T; 2]>,
}

impl<T: Real> Scratch<T> {
    fn new(bits: usize, keys: usize) -> Self {
        let none = [T::zero(); 2];
        Self { bytes: bits / 8, sums: vec![none; bits / 8 * VALUES], weights: vec![none; keys] }
    }

    /// Fills the table: the sum for byte value v adds h where v has a one and subtracts it elsewhere.
    fn fold(&mut self, outputs: [&[T]; 2]) {
        for (byte, sums) in self.sums.chunks_exact_mut(VALUES).enumerate() {
            for side in 0..2 {
                let values = &outputs[side][byte * 8..byte * 8 + 8];
                sums[0][side] = T::zero() - values.iter().copied().sum::<T>();
                for (bit, &value) in values.iter().rev().enumerate() {
                    let twice = value + value;
                    let (done, next) = sums.split_at_mut(1 << bit);
                    for (next, done) in next.iter_mut().zip(done) {
                        next[side] = done[side] + twice;
                    }
                }
            }
        }
    }

    fn logits(&mut self, signs: &[u8], indices: &[u32], scale: T) {
        for (weight, &index) in self.weights.iter_mut().zip(indices) {
            let at = index as usize * self.bytes;
            let key = &signs[at..at + self.bytes];
            let mut total = [T::zero(); 2];
            for (sums, &byte) in self.sums.chunks_exact(VALUES).zip(key) {
                let sum = sums[usize::from(byte)];
                total[0] += sum[0];
                total[1] += sum[1];
            }
            *weight = [total[0] * scale, total[1] * scale];
        }
    }

    /// Adds each key's weight to the sum of each of its bytes.
    fn scatter(&mut self, signs: &[u8], indices: &[u32]) {
        self.sums.fill([T::zero(); 2]);
        for (weight, &index) in self.weights.iter().zip(indices) {
            let at = index as usize * self.bytes;
            let key = &signs[at..at + self.bytes];
            for (sums, &byte) in self.sums.chunks_exact_mut(VALUES).zip(key) {
                let sum = &mut sums[usize::from(byte)];
                sum[0] += weight[0];
                sum[1] += weight[1];
            }
        }
    }

    /// The gradient of a value: the sums of byte values with its bit less those without.
    fn unfold(&mut self, gradients: [&mut [T]; 2], scale: T) {
        for (byte, sums) in self.sums.chunks_exact_mut(VALUES).enumerate() {
            let mut half = VALUES / 2;
            for bit in 0..8 {
                let (clear, set) = sums[..2 * half].split_at_mut(half);
                let mut difference = [T::zero(); 2];
                for (clear, set) in clear.iter_mut().zip(&*set) {
                    for side in 0..2 {
                        difference[side] += set[side] - clear[side];
                        clear[side] += set[side];
                    }
                }
                gradients[0][byte * 8 + bit] = difference[0] * scale;
                gradients[1][byte * 8 + bit] = difference[1] * scale;
                half /= 2;
            }
        }
    }
}

/// Turns logits into their gradient, p_j - t_j, and gives the loss of both sides; `targets` are the t_j of
/// the first keys, all others are 0.
pub(super) fn softmax<T: Real>(weights: &mut [[T; 2]], targets: &[T]) -> f64 {
    let mut loss = 0.0;
    for side in 0..2 {
        let first = weights[0][side];
        let expected: T = weights.iter().zip(targets).map(|(weight, &target)| weight[side] * target).sum();
        // The largest logit is taken off first, so that no exponential overflows.
        let largest = weights
            .iter()
            .fold(first, |largest, weight| if weight[side] > largest { weight[side] } else { largest });
        let mut total = T::zero();
        for weight in &mut *weights {
            weight[side] = (weight[side] - largest).exp();
            total += weight[side];
        }
        loss += total.ln().to_f64() + (largest - expected).to_f64();
        for weight in &mut *weights {
            weight[side] /= total;
        }
        for (weight, &target) in weights.iter_mut().zip(targets) {
            weight[side] -= target;
        }
    }
    loss
}

/// The loss in candle operations: `outputs` (samples, bits), `keys` (samples, keys, bits) of unit
/// norm, own first, without a gradient, `targets` of the first of them.
pub(crate) fn autodiff(
    outputs: [&Tensor; 2],
    keys: &Tensor,
    targets: &Tensor,
    temperature: f64,
) -> candle_core::Result<Tensor> {
    let side = |output: &Tensor| -> candle_core::Result<Tensor> {
        let logits = (output.unsqueeze(1)?.broadcast_mul(keys)?.sum(2)? / temperature)?;
        let expected = logits.narrow(1, 0, targets.dims1()?)?.broadcast_mul(targets)?.sum(1)?;
        (logits.log_sum_exp(D::Minus1)? - expected)?.mean_all()
    };
    side(outputs[0])? + side(outputs[1])?
}
