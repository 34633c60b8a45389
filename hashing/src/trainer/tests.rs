//! Training to its end, and what keeps it from there.

use std::ops::ControlFlow;

use super::*;
use crate::config::RankingInput;
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
    let outcome = Trainer::new(config).validation_labels(&toy.labels).fit(&toy.features(), &mut ()).unwrap();
    let scores = outcome.epochs[outcome.best_epoch as usize - 1].validation.unwrap();
    // Dropout learns more slowly; chance is an eighth.
    assert!(scores.mean() > 0.6, "{scores:?}");
}

#[test]
fn a_ranking_of_signs_finds_single_pairs() {
    let config = TrainConfig { epochs: 8, ..config() }.plus_for_captions();
    let outcome = Trainer::new(config).held_out(60).fit(&toy(380).features(), &mut ()).unwrap();
    let scores = outcome.epochs[outcome.best_epoch as usize - 1].validation.unwrap();
    // Ten among sixty by chance is a sixth.
    assert!(scores.mean() > 0.5, "{scores:?}");
}

#[test]
fn a_seed_gives_the_same_weights_whatever_the_threads() {
    let toy = toy(200);
    let train = |threads: usize, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let config = TrainConfig { epochs: 2, seed, hidden: 300, neighbors: 5, dropout: 0.3, ..config() };
        let trainer = Trainer::new(TrainConfig { ranking_input: RankingInput::Both, ..config });
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
