//! The contrastive loss on keys that are numbers instead of signs, for the ablation without the binary
//! bank. The same formula as [`contrastive`](super::contrastive), with a dot product a key.

use rayon::prelude::*;

use super::Differentiated;
use super::contrastive::softmax;
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
    let mut gradients = [vec![T::zero(); outputs[0].len()], vec![T::zero(); outputs[1].len()]];
    let [image_gradient, text_gradient] = &mut gradients;
    let losses: Vec<f64> = image_gradient
        .par_chunks_exact_mut(bits)
        .zip(text_gradient.par_chunks_exact_mut(bits))
        .enumerate()
        .map_init(
            || vec![[T::zero(); 2]; keys.keys],
            |weights, (sample, (image_gradient, text_gradient))| {
                let outputs = outputs.map(|output| &output[sample * bits..(sample + 1) * bits]);
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
            },
        )
        .collect();
    Differentiated { loss: losses.iter().sum::<f64>() / samples as f64, gradients }
}

fn dot<T: Real>(one: &[T], other: &[T]) -> T {
    one.iter().zip(other).map(|(&one, &other)| one * other).sum()
}
