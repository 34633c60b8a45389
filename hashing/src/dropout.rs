//! Dropout (Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, JMLR 15, 2014): in training every
//! feature and every hidden activation is left out with some probability, and the rest is scaled up.
//!
//! Which ones is a function of the seed, the step, the network and the layer, so that a resumed run
//! leaves out the same ones, whatever the number of threads.

use rand_chacha::rand_core::RngCore;
use rayon::prelude::*;
use twinbit_kernels::Modality;

use crate::random::{Purpose, stream};
use crate::real::Real;

/// Numbers that share a random stream.
const CHUNK: usize = 1 << 14;
/// One random byte decides on a number.
const BYTES: f64 = 256.0;

/// What one network leaves out in one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout {
    seed: u64,
    /// Tells step and network apart.
    pass: u64,
    /// Of 256 values of a byte, how many leave a number out.
    out: u8,
}

impl Dropout {
    /// Leaves numbers out with this probability, rounded to a 256th; nothing when that is zero.
    pub(crate) fn new(probability: f64, seed: u64, step: i32, modality: Modality) -> Option<Self> {
        let out = (probability * BYTES).round().clamp(0.0, BYTES - 1.0) as u8;
        let pass = u64::from(step.unsigned_abs()) << 1 | modality.index() as u64;
        (out > 0).then_some(Self { seed, pass, out })
    }

    /// What the numbers that stay are multiplied by.
    pub(crate) fn scale<T: Real>(&self) -> T {
        T::from_f64(BYTES / (BYTES - f64::from(self.out)))
    }

    /// Zeroes some of the inputs of a layer, row-major, and scales the others up.
    pub(crate) fn apply<T: Real>(&self, layer: usize, values: &mut [T]) {
        let scale = self.scale::<T>();
        values.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, values)| {
            // 4 bits for the layer and 20 for the chunk: more than the largest network fills.
            let counter = (self.pass << 4 | layer as u64) << 20 | chunk as u64;
            let mut bytes = [0; CHUNK];
            stream(self.seed, Purpose::Dropout, counter).fill_bytes(&mut bytes[..values.len()]);
            for (value, byte) in values.iter_mut().zip(bytes) {
                *value = if byte < self.out { T::zero() } else { *value * scale };
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(step: i32, modality: Modality, layer: usize) -> Vec<f64> {
        let mut values = vec![1.0; 3 * CHUNK];
        Dropout::new(0.25, 7, step, modality).unwrap().apply(layer, &mut values);
        values
    }

    #[test]
    fn a_quarter_is_left_out_and_the_mean_stays() {
        let values = dropped(3, Modality::Image, 0);
        let out = values.iter().filter(|&&value| value == 0.0).count() as f64 / values.len() as f64;
        assert!((out - 0.25).abs() < 0.01, "{out}");
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
    }

    #[test]
    fn step_network_layer_and_place_decide() {
        let first = dropped(3, Modality::Image, 0);
        assert_eq!(first, dropped(3, Modality::Image, 0));
        assert_ne!(first, dropped(4, Modality::Image, 0));
        assert_ne!(first, dropped(3, Modality::Text, 0));
        assert_ne!(first, dropped(3, Modality::Image, 1));
        assert_ne!(first[..CHUNK], first[CHUNK..2 * CHUNK]);
    }

    #[test]
    fn without_a_probability_there_is_none() {
        assert!(Dropout::new(0.0, 7, 1, Modality::Image).is_none());
    }
}
