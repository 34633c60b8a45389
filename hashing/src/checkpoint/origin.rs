//! What a run is trained on, so that a checkpoint is not gone on with on other pairs.

use std::sync::OnceLock;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use twinbit_kernels::Modality;

use crate::Error;
use crate::epoch::read;
use crate::image::Picture;
use crate::picture_trainer::PictureOf;
use crate::source::PairSource;
use crate::validation::Validation;

/// Pairs that are read at once.
const PAIRS_A_BLOCK: usize = 1024;

/// The number of pairs trained on, and a fingerprint of them, of the labels and of what is held out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    pub(super) training_pairs: usize,
    /// SHA-256 in hexadecimal digits.
    pub(super) fingerprint: String,
}

/// Finds the origin of a run when it is first asked for: that reads all pairs, for the checkpoint alone.
pub(crate) struct LazyOrigin<'a> {
    source: &'a dyn PairSource,
    training: &'a [u32],
    validation: &'a Validation<'a>,
    /// What the image features are computed of, where they are.
    pictures: Option<&'a PictureOf<'a>>,
    found: OnceLock<Origin>,
}

impl<'a> LazyOrigin<'a> {
    pub(crate) fn new(
        source: &'a dyn PairSource,
        training: &'a [u32],
        validation: &'a Validation<'a>,
    ) -> Self {
        Self { source, training, validation, pictures: None, found: OnceLock::new() }
    }

    /// The same for a run on pictures: `source` has no image features.
    pub(crate) fn of_pictures(self, pictures: &'a PictureOf<'a>) -> Self {
        Self { pictures: Some(pictures), ..self }
    }

    pub(super) fn get(&self) -> Result<&Origin, Error> {
        if let Some(origin) = self.found.get() {
            return Ok(origin);
        }
        let origin = self.find()?;
        Ok(self.found.get_or_init(|| origin))
    }

    fn find(&self) -> Result<Origin, Error> {
        let Self { source, training, validation, .. } = *self;
        let mut digest = Sha256::new();
        let mut number = |value: u64| digest.update(value.to_le_bytes());
        number(source.pairs() as u64);
        number(training.len() as u64);
        match validation {
            Validation::None => number(0),
            Validation::Labels(labels) => {
                number(1);
                labels.words().iter().copied().for_each(&mut number);
            }
            Validation::HeldOut(pairs) => {
                number(2);
                pairs.iter().for_each(|&pair| number(pair.into()));
            }
        }
        for modality in Modality::ALL {
            for pairs in training.chunks(PAIRS_A_BLOCK) {
                match (modality, self.pictures) {
                    (Modality::Image, Some(pictures)) => {
                        picture_digests(pairs, pictures)?.iter().for_each(|picture| digest.update(picture));
                    }
                    _ => {
                        // As the first epoch reads them: of several captions, the one that is drawn then.
                        let values = read(source, modality, pairs, 0)?;
                        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                        digest.update(bytes);
                    }
                }
            }
        }
        let digits = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Origin { training_pairs: training.len(), fingerprint: digits })
    }
}

/// The digest of each picture's size and colors.
fn picture_digests(pairs: &[u32], pictures: &PictureOf<'_>) -> Result<Vec<[u8; 32]>, Error> {
    let digest = |picture: Picture| {
        let mut digest = Sha256::new();
        [picture.width(), picture.height()].iter().for_each(|side| digest.update(side.to_le_bytes()));
        digest.update(picture.rgb());
        digest.finalize().into()
    };
    let failed = |source| Error::Source { modality: Modality::Image, source };
    pairs.par_iter().map(|&pair| pictures(pair).map(digest).map_err(failed)).collect()
}
