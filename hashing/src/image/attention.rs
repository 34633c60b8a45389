//! One layer of a transformer: self-attention and a perceptron, each behind a layer norm and added to
//! what came in (Vaswani and others, "Attention Is All You Need", NeurIPS 2017).
//!
//! All numbers are computed in the same order on every machine: sums in lanes of a fixed number, and
//! an exponential function of our own.

use pulp::Arch;

use super::pointwise::{Activation, Pointwise};
use super::scratch::sized;

/// Partial sums of a row, whatever the width of the machine's vectors.
const LANES: usize = 16;

/// Brings each row to mean 0 and deviation 1, then scales and shifts each column.
pub(super) struct LayerNorm {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    /// Added to the variance.
    pub(super) epsilon: f32,
}

impl LayerNorm {
    /// `input` to `output`, rows as wide as the norm.
    pub(super) fn apply(&self, input: &[f32], output: &mut [f32]) {
        let width = self.weight.len();
        Arch::new().dispatch(|| {
            for (row, place) in input.chunks_exact(width).zip(output.chunks_exact_mut(width)) {
                let mean = sum(row, |value| value) / width as f32;
                let variance = sum(row, |value| (value - mean) * (value - mean)) / width as f32;
                let scale = 1.0 / (variance + self.epsilon).sqrt();
                let parameters = self.weight.iter().zip(&self.bias);
                for ((place, &value), (&weight, &bias)) in place.iter_mut().zip(row).zip(parameters) {
                    *place = (value - mean) * scale * weight + bias;
                }
            }
        });
    }
}

/// The sum of `of` each value.
#[inline(always)]
fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for values in whole {
        for (sum, &value) in sums.iter_mut().zip(values) {
            *sum += of(value);
        }
    }
    for (sum, &value) in sums.iter_mut().zip(rest) {
        *sum += of(value);
    }
    sums.iter().sum()
}

/// e to the power of `x`, to two units in the last place for -87 <= x <= 88; x beyond is cut off
/// (after Cephes' `expf`).
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// 1.5 * 2^23: adding it rounds to a whole number, which is then in the last digits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts, the first with few digits, so that its product is exact.
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let mut power = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        power = power * rest + coefficient;
    }
    let power = power * rest * rest + rest + 1.0;
    let scale = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    power * scale
}

/// x / (1 + exp(-1.702 x)), the activation of CLIP.
fn quick_gelu(values: &mut [f32]) {
    Arch::new().dispatch(|| {
        for value in values {
            *value /= 1.0 + exp(-1.702 * *value);
        }
    });
}

/// Each row to positive numbers of sum 1.
fn softmax(values: &mut [f32], width: usize) {
    Arch::new().dispatch(|| {
        for row in values.chunks_exact_mut(width) {
            let greatest = row.iter().fold(f32::NEG_INFINITY, |greatest, &value| greatest.max(value));
            row.iter_mut().for_each(|value| *value = exp(*value - greatest));
            let scale = 1.0 / sum(row, |value| value);
            row.iter_mut().for_each(|value| *value *= scale);
        }
    });
}

/// The layer with its weights.
pub(super) struct AttentionLayer {
    pub(super) heads: usize,
    pub(super) before_attention: LayerNorm,
    /// To queries, keys and values side by side; queries are divided by the root of a head's width.
    pub(super) queries_keys_values: Pointwise,
    pub(super) attended: Pointwise,
    pub(super) before_perceptron: LayerNorm,
    pub(super) widen: Pointwise,
    pub(super) narrow: Pointwise,
}

/// What a layer computes on the way.
#[derive(Default)]
pub(super) struct Scratch {
    normed: Vec<f32>,
    /// Queries, keys and values; the perceptron's hidden layer.
    wide: Vec<f32>,
    /// What each token gathered from the others.
    gathered: Vec<f32>,
    head: Head,
}

/// One head's part for one sequence.
#[derive(Default)]
struct Head {
    queries: Vec<f32>,
    keys: Vec<f32>,
    /// (width of a head, tokens).
    values: Vec<f32>,
    scores: Vec<f32>,
    output: Vec<f32>,
}

