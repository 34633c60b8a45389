//! A 1x1 convolution: a matrix product of pixels by channels, with what follows it fused in.
//!
//! The product has its own kernel because the shapes are small and fixed: the weights are packed
//! once, when they are loaded, and bias, residual and ReLU6 cost no further pass over the output.
//! Each output number is one chain of fused multiply-adds over the input channels, in their order,
//! whatever the width of the machine's vectors: all machines with AVX2 and FMA, AVX-512 or NEON
//! compute the same bits, for a picture alone or in a batch. (Older x86 rounds twice a step.)

use pulp::{Arch, Simd, WithSimd};

use crate::sparse::SparseRows;

/// Vectors a weight panel is wide.
const PANEL: usize = 2;
/// Pixels that go through all panels while they are in cache.
const PIXELS_PER_PASS: usize = 196;

/// What follows a sum and its bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    /// max(value, 0).
    Relu,
    /// min(max(value, 0), 6).
    Relu6,
    /// What the output held before is added: a residual connection.
    Residual,
    /// The same, then max(value, 0).
    ResidualRelu,
}

/// Weights of a 1x1 convolution, packed for this machine's vectors.
#[derive(Clone)]
pub(crate) struct Pointwise {
    inputs: usize,
    outputs: usize,
    /// Panels one after the other; in a panel, for each input channel the weights to its outputs.
    /// Outputs are padded with zeros to whole panels.
    panels: Vec<f32>,
    /// Padded likewise.
    bias: Vec<f32>,
}

impl Pointwise {
    /// Packs `weights`, (outputs, inputs) row-major.
    pub(crate) fn new(inputs: usize, outputs: usize, weights: &[f32], bias: &[f32]) -> Self {
        let width = PANEL * lanes();
        let padded = outputs.next_multiple_of(width);
        let mut panels = vec![0.0; padded * inputs];
        for (output, row) in weights.chunks_exact(inputs).enumerate() {
            let panel = &mut panels[output / width * width * inputs..][..width * inputs];
            for (slot, weight) in panel.iter_mut().skip(output % width).step_by(width).zip(row) {
                *slot = *weight;
            }
        }
        let mut bias = bias.to_vec();
        bias.resize(padded, 0.0);
        Self { inputs, outputs, panels, bias }
    }

    /// Channels of the input.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Channels of the output.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// `output` (pixels, outputs) = `input` (pixels, inputs) times the weights, plus bias, then the
    /// activation.
    pub(crate) fn apply(&self, input: &[f32], output: &mut [f32], activation: Activation) {
        Arch::new().dispatch(Apply { layer: self, input, output, activation });
    }

    /// The same for rows that are almost all zeros: the numbers that [`apply`](Self::apply) gives, to the
    /// bit, as a step that multiplies by zero changes no sum.
    pub(crate) fn apply_sparse(&self, input: &SparseRows<f32>, output: &mut [f32], activation: Activation) {
        Arch::new().dispatch(ApplySparse { layer: self, input, output, activation });
    }
}

/// Numbers in one vector of this machine.
fn lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        fn with_simd<S: Simd>(self, _simd: S) -> usize {
            S::F32_LANES
        }
    }
    Arch::new().dispatch(Lanes)
}

struct Apply<'a> {
    layer: &'a Pointwise,
    input: &'a [f32],
    output: &'a mut [f32],
    activation: Activation,
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Accumulators, a panel's vectors and a broadcast input must fit the registers.
        if S::REGISTER_COUNT >= 32 { self.run::<S, 7>(simd) } else { self.run::<S, 6>(simd) }
    }
}

