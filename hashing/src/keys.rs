//! Contrastive keys, as packed signs and as numbers.

use candle_core::{Device, Tensor};

use crate::Error;
use crate::bank::pack;
use crate::loss::contrastive::PackedKeys;
use crate::real::Real;

/// Keys of a warm-up step: sgn((h^x + h^y) / 2) of every pair of the batch, for each pair its own
/// first.
pub(crate) struct BatchKeys {
    signs: Vec<u8>,
    indices: Vec<u32>,
    samples: usize,
}

impl BatchKeys {
    pub(crate) fn new<T: Real>(outputs: [&[T]; 2], bits: usize) -> Self {
        let samples = outputs[0].len() / bits;
        let half = T::from_f64(0.5);
        let sides = outputs[0].iter().zip(outputs[1]);
        let means: Vec<T> = sides.map(|(&image, &text)| (image + text) * half).collect();
        let mut signs = vec![0; means.len() / 8];
        pack(&means, &mut signs);
        let count = samples as u32;
        let indices = (0..count)
            .flat_map(|own| std::iter::once(own).chain((0..count).filter(move |&other| other != own)))
            .collect();
        Self { signs, indices, samples }
    }

    pub(crate) fn packed(&self) -> PackedKeys<'_> {
        PackedKeys { signs: &self.signs, indices: &self.indices, keys: self.samples }
    }
}

/// Keys as numbers, sgn / sqrt(bits), of shape (samples, keys, bits).
pub(crate) fn unpack<T: Real>(keys: &PackedKeys<'_>, bits: usize) -> Result<Tensor, Error> {
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
    let samples = keys.indices.len() / keys.keys;
    Ok(Tensor::from_vec(values, (samples, keys.keys, bits), &Device::Cpu)?)
}
