//! The training loop: epochs of steps, validation, and the choice of the epoch.

use std::time::Instant;

use twinbit_kernels::Modality;
use twinbit_kernels::cuda::AnyMachine;
use twinbit_kernels::cuda::train::Precision;

use crate::Error;
use crate::bank::MemoryBank;
use crate::card::{CardFeatures, OnCard, TrainingCard};
use crate::checkpoint::{Checkpoint, LazyOrigin, Progress};
use crate::config::TrainConfig;
use crate::epoch::{Epoch, TrainingPairs};
use crate::labels::Labels;
use crate::learner::Learner;
use crate::machine::TrainingMachine;
use crate::neighbors::Neighbors;
use crate::net::Network;
use crate::processor::OnProcessor;
use crate::random::{Purpose, stream};
use crate::record::{EpochRecord, TrainingRecord};
use crate::report::{EpochReport, Observer, Outcome};
use crate::run::Run;
use crate::sampler::{Sampler, hold_out};
use crate::schedule::learning_rate;
use crate::source::PairSource;
use crate::spec::{MAX_WIDTH, ModelSpec, NO_FEATURIZER};
use crate::step::{StepSettings, TrainingState};
use crate::text::TextFeaturizer;
use crate::validation::{VALIDATION_PAIRS, Validation, validate};

/// With fewer pairs than this none are held out.
const HOLD_OUT_FROM: usize = 4000;

/// Without labels one pair in this many is held out, and at most [`VALIDATION_PAIRS`]: of 5,000
/// pairs 2,000 would cost more recall than the choice of the epoch brings (`docs/results.md`).
const HOLD_OUT_SHARE: usize = 10;

/// Trains a [`HashModel`](crate::HashModel) on pairs.
///
/// The epoch that is kept is chosen by validation: with labels, by MAP over the first 2,000 training
/// pairs as queries and database, both ways; without, by recall@10 both ways on a tenth of the pairs,
/// at most 2,000, that the seed picks and that leave the training set, when there are at least 4,000
/// pairs; else it is the last.
#[derive(Clone, Debug)]
pub struct Trainer {
    config: TrainConfig,
    labels: Option<Labels>,
    held_out: Option<usize>,
    image_featurizer: String,
    text_featurizer: Option<TextFeaturizer>,
    text_tower: String,
    card: Option<TrainingCard>,
}

/// What is the same in every epoch of a run.
pub(crate) struct Setup<'a> {
    pub(crate) spec: ModelSpec,
    /// The pairs trained on, ascending.
    pub(crate) training: Vec<u32>,
    pub(crate) validation: Validation<'a>,
    sampler: Sampler,
    neighbors: Neighbors,
}

impl Setup<'_> {
    pub(crate) fn origin<'a>(&'a self, source: &'a dyn PairSource) -> LazyOrigin<'a> {
        LazyOrigin::new(source, &self.training, &self.validation)
    }

    pub(crate) fn pairs<'a>(&'a self, source: &'a dyn PairSource) -> TrainingPairs<'a> {
        let Self { training, sampler, neighbors, .. } = self;
        TrainingPairs { source, training, sampler, neighbors }
    }
}

impl Trainer {
    /// A trainer with these hyper-parameters.
    pub fn new(config: TrainConfig) -> Self {
        Self {
            config,
            labels: None,
            held_out: None,
            image_featurizer: NO_FEATURIZER.into(),
            text_featurizer: None,
            text_tower: NO_FEATURIZER.into(),
            card: None,
        }
    }

    /// Trains on this card, with products of this precision.
    ///
    /// The card holds the features of all pairs as float32, both networks four times and the memory bank.
    /// Its run is not the processor's: it draws by another generator. The same seed gives the same run on the
    /// same kind of card.
    pub fn on_card(mut self, machine: AnyMachine, precision: Precision) -> Self {
        self.card = Some(TrainingCard { machine, precision });
        self
    }

    /// Multiplications and additions of the matrix products that a run on these pairs takes, about.
    ///
    /// # Errors
    /// [`Error::Shape`] when the source's rows are empty or too wide.
    pub fn operations(&self, source: &dyn PairSource) -> Result<u64, Error> {
        let spec = self.spec(source)?;
        let weights: u64 = Modality::ALL.into_iter().map(|modality| spec.weights(modality)).sum();
        // Forward, and backward to the weights and to the layer before.
        let pairs = (source.pairs() as u64).saturating_mul(self.config.epochs.into());
        Ok(6_u64.saturating_mul(weights).saturating_mul(pairs))
    }

    /// What trains.
    pub fn machine(&self) -> TrainingMachine {
        match &self.card {
            None => TrainingMachine::Processor,
            Some(card) => TrainingMachine::Card(card.precision),
        }
    }

    /// Labels of the training pairs, row by row. They only choose the epoch; training never sees
    /// them.
    pub fn validation_labels(mut self, labels: &Labels) -> Self {
        self.labels = Some(labels.clone());
        self
    }

