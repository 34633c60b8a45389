//! The training loop: epochs of steps, validation, and the choice of the epoch.

use std::time::Instant;

use twinbit_kernels::Modality;

use crate::Error;
use crate::bank::MemoryBank;
use crate::checkpoint::{Checkpoint, LazyOrigin, Progress};
use crate::config::TrainConfig;
use crate::epoch::EpochRun;
use crate::labels::Labels;
use crate::neighbors::Neighbors;
use crate::net::Network;
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
}

/// What is the same in every epoch of a run.
struct Setup<'a> {
    spec: ModelSpec,
    /// The pairs trained on, ascending.
    training: Vec<u32>,
    validation: Validation<'a>,
    sampler: Sampler,
    neighbors: Neighbors,
}

impl Setup<'_> {
    fn origin<'a>(&'a self, source: &'a dyn PairSource) -> LazyOrigin<'a> {
        LazyOrigin::new(source, &self.training, &self.validation)
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

    /// Trains on all pairs of the source.
    ///
    /// # Errors
    /// [`Error::Config`] and [`Error::TooFewPairs`] before anything is read; [`Error::Source`] and
    /// [`Error::NotFinite`] (naming the pair) for what the source gives; [`Error::ZeroNorm`] and
    /// [`Error::Diverged`] when training breaks down; [`Error::WeightOverflow`] when a weight leaves
    /// the range of float16; [`Error::Canceled`] when the observer says so, and
    /// [`Error::CheckpointNotKept`] when it cannot keep a checkpoint.
    pub fn fit(&self, source: &dyn PairSource, observer: &mut dyn Observer) -> Result<Outcome, Error> {
        let setup = self.set_up(source)?;
        let run = Run::new(self.initialize(&setup.spec, setup.training.len())?);
        self.train(&setup, run, &setup.origin(source), source, observer)
    }

    /// Goes on from a checkpoint, on the same pairs and with the same settings; the outcome equals
    /// that of an unbroken run bit for bit. Only `patience` may differ, and, with the step schedule,
    /// `epochs`.
    ///
    /// # Errors
    /// [`Error::CheckpointMismatch`] naming what differs, and as [`fit`](Self::fit).
    pub fn resume(
        &self,
        checkpoint: Checkpoint,
        source: &dyn PairSource,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, Error> {
        let setup = self.set_up(source)?;
        let origin = setup.origin(source);
        let run = checkpoint.into_run(&self.config, &setup.spec, &origin)?;
        self.train(&setup, run, &origin, source, observer)
    }

    fn set_up(&self, source: &dyn PairSource) -> Result<Setup<'_>, Error> {
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
        mut run: Run,
        origin: &LazyOrigin<'_>,
        source: &dyn PairSource,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, Error> {
        let config = &self.config;
        let Setup { spec, training, validation, sampler, neighbors } = setup;
        while !run.ended(config) {
            let begin = Instant::now();
            let epoch = run.epochs();
            let rate = learning_rate(config.learning_rate, config.schedule, epoch, config.epochs);
            let steps = EpochRun { config, source, training, sampler, neighbors };
            let (loss, step_ms) = steps.steps(&mut run.state, epoch, rate, observer)?;
            let report = EpochReport {
                epoch: epoch + 1,
                loss,
                validation: validate(validation, &run.state, source, training)?,
                seconds: begin.elapsed().as_secs_f64(),
                step_ms,
                learning_rate: rate,
            };
            run.finish_epoch(report.clone(), spec, self.text_featurizer.as_ref())?;
            observer
                .on_checkpoint(&Progress::new(config, spec, origin, &run))
                .map_err(|source| Error::CheckpointNotKept { source })?;
            if observer.on_epoch(&report).is_break() {
                return Err(Error::Canceled);
            }
        }
        let (best, epochs) = run.finish(spec, self.text_featurizer.as_ref())?;
        let record = TrainingRecord {
            config: config.clone(),
            training_pairs: training.len(),
            held_out_pairs: source.pairs() - training.len(),
            measure: validation.measure(),
            best_epoch: best.epoch,
            epochs: epochs.iter().map(EpochRecord::from).collect(),
        };
        Ok(Outcome {
            best_epoch: best.epoch,
            epochs,
            training_pairs: record.training_pairs,
            held_out_pairs: record.held_out_pairs,
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

    fn initialize(&self, spec: &ModelSpec, pairs: usize) -> Result<TrainingState<f32>, Error> {
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

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::model::HashModel;
    use crate::record::Measure;
    use crate::toy::{KINDS, toy};
    use twinbit_kernels::CodeBits;

    fn config() -> TrainConfig {
        TrainConfig {
            bits: CodeBits::B32,
            hidden: 48,
            image_layers: 2,
            negatives: 64,
            batch: 32,
            epochs: 4,
            learning_rate: 1e-3,
            ..TrainConfig::default()
        }
    }

    #[test]
    fn training_finds_the_kinds() {
        let toy = toy(320);
        let trainer = Trainer::new(config()).validation_labels(&toy.labels);
        let outcome = trainer.fit(&toy.features(), &mut ()).unwrap();
        let scores = outcome.epochs[outcome.best_epoch as usize - 1].validation.unwrap();
        assert!(scores.mean() > 0.8, "{scores:?}; chance is {}", 1.0 / KINDS as f64);
        let greatest = outcome.epochs.iter().map(|e| e.validation.unwrap().mean()).fold(0.0, f64::max);
        assert_eq!(scores.mean(), greatest);
        assert_eq!(outcome.epochs.len(), 4);
        assert_eq!(outcome.model.spec().image_width, 20);
    }

    #[test]
    fn neighbors_and_dropout_find_the_kinds_too() {
        let toy = toy(320);
        let config = TrainConfig { neighbors: 8, dropout: 0.2, ..config() };
        let outcome =
            Trainer::new(config).validation_labels(&toy.labels).fit(&toy.features(), &mut ()).unwrap();
        let scores = outcome.epochs[outcome.best_epoch as usize - 1].validation.unwrap();
        // Dropout learns more slowly; chance is an eighth.
        assert!(scores.mean() > 0.6, "{scores:?}");
    }

    #[test]
    fn a_seed_gives_the_same_weights_whatever_the_threads() {
        let toy = toy(200);
        let train = |threads: usize, seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let config = TrainConfig { epochs: 2, seed, hidden: 300, neighbors: 5, dropout: 0.3, ..config() };
            let trainer = Trainer::new(config);
            pool.install(|| trainer.fit(&toy.features(), &mut ()).unwrap().model.id())
        };
        let id = train(1, 5);
        assert_eq!(train(2, 5), id);
        assert_eq!(train(7, 5), id);
        assert_ne!(train(2, 6), id);
    }

    #[test]
    fn without_labels_and_with_few_pairs_the_last_epoch_is_kept() {
        let outcome = Trainer::new(config()).fit(&toy(100).features(), &mut ()).unwrap();
        assert_eq!((outcome.best_epoch, outcome.held_out_pairs), (4, 0));
        assert!(outcome.epochs.iter().all(|epoch| epoch.validation.is_none()));
    }

    #[test]
    fn held_out_pairs_choose_the_epoch() {
        let trainer = Trainer::new(config()).held_out(60);
        let outcome = trainer.fit(&toy(260).features(), &mut ()).unwrap();
        assert_eq!((outcome.training_pairs, outcome.held_out_pairs), (200, 60));
        let record = outcome.model.training().unwrap();
        assert_eq!((record.training_pairs, record.measure), (200, Some(Measure::RecallAt10)));
        assert_eq!((record.best_epoch, &record.config), (outcome.best_epoch, &config()));
        let told: Vec<EpochRecord> = outcome.epochs.iter().map(EpochRecord::from).collect();
        assert_eq!(record.epochs, told);
        let again = HashModel::from_bytes(&outcome.model.to_bytes()).unwrap();
        assert_eq!((again.id(), again.training()), (outcome.model.id(), Some(record)));
        let scores = outcome.epochs[outcome.best_epoch as usize - 1].validation.unwrap();
        // Ten among sixty by chance is a sixth.
        assert!(scores.mean() > 0.5, "{scores:?}");
    }

    #[test]
    fn a_tenth_is_held_out_of_many_pairs() {
        let held_out = |pairs| pairs - Trainer::new(config()).split(pairs).unwrap().0.len();
        assert_eq!([3_999, 4_000, 5_000, 20_000, 50_000].map(held_out), [0, 400, 500, 2_000, 2_000]);
    }

    #[test]
    fn fewer_pairs_than_a_batch_are_an_error() {
        let trained = Trainer::new(config()).fit(&toy(31).features(), &mut ());
        assert!(matches!(trained, Err(Error::TooFewPairs { pairs: 31, batch: 32 })));
        let held_out = Trainer::new(config()).held_out(90).fit(&toy(100).features(), &mut ());
        assert!(matches!(held_out, Err(Error::TooFewPairs { pairs: 10, .. })));
    }

    #[test]
    fn labels_must_be_those_of_the_pairs() {
        let trainer = Trainer::new(config()).validation_labels(&toy(99).labels);
        assert!(matches!(trainer.fit(&toy(100).features(), &mut ()), Err(Error::Shape { .. })));
    }

    /// Stops after some steps or epochs.
    struct Stop {
        step: usize,
        epoch: u32,
    }

    impl Observer for Stop {
        fn on_step(&mut self, step: usize, steps: usize, loss: f64) -> ControlFlow<()> {
            assert!(step <= steps && loss.is_finite());
            if step == self.step { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }

        fn on_epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
            if report.epoch == self.epoch { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    #[test]
    fn the_observer_can_cancel() {
        let toy = toy(100);
        for mut stop in [Stop { step: 2, epoch: 0 }, Stop { step: 0, epoch: 1 }] {
            let trained = Trainer::new(config()).fit(&toy.features(), &mut stop);
            assert!(matches!(trained, Err(Error::Canceled)));
        }
    }

    /// Fails, or gives a NaN, at one pair.
    struct Faulty {
        pair: u32,
        fails: bool,
    }

    impl PairSource for Faulty {
        fn pairs(&self) -> usize {
            64
        }

        fn width(&self, _modality: Modality) -> usize {
            4
        }

        fn read(
            &self,
            modality: Modality,
            pairs: &[u32],
            _epoch: u32,
            out: &mut [f32],
        ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            out.fill(1.0);
            if let (Modality::Text, Some(at)) = (modality, pairs.iter().position(|&p| p == self.pair)) {
                out[at * 4] = f32::NAN;
                return if self.fails { Err("the disk is gone".into()) } else { Ok(()) };
            }
            Ok(())
        }
    }

    #[test]
    fn a_failing_source_is_the_cause() {
        let trained = Trainer::new(config()).fit(&Faulty { pair: 9, fails: true }, &mut ());
        match trained {
            Err(Error::Source { modality: Modality::Text, source }) => {
                assert_eq!(source.to_string(), "the disk is gone");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pair_that_is_no_number_is_named() {
        let trained = Trainer::new(config()).fit(&Faulty { pair: 9, fails: false }, &mut ());
        assert!(matches!(trained, Err(Error::NotFinite { modality: Modality::Text, row: 9 })));
    }

    /// Counts the rows that are read.
    struct Counting<'a> {
        features: crate::source::Features<'a>,
        rows: std::sync::atomic::AtomicUsize,
    }

    impl PairSource for Counting<'_> {
        fn pairs(&self) -> usize {
            self.features.pairs()
        }

        fn width(&self, modality: Modality) -> usize {
            self.features.width(modality)
        }

        fn read(
            &self,
            modality: Modality,
            pairs: &[u32],
            epoch: u32,
            out: &mut [f32],
        ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            self.rows.fetch_add(pairs.len(), std::sync::atomic::Ordering::Relaxed);
            self.features.read(modality, pairs, epoch, out)
        }
    }

    #[test]
    fn without_a_checkpoint_a_pair_is_read_once_an_epoch() {
        struct Writes;
        impl Observer for Writes {
            fn on_checkpoint(
                &mut self,
                progress: &Progress<'_>,
            ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
                Ok(progress.write_to(&mut std::io::sink())?)
            }
        }
        let toy = toy(64);
        let rows_read = |observer: &mut dyn Observer| {
            let source = Counting { features: toy.features(), rows: Default::default() };
            Trainer::new(config()).fit(&source, observer).unwrap();
            source.rows.into_inner()
        };
        assert_eq!(rows_read(&mut ()), 4 * 64 * 2);
        assert_eq!(rows_read(&mut Writes), 4 * 64 * 2 + 64 * 2);
    }
}
