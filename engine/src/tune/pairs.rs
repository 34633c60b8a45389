//! Pictures and their texts in memory.

use std::error::Error as StdError;
use std::ops::Range;

use rayon::prelude::*;
use twinbit_hashing::{DecodeLimits, PairSource, Picture, TextFeaturizer};

use crate::drawn_text::DrawnTexts;
use crate::text_encoder::TextEncoder;
use crate::text_rows::TextRows;
use crate::{Error, Modality, Result};

/// Pairs of a picture, compressed as it came, and its texts.
pub(super) struct PicturePairs {
    pictures: Vec<Vec<u8>>,
    texts: Vec<String>,
    /// Which of `texts` stands for a picture.
    drawn: DrawnTexts,
    features: TextFeatures,
}

/// Where the features of texts come from.
enum TextFeatures {
    /// Nowhere yet.
    None,
    /// Made of the text each time.
    Fitted(TextFeaturizer),
    /// Made before, in the order of `texts`.
    Rows(TextRows),
}

impl PicturePairs {
    pub(super) fn new(pairs: impl Iterator<Item = (Vec<u8>, Vec<String>)>, seed: u64) -> Self {
        let (mut pictures, mut all, mut drawn) = (Vec::new(), Vec::new(), DrawnTexts::new(seed));
        for (picture, texts) in pairs {
            pictures.push(picture);
            drawn.push(texts.len());
            all.extend(texts);
        }
        Self { pictures, texts: all, drawn, features: TextFeatures::None }
    }

    pub(super) fn count(&self) -> usize {
        self.pictures.len()
    }

    /// All texts of the pairs.
    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }

    pub(super) fn with_featurizer(self, featurizer: TextFeaturizer) -> Self {
        Self { features: TextFeatures::Fitted(featurizer), ..self }
    }

    /// Makes the features of all texts once.
    pub(super) fn with_encoder(self, encoder: &TextEncoder) -> Result<Self> {
        let texts = |range: Range<usize>| Ok(self.texts.get(range).unwrap_or_default().to_vec());
        let rows = TextRows::encode(encoder, self.texts.len(), texts, &std::env::temp_dir())?;
        Ok(Self { features: TextFeatures::Rows(rows), ..self })
    }

    /// The picture of a pair.
    pub(super) fn picture(&self, pair: u32) -> Result<Picture, Box<dyn StdError + Send + Sync>> {
        let bytes = self.pictures.get(pair as usize).ok_or_else(no_such_pair)?;
        Ok(Picture::decode(bytes, &DecodeLimits::default())?)
    }

    fn write(&self, pair: u32, epoch: u32, out: &mut [f32]) -> Result<()> {
        let text = self.drawn.draw(pair, epoch).ok_or_else(no_such_pair)?;
        match &self.features {
            TextFeatures::Rows(rows) => rows.read(text, out),
            TextFeatures::Fitted(featurizer) => {
                Ok(featurizer.encode(self.texts.get(text).ok_or_else(no_such_pair)?, out)?)
            }
            TextFeatures::None => Err(Error::Training { reason: "texts need a text encoder" }),
        }
    }
}

impl PairSource for PicturePairs {
    fn pairs(&self) -> usize {
        self.pictures.len()
    }

    fn width(&self, modality: Modality) -> usize {
        match (modality, &self.features) {
            (Modality::Text, TextFeatures::Fitted(featurizer)) => featurizer.width(),
            (Modality::Text, TextFeatures::Rows(rows)) => rows.width(),
            // The trainer makes the features of pictures.
            _ => 0,
        }
    }

    fn varies(&self, modality: Modality) -> bool {
        modality == Modality::Text && self.drawn.vary()
    }

    fn read(
        &self,
        modality: Modality,
        pairs: &[u32],
        epoch: u32,
        out: &mut [f32],
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        if modality == Modality::Image {
            return Err(
                Error::Training { reason: "pictures have no features before they are trained on" }.into()
            );
        }
        let width = self.width(modality).max(1);
        let rows = out.par_chunks_mut(width).zip(pairs);
        Ok(rows.try_for_each(|(out, &pair)| self.write(pair, epoch, out))?)
    }
}

/// Training asks for pairs that were never announced.
fn no_such_pair() -> Error {
    Error::Training { reason: "there is no pair of this number" }
}