    /// How many pairs to hold out for validation when there are no labels; 0 keeps the last epoch.
    pub fn held_out(mut self, pairs: usize) -> Self {
        self.held_out = Some(pairs);
        self
    }

    /// The featurizers whose outputs the pairs are, to be named in the model; the fitted one for
    /// text travels inside it.
    pub fn featurizers(mut self, image_id: impl Into<String>, text: Option<TextFeaturizer>) -> Self {
        self.image_featurizer = image_id.into();
        self.text_featurizer = text;
        self
    }

    /// The [text tower](crate::TextTower) whose outputs the text features are, to be named in the model.
    pub fn text_tower(mut self, id: impl Into<String>) -> Self {
        self.text_tower = id.into();
        self
    }

    pub(crate) fn config(&self) -> &TrainConfig {
        &self.config
    }

    pub(crate) fn text_featurizer(&self) -> Option<&TextFeaturizer> {
        self.text_featurizer.as_ref()
    }

    /// Trains on all pairs of the source.
    ///
    /// # Errors
    /// [`Error::Config`] and [`Error::TooFewPairs`] before anything is read; [`Error::Source`] and
    /// [`Error::NotFinite`] (naming the pair) for what the source gives; [`Error::ZeroNorm`] and
    /// [`Error::Diverged`] when training breaks down; [`Error::WeightOverflow`] when a weight leaves
    /// the range of float16; [`Error::Canceled`] when the observer says so, and
    /// [`Error::CheckpointNotKept`] when it cannot keep a checkpoint; on a card
    /// [`Error::Card`] when it has too little memory or fails.
    pub fn fit(&self, source: &dyn PairSource, observer: &mut dyn Observer) -> Result<Outcome, Error> {
        let setup = self.set_up(source)?;
        let state = self.initialize(&setup.spec, setup.training.len())?;
        self.train(&setup, (Run::default(), state), &setup.origin(source), source, observer)
    }

    /// Goes on from a checkpoint, on the same pairs and with the same settings; the outcome equals
    /// that of an unbroken run bit for bit. Only `patience` may differ, and, with the step schedule,
    /// `epochs`.
    ///
    /// # Errors
    /// [`Error::CheckpointMismatch`] naming what differs, the machine included, and as [`fit`](Self::fit).
    pub fn resume(
        &self,
        checkpoint: Checkpoint,
        source: &dyn PairSource,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, Error> {
        let setup = self.set_up(source)?;
        let origin = setup.origin(source);
        let run = checkpoint.into_run(&self.config, &setup.spec, &origin, self.machine())?;
        self.train(&setup, run, &origin, source, observer)
    }

    pub(crate) fn set_up(&self, source: &dyn PairSource) -> Result<Setup<'_>, Error> {
        let config = &self.config;
        config.validate()?;
        let spec = self.spec(source)?;
        let (training, validation) = self.split(source.pairs())?;
        if training.len() < config.batch {
            return Err(Error::TooFewPairs { pairs: training.len(), batch: config.batch });
        }
        if let (Some(patience), Validation::None) = (config.patience, &validation) {
            let expected = "left out where nothing is validated; give labels or hold pairs out";
            return Err(Error::Config { field: "patience", value: patience.to_string(), expected });
        }
        let sampler = Sampler::new(config.seed, training.len(), config.batch, config.negatives);
        let neighbors = Neighbors::find(source, &training, config.neighbors, config.seed)?;
        Ok(Setup { spec, training, validation, sampler, neighbors })
    }

