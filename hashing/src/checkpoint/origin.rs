//! What a run is trained on, so that a checkpoint is not gone on with on other pairs.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use twinbit_kernels::Modality;

use crate::Error;
use crate::epoch::read;
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
    found: OnceLock<Origin>,
}

impl<'a> LazyOrigin<'a> {
    pub(crate) fn new(
        source: &'a dyn PairSource,
        training: &'a [u32],
        validation: &'a Validation<'a>,
    ) -> Self {
        Self { source, training, validation, found: OnceLock::new() }
    }

    pub(super) fn get(&self) -> Result<&Origin, Error> {
        if let Some(origin) = self.found.get() {
            return Ok(origin);
        }
        let origin = Origin::of(self.source, self.training, self.validation)?;
        Ok(self.found.get_or_init(|| origin))
    }
}

impl Origin {
    fn of(source: &dyn PairSource, training: &[u32], validation: &Validation<'_>) -> Result<Self, Error> {
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
                // As the first epoch reads them: of several captions, the one that is drawn then.
                let values = read(source, modality, pairs, 0)?;
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                digest.update(bytes);
            }
        }
        let digits = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { training_pairs: training.len(), fingerprint: digits })
    }
}
