//! Gradient clipping and the two optimizers, in one sweep over each parameter tensor.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::Error;
use crate::config::Optimizer;
use crate::in_place::{read, sweep};
use crate::real::Real;

/// Decay rates of Adam's moments.
const BETAS: [f64; 2] = [0.9, 0.999];
/// Keeps Adam's divisor off zero.
const EPSILON: f64 = 1e-8;
/// Momentum of stochastic gradient descent.
const SGD_MOMENTUM: f64 = 0.9;
/// Numbers a thread takes at once. Part of the arithmetic: squares are summed chunk by chunk, in
/// the same order whatever the number of threads.
const CHUNK: usize = 1 << 15;

/// Running moments of every parameter, and how many updates they have seen.
pub(crate) struct OptimizerState<T> {
    kind: Optimizer,
    updates: i32,
    /// For each parameter tensor: the first moment, and Adam's second.
    moments: Vec<[Vec<T>; 2]>,
}

/// What an update takes besides gradients.
pub(crate) struct Update {
    pub(crate) learning_rate: f64,
    pub(crate) weight_decay: f64,
    /// Every gradient is multiplied by this first.
    pub(crate) clip: f64,
}

impl<T: Real> OptimizerState<T> {
    pub(crate) fn new<'a>(kind: Optimizer, parameters: impl Iterator<Item = &'a Tensor>) -> Self {
        let moments = parameters.map(|parameter| {
            let count = parameter.elem_count();
            let second = if kind == Optimizer::Adam { count } else { 0 };
            [vec![T::zero(); count], vec![T::zero(); second]]
        });
        Self { kind, updates: 0, moments: moments.collect() }
    }

    /// A state as it was: moments in the order of the parameters.
    pub(crate) fn restored(kind: Optimizer, updates: i32, moments: Vec<[Vec<T>; 2]>) -> Self {
        Self { kind, updates, moments }
    }

    /// Updates so far.
    pub(crate) fn updates(&self) -> i32 {
        self.updates
    }

    /// For each parameter the first moment and Adam's second, which stochastic gradient descent
    /// leaves empty.
    pub(crate) fn moments(&self) -> &[[Vec<T>; 2]] {
        &self.moments
    }

    /// Changes the parameters in place. Weight decay is added to the clipped gradient (PyTorch's
    /// `Adam`, not `AdamW`), biases included.
    pub(crate) fn update<'a>(
        &mut self,
        pairs: impl Iterator<Item = (&'a Tensor, &'a Tensor)>,
        update: &Update,
    ) -> Result<(), Error> {
        self.updates = self.updates.saturating_add(1);
        for ((parameter, gradient), moments) in pairs.zip(&mut self.moments) {
            let clip = T::from_f64(update.clip);
            let decay = T::from_f64(update.weight_decay);
            let kind = self.kind;
            let updates = self.updates;
            sweep(parameter, gradient, |parameter: &mut [T], gradient| match kind {
                Optimizer::Adam => {
                    adam(parameter, gradient, moments, clip, decay, update.learning_rate, updates);
                }
                Optimizer::Sgd => {
                    let rate = T::from_f64(update.learning_rate);
                    descend(parameter, gradient, &mut moments[0], clip, decay, rate);
                }
            })?;
        }
        Ok(())
    }
}

/// Adam: the bias-corrected first moment over the root of the second.
fn adam<T: Real>(
    parameter: &mut [T],
    gradient: &[T],
    moments: &mut [Vec<T>; 2],
    clip: T,
    decay: T,
    learning_rate: f64,
    updates: i32,
) {
    let [first_keep, second_keep] = BETAS.map(T::from_f64);
    let [first_take, second_take] = BETAS.map(|beta| T::from_f64(1.0 - beta));
    let rate = T::from_f64(learning_rate / (1.0 - BETAS[0].powi(updates)));
    let correction = T::from_f64((1.0 - BETAS[1].powi(updates)).sqrt());
    let epsilon = T::from_f64(EPSILON);
    let [first, second] = moments;
    parameter
        .par_chunks_mut(CHUNK)
        .zip(gradient.par_chunks(CHUNK))
        .zip(first.par_chunks_mut(CHUNK))
        .zip(second.par_chunks_mut(CHUNK))
        .for_each(|(((parameter, gradient), first), second)| {
            let numbers = parameter.iter_mut().zip(gradient).zip(first).zip(second);
            for (((parameter, &gradient), first), second) in numbers {
                let gradient = gradient * clip + decay * *parameter;
                *first = first_keep * *first + first_take * gradient;
                *second = second_keep * *second + second_take * gradient * gradient;
                *parameter -= rate * *first / (second.sqrt() / correction + epsilon);
            }
        });
}

