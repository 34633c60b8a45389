//! Checkpoints of training: a run written down between two epochs, to be gone on with later.
//!
//! The file is safetensors. Its numbers are those of training, float32, so that a run that goes on
//! from it computes what the unbroken one would have.
//!
//! | part | contents |
//! |---|---|
//! | metadata `twinbit-checkpoint` | JSON: `version`, `spec`, `config`, what the run was trained on and by, counters |
//! | `reports` | float64 (epochs, 8): the epochs so far |
//! | `image.layers.I.weight`, `.bias`, `text.layers.I...` | float32, weights (outputs, inputs) |
//! | `first_moment.NAME`, `second_moment.NAME` | float32: the optimizer's; the second with Adam only |
//! | `bank` | float32 (pairs, bits): the memory bank |
//! | `best_model` | optional, bytes: the model file of the best epoch so far |
//! | `backbone` | with a backbone that trains along, bytes: its file, running statistics included |
//! | `backbone.first_moment`, `.second_moment` | float32: its optimizer's, parameter after parameter in the order of their names |
//! | `best_backbone` | beside `best_model`, bytes: its file of that epoch |
//! | `sha256` | 32 bytes: the digest of every byte before them |
//!
//! The random state is the seed in `config` and the number of epochs: every draw is a function of
//! seed, purpose and counter.

mod backbone;
mod header;
mod origin;
mod reading;
mod writing;

use safetensors::tensor::Dtype;
use twinbit_kernels::Modality;

use crate::Error;
use crate::bank::MemoryBank;
use crate::config::{Optimizer, Schedule, TrainConfig};
use crate::machine::TrainingMachine;
use crate::net::{Layer, Network, parameter_name};
use crate::optimizer::OptimizerState;
use crate::run::{Best, Run};
use crate::spec::ModelSpec;
use crate::step::{StepSettings, TrainingState};
use header::Header;

pub(crate) use backbone::{BackboneProgress, SavedBackbone};
pub(crate) use origin::LazyOrigin;
pub use reading::Checkpoint;
pub use writing::Progress;

/// Version of the layout. It stays 0, without an upgrade path, until twinbit 0.1.
const VERSION: u32 = 0;
/// Key of our metadata.
const METADATA: &str = "twinbit-checkpoint";
/// Numbers of an epoch's report: epoch, loss, seconds, milliseconds a step, learning rate, whether it
/// was validated, and the two scores.
const REPORT_NUMBERS: usize = 8;
/// Bytes of the digest at the end.
const DIGEST_BYTES: usize = 32;

/// What the tensors of a file must be, in their order.
fn layout(header: &Header, best_model_bytes: Option<usize>) -> Vec<(String, Dtype, Vec<usize>)> {
    let spec = &header.spec;
    let mut layout = vec![("reports".to_owned(), Dtype::F64, vec![header.epochs as usize, REPORT_NUMBERS])];
    for group in groups(header.config.optimizer) {
        for modality in Modality::ALL {
            for (index, (outputs, inputs)) in spec.shapes(modality).into_iter().enumerate() {
                let name = |part| format!("{group}{}", parameter_name(modality, 2 * index + part));
                layout.push((name(0), Dtype::F32, vec![outputs, inputs]));
                layout.push((name(1), Dtype::F32, vec![outputs]));
            }
        }
    }
    layout.push(("bank".to_owned(), Dtype::F32, vec![header.origin.training_pairs, spec.bits.bits()]));
    if let Some(bytes) = best_model_bytes {
        layout.push(("best_model".to_owned(), Dtype::U8, vec![bytes]));
    }
    if let Some(backbone) = &header.backbone {
        layout.extend(backbone.layout(header.config.optimizer));
    }
    layout.push(("sha256".to_owned(), Dtype::U8, vec![DIGEST_BYTES]));
    layout
}

/// Prefixes of the groups of tensors that have the networks' shapes: the weights, then the moments.
fn groups(optimizer: Optimizer) -> &'static [&'static str] {
    match optimizer {
        Optimizer::Adam => &["", "first_moment.", "second_moment."],
        Optimizer::Sgd => &["", "first_moment."],
    }
}

