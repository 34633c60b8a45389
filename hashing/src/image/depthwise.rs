//! A depthwise convolution: every channel with its own small kernel.
//!
//! Pixels are stored channel by channel (NHWC), so that the loop runs over channels and needs no
//! shuffles. Padding is TensorFlow's SAME.

use pulp::{Arch, Simd, WithSimd};

use super::pointwise::relu6;
use super::windows::Windows;

/// Vectors of channels kept in registers at once.
const GROUP: usize = 3;
/// Taps of the largest kernel, 5x5.
const MOST_TAPS: usize = 25;

/// Weights of a depthwise convolution followed by ReLU6.
pub(super) struct Depthwise {
    channels: usize,
    kernel: usize,
    stride: usize,
    /// (kernel, kernel, channels).
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Depthwise {
    /// Takes `weights` as (channels, kernel, kernel).
    pub(super) fn new(kernel: usize, stride: usize, weights: &[f32], bias: &[f32]) -> Self {
        let (channels, taps) = (bias.len(), kernel * kernel);
        let by_tap = (0..taps).flat_map(|tap| weights.iter().skip(tap).step_by(taps)).copied();
        Self { channels, kernel, stride, weights: by_tap.collect(), bias: bias.to_vec() }
    }

    /// Side of the output for a square input of `side` pixels.
    pub(super) fn output_side(&self, side: usize) -> usize {
        side.div_ceil(self.stride)
    }

    /// Channels of input and output.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// `input` (side, side, channels) to `output` (output side, output side, channels).
    pub(super) fn apply(&self, side: usize, input: &[f32], output: &mut [f32]) {
        Arch::new().dispatch(Apply { layer: self, side, input, output });
    }
}

struct Apply<'a> {
    layer: &'a Depthwise,
    side: usize,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layer, side, input, output } = self;
        let windows = Windows::same(side, layer.kernel, layer.stride);
        let input = S::as_simd_f32s(input).0;
        let weights = S::as_simd_f32s(&layer.weights).0;
        let bias = S::as_simd_f32s(&layer.bias).0;
        let vectors = bias.len();
        // Offsets of the window's pixels and of their weights, in vectors.
        let mut offsets = [(0, 0); MOST_TAPS];
        let positions = (0..windows.count()).flat_map(|y| (0..windows.count()).map(move |x| (y, x)));
        for (place, (y, x)) in output.chunks_exact_mut(layer.channels).zip(positions) {
            let place = S::as_mut_simd_f32s(place).0;
            let taps = windows.taps(y).flat_map(|row| windows.taps(x).map(move |column| (row, column)));
            let mut count = 0;
            for (offset, ((row, y), (column, x))) in offsets.iter_mut().zip(taps) {
                *offset = ((y * side + x) * vectors, (row * layer.kernel + column) * vectors);
                count += 1;
            }
            let window = Window { simd, input, weights, offsets: &offsets[..count] };
            let whole = vectors - vectors % GROUP;
            for first in (0..whole).step_by(GROUP) {
                window.sum::<GROUP>(first, bias, place);
            }
            for first in whole..vectors {
                window.sum::<1>(first, bias, place);
            }
        }
    }
}

/// The pixels that one output pixel is made from.
struct Window<'a, S: Simd> {
    simd: S,
    input: &'a [S::f32s],
    weights: &'a [S::f32s],
    offsets: &'a [(usize, usize)],
}

impl<S: Simd> Window<'_, S> {
    /// Computes `N` vectors of channels from `first` on.
    #[inline(always)]
    fn sum<const N: usize>(&self, first: usize, bias: &[S::f32s], output: &mut [S::f32s]) {
        let mut sums: [S::f32s; N] = std::array::from_fn(|at| bias[first + at]);
        for (pixel, tap) in self.offsets {
            let pixel = &self.input[pixel + first..][..N];
            let weight = &self.weights[tap + first..][..N];
            for ((sum, pixel), weight) in sums.iter_mut().zip(pixel).zip(weight) {
                *sum = self.simd.mul_add_e_f32s(*pixel, *weight, *sum);
            }
        }
        for (place, sum) in output[first..][..N].iter_mut().zip(sums) {
            *place = relu6(self.simd, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_plain_sum() {
        for (kernel, stride, side, channels) in [(3, 1, 6, 32), (3, 2, 6, 80), (5, 2, 7, 16), (5, 1, 3, 48)] {
            let number = |at: usize| ((at * 37 + 11) % 23) as f32 / 40.0 - 0.2;
            let weights: Vec<f32> = (0..channels * kernel * kernel).map(number).collect();
            let bias: Vec<f32> = (0..channels).map(|at| number(at + 5)).collect();
            let input: Vec<f32> = (0..side * side * channels).map(|at| number(at * 3 + 1)).collect();
            let layer = Depthwise::new(kernel, stride, &weights, &bias);
            let side_out = layer.output_side(side);
            let mut output = vec![0.0; side_out * side_out * channels];
            layer.apply(side, &input, &mut output);
            let windows = Windows::same(side, kernel, stride);
            for (at, value) in output.iter().enumerate() {
                let (pixel, channel) = (at / channels, at % channels);
                let mut sum = bias[channel];
                for (row, y) in windows.taps(pixel / side_out) {
                    for (column, x) in windows.taps(pixel % side_out) {
                        sum += input[(y * side + x) * channels + channel]
                            * weights[(channel * kernel + row) * kernel + column];
                    }
                }
                assert!((value - sum.clamp(0.0, 6.0)).abs() < 1e-5);
            }
        }
    }
}
