//! Contrastive keys: from the bank or the batch, as packed signs or as numbers.

use candle_core::{Device, Tensor};

use crate::Error;
use crate::bank::{MemoryBank, normalize, pack};
use crate::config::KeySource;
use crate::loss::Differentiated;
use crate::loss::contrastive::{self, PackedKeys};
use crate::loss::dense::{self, DenseKeys};
use crate::real::Real;
use crate::step::Keys;

/// Keys of a warm-up step: the means (h^x + h^y) / 2 of every pair of the batch, for each pair its own
/// first. Their signs are what counts, and with continuous keys their directions.
pub(crate) struct BatchKeys<T> {
    means: Vec<T>,
    signs: Vec<u8>,
    indices: Vec<u32>,
    samples: usize,
}

impl<T: Real> BatchKeys<T> {
    pub(crate) fn new(outputs: [&[T]; 2], bits: usize) -> Self {
        let samples = outputs[0].len() / bits;
        let half = T::from_f64(0.5);
        let sides = outputs[0].iter().zip(outputs[1]);
        let mut means: Vec<T> = sides.map(|(&image, &text)| (image + text) * half).collect();
        let mut signs = vec![0; means.len() / 8];
        pack(&means, &mut signs);
        means.chunks_exact_mut(bits).for_each(|mean| {
            // A pair whose outputs cancel out has a key without direction, as far from all.
            normalize(mean);
        });
        let count = samples as u32;
        let indices = (0..count)
            .flat_map(|own| std::iter::once(own).chain((0..count).filter(move |&other| other != own)))
            .collect();
        Self { means, signs, indices, samples }
    }
}

/// Keys of a step in the form that the loss takes.
pub(crate) enum StepKeys<'a, T> {
    Packed(PackedKeys<'a>),
    Dense(DenseKeys<'a, T>),
}

impl<'a, T: Real> StepKeys<'a, T> {
    /// The keys that `keys` names: rows of the bank, or those of the batch.
    pub(crate) fn new(
        source: KeySource,
        keys: Keys<'a>,
        bank: &'a MemoryBank<T>,
        batch: &'a BatchKeys<T>,
    ) -> Self {
        let (signs, values, indices) = match keys {
            Keys::Bank(indices) => (bank.signs(), bank.values(), indices),
            Keys::Batch => (&batch.signs[..], &batch.means[..], &batch.indices[..]),
        };
        let keys = indices.len() / batch.samples;
        match source {
            KeySource::Continuous => Self::Dense(DenseKeys { values, indices, keys }),
            KeySource::Binary | KeySource::Batch => Self::Packed(PackedKeys { signs, indices, keys }),
        }
    }

    /// The contrastive loss and its gradient; `targets` are those of each pair's first keys.
    pub(crate) fn fused(
        &self,
        outputs: [&[T]; 2],
        bits: usize,
        targets: &[T],
        temperature: f64,
    ) -> Differentiated<T> {
        match self {
            Self::Packed(keys) => contrastive::fused(outputs, bits, keys, targets, temperature),
            Self::Dense(keys) => dense::fused(outputs, bits, keys, targets, temperature),
        }
    }

    /// The keys as numbers of unit norm, of shape (samples, keys, bits).
    pub(crate) fn unpack(&self, bits: usize) -> Result<Tensor, Error> {
        let (values, keys) = match self {
            Self::Packed(packed) => (unpack_signs(packed, bits), packed.keys),
            Self::Dense(dense) => {
                let rows = dense.indices.iter().map(|&index| index as usize * bits);
                (rows.flat_map(|at| &dense.values[at..at + bits]).copied().collect(), dense.keys)
            }
        };
        let samples = values.len() / (keys * bits);
        Ok(Tensor::from_vec(values, (samples, keys, bits), &Device::Cpu)?)
    }
}

/// sgn / sqrt(bits), key after key.
fn unpack_signs<T: Real>(keys: &PackedKeys<'_>, bits: usize) -> Vec<T> {
    let size = T::from_f64(1.0 / (bits as f64).sqrt());
    let bytes = bits / 8;
    let mut values = Vec::with_capacity(keys.indices.len() * bits);
    for &index in keys.indices {
        let at = index as usize * bytes;
        for &byte in &keys.signs[at..at + bytes] {
            let sign = |bit: u8| if (byte >> (7 - bit)) & 1 == 1 { size } else { T::zero() - size };
            values.extend((0..8).map(sign));
        }
    }
    values
}
