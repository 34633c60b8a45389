//! The contrastive loss on keys that are numbers instead of signs, for the ablation without the binary
//! bank. The same formula as [`contrastive`](super::contrastive), with a dot product a key.

use super::contrastive::softmax;
use super::{Differentiated, mean_over_samples};
use crate::real::Real;

/// Keys as numbers: `indices` holds `keys` rows of `values` for each sample, its own first.
pub(crate) struct DenseKeys<'a, T> {
    /// Row-major (rows, bits), rows of unit norm.
    pub(crate) values: &'a [T],
    /// Row-major (samples, keys).
    pub(crate) indices: &'a [u32],
    /// Keys of a sample.
    pub(crate) keys: usize,
}

impl<T: Real> DenseKeys<'_, T> {
    fn row(&self, index: u32, bits: usize) -> &[T] {
        &self.values[index as usize * bits..(index as usize + 1) * bits]
    }
}

/// The loss and its gradient; `outputs` are row-major (samples, bits).
pub(crate) fn fused<T: Real>(
    outputs: [&[T]; 2],
    bits: usize,
    keys: &DenseKeys<'_, T>,
    targets: &[T],
    temperature: f64,
) -> Differentiated<T> {
    let samples = outputs[0].len() / bits;
    let scale = T::from_f64(1.0 / temperature);
    let share = T::from_f64(1.0 / samples as f64);
    let scratch = || vec![[T::zero(); 2]; keys.keys];
    mean_over_samples(outputs, bits, scratch, |weights, sample, outputs, [image_gradient, text_gradient]| {
        let indices = &keys.indices[sample * keys.keys..(sample + 1) * keys.keys];
        for (weight, &index) in weights.iter_mut().zip(indices) {
            let key = keys.row(index, bits);
            *weight = outputs.map(|output| dot(output, key) * scale);
        }
        let loss = softmax(weights, targets);
        for (weight, &index) in weights.iter().zip(indices) {
            let [image, text] = weight.map(|weight| weight * scale * share);
            let gradients = image_gradient.iter_mut().zip(&mut *text_gradient);
            for ((image_gradient, text_gradient), &key) in gradients.zip(keys.row(index, bits)) {
                *image_gradient += image * key;
                *text_gradient += text * key;
            }
        }
        loss
    })
}

fn dot<T: Real>(one: &[T], other: &[T]) -> T {
    one.iter().zip(other).map(|(&one, &other)| one * other).sum()
}
