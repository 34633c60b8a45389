//! Batch norm in training and its gradients: Ioffe, Szegedy, "Batch Normalization", ICML 2015.

use rayon::prelude::*;

use crate::real::Real;

/// Added to a variance.
const EPSILON: f64 = 1e-5;
/// Sums that go on side by side: the compiler keeps them in vectors.
const LANES: usize = 16;

/// Mean and variance of each channel.
pub(super) struct Statistics {
    pub(super) mean: Vec<f64>,
    /// Divided by the count, not by one less.
    pub(super) variance: Vec<f64>,
}

impl Statistics {
    /// Those of pictures (pictures, channels, pixels).
    pub(super) fn of<T: Real>(values: &[T], channels: usize, pixels: usize) -> Self {
        let count = (values.len() / channels) as f64;
        let each = (0..channels).into_par_iter().map(|channel| {
            let mean = sum(planes(values, channel, channels, pixels), |value| value) / count;
            let middle = T::from_f64(mean);
            let square = |value: T| (value - middle) * (value - middle);
            (mean, sum(planes(values, channel, channels, pixels), square) / count)
        });
        let (mean, variance) = each.unzip();
        Self { mean, variance }
    }

    fn inverse_deviation(&self, channel: usize) -> f64 {
        1.0 / (self.variance[channel] + EPSILON).sqrt()
    }

    /// (value - mean) / deviation * weight + bias, channel by channel, and what of it is positive where
    /// `relu`.
    pub(super) fn forward<T: Real>(
        &self,
        values: &[T],
        pixels: usize,
        [weight, bias]: [&[T]; 2],
        relu: bool,
    ) -> Vec<T> {
        let channels = weight.len();
        let mut output = vec![T::zero(); values.len()];
        let planes = output.par_chunks_mut(pixels).zip(values.par_chunks(pixels)).enumerate();
        planes.for_each(|(plane, (output, values))| {
            let channel = plane % channels;
            let scale = weight[channel].to_f64() * self.inverse_deviation(channel);
            let shift = T::from_f64(bias[channel].to_f64() - self.mean[channel] * scale);
            let scale = T::from_f64(scale);
            for (output, &value) in output.iter_mut().zip(values) {
                // A NaN stays one, so that it is noticed.
                let scaled = value * scale + shift;
                *output = if relu && scaled < T::zero() { T::zero() } else { scaled };
            }
        });
        output
    }

    /// Makes `gradient`, that of the output, into that of `values`, and gives those of weight and bias.
    pub(super) fn backward<T: Real>(
        &self,
        values: &[T],
        pixels: usize,
        weight: &[T],
        gradient: &mut [T],
    ) -> [Vec<T>; 2] {
        let channels = weight.len();
        let count = (values.len() / channels) as f64;
        let sums: Vec<[f64; 2]> = (0..channels)
            .into_par_iter()
            .map(|channel| {
                let gradients = || planes(gradient, channel, channels, pixels);
                let mean = T::from_f64(self.mean[channel]);
                let both = planes(values, channel, channels, pixels).zip(gradients());
                let with_centered: f64 = both.map(|(values, gradients)| dot(values, mean, gradients)).sum();
                [with_centered * self.inverse_deviation(channel), sum(gradients(), |gradient| gradient)]
            })
            .collect();
        let planes = gradient.par_chunks_mut(pixels).zip(values.par_chunks(pixels)).enumerate();
        planes.for_each(|(plane, (gradient, values))| {
            let channel = plane % channels;
            let (inverse, [of_weight, of_bias]) = (self.inverse_deviation(channel), sums[channel]);
            let scale = T::from_f64(weight[channel].to_f64() * inverse);
            let slope = T::from_f64(inverse * of_weight / count);
            let (shift, mean) = (T::from_f64(of_bias / count), T::from_f64(self.mean[channel]));
            for (gradient, &value) in gradient.iter_mut().zip(values) {
                *gradient = scale * (*gradient - shift - (value - mean) * slope);
            }
        });
        [0, 1].map(|at| sums.iter().map(|sums| T::from_f64(sums[at])).collect())
    }
}

/// The planes of a channel.
pub(super) fn planes<T: Real>(
    values: &[T],
    channel: usize,
    channels: usize,
    pixels: usize,
) -> impl Iterator<Item = &[T]> {
    values.chunks_exact(pixels).skip(channel).step_by(channels)
}

/// The sum of a term of each value.
pub(super) fn sum<'a, T: Real>(planes: impl Iterator<Item = &'a [T]>, term: impl Fn(T) -> T) -> f64 {
    let of_plane = |plane: &[T]| {
        let (rows, rest) = plane.as_chunks::<LANES>();
        let mut lanes = [T::zero(); LANES];
        for row in rows {
            lanes.iter_mut().zip(row).for_each(|(lane, &value)| *lane += term(value));
        }
        lanes.iter().map(|lane| lane.to_f64()).sum::<f64>()
            + rest.iter().map(|&value| term(value).to_f64()).sum::<f64>()
    };
    planes.map(of_plane).sum()
}

/// The sum of (value - mean) * factor.
fn dot<T: Real>(values: &[T], mean: T, factors: &[T]) -> f64 {
    let ((rows, rest), (factor_rows, factor_rest)) =
        (values.as_chunks::<LANES>(), factors.as_chunks::<LANES>());
    let mut lanes = [T::zero(); LANES];
    for (row, factors) in rows.iter().zip(factor_rows) {
        for (lane, (&value, &factor)) in lanes.iter_mut().zip(row.iter().zip(factors)) {
            *lane += (value - mean) * factor;
        }
    }
    let rest = rest.iter().zip(factor_rest).map(|(&value, &factor)| ((value - mean) * factor).to_f64());
    lanes.iter().map(|lane| lane.to_f64()).sum::<f64>() + rest.sum::<f64>()
}
