//! The training pairs of a snapshot.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::ops::Range;

use rayon::prelude::*;
use twinbit_hashing::{PairSource, TextFeaturizer};

use crate::drawn_text::DrawnTexts;
use crate::encode::{Kept, write_features};
use crate::install::stored_input;
use crate::rows::live_rows;
use crate::snapshot::Snapshot;
use crate::text_encoder::TextEncoder;
use crate::text_rows::TextRows;
use crate::{Error, Modality, RecordId, Result};

/// A row of a part.
type Row = (u32, u32);

/// Images with their texts, read from the snapshot as training asks for them.
pub(crate) struct StoredPairs<'a> {
    snapshot: &'a Snapshot,
    images: Vec<Row>,
    texts: Vec<Row>,
    /// Which of `texts` stands for an image.
    drawn: DrawnTexts,
    features: TextFeatures,
}

/// Where the features of texts come from.
enum TextFeatures {
    /// They are what is kept.
    Kept,
    /// Made of the text each time.
    Fitted(TextFeaturizer),
    /// Made before, in the order of `texts`.
    Rows(TextRows),
}

impl<'a> StoredPairs<'a> {
    /// The records with an image and at least one text, in the order of their writes.
    pub(crate) fn of(snapshot: &'a Snapshot, seed: u64) -> Result<Self> {
        if !snapshot.schema().keeps_inputs() {
            return Err(Error::InputsNotKept {
                collection: snapshot.name().to_owned(),
                consequence: "it cannot be trained on; give the trainer the features themselves",
            });
        }
        let rows = live_rows(snapshot)?;
        let mut texts: HashMap<u64, Vec<Row>> = HashMap::new();
        for row in rows.iter().filter(|row| row.has_text) {
            let texts = texts.entry(row.group).or_default();
            // A record's own text comes first, whenever its captions were written.
            let at = if row.ordinal == row.group { 0 } else { texts.len() };
            texts.insert(at, (row.part, row.row));
        }
        let mut pairs = Self {
            snapshot,
            images: Vec::new(),
            texts: Vec::new(),
            drawn: DrawnTexts::new(seed),
            features: TextFeatures::Kept,
        };
        for row in rows.iter().filter(|row| row.has_image) {
            if let Some(texts) = texts.get(&row.ordinal) {
                pairs.images.push((row.part, row.row));
                pairs.texts.extend(texts);
                pairs.drawn.push(texts.len());
            }
        }
        Ok(pairs)
    }

    pub(crate) fn with_featurizer(self, featurizer: TextFeaturizer) -> Self {
        Self { features: TextFeatures::Fitted(featurizer), ..self }
    }

    /// Makes the features of all texts once.
    pub(crate) fn with_encoder(self, encoder: &TextEncoder) -> Result<Self> {
        let texts = |range: Range<usize>| self.texts_in(self.texts.get(range).unwrap_or_default());
        let folder = self.snapshot.database().path();
        let rows = TextRows::encode(encoder, self.texts.len(), texts, folder)?;
        Ok(Self { features: TextFeatures::Rows(rows), ..self })
    }

    /// Ids of the records with the images.
    pub(crate) fn ids(&self) -> Result<Vec<RecordId>> {
        let id = |&(part, row): &Row| {
            let part = self.snapshot.parts().get(part as usize).ok_or_else(gone)?;
            Ok(part.id(row)?)
        };
        self.images.iter().map(id).collect()
    }

    /// All texts of the pairs.
    pub(crate) fn texts(&self) -> Result<Vec<String>> {
        self.texts_in(&self.texts)
    }

    fn texts_in(&self, rows: &[Row]) -> Result<Vec<String>> {
        let text = |&row: &Row| match self.input(Modality::Text, row)? {
            Kept::Text(text) => Ok(text.into_owned()),
            Kept::Features(_) => Err(gone()),
        };
        rows.par_iter().map(text).collect()
    }

    fn input(&self, modality: Modality, (part, row): Row) -> Result<Kept<'a>> {
        let part = self.snapshot.parts().get(part as usize).ok_or_else(gone)?;
        stored_input(part, modality, row)?.ok_or_else(gone)
    }

    fn write(&self, modality: Modality, pair: u32, epoch: u32, out: &mut [f32]) -> Result<()> {
        let row = match modality {
            Modality::Image => self.images.get(pair as usize),
            Modality::Text => {
                let text = self.drawn.draw(pair, epoch).ok_or_else(gone)?;
                if let TextFeatures::Rows(rows) = &self.features {
                    return rows.read(text, out);
                }
                self.texts.get(text)
            }
        };
        match (self.input(modality, *row.ok_or_else(gone)?)?, &self.features) {
            (Kept::Features(values), _) => write_features(&values, out),
            (Kept::Text(text), TextFeatures::Fitted(featurizer)) => featurizer.encode(&text, out)?,
            (Kept::Text(_), _) => return Err(Error::Training { reason: "texts need a text encoder" }),
        }
        Ok(())
    }
}

impl PairSource for StoredPairs<'_> {
    fn pairs(&self) -> usize {
        self.images.len()
    }

    fn width(&self, modality: Modality) -> usize {
        match (modality, &self.features) {
            (Modality::Text, TextFeatures::Fitted(featurizer)) => featurizer.width(),
            (Modality::Text, TextFeatures::Rows(rows)) => rows.width(),
            _ => self.snapshot.schema().width(modality).unwrap_or(0),
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
        let width = self.width(modality).max(1);
        out.par_chunks_mut(width)
            .zip(pairs)
            .try_for_each(|(out, &pair)| self.write(modality, pair, epoch, out))?;
        Ok(())
    }
}

/// A pair names a row that its own snapshot lacks: the data contradicts itself.
fn gone() -> Error {
    Error::Training { reason: "a stored input cannot be found again; run verify" }
}
