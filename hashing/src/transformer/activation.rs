//! Activations of transformers, and the exponential function they need.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

use pulp::Arch;

/// What follows the first layer of a transformer's feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// x times the normal distribution's share below x.
    Gelu,
    /// Its approximation by a hyperbolic tangent.
    TanhGelu,
    /// Its approximation x / (1 + exp(-1.702 x)).
    QuickGelu,
    /// max(x, 0).
    Relu,
}

impl Gate {
    /// The one that a model's configuration calls `name`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "gelu" => Some(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Some(Self::TanhGelu),
            "quick_gelu" => Some(Self::QuickGelu),
            "relu" => Some(Self::Relu),
            _ => None,
        }
    }

    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Self::Gelu => each(values, |x| 0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))),
            Self::TanhGelu => each(values, |x| {
                let inner = 0.797_884_6 * (x + 0.044_715 * x * x * x);
                // 0.5 (1 + tanh(y)) = 1 / (1 + exp(-2 y))
                x / (1.0 + exp(-2.0 * inner))
            }),
            Self::QuickGelu => each(values, |x| x / (1.0 + exp(-1.702 * x))),
            Self::Relu => each(values, |x| x.max(0.0)),
        }
    }
}

/// A dispatch for each function: code for one alone is short enough to be compiled for the machine's vectors.
fn each(values: &mut [f32], function: impl Fn(f32) -> f32) {
    Arch::new().dispatch(|| {
        for value in values {
            *value = function(*value);
        }
    });
}

/// e to the power of `x`, to two units in the last place; `x` is taken as at least -87 and at most 88.
///
/// x = n ln 2 + r with whole n and |r| <= ln 2 / 2; the polynomial is that of the Cephes library's `expf`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding it rounds to a whole number, which then stands in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * LOG2_E + ROUNDER;
    let n = rounded - ROUNDER;
    // ln 2 in two parts, the first of which n can be multiplied by without an error.
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut polynomial = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        polynomial = polynomial * r + coefficient;
    }
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    (polynomial * r * r + r + 1.0) * power
}

/// The error function, to 3e-7 (Abramowitz and Stegun, "Handbook of Mathematical Functions", 7.1.26).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let mut polynomial = 1.061_405_4;
    for coefficient in [-1.453_152, 1.421_413_8, -0.284_496_74, 0.254_829_6] {
        polynomial = polynomial * t + coefficient;
    }
    (1.0 - polynomial * t * exp(-x * x)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> impl Iterator<Item = f32> {
        (-4000..=4000).map(|step| step as f32 / 400.0)
    }

    fn apply(gate: Gate, x: f32) -> f32 {
        let mut values = [x; 3];
        gate.apply(&mut values);
        assert_eq!(values, [values[0]; 3]);
        values[0]
    }

    #[test]
    fn the_exponential_function_is_exact_to_the_last_digits() {
        for x in points().map(|x| x * 8.6) {
            let expected = f64::from(x).exp();
            assert!((f64::from(exp(x)) - expected).abs() <= 2.5e-7 * expected, "{x}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e9) > 0.0 && exp(-1e9) < 1e-37 && exp(1e9).is_finite());
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn the_gates_are_what_they_are_called() {
        for x in points() {
            let (wide, near) = (f64::from(x), |got: f32, expected: f64, by: f64| {
                assert!((f64::from(got) - expected).abs() < by, "{x}: {got} for {expected}");
            });
            let tanh = (0.797_884_560_8 * (wide + 0.044_715 * wide.powi(3))).tanh();
            near(apply(Gate::TanhGelu, x), 0.5 * wide * (1.0 + tanh), 1e-5);
            // The two forms of the unit are nowhere farther apart.
            near(apply(Gate::Gelu, x), 0.5 * wide * (1.0 + tanh), 5e-4);
            near(apply(Gate::QuickGelu, x), wide / (1.0 + (-1.702 * wide).exp()), 1e-5);
            assert_eq!(apply(Gate::Relu, x), x.max(0.0));
        }
        // Values of the error function from a table.
        for (x, expected) in
            [(0.5, 0.520_499_9), (1.0, 0.842_700_8), (2.0, 0.995_322_3), (-1.0, -0.842_700_8)]
        {
            assert!((erf(x) - expected).abs() < 4e-7, "{x}: {}", erf(x));
        }
    }
}
