//! The two losses of UCCH, each twice: fused, with its gradient written out, and in candle
//! operations for automatic differentiation.
//!
//! The fused ones are what training runs: the candle form of the contrastive loss gathers
//! batch x (negatives + 1) x bits numbers (537 MB at 256, 4096 and 128), the fused one reads packed
//! signs. The candle form says what is meant; tests hold the two together.

pub(crate) mod contrastive;
pub(crate) mod dense;
pub(crate) mod ranking;
pub(crate) mod signs;

use rayon::prelude::*;

use crate::real::Real;

/// A loss and its gradients with respect to the outputs of the image and the text network.
pub(crate) struct Differentiated<T> {
    pub(crate) loss: f64,
    pub(crate) gradients: [Vec<T>; 2],
}

impl<T: Real> Differentiated<T> {
    /// The mean of two losses of the same outputs.
    pub(crate) fn mean(mut self, other: &Self) -> Self {
        let half = T::from_f64(0.5);
        for (gradient, other) in self.gradients.iter_mut().zip(&other.gradients) {
            for (value, &other) in gradient.iter_mut().zip(other) {
                *value = (*value + other) * half;
            }
        }
        self.loss = (self.loss + other.loss) * 0.5;
        self
    }
}

/// A loss that is the mean over the samples: `one` gives that of a sample, from its number and its two
/// outputs, and writes its two gradients, which begin as zeros. Each thread gets a `scratch` of its own.
fn mean_over_samples<T: Real, S>(
    outputs: [&[T]; 2],
    bits: usize,
    scratch: impl Fn() -> S + Sync + Send,
    one: impl Fn(&mut S, usize, [&[T]; 2], [&mut [T]; 2]) -> f64 + Sync + Send,
) -> Differentiated<T> {
    let samples = outputs[0].len() / bits;
    let mut gradients = outputs.map(|outputs| vec![T::zero(); outputs.len()]);
    let [image, text] = &mut gradients;
    let losses: Vec<f64> = image
        .par_chunks_exact_mut(bits)
        .zip(text.par_chunks_exact_mut(bits))
        .enumerate()
        .map_init(scratch, |scratch, (sample, (image, text))| {
            let outputs = outputs.map(|outputs| &outputs[sample * bits..(sample + 1) * bits]);
            one(scratch, sample, outputs, [image, text])
        })
        .collect();
    Differentiated { loss: losses.iter().sum::<f64>() / samples as f64, gradients }
}
