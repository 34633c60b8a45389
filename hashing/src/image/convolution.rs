//! Convolutions of any kernel over pixels stored channel by channel (NHWC): windows are laid out as
//! rows, some at a time so that they stay in cache, and multiplied by the weights.

use super::pointwise::{Activation, Pointwise};
use super::scratch::sized;
use super::weights::{Weights, bounded, invalid};
use super::windows::Windows;
use crate::Error;

/// Numbers of window rows at a time, measured: half a megabyte stays in the second cache.
const ROWS_IN_CACHE: usize = 1 << 17;
/// Rows that the product takes at once.
const ROWS_AT_ONCE: usize = 7;
/// Largest kernel accepted.
const MOST_KERNEL: usize = 32;
/// Added to a variance by batch norm, as PyTorch does.
const NORM_EPSILON: f64 = 1e-5;

/// A square convolution with its bias.
pub(super) struct Convolution {
    channels: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    product: Pointwise,
}

impl Convolution {
    /// Takes `weights` as (outputs, channels, kernel, kernel), as many outputs as biases.
    pub(super) fn new(
        [channels, kernel]: [usize; 2],
        [stride, padding]: [usize; 2],
        weights: &[f32],
        bias: &[f32],
    ) -> Self {
        let taps = kernel * kernel;
        // From a plane a channel to channels side by side.
        let by_pixel: Vec<f32> = weights
            .chunks_exact(taps * channels)
            .flat_map(|filter| (0..taps).flat_map(move |tap| filter.iter().skip(tap).step_by(taps)))
            .copied()
            .collect();
        let product = Pointwise::new(taps * channels, bias.len(), &by_pixel, bias);
        Self { channels, kernel, stride, padding, product }
    }

    /// Tensors `name.weight` and, where there is no batch norm, `name.bias`; batch norm's under the
    /// name `norm`. Windows lie symmetrically about their middle pixel.
    pub(super) fn read(
        weights: &Weights,
        name: &str,
        norm: Option<&str>,
        inputs: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        Self::read_grouped(weights, name, norm, inputs, stride, 1)
    }

    /// The same for a convolution in groups: each sees its share of the channels only. It is kept as
    /// a dense one with zeros, which is simple, and slow where there are many groups.
    pub(super) fn read_grouped(
        weights: &Weights,
        name: &str,
        norm: Option<&str>,
        inputs: usize,
        stride: usize,
        groups: usize,
    ) -> Result<Self, Error> {
        let tensor = format!("{name}.weight");
        let [outputs, _, kernel, _] = weights.sizes(&tensor)?;
        if kernel > MOST_KERNEL || kernel.is_multiple_of(2) {
            return Err(invalid(format!(
                "tensor {tensor} has a kernel of {kernel} rows, expected an odd number up to {MOST_KERNEL}"
            )));
        }
        bounded(&tensor, &[outputs, inputs, kernel, kernel])?;
        let mut filters = weights.read(&tensor, &[outputs, inputs / groups, kernel, kernel])?;
        let mut bias = match norm {
            Some(_) if !weights.has(&format!("{name}.bias")) => vec![0.0; outputs],
            _ => weights.read(&format!("{name}.bias"), &[outputs])?,
        };
        if let Some(norm) = norm {
            fold_norm(weights, norm, &mut filters, &mut bias)?;
        }
        if groups > 1 {
            filters = without_groups(&filters, groups, outputs);
        }
        Ok(Self::new([inputs, kernel], [stride, kernel / 2], &filters, &bias))
    }

    /// Side of the output for a square input of `side` pixels.
    pub(super) fn output_side(&self, side: usize) -> usize {
        self.windows(side).count()
    }

    /// Channels of the output.
    pub(super) fn outputs(&self) -> usize {
        self.product.outputs()
    }

    /// `input` (side, side, channels) to `output` (output side, output side, outputs); `rows` is
    /// overwritten.
    pub(super) fn apply(
        &self,
        side: usize,
        input: &[f32],
        rows: &mut Vec<f32>,
        output: &mut [f32],
        activation: Activation,
    ) {
        if (self.kernel, self.stride, self.padding) == (1, 1, 0) {
            return self.product.apply(input, output, activation);
        }
        let windows = self.windows(side);
        let length = self.kernel * self.kernel * self.channels;
        let together = (ROWS_IN_CACHE / length / ROWS_AT_ONCE).max(1) * ROWS_AT_ONCE;
        for (part, output) in output.chunks_mut(together * self.outputs()).enumerate() {
            let pixels = output.len() / self.outputs();
            let rows = sized(rows, pixels * length);
            for (at, row) in rows.chunks_exact_mut(length).enumerate() {
                let pixel = part * together + at;
                self.gather(windows, side, [pixel / windows.count(), pixel % windows.count()], input, row);
            }
            self.product.apply(rows, output, activation);
        }
    }

    fn windows(&self, side: usize) -> Windows {
        Windows::padded(side, self.kernel, self.stride, self.padding)
    }