    fn train(
        &self,
        setup: &Setup<'_>,
        (mut run, mut state): (Run, TrainingState<f32>),
        origin: &LazyOrigin<'_>,
        source: &dyn PairSource,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, Error> {
        let epochs = Epochs { trainer: self, setup, pairs: setup.pairs(source), origin };
        let Some(card) = &self.card else {
            let mut learner = OnProcessor { state };
            epochs.run(&mut run, &mut learner, u32::MAX, observer)?;
            return self.finish(run, &learner, setup, &setup.spec, source.pairs());
        };
        let mut features = CardFeatures::upload(&card.machine, &epochs.pairs, run.epochs())?;
        loop {
            let mut learner = OnCard::new(card, &self.config, &state, &features, setup.neighbors.rows())?;
            let most = if features.vary() { 1 } else { u32::MAX };
            epochs.run(&mut run, &mut learner, most, observer)?;
            if run.ended(&self.config) {
                return self.finish(run, &learner, setup, &setup.spec, source.pairs());
            }
            state = learner.copy_state()?;
            drop(learner);
            features.renew(run.epochs())?;
        }
    }

    /// What a run that has ended leaves, of `pairs` pairs given.
    pub(crate) fn finish(
        &self,
        run: Run,
        learner: &dyn Learner,
        Setup { training, validation, .. }: &Setup<'_>,
        spec: &ModelSpec,
        pairs: usize,
    ) -> Result<Outcome, Error> {
        let (best, epochs) = run.finish(learner, spec, self.text_featurizer.as_ref())?;
        let record = TrainingRecord {
            config: self.config.clone(),
            machine: self.machine(),
            training_pairs: training.len(),
            held_out_pairs: pairs - training.len(),
            measure: validation.measure(),
            best_epoch: best.epoch,
            epochs: epochs.iter().map(EpochRecord::from).collect(),
        };
        Ok(Outcome {
            best_epoch: best.epoch,
            epochs,
            training_pairs: record.training_pairs,
            held_out_pairs: record.held_out_pairs,
            machine: self.machine(),
            model: best.model.trained(record),
        })
    }

    fn spec(&self, source: &dyn PairSource) -> Result<ModelSpec, Error> {
        for modality in Modality::ALL {
            let width = source.width(modality);
            if !(1..=MAX_WIDTH).contains(&width) {
                return Err(Error::Shape {
                    what: "values in a row of features, at least one and at most",
                    expected: MAX_WIDTH,
                    got: width,
                });
            }
        }
        let text_featurizer = self.text_featurizer.as_ref();
        Ok(ModelSpec {
            bits: self.config.bits,
            image_width: source.width(Modality::Image),
            text_width: source.width(Modality::Text),
            hidden: self.config.hidden,
            image_layers: self.config.image_layers,
            text_layers: self.config.text_layers,
            image_featurizer: self.image_featurizer.clone(),
            text_featurizer: text_featurizer.map_or(&*self.text_tower, |text| text.id()).into(),
        })
    }

    /// The pairs to train on, ascending, and how to validate.
    fn split(&self, pairs: usize) -> Result<(Vec<u32>, Validation<'_>), Error> {
        if u32::try_from(pairs).is_err() {
            return Err(Error::Shape {
                what: "training pairs, at most",
                expected: u32::MAX as usize,
                got: pairs,
            });
        }
        let all = || (0..pairs as u32).collect();
        if let Some(labels) = &self.labels {
            if labels.rows() != pairs {
                return Err(Error::Shape {
                    what: "rows of the validation labels, one for each training pair",
                    expected: pairs,
                    got: labels.rows(),
                });
            }
            return Ok((all(), Validation::Labels(labels)));
        }
        let share = (pairs / HOLD_OUT_SHARE).min(VALIDATION_PAIRS);
        let default = if pairs >= HOLD_OUT_FROM { share } else { 0 };
        match self.held_out.unwrap_or(default) {
            0 => Ok((all(), Validation::None)),
            count => {
                let (training, held_out) = hold_out(self.config.seed, pairs, count);
                Ok((training, Validation::HeldOut(held_out)))
            }
        }
    }

    pub(crate) fn initialize(&self, spec: &ModelSpec, pairs: usize) -> Result<TrainingState<f32>, Error> {
        let seed = self.config.seed;
        let network = |modality: Modality, purpose| {
            Network::initialize(&spec.shapes(modality), &mut stream(seed, purpose, 0))
        };
        TrainingState::new(
            StepSettings::from(&self.config),
            network(Modality::Image, Purpose::ImageWeights)?,
            network(Modality::Text, Purpose::TextWeights)?,
            MemoryBank::initialize(pairs, spec.bits, seed)?,
        )
    }
}

/// The epochs of a training, whatever trains.
struct Epochs<'a> {
    trainer: &'a Trainer,
    setup: &'a Setup<'a>,
    pairs: TrainingPairs<'a>,
    origin: &'a LazyOrigin<'a>,
}

impl Epochs<'_> {
    /// Runs them to the end of training, but no more than `most`.
    fn run(
        &self,
        run: &mut Run,
        learner: &mut dyn Learner,
        most: u32,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let Self { trainer, setup: Setup { spec, validation, .. }, pairs, origin } = self;
        let config = &trainer.config;
        for _ in 0..most {
            if run.ended(config) {
                break;
            }
            let begin = Instant::now();
            let number = run.epochs();
            let rate = learning_rate(config.learning_rate, config.schedule, number, config.epochs);
            let mut epoch = Epoch::new(config, pairs, number, rate, observer);
            learner.steps(&mut epoch)?;
            let (loss, step_ms) = epoch.end();
            let report = EpochReport {
                epoch: number + 1,
                loss,
                validation: validate(validation, learner, pairs.source, pairs.training)?,
                seconds: begin.elapsed().as_secs_f64(),
                step_ms,
                learning_rate: rate,
            };
            run.finish_epoch(report.clone(), learner, spec, trainer.text_featurizer.as_ref())?;
            observer
                .on_checkpoint(&Progress::new(config, spec, origin, run, learner, trainer.machine()))
                .map_err(|source| Error::CheckpointNotKept { source })?;
            if observer.on_epoch(&report).is_break() {
                return Err(Error::Canceled);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
