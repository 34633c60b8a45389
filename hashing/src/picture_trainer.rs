//! Training from pictures: the backbone that computes their features trains along.

use std::path::PathBuf;
use std::time::Instant;

use rayon::prelude::*;
use twinbit_kernels::Modality;

use crate::Error;
use crate::dropout::Dropout;
use crate::epoch::{Epoch, TrainingPairs, read};
use crate::image::{CLASSIFIER_DROPOUT, ImageEncoder, Mode, Picture, TunableBackbone, augment};
use crate::in_place;
use crate::machine::TrainingMachine;
use crate::optimizer::{OptimizerState, Update, clip_factor, gradient_norm};
use crate::processor::OnProcessor;
use crate::random::{Purpose, stream};
use crate::report::{EpochReport, Observer, Outcome};
use crate::run::Run;
use crate::schedule::learning_rate;
use crate::source::PairSource;
use crate::spec::ModelSpec;
use crate::step::{Batch, Keys, TrainingState};
use crate::trainer::Trainer;
use crate::validation::validate;

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
/// kept for the backward pass, some 150 MB a picture for a ResNet-50: choose the batch by your memory.
#[derive(Clone, Debug)]
pub struct PictureTrainer {
    trainer: Trainer,
    folder: PathBuf,
    /// Side of the squares that pictures are augmented to.
    side: usize,
}

/// What training from pictures leaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PictureOutcome {
    /// As of features; its model names the tuned backbone's id.
    pub outcome: Outcome,
    /// The tuned backbone of the same epoch: the bytes of a folder's `model.safetensors`.
    pub backbone: Vec<u8>,
}

impl PictureTrainer {
    /// Trains as `trainer` says, from the backbone of `folder`; see [`ImageEncoder::from_folder`].
    pub fn new(trainer: Trainer, folder: impl Into<PathBuf>) -> Self {
        Self { trainer, folder: folder.into(), side: SIDE }
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
        self.fit_from(TunableBackbone::from_folder(&self.folder)?, texts, pictures, observer)
    }

    fn fit_from(
        &self,
        backbone: TunableBackbone<f32>,
        texts: &dyn PairSource,
        pictures: &PictureOf<'_>,
        observer: &mut dyn Observer,
    ) -> Result<PictureOutcome, Error> {
        if self.trainer.machine() != TrainingMachine::Processor {
            return Err(Error::BackboneOnCard);
        }
        let config = self.trainer.config();
        let optimizer = OptimizerState::new(config.optimizer, backbone.parameters());
        let mut weights = backbone.to_bytes()?;
        let mut kept = (weights.clone(), String::new());
        let mut source = Encoded { texts, pictures, encoder: ImageEncoder::from_weights(&weights)? };
        let setup = self.trainer.set_up(&source)?;
        let state = self.trainer.initialize(&setup.spec, setup.training.len())?;
        let mut learner = OnProcessor { state };
        let mut run = Run::default();
        let mut tuning = Tuning { seed: config.seed, side: self.side, pictures, backbone, optimizer };
        while !run.ended(config) {
            let begin = Instant::now();
            let number = run.epochs();
            let rate = learning_rate(config.learning_rate, config.schedule, number, config.epochs);
            let pairs = setup.pairs(texts);
            let mut epoch = Epoch::new(config, &pairs, number, rate, observer);
            tuning.steps(&mut learner.state, &mut epoch)?;
            let (loss, step_ms) = epoch.end();
            if number >= config.warmup_epochs {
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
            let spec = tuned(&setup.spec, source.encoder.id());
            run.finish_epoch(report.clone(), &learner, &spec, self.trainer.text_featurizer())?;
            if run.best.as_ref().is_none_or(|best| best.epoch == report.epoch) {
                kept = (weights.clone(), spec.image_featurizer);
            }
            if observer.on_epoch(&report).is_break() {
                return Err(Error::Canceled);
            }
        }
        let (backbone, id) = kept;
        let spec = tuned(&setup.spec, &id);
        let outcome = self.trainer.finish(run, &learner, &setup, &spec, texts.pairs())?;
        Ok(PictureOutcome { outcome, backbone })
    }
}

fn tuned(spec: &ModelSpec, encoder: &str) -> ModelSpec {
    ModelSpec { image_featurizer: encoder.into(), ..spec.clone() }
}

/// Pairs whose image features are computed when they are read.
struct Encoded<'a> {
    texts: &'a dyn PairSource,
    pictures: &'a PictureOf<'a>,
    encoder: ImageEncoder,
}

