//! What makes texts into features.

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use twinbit_hashing::{TextFeaturizer, TextTower};

use crate::{Error, Modality, Result};

/// The text encoder of a collection, ready for use.
#[derive(Clone)]
pub(crate) enum TextEncoder {
    /// Fitted in training; travels in the model.
    Fitted(TextFeaturizer),
    /// Pretrained, from a folder.
    Tower(TextTower),
}

impl TextEncoder {
    /// Numbers of one text's features.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Fitted(featurizer) => featurizer.width(),
            Self::Tower(tower) => tower.width(),
        }
    }

    /// Writes the features of texts, row after row. Those of a tower are rounded to 16-bit floats, as image
    /// features are: training keeps them so.
    pub(crate) fn encode(&self, texts: &[&str], rows: &mut [f32]) -> Result<()> {
        match self {
            Self::Fitted(featurizer) => {
                let rows = rows.par_chunks_mut(featurizer.width().max(1)).zip(texts);
                Ok(rows.try_for_each(|(row, text)| featurizer.encode(text, row))?)
            }
            Self::Tower(_) => {
                self.half_rows(texts)?.convert_to_f32_slice(rows);
                Ok(())
            }
        }
    }

    /// The features of texts as 16-bit floats.
    pub(crate) fn half_rows(&self, texts: &[&str]) -> Result<Vec<f16>> {
        let values = match self {
            Self::Tower(tower) => tower.encode(texts)?,
            Self::Fitted(featurizer) => {
                let mut values = vec![0.0; texts.len() * featurizer.width()];
                self.encode(texts, &mut values)?;
                values
            }
        };
        let mut rounded = vec![f16::ZERO; values.len()];
        rounded.convert_from_f32_slice(&values);
        match rounded.iter().position(|value| !value.is_finite()) {
            None => Ok(rounded),
            Some(at) => {
                let row = at / self.width().max(1);
                Err(Error::Hashing(twinbit_hashing::Error::NotFinite { modality: Modality::Text, row }))
            }
        }
    }
}
