//! The forward pass of a text tower.

use std::ops::Range;

use crate::image::{Activation, Pointwise};
use crate::transformer::{Layer, LayerNorm, Mask, Scratch};

/// Which tokens become the features of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pooling {
    /// The mean of all.
    Mean,
    /// The first one.
    First,
    /// The first one with this number, which ends a text; the last one where there is none.
    End(u32),
    /// The first one with the largest number.
    Largest,
}

/// Layers with their weights.
pub(super) struct Network {
    pub(super) width: usize,
    /// A row a token of the vocabulary.
    pub(super) tokens: Vec<f32>,
    /// A row a place in the text.
    pub(super) places: Vec<f32>,
    pub(super) first_norm: Option<LayerNorm>,
    pub(super) layers: Vec<Layer>,
    pub(super) mask: Mask,
    pub(super) pooling: Pooling,
    pub(super) last_norm: Option<LayerNorm>,
    pub(super) projection: Option<Pointwise>,
    /// Whether features are brought to length 1.
    pub(super) is_unit: bool,
}

impl Network {
    /// Numbers of a text's features.
    pub(super) fn outputs(&self) -> usize {
        self.projection.as_ref().map_or(self.width, Pointwise::outputs)
    }

    /// Writes the features of texts, given as tokens that are known and not too many, row after row.
    pub(super) fn features(&self, texts: &[Vec<u32>], scratch: &mut Scratch, features: &mut [f32]) {
        let width = self.width;
        let mut states = Vec::with_capacity(texts.iter().map(Vec::len).sum::<usize>() * width);
        let mut sequences: Vec<Range<usize>> = Vec::with_capacity(texts.len());
        for text in texts {
            let start = states.len() / width;
            for (token, place) in text.iter().zip(self.places.chunks_exact(width)) {
                let token = &self.tokens[*token as usize * width..][..width];
                states.extend(token.iter().zip(place).map(|(token, place)| token + place));
            }
            sequences.push(start..states.len() / width);
        }
        if let Some(norm) = &self.first_norm {
            norm.apply(&mut states);
        }
        for layer in &self.layers {
            layer.apply(&mut states, &sequences, self.mask, scratch);
        }
        let mut pooled = vec![0.0; texts.len() * width];
        for ((text, sequence), pooled) in texts.iter().zip(&sequences).zip(pooled.chunks_exact_mut(width)) {
            self.pool(text, &states[sequence.start * width..sequence.end * width], pooled);
        }
        if let Some(norm) = &self.last_norm {
            norm.apply(&mut pooled);
        }
        match &self.projection {
            Some(projection) => projection.apply(&pooled, features, Activation::None),
            None => features.copy_from_slice(&pooled),
        }
        if self.is_unit {
            features.chunks_exact_mut(self.outputs()).for_each(normalize);
        }
    }

    fn pool(&self, text: &[u32], states: &[f32], pooled: &mut [f32]) {
        let last = text.len() - 1;
        let chosen = match self.pooling {
            Pooling::Mean => {
                for state in states.chunks_exact(self.width) {
                    pooled.iter_mut().zip(state).for_each(|(sum, value)| *sum += value);
                }
                pooled.iter_mut().for_each(|sum| *sum /= text.len() as f32);
                return;
            }
            Pooling::First => 0,
            Pooling::End(end) => text.iter().position(|token| *token == end).unwrap_or(last),
            Pooling::Largest => {
                let largest = text.iter().max();
                text.iter().position(|token| Some(token) == largest).unwrap_or(last)
            }
        };
        pooled.copy_from_slice(&states[chosen * self.width..][..self.width]);
    }
}

/// Brings a row to length 1; one of zeros stays.
fn normalize(row: &mut [f32]) {
    let squares: f64 = row.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    let length = squares.sqrt() as f32;
    if length > 0.0 {
        row.iter_mut().for_each(|value| *value /= length);
    }
}