impl AttentionLayer {
    /// Changes `tokens`, sequences of `length` rows each, in place.
    pub(super) fn apply(&self, tokens: &mut [f32], length: usize, scratch: &mut Scratch) {
        let Scratch { normed, wide, gathered, head } = scratch;
        let width = self.before_attention.weight.len();
        let rows = tokens.len() / width;
        let normed = sized(normed, rows * width);
        self.before_attention.apply(tokens, normed);
        let projected = sized(wide, rows * 3 * width);
        self.queries_keys_values.apply(normed, projected, Activation::None);
        let gathered = sized(gathered, rows * width);
        let sequences = projected.chunks_exact(length * 3 * width);
        for (projected, gathered) in sequences.zip(gathered.chunks_exact_mut(length * width)) {
            for at in 0..self.heads {
                head.attend(projected, gathered, width, [at * width / self.heads, width / self.heads]);
            }
        }
        self.attended.apply(gathered, tokens, Activation::Residual);
        self.before_perceptron.apply(tokens, normed);
        let hidden = sized(wide, rows * self.widen.outputs());
        self.widen.apply(normed, hidden, Activation::None);
        quick_gelu(hidden);
        self.narrow.apply(hidden, tokens, Activation::Residual);
    }
}

impl Head {
    /// Writes the head's columns, `columns` of them from `first` on, of `gathered` (tokens, width),
    /// from `projected` (tokens, 3 * width).
    fn attend(
        &mut self,
        projected: &[f32],
        gathered: &mut [f32],
        width: usize,
        [first, columns]: [usize; 2],
    ) {
        let length = gathered.len() / width;
        let Self { queries, keys, values, scores, output } = self;
        let values = sized(values, columns * length);
        queries.clear();
        keys.clear();
        for (token, row) in projected.chunks_exact(3 * width).enumerate() {
            queries.extend_from_slice(&row[first..][..columns]);
            keys.extend_from_slice(&row[width + first..][..columns]);
            let own = &row[2 * width + first..][..columns];
            for (place, &value) in values.iter_mut().skip(token).step_by(length).zip(own) {
                *place = value;
            }
        }
        let scores = sized(scores, length * length);
        Pointwise::new(columns, length, keys, &vec![0.0; length]).apply(queries, scores, Activation::None);
        softmax(scores, length);
        let output = sized(output, length * columns);
        Pointwise::new(length, columns, values, &vec![0.0; columns]).apply(scores, output, Activation::None);
        for (place, row) in gathered.chunks_exact_mut(width).zip(output.chunks_exact(columns)) {
            place[first..][..columns].copy_from_slice(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_two_digits_in_the_last_place() {
        for at in -86_000..=87_000 {
            let x = at as f32 / 1000.0;
            let (got, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((got / expected - 1.0).abs() < 2.4e-7, "exp({x}) = {got}, not {expected}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1000.0) > 0.0 && exp(1000.0).is_finite());
    }

    #[test]
    fn a_norm_leaves_mean_0_and_deviation_1() {
        let norm = LayerNorm { weight: vec![1.0; 37], bias: vec![0.0; 37], epsilon: 0.0 };
        let row: Vec<f32> = (0..37).map(|at| (at * at % 17) as f32 + 40.0).collect();
        let mut output = vec![0.0; 37];
        norm.apply(&row, &mut output);
        let mean: f32 = output.iter().sum::<f32>() / 37.0;
        let variance: f32 = output.iter().map(|value| value * value).sum::<f32>() / 37.0;
        assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-5, "{mean} {variance}");
    }

    #[test]
    fn a_softmax_row_sums_to_1_and_keeps_ratios() {
        let mut rows = [1.0, 2.0, 1.0, 700.0, 0.0, 700.0];
        softmax(&mut rows, 3);
        assert!((rows[1] / rows[0] - std::f32::consts::E).abs() < 1e-5);
        assert!((rows[0] + rows[1] + rows[2] - 1.0).abs() < 1e-6);
        assert!((rows[3] - 0.5).abs() < 1e-6 && rows[4] < 1e-30);
    }

    #[test]
    fn equal_tokens_gather_their_own_value() {
        // Two tokens of width 2, one head: queries, keys, values.
        let projected = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].repeat(2);
        let mut gathered = [0.0; 4];
        Head::default().attend(&projected, &mut gathered, 2, [0, 2]);
        for (got, expected) in gathered.into_iter().zip([5.0, 6.0, 5.0, 6.0]) {
            assert!((got - expected).abs() < 1e-5);
        }
    }
}
