//! Training from pictures: the backbone that computes their features trains along.

mod encoded;
mod steps;

use std::path::PathBuf;
use std::time::Instant;

use crate::Error;
use crate::checkpoint::{BackboneProgress, Checkpoint, Progress};
use crate::epoch::Epoch;
use crate::image::{ImageEncoder, Picture, TunableBackbone, tunable_file};
use crate::machine::TrainingMachine;
use crate::optimizer::OptimizerState;
use crate::processor::OnProcessor;
use crate::report::{EpochReport, Observer, Outcome};
use crate::run::Run;
use crate::schedule::learning_rate;
use crate::source::PairSource;
use crate::spec::ModelSpec;
use crate::trainer::Trainer;
use crate::validation::validate;
use encoded::Encoded;
use steps::Tuning;

/// Side that backbones were trained at.
const SIDE: usize = 224;
/// Pictures whose features are computed at once where no gradient follows.
const TOGETHER: usize = 16;

/// What a picture cannot be had for.
type Cause = Box<dyn std::error::Error + Send + Sync>;
/// The picture of a pair.
pub type PictureOf<'a> = dyn Fn(u32) -> Result<Picture, Cause> + Sync + 'a;

/// Trains a [`HashModel`](crate::HashModel) and the ResNet or VGG before its image network together.
///
/// Pictures are augmented: a random part, resized to 224 x 224, mirrored half of the time. In the
/// warm-up epochs the backbone is frozen and in evaluation mode; afterwards it trains at the same
/// learning rate, its gradients clipped together with the networks', with dropout of 0.5 in a VGG's
/// classifier. Validation encodes pictures as [`ImageEncoder`] does. Activations of a whole batch are
/// kept for the backward pass: choose the batch by your memory (`docs/backbones.md`).
#[derive(Clone, Debug)]
pub struct PictureTrainer {
    trainer: Trainer,
    folder: PathBuf,
    is_frozen: bool,
    /// Side of the squares that pictures are augmented to.
    side: usize,
}

/// What training from pictures leaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PictureOutcome {
    /// As of features; its model names the tuned backbone's id.
    pub outcome: Outcome,
    /// The tuned backbone of the same epoch: the bytes of a folder's `model.safetensors`. Where the
    /// backbone had not changed by then, the bytes are those of the folder that training began with.
    pub backbone: Vec<u8>,
}

impl PictureTrainer {
    /// Trains as `trainer` says, from the backbone of `folder`; see [`ImageEncoder::from_folder`].
    pub fn new(trainer: Trainer, folder: impl Into<PathBuf>) -> Self {
        Self { trainer, folder: folder.into(), is_frozen: false, side: SIDE }
    }

    /// Leaves the backbone as it is in all epochs: the hash networks alone train, on the features of
    /// augmented pictures.
    pub fn frozen(mut self) -> Self {
        self.is_frozen = true;
        self
    }

    /// Whether training could begin, for all that can be told without pairs.
    ///
    /// # Errors
    /// What is wrong with the settings or the folder, as [`fit`](Self::fit).
    pub fn check(&self) -> Result<(), Error> {
        if self.trainer.machine() != TrainingMachine::Processor {
            return Err(Error::BackboneOnCard);
        }
        self.trainer.config().validate()?;
        TunableBackbone::<f32>::from_bytes(&tunable_file(&self.folder)?)?;
        Ok(())
    }

    /// Trains on all pairs of `texts`, whose image features are not read: `pictures` gives the picture
    /// of each pair.
    ///
    /// # Errors
    /// As [`Trainer::fit`], as [`ImageEncoder::from_folder`], and [`Error::ImageWeights`] when the
    /// folder's network is neither a ResNet nor a VGG; [`Error::BackboneOnCard`] for a trainer on a card.
    pub fn fit(
        &self,
        texts: &dyn PairSource,
        pictures: &PictureOf<'_>,
        observer: &mut dyn Observer,
    ) -> Result<PictureOutcome, Error> {
        self.fit_from(tunable_file(&self.folder)?, None, texts, pictures, observer)
    }

    /// Goes on from a checkpoint, on the same pairs, from the same folder and with the same settings; the
    /// outcome equals that of an unbroken run bit for bit. What may differ is as for [`Trainer::resume`].
    ///
    /// # Errors
    /// [`Error::CheckpointMismatch`] naming what differs, and as [`fit`](Self::fit).
    pub fn resume(
        &self,
        checkpoint: Checkpoint,
        texts: &dyn PairSource,
        pictures: &PictureOf<'_>,
        observer: &mut dyn Observer,
    ) -> Result<PictureOutcome, Error> {
        self.fit_from(tunable_file(&self.folder)?, Some(checkpoint), texts, pictures, observer)
    }