impl Apply<'_> {
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize>(self, simd: S) {
        let Self { layer, input, output, activation } = self;
        let (inputs, outputs) = (layer.inputs, layer.outputs);
        let width = PANEL * S::F32_LANES;
        let panels = S::as_simd_f32s(&layer.panels).0.as_chunks::<PANEL>().0;
        let biases = S::as_simd_f32s(&layer.bias).0.as_chunks::<PANEL>().0;
        let passes = input.chunks(PIXELS_PER_PASS * inputs);
        for (input, output) in passes.zip(output.chunks_mut(PIXELS_PER_PASS * outputs)) {
            let columns = (0..outputs).step_by(width);
            for ((panel, bias), column) in panels.chunks_exact(inputs).zip(biases).zip(columns) {
                let used = width.min(outputs - column);
                let mut rows = input.chunks_exact(ROWS * inputs);
                let mut places = output.chunks_exact_mut(ROWS * outputs);
                for (rows, place) in rows.by_ref().zip(places.by_ref()) {
                    let sums = product::<S, ROWS>(simd, rows, panel, *bias);
                    for (sums, place) in sums.into_iter().zip(place.chunks_exact_mut(outputs)) {
                        activation.store(simd, sums, &mut place[column..][..used]);
                    }
                }
                let rest = rows.remainder().chunks_exact(inputs);
                for (row, place) in rest.zip(places.into_remainder().chunks_exact_mut(outputs)) {
                    let [sums] = product::<S, 1>(simd, row, panel, *bias);
                    activation.store(simd, sums, &mut place[column..][..used]);
                }
            }
        }
    }
}

struct ApplySparse<'a> {
    layer: &'a Pointwise,
    input: &'a SparseRows<f32>,
    output: &'a mut [f32],
    activation: Activation,
}

impl WithSimd for ApplySparse<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layer, input, output, activation } = self;
        let width = PANEL * S::F32_LANES;
        let panels = S::as_simd_f32s(&layer.panels).0.as_chunks::<PANEL>().0;
        let biases = S::as_simd_f32s(&layer.bias).0.as_chunks::<PANEL>().0;
        let columns = (0..layer.outputs).step_by(width);
        for ((panel, bias), column) in panels.chunks_exact(layer.inputs).zip(biases).zip(columns) {
            let used = width.min(layer.outputs - column);
            for (entries, place) in input.entries().zip(output.chunks_exact_mut(layer.outputs)) {
                let mut sums = *bias;
                for &(channel, value) in entries {
                    let value = simd.splat_f32s(value);
                    for (sum, weight) in sums.iter_mut().zip(&panel[channel]) {
                        *sum = simd.mul_add_e_f32s(value, *weight, *sum);
                    }
                }
                activation.store(simd, sums, &mut place[column..][..used]);
            }
        }
    }
}

/// `ROWS` pixels times one panel.
#[inline(always)]
fn product<S: Simd, const ROWS: usize>(
    simd: S,
    input: &[f32],
    panel: &[[S::f32s; PANEL]],
    bias: [S::f32s; PANEL],
) -> [[S::f32s; PANEL]; ROWS] {
    let inputs = panel.len();
    let rows: [&[f32]; ROWS] = std::array::from_fn(|row| &input[row * inputs..][..inputs]);
    let mut sums = [bias; ROWS];
    for (channel, weights) in panel.iter().enumerate() {
        for (row, sums) in rows.iter().zip(&mut sums) {
            let value = simd.splat_f32s(row[channel]);
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = simd.mul_add_e_f32s(value, *weight, *sum);
            }
        }
    }
    sums
}

impl Activation {
    /// Stores as many numbers of `sums` as `place` has room for.
    #[inline(always)]
    fn store<S: Simd>(self, simd: S, sums: [S::f32s; PANEL], place: &mut [f32]) {
        let (whole, part) = S::as_mut_simd_f32s(place);
        let mut sums = sums.into_iter();
        for (place, sum) in whole.iter_mut().zip(sums.by_ref()) {
            *place = self.value(simd, sum, *place);
        }
        if let (Some(sum), false) = (sums.next(), part.is_empty()) {
            let value = self.value(simd, sum, simd.partial_load_f32s(part));
            simd.partial_store_f32s(part, value);
        }
    }