/// Stochastic gradient descent with momentum.
fn descend<T: Real>(parameter: &mut [T], gradient: &[T], velocity: &mut [T], clip: T, decay: T, rate: T) {
    let keep = T::from_f64(SGD_MOMENTUM);
    parameter
        .par_chunks_mut(CHUNK)
        .zip(gradient.par_chunks(CHUNK))
        .zip(velocity.par_chunks_mut(CHUNK))
        .for_each(|((parameter, gradient), velocity)| {
            let numbers = parameter.iter_mut().zip(gradient).zip(velocity);
            for ((parameter, &gradient), velocity) in numbers {
                *velocity = keep * *velocity + gradient * clip + decay * *parameter;
                *parameter -= rate * *velocity;
            }
        });
}

/// The l2 norm of all gradients together.
pub(crate) fn gradient_norm<'a, T: Real>(gradients: impl Iterator<Item = &'a Tensor>) -> Result<f64, Error> {
    let mut total = 0.0;
    for gradient in gradients {
        let sums: Vec<f64> = read(gradient, |values: &[T]| {
            let squares = |chunk: &[T]| chunk.iter().map(|v| v.to_f64() * v.to_f64()).sum::<f64>();
            values.par_chunks(CHUNK).map(squares).collect()
        })?;
        total += sums.iter().sum::<f64>();
    }
    Ok(total.sqrt())
}

/// The factor that brings gradients of norm `norm` down to `limit`.
pub(crate) fn clip_factor(norm: f64, limit: f64) -> f64 {
    (limit / (norm + 1e-6)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn tensor(values: &[f64]) -> Tensor {
        Tensor::from_slice(values, values.len(), &Device::Cpu).unwrap()
    }

    #[test]
    fn the_first_adam_update_moves_by_the_learning_rate() {
        let parameter = tensor(&[1.0, -1.0, 0.0]);
        let gradient = tensor(&[0.5, -2.0, 0.0]);
        let mut state = OptimizerState::<f64>::new(Optimizer::Adam, [&parameter].into_iter());
        let update = Update { learning_rate: 0.1, weight_decay: 0.0, clip: 1.0 };
        state.update([(&parameter, &gradient)].into_iter(), &update).unwrap();
        let moved = parameter.to_vec1::<f64>().unwrap();
        for (moved, expected) in moved.iter().zip([0.9, -0.9, 0.0]) {
            assert!((moved - expected).abs() < 1e-7, "{moved} is not {expected}");
        }
    }

    #[test]
    fn sgd_gathers_momentum() {
        let parameter = tensor(&[0.0]);
        let gradient = tensor(&[1.0]);
        let mut state = OptimizerState::<f64>::new(Optimizer::Sgd, [&parameter].into_iter());
        let update = Update { learning_rate: 0.1, weight_decay: 0.0, clip: 0.5 };
        for _ in 0..2 {
            state.update([(&parameter, &gradient)].into_iter(), &update).unwrap();
        }
        let moved = parameter.to_vec1::<f64>().unwrap()[0];
        assert!((moved + 0.05 + 0.095).abs() < 1e-15, "{moved}");
    }

    #[test]
    fn small_gradients_are_not_clipped() {
        assert_eq!(clip_factor(0.5, 1.0), 1.0);
        assert!((clip_factor(4.0, 1.0) - 0.25).abs() < 1e-6);
    }
}