    /// Trains from the backbone of a file.
    fn fit_from(
        &self,
        mut weights: Vec<u8>,
        checkpoint: Option<Checkpoint>,
        texts: &dyn PairSource,
        pictures: &PictureOf<'_>,
        observer: &mut dyn Observer,
    ) -> Result<PictureOutcome, Error> {
        if self.trainer.machine() != TrainingMachine::Processor {
            return Err(Error::BackboneOnCard);
        }
        let config = self.trainer.config();
        let mut backbone = TunableBackbone::from_bytes(&weights)?;
        let mut source = Encoded { texts, pictures, encoder: ImageEncoder::from_weights(&weights)? };
        let setup = self.trainer.set_up(&source)?;
        let origin = setup.origin(texts).of_pictures(pictures);
        // A run is told apart by the backbone that it began with.
        let began = naming(&setup.spec, source.encoder.id());
        let (mut run, state, optimizer, mut best) = match checkpoint {
            None => {
                let state = self.trainer.initialize(&setup.spec, setup.training.len())?;
                (Run::default(), state, OptimizerState::new(config.optimizer, backbone.parameters()), None)
            }
            Some(mut checkpoint) => {
                let saved = checkpoint.take_backbone(self.is_frozen)?;
                let (run, state) = checkpoint.into_run(config, &began, &origin, self.trainer.machine())?;
                backbone = TunableBackbone::from_bytes(&saved.file)?;
                source.encoder = ImageEncoder::from_weights(&saved.file)?;
                let optimizer = saved.optimizer(config.optimizer, backbone.parameters())?;
                weights = saved.file;
                (run, state, optimizer, saved.best)
            }
        };
        let mut learner = OnProcessor { state };
        let mut tuning = Tuning { seed: config.seed, side: self.side, pictures, backbone, optimizer };
        while !run.ended(config) {
            let begin = Instant::now();
            let number = run.epochs();
            let tunes = !self.is_frozen && number >= config.warmup_epochs;
            let rate = learning_rate(config.learning_rate, config.schedule, number, config.epochs);
            let pairs = setup.pairs(texts);
            let mut epoch = Epoch::new(config, &pairs, number, rate, observer);
            let frozen = (!tunes).then_some(&source.encoder);
            tuning.steps(&mut learner.state, &mut epoch, frozen)?;
            let (loss, step_ms) = epoch.end();
            if tunes {
                weights = tuning.backbone.to_bytes()?;
                source.encoder = ImageEncoder::from_weights(&weights)?;
            }
            let report = EpochReport {
                epoch: number + 1,
                loss,
                validation: validate(&setup.validation, &learner, &source, &setup.training)?,
                seconds: begin.elapsed().as_secs_f64(),
                step_ms,
                learning_rate: rate,
            };
            let spec = naming(&setup.spec, source.encoder.id());
            run.finish_epoch(report.clone(), &learner, &spec, self.trainer.text_featurizer())?;
            if run.best.as_ref().is_some_and(|best| best.epoch == report.epoch) {
                best = Some(weights.clone());
            }
            let backbone = BackboneProgress {
                is_frozen: self.is_frozen,
                file: &weights,
                optimizer: &tuning.optimizer,
                best: best.as_deref(),
            };
            let progress = Progress::new(config, &began, &origin, &run, &learner, self.trainer.machine());
            observer
                .on_checkpoint(&progress.with_backbone(backbone))
                .map_err(|source| Error::CheckpointNotKept { source })?;
            if observer.on_epoch(&report).is_break() {
                return Err(Error::Canceled);
            }
        }
        let spec = naming(&setup.spec, source.encoder.id());
        let outcome = self.trainer.finish(run, &learner, &setup, &spec, texts.pairs())?;
        Ok(PictureOutcome { outcome, backbone: best.unwrap_or(weights) })
    }
}

/// A specification that names this encoder.
fn naming(spec: &ModelSpec, encoder: &str) -> ModelSpec {
    ModelSpec { image_featurizer: encoder.into(), ..spec.clone() }
}

#[cfg(test)]
mod tests;