    #[inline(always)]
    fn value<S: Simd>(self, simd: S, sum: S::f32s, before: S::f32s) -> S::f32s {
        match self {
            Self::None => sum,
            Self::Relu => simd.max_f32s(sum, simd.splat_f32s(0.0)),
            Self::Relu6 => relu6(simd, sum),
            Self::Residual => simd.add_f32s(sum, before),
            Self::ResidualRelu => simd.max_f32s(simd.add_f32s(sum, before), simd.splat_f32s(0.0)),
        }
    }
}

/// min(max(value, 0), 6).
#[inline(always)]
pub(crate) fn relu6<S: Simd>(simd: S, value: S::f32s) -> S::f32s {
    simd.min_f32s(simd.max_f32s(value, simd.splat_f32s(0.0)), simd.splat_f32s(6.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small numbers without a pattern that a wrong index could keep.
    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    #[test]
    fn equals_the_plain_sum_for_every_tail() {
        for (pixels, inputs, outputs) in [(1, 3, 1), (7, 27, 32), (50, 16, 40), (399, 5, 19)] {
            let (weights, bias) = (numbers(inputs * outputs, 1), numbers(outputs, 2));
            let input = numbers(pixels * inputs, 3);
            let before = numbers(pixels * outputs, 4);
            let layer = Pointwise::new(inputs, outputs, &weights, &bias);
            let mut output = before.clone();
            layer.apply(&input, &mut output, Activation::Residual);
            for (at, value) in output.iter().enumerate() {
                let (pixel, channel) = (at / outputs, at % outputs);
                let row = &input[pixel * inputs..][..inputs];
                let weights = &weights[channel * inputs..][..inputs];
                let sum: f32 = row.iter().zip(weights).map(|(a, b)| a * b).sum();
                assert!((value - (sum + bias[channel] + before[at])).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn skipped_zeros_change_no_bit() {
        let (rows, inputs, outputs) = (9, 200, 75);
        let layer = Pointwise::new(inputs, outputs, &numbers(inputs * outputs, 1), &numbers(outputs, 2));
        let mut input = vec![0.0; rows * inputs];
        for (value, number) in input.iter_mut().step_by(131).zip(numbers(rows * inputs, 3)) {
            *value = number;
        }
        let [mut dense, mut sparse] = [vec![0.0; rows * outputs], vec![0.0; rows * outputs]];
        layer.apply(&input, &mut dense, Activation::Relu);
        layer.apply_sparse(&SparseRows::new(&input, inputs, 64).unwrap(), &mut sparse, Activation::Relu);
        assert_eq!(sparse, dense);
    }

    #[test]
    fn activations_cut_off_at_0_and_6() {
        let layer = Pointwise::new(1, 1, &[1.0], &[0.0]);
        let mut output = [9.0; 3];
        layer.apply(&[-1.0, 2.5, 7.0], &mut output, Activation::Relu6);
        assert_eq!(output, [0.0, 2.5, 6.0]);
        layer.apply(&[-1.0, 2.5, 7.0], &mut output, Activation::Relu);
        assert_eq!(output, [0.0, 2.5, 7.0]);
        output = [-3.0, -3.0, 2.0];
        layer.apply(&[-1.0, 2.5, 7.0], &mut output, Activation::ResidualRelu);
        assert_eq!(output, [0.0, 0.0, 9.0]);
    }

    #[test]
    fn a_pixel_does_not_depend_on_its_neighbors() {
        let layer = Pointwise::new(40, 24, &numbers(960, 1), &numbers(24, 2));
        let input = numbers(40 * 211, 3);
        let mut all = vec![0.0; 24 * 211];
        layer.apply(&input, &mut all, Activation::None);
        for pixel in [0, 6, 100, 196, 210] {
            let mut one = [0.0; 24];
            layer.apply(&input[pixel * 40..][..40], &mut one, Activation::None);
            assert_eq!(one, all[pixel * 24..][..24]);
        }
    }
}
