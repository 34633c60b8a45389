//! Scoring an epoch, so that the best one can be kept.

use twinbit_kernels::{CodesBuf, Modality};

use crate::Error;
use crate::epoch::read;
use crate::labels::Labels;
use crate::learner::Learner;
use crate::metrics::{mean_average_precision, recall_at};
use crate::record::Measure;
use crate::report::Scores;
use crate::source::PairSource;

/// Training pairs that labels are validated on, and pairs held out when there are none.
pub(crate) const VALIDATION_PAIRS: usize = 2000;
/// Pairs that are encoded together.
pub(crate) const ROWS_AT_ONCE: usize = 256;
/// Cut-off of the validation's recall.
const RECALL_AT: usize = 10;

/// How epochs are compared.
pub(crate) enum Validation<'a> {
    Labels(&'a Labels),
    HeldOut(Vec<u32>),
    None,
}

impl Validation<'_> {
    /// What its scores are.
    pub(crate) fn measure(&self) -> Option<Measure> {
        match self {
            Self::Labels(_) => Some(Measure::MeanAveragePrecision),
            Self::HeldOut(_) => Some(Measure::RecallAt10),
            Self::None => None,
        }
    }
}

/// Scores of the weights as they are; none without a validation set.
pub(crate) fn validate(
    validation: &Validation<'_>,
    learner: &dyn Learner,
    source: &dyn PairSource,
    training: &[u32],
) -> Result<Option<Scores>, Error> {
    match validation {
        Validation::None => Ok(None),
        Validation::Labels(labels) => {
            let pairs = &training[..training.len().min(VALIDATION_PAIRS)];
            let labels = labels.first(pairs.len());
            let image = encode(learner, source, Modality::Image, pairs)?;
            let text = encode(learner, source, Modality::Text, pairs)?;
            let map = |queries: &CodesBuf, database: &CodesBuf| {
                mean_average_precision(queries.as_codes(), &labels, database.as_codes(), &labels)
            };
            Ok(Some(Scores { image_to_text: map(&image, &text)?, text_to_image: map(&text, &image)? }))
        }
        Validation::HeldOut(pairs) => {
            let image = encode(learner, source, Modality::Image, pairs)?;
            let text = encode(learner, source, Modality::Text, pairs)?;
            let recall = |queries: &CodesBuf, database: &CodesBuf| {
                let right = |query: usize| [query as u32];
                recall_at(queries.as_codes(), database.as_codes(), right, &[RECALL_AT])
                    .map(|recalls| recalls[0].1)
            };
            Ok(Some(Scores { image_to_text: recall(&image, &text)?, text_to_image: recall(&text, &image)? }))
        }
    }
}

/// Codes of the pairs under the weights as they are; captions are those of epoch 0.
fn encode(
    learner: &dyn Learner,
    source: &dyn PairSource,
    modality: Modality,
    pairs: &[u32],
) -> Result<CodesBuf, Error> {
    let mut encode = learner.encoder(modality)?;
    let mut blocks = pairs.chunks(ROWS_AT_ONCE);
    let mut next = |pairs: &[u32]| encode(read(source, modality, pairs, 0)?);
    let mut codes = next(blocks.next().unwrap_or_default())?;
    for pairs in blocks {
        codes.append(next(pairs)?.as_codes())?;
    }
    Ok(codes)
}