impl Checkpoint {
    /// The run and its state as they were, if it is one of these settings on these pairs and by this machine.
    pub(crate) fn into_run(
        self,
        config: &TrainConfig,
        spec: &ModelSpec,
        origin: &LazyOrigin<'_>,
        machine: TrainingMachine,
    ) -> Result<(Run, TrainingState<f32>), Error> {
        let Self { header, reports, weights, first, mut second, bank, best_model, backbone: _ } = self;
        header.check(config, spec, origin, machine)?;
        let mut weights = weights.into_iter();
        let mut network = |modality| {
            let layers = spec.shapes(modality).into_iter().map(|(outputs, inputs)| {
                let mut next = || weights.next().unwrap_or_default();
                Layer { inputs, outputs, weight: next(), bias: next() }
            });
            Network::new(layers.collect())
        };
        let networks = [network(Modality::Image)?, network(Modality::Text)?];
        second.resize(first.len(), Vec::new());
        let moments = first.into_iter().zip(second).map(|(first, second)| [first, second]).collect();
        let optimizer = OptimizerState::restored(config.optimizer, header.updates, moments);
        let settings = StepSettings::from(config);
        let bank = MemoryBank::new(spec.bits, bank)?;
        let state = TrainingState::restored(settings, networks, bank, optimizer)?;
        let best = header.best_epoch.zip(best_model).map(|(epoch, model)| Best { epoch, model });
        Ok((Run { reports, best }, state))
    }
}

impl Checkpoint {
    /// Takes the backbone out, if it is one of a run that freezes it or not, as told.
    pub(crate) fn take_backbone(&mut self, is_frozen: bool) -> Result<SavedBackbone, Error> {
        let told = |is_frozen: Option<bool>| match is_frozen {
            None => "none: the run is on features",
            Some(false) => "trained along",
            Some(true) => "frozen",
        };
        let saved = self.backbone.as_ref().map(|backbone| backbone.header.is_frozen);
        match self.backbone.take() {
            Some(backbone) if saved == Some(is_frozen) => Ok(backbone),
            _ => Err(Error::CheckpointMismatch {
                what: "backbone".to_owned(),
                saved: told(saved).to_owned(),
                given: told(Some(is_frozen)).to_owned(),
            }),
        }
    }
}

impl Header {
    /// Whether a run with these settings on these pairs by this machine is the one the file is of.
    fn check(
        &self,
        config: &TrainConfig,
        spec: &ModelSpec,
        origin: &LazyOrigin<'_>,
        machine: TrainingMachine,
    ) -> Result<(), Error> {
        let mismatch = |what: &str, saved: String, given: String| {
            Err(Error::CheckpointMismatch { what: what.to_owned(), saved, given })
        };
        if config.epochs < self.epochs {
            return mismatch("number of epochs done", self.epochs.to_string(), config.epochs.to_string());
        }
        // These do not change what the epochs so far computed.
        let free = TrainConfig {
            patience: config.patience,
            epochs: if config.schedule == Schedule::Step { config.epochs } else { self.config.epochs },
            ..self.config.clone()
        };
        if let Some((what, saved, given)) = header::difference(&free, config)? {
            return mismatch(&what, saved, given);
        }
        if let Some((what, saved, given)) = header::difference(&self.spec, spec)? {
            return mismatch(&what, saved, given);
        }
        if self.machine != machine {
            // The rest of the run would draw otherwise than its beginning.
            return mismatch("machine", self.machine.to_string(), machine.to_string());
        }
        let origin = origin.get()?;
        if self.origin.training_pairs != origin.training_pairs {
            let (saved, given) = (self.origin.training_pairs, origin.training_pairs);
            return mismatch("number of training pairs", saved.to_string(), given.to_string());
        }
        if self.origin != *origin {
            let (saved, given) = (self.origin.fingerprint.clone(), origin.fingerprint.clone());
            return mismatch("fingerprint of the pairs and labels", saved, given);
        }
        Ok(())
    }
}

fn malformed(reason: impl Into<String>) -> Error {
    Error::Checkpoint { reason: reason.into() }
}

#[cfg(test)]
mod tests;