impl PairSource for Encoded<'_> {
    fn pairs(&self) -> usize {
        self.texts.pairs()
    }

    fn width(&self, modality: Modality) -> usize {
        match modality {
            Modality::Image => self.encoder.width(),
            Modality::Text => self.texts.width(modality),
        }
    }

    fn read(&self, modality: Modality, pairs: &[u32], epoch: u32, out: &mut [f32]) -> Result<(), Cause> {
        if modality == Modality::Text {
            return self.texts.read(modality, pairs, epoch, out);
        }
        let width = self.encoder.width();
        for (pairs, out) in pairs.chunks(TOGETHER).zip(out.chunks_mut(TOGETHER * width)) {
            let pictures: Vec<Picture> =
                pairs.iter().map(|&pair| (self.pictures)(pair)).collect::<Result<_, _>>()?;
            out.copy_from_slice(&self.encoder.encode(&pictures)?);
        }
        Ok(())
    }
}

/// The backbone under training, and what it trains on.
struct Tuning<'a> {
    seed: u64,
    side: usize,
    pictures: &'a PictureOf<'a>,
    backbone: TunableBackbone<f32>,
    optimizer: OptimizerState<f32>,
}

impl Tuning<'_> {
    /// Runs the steps of an epoch, whose pairs are texts, on the networks' state and the backbone.
    fn steps(&mut self, state: &mut TrainingState<f32>, epoch: &mut Epoch<'_>) -> Result<(), Error> {
        let TrainingPairs { source: texts, sampler, neighbors, .. } = *epoch.pairs;
        let (number, rate) = (epoch.number, epoch.rate);
        let warm_up = number < epoch.config.warmup_epochs;
        let draws_keys = epoch.draws_keys();
        let mut keys = Vec::new();
        for (index, rows) in sampler.order(number).chunks_exact(epoch.config.batch).enumerate() {
            let begin = Instant::now();
            let step = number as usize * sampler.steps() + index;
            let pairs = epoch.pairs.of(rows);
            if draws_keys {
                sampler.keys(rows, step as u64, neighbors, &mut keys);
            }
            let text = read(texts, Modality::Text, &pairs, number)?;
            let colors = self.augmented(&pairs, number)?;
            let keys = if draws_keys { Keys::Bank(&keys) } else { Keys::Batch };
            let batch = |image| Batch { pairs: rows, image, text, keys };
            let pass = if warm_up {
                let pass = state.differentiate(batch(self.frozen(&colors)?))?;
                epoch.check(pass.losses.total, pass.gradient_norm)?;
                pass
            } else {
                let forward = self.backbone.forward(&colors, self.side, Mode::Training(self.dropout()))?;
                let features = in_place::read(&forward.features, <[f32]>::to_vec)?;
                let (mut pass, gradient) = state.differentiate_to_features(batch(features))?;
                let gradients = self.backbone.backward(&forward, gradient)?;
                // All gradients are clipped together.
                pass.gradient_norm = pass.gradient_norm.hypot(gradient_norm::<f32>(gradients.iter())?);
                epoch.check(pass.losses.total, pass.gradient_norm)?;
                let settings = state.settings();
                let update = Update {
                    learning_rate: rate,
                    weight_decay: settings.weight_decay,
                    clip: clip_factor(pass.gradient_norm, settings.clip_norm),
                };
                self.optimizer.update(self.backbone.parameters().zip(&gradients), &update)?;
                self.backbone.keep_statistics(forward);
                pass
            };
            state.apply(&pass, rate)?;
            epoch.stepped(pass.losses.total, begin.elapsed())?;
        }
        Ok(())
    }

    /// What a VGG's classifier leaves out in the next step; other numbers than the networks do.
    fn dropout(&self) -> Option<Dropout> {
        let seed = self.seed.wrapping_add(1);
        Dropout::new(CLASSIFIER_DROPOUT, seed, self.optimizer.updates(), Modality::Image)
    }

    /// Squares of the pictures, another one each epoch, 3 bytes a pixel.
    fn augmented(&self, pairs: &[u32], epoch: u32) -> Result<Vec<u8>, Error> {
        let squares: Vec<Vec<u8>> = pairs
            .par_iter()
            .map(|&pair| {
                let picture = (self.pictures)(pair)
                    .map_err(|source| Error::Source { modality: Modality::Image, source })?;
                // 24 bits for the epoch, 32 for the pair.
                let counter = u64::from(epoch & 0xff_ffff) << 32 | u64::from(pair);
                Ok(augment(&picture, self.side, &mut stream(self.seed, Purpose::Augmentation, counter)))
            })
            .collect::<Result<_, Error>>()?;
        Ok(squares.concat())
    }

    /// Features under a backbone that does not train.
    fn frozen(&self, colors: &[u8]) -> Result<Vec<f32>, Error> {
        let mut features = Vec::new();
        for colors in colors.chunks(TOGETHER * self.side * self.side * 3) {
            let forward = self.backbone.forward(colors, self.side, Mode::Evaluation)?;
            in_place::read(&forward.features, |values: &[f32]| features.extend_from_slice(values))?;
        }
        Ok(features)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrainConfig;
    use crate::labels::Labels;
    use crate::source::Features;
    use crate::toy::toy_backbone;
    use twinbit_kernels::CodeBits;

    const KINDS: u32 = 4;
    const PAIRS: u32 = 48;

    /// Stripes: their direction and how much of them is light make the kind, colors and place are the
    /// picture's own.
    fn picture(pair: u32) -> Picture {
        let kind = pair % KINDS;
        let (light, is_upright) = (1 + 2 * (kind / 2), kind.is_multiple_of(2));
        let color = |is_light: bool, channel: u32| {
            ((pair * 37 + channel * 71) % 128 + 127 * u32::from(is_light)) as u8
        };
        let pixel = |x: u32, y: u32| {
            let along = if is_upright { x } else { y } + pair * 5;
            [0, 1, 2].map(|channel| color(along / 4 % 4 < light, channel))
        };
        let pixels = (0..96).flat_map(|y| (0..96).flat_map(move |x| pixel(x, y)));
        Picture::from_rgb(96, 96, pixels.collect()).unwrap()
    }

    /// One pattern a kind.
    fn texts() -> Vec<f32> {
        let number = |at: u32| ((at * 29 + at * at * 7) % 17) as f32 / 17.0 - 0.5;
        (0..PAIRS).flat_map(|pair| (0..6).map(move |at| number(pair % KINDS * 6 + at))).collect()
    }

    fn fit(warmup_epochs: u32, epochs: u32) -> PictureOutcome {
        let config = TrainConfig {
            bits: CodeBits::B16,
            hidden: 32,
            image_layers: 2,
            negatives: 24,
            batch: 16,
            epochs,
            warmup_epochs,
            learning_rate: 1e-2,
            ..TrainConfig::default()
        };
        let labels = Labels::from_sets((0..PAIRS).map(|pair| [pair % KINDS])).unwrap();
        let trainer = Trainer::new(config).validation_labels(&labels);
        let texts = texts();
        let image = vec![0.0; PAIRS as usize];
        let pairs = Features::new(&image, 1, &texts, 6).unwrap();
        let backbone = TunableBackbone::from_bytes(&toy_backbone()).unwrap();
        PictureTrainer { side: 64, ..PictureTrainer::new(trainer, "") }
            .fit_from(backbone, &pairs, &|pair| Ok(picture(pair)), &mut ())
            .unwrap()
    }

    fn best(outcome: &PictureOutcome) -> f64 {
        let outcome = &outcome.outcome;
        outcome.epochs[outcome.best_epoch as usize - 1].validation.unwrap().mean()
    }

    #[test]
    fn a_backbone_that_trains_along_scores_better_than_a_frozen_one() {
        let (frozen, tuned) = (fit(12, 12), fit(1, 12));
        assert!(best(&tuned) > best(&frozen) + 0.1, "{} is not better than {}", best(&tuned), best(&frozen));
        let encoder = ImageEncoder::from_weights(&tuned.backbone).unwrap();
        assert_eq!(tuned.outcome.model.spec().image_featurizer, encoder.id());
        assert_ne!(tuned.backbone, frozen.backbone);
        let first = ImageEncoder::from_weights(&toy_backbone()).unwrap();
        let pictures = [picture(0)];
        assert_eq!(
            ImageEncoder::from_weights(&frozen.backbone).unwrap().encode(&pictures).unwrap(),
            first.encode(&pictures).unwrap()
        );
    }
}