    /// Writes the window of the output pixel (y, x) as one row, zeros where it hangs over the edge.
    fn gather(&self, windows: Windows, side: usize, [y, x]: [usize; 2], input: &[f32], row: &mut [f32]) {
        let (column, x, columns) = windows.span(x);
        let (_, _, lines) = windows.span(y);
        if columns * lines < self.kernel * self.kernel {
            row.fill(0.0);
        }
        for (line, y) in windows.taps(y) {
            let length = columns * self.channels;
            let pixels = &input[(y * side + x) * self.channels..][..length];
            row[(line * self.kernel + column) * self.channels..][..length].copy_from_slice(pixels);
        }
    }
}

/// Batch norm in evaluation, (x - mean) / sqrt(variance + epsilon) * weight + bias, as a part of the
/// convolution before it.
fn fold_norm(weights: &Weights, norm: &str, filters: &mut [f32], bias: &mut [f32]) -> Result<(), Error> {
    let outputs = bias.len();
    let read = |part: &str| weights.read(&format!("{norm}.{part}"), &[outputs]);
    let (scale, shift) = (read("weight")?, read("bias")?);
    let (mean, variance) = (read("running_mean")?, read("running_var")?);
    if variance.iter().any(|&variance| variance < 0.0) {
        return Err(invalid(format!("tensor {norm}.running_var holds a negative variance")));
    }
    let statistics = mean.iter().zip(&variance).zip(scale.iter().zip(&shift));
    let length = filters.len() / outputs;
    for ((filter, bias), ((mean, variance), (scale, shift))) in
        filters.chunks_exact_mut(length).zip(bias).zip(statistics)
    {
        let factor = f64::from(*scale) / (f64::from(*variance) + NORM_EPSILON).sqrt();
        for weight in filter {
            *weight = (f64::from(*weight) * factor) as f32;
        }
        *bias = ((f64::from(*bias) - f64::from(*mean)) * factor + f64::from(*shift)) as f32;
    }
    Ok(())
}

/// The filters of a convolution in groups, (outputs, channels of a group, taps), with zeros for the
/// channels of the other groups.
fn without_groups(filters: &[f32], groups: usize, outputs: usize) -> Vec<f32> {
    let length = filters.len() / outputs;
    let mut dense = vec![0.0; filters.len() * groups];
    let places = dense.chunks_exact_mut(length * groups);
    for (at, (place, filter)) in places.zip(filters.chunks_exact(length)).enumerate() {
        let group = at * groups / outputs;
        place[group * length..][..length].copy_from_slice(filter);
    }
    dense
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(at: usize) -> f32 {
        ((at * 37 + 11) % 23) as f32 / 40.0 - 0.2
    }

    /// The sum of the definition, for one output.
    fn plain(c: &Convolution, side: usize, input: &[f32], filter: &[f32], y: usize, x: usize) -> f32 {
        let mut sum = 0.0;
        for (row, y) in c.windows(side).taps(y) {
            for (column, x) in c.windows(side).taps(x) {
                for channel in 0..c.channels {
                    sum += input[(y * side + x) * c.channels + channel]
                        * filter[(channel * c.kernel + row) * c.kernel + column];
                }
            }
        }
        sum
    }

    #[test]
    fn equals_the_plain_sum() {
        for (side, channels, outputs, kernel, stride, padding) in [
            (9, 3, 5, 7, 2, 3),
            (6, 8, 40, 3, 1, 1),
            (5, 4, 3, 1, 1, 0),
            (7, 6, 9, 1, 2, 0),
            (8, 3, 4, 4, 4, 0),
            (40, 300, 2, 3, 1, 1),
        ] {
            let weights: Vec<f32> = (0..outputs * channels * kernel * kernel).map(number).collect();
            let bias: Vec<f32> = (0..outputs).map(|at| number(at + 3)).collect();
            let input: Vec<f32> = (0..side * side * channels).map(|at| number(at * 5 + 1)).collect();
            let layer = Convolution::new([channels, kernel], [stride, padding], &weights, &bias);
            let smaller = layer.output_side(side);
            let mut output = vec![9.0; smaller * smaller * outputs];
            layer.apply(side, &input, &mut Vec::new(), &mut output, Activation::None);
            for (at, value) in output.iter().enumerate() {
                let (pixel, channel) = (at / outputs, at % outputs);
                let filter = &weights[channel * channels * kernel * kernel..][..channels * kernel * kernel];
                let sum = plain(&layer, side, &input, filter, pixel / smaller, pixel % smaller);
                assert!((value - sum - bias[channel]).abs() < 2e-4, "{at}: {value} for {sum}");
            }
        }
    }

    #[test]
    fn groups_see_their_own_channels_only() {
        // Two groups of two channels, one tap, four outputs.
        let dense = without_groups(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 2, 4);
        let expected =
            [[1.0, 2.0, 0.0, 0.0], [3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 5.0, 6.0], [0.0, 0.0, 7.0, 8.0]];
        assert_eq!(dense, expected.concat());
    }
}
