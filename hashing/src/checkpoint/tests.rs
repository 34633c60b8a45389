//! Runs that are broken off and gone on with, and files that are not whole.

use std::ops::ControlFlow;

use twinbit_kernels::CodeBits;

use super::*;
use crate::config::RankingInput;
use crate::model::HashModel;
use crate::report::{EpochReport, Observer, Outcome};
use crate::toy::toy;
use crate::trainer::Trainer;

fn config() -> TrainConfig {
    TrainConfig {
        bits: CodeBits::B16,
        hidden: 24,
        image_layers: 2,
        negatives: 32,
        neighbors: 4,
        dropout: 0.25,
        batch: 32,
        epochs: 5,
        learning_rate: 1e-3,
        seed: 4,
        ..TrainConfig::default()
    }
}

/// Keeps the checkpoint of every epoch in memory, and may end training after one of them.
#[derive(Default)]
struct Keeper {
    files: Vec<Vec<u8>>,
    last: Option<u32>,
}

impl Observer for Keeper {
    fn on_checkpoint(
        &mut self,
        progress: &Progress<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut file = Vec::new();
        progress.write_to(&mut file)?;
        assert_eq!(progress.epochs() as usize, self.files.len() + 1);
        self.files.push(file);
        Ok(())
    }

    fn on_epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
        if self.last == Some(report.epoch) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn read(file: &[u8]) -> Result<Checkpoint, Error> {
    Checkpoint::read_from(&mut &*file)
}

/// Everything of an outcome but wall times.
fn told(outcome: &Outcome) -> (Vec<u8>, u32, Vec<EpochReport>) {
    let untimed = |report: &EpochReport| EpochReport { seconds: 0.0, step_ms: 0.0, ..report.clone() };
    (outcome.model.to_bytes(), outcome.best_epoch, outcome.epochs.iter().map(untimed).collect())
}

/// Breaks a run off after every epoch and goes on: each time the whole must equal the unbroken run.
fn breaking_changes_nothing(trainer: &Trainer, threads: usize) {
    let toy = toy(150);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let mut whole = Keeper::default();
        let unbroken = trainer.fit(&toy.features(), &mut whole).unwrap();
        for epoch in 1..=whole.files.len() as u32 {
            let mut broken = Keeper { last: Some(epoch), ..Keeper::default() };
            let canceled = trainer.fit(&toy.features(), &mut broken);
            assert!(matches!(canceled, Err(Error::Canceled)));
            let checkpoint = read(broken.files.last().unwrap()).unwrap();
            assert_eq!(checkpoint.epochs(), epoch);
            let mut rest = Keeper { files: broken.files, last: None };
            let resumed = trainer.resume(checkpoint, &toy.features(), &mut rest).unwrap();
            assert_eq!(told(&resumed), told(&unbroken), "after epoch {epoch}");
            assert_eq!(rest.files.len(), whole.files.len());
        }
    });
}

#[test]
fn a_resumed_run_equals_an_unbroken_one_after_every_epoch() {
    breaking_changes_nothing(&Trainer::new(config()).validation_labels(&toy(150).labels), 1);
}

#[test]
fn so_does_one_without_validation_by_descent_on_two_threads() {
    let config = TrainConfig { optimizer: Optimizer::Sgd, schedule: Schedule::Cosine, ..config() };
    breaking_changes_nothing(&Trainer::new(config), 2);
}

#[test]
fn so_does_one_that_ranks_signs_and_its_settings_are_compared() {
    let config = TrainConfig { epochs: 3, ..config() }.plus_for_captions();
    let trainer = Trainer::new(config.clone());
    breaking_changes_nothing(&trainer, 2);
    let cooler = Trainer::new(TrainConfig { ranking_temperature: 1.0, ..config });
    let resumed = cooler.resume(read(&file_of(&trainer)).unwrap(), &toy(150).features(), &mut ());
    match resumed {
        Err(Error::CheckpointMismatch { what, saved, given }) => {
            assert_eq!((&*what, &*saved, &*given), ("ranking temperature", "0.1", "as in the paper"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn so_does_one_that_stops_early() {
    let config = TrainConfig { patience: Some(1), epochs: 40, ..config() };
    let trainer = Trainer::new(config.clone()).held_out(30);
    let outcome = trainer.fit(&toy(150).features(), &mut ()).unwrap();
    assert_eq!(outcome.epochs.len() as u32, outcome.best_epoch + 1);
    assert!(outcome.epochs.len() < 40);
    breaking_changes_nothing(&trainer, 1);
}

#[test]
fn patience_without_validation_is_refused() {
    let trainer = Trainer::new(TrainConfig { patience: Some(2), ..config() });
    let trained = trainer.fit(&toy(100).features(), &mut ());
    assert!(matches!(trained, Err(Error::Config { field: "patience", .. })));
}

fn file_of(trainer: &Trainer) -> Vec<u8> {
    let mut keeper = Keeper { last: Some(2), ..Keeper::default() };
    assert!(trainer.fit(&toy(150).features(), &mut keeper).is_err());
    keeper.files.pop().unwrap()
}

fn file() -> Vec<u8> {
    file_of(&Trainer::new(config()).validation_labels(&toy(150).labels))
}

#[test]
fn more_epochs_may_be_asked_for() {
    let toy = toy(150);
    let trainer = |epochs| Trainer::new(TrainConfig { epochs, ..config() }).validation_labels(&toy.labels);
    let longer = trainer(7).fit(&toy.features(), &mut ()).unwrap();
    let resumed = trainer(7).resume(read(&file()).unwrap(), &toy.features(), &mut ()).unwrap();
    assert_eq!(told(&resumed), told(&longer));
    let fewer = trainer(1).resume(read(&file()).unwrap(), &toy.features(), &mut ());
    assert!(matches!(fewer, Err(Error::CheckpointMismatch { .. })));
}

#[test]
fn other_settings_and_other_pairs_are_refused_and_named() {
    let (right, longer) = (toy(150), toy(151));
    let resume = |config: TrainConfig, pairs: &crate::toy::Toy, labels: &crate::Labels| {
        let trainer = Trainer::new(config).validation_labels(labels);
        match trainer.resume(read(&file()).unwrap(), &pairs.features(), &mut ()) {
            Err(Error::CheckpointMismatch { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    };
    let given = |config| resume(config, &right, &right.labels);
    assert_eq!(given(TrainConfig { alpha: 0.71, ..config() }), "alpha");
    assert_eq!(given(TrainConfig { seed: 5, ..config() }), "seed");
    assert_eq!(given(TrainConfig { schedule: Schedule::Cosine, ..config() }), "schedule");
    assert_eq!(given(TrainConfig { ranking_input: RankingInput::Signs, ..config() }), "ranking input");
    assert_eq!(resume(config(), &longer, &longer.labels), "number of training pairs");
    let labels = crate::Labels::from_sets((0..150).map(|_| [1])).unwrap();
    assert_eq!(resume(config(), &right, &labels), "fingerprint of the pairs and labels");
    for pair in [0, 148, 149] {
        let other = toy(150).changed_in(pair);
        assert_eq!(resume(config(), &other, &other.labels), "fingerprint of the pairs and labels", "{pair}");
    }
}

fn reason(bytes: &[u8]) -> String {
    match read(bytes) {
        Err(Error::Checkpoint { reason }) => reason,
        Err(Error::Model { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let file = file();
    for length in (0..file.len()).step_by(97).chain([1, 7, 8, 9, file.len() - 33, file.len() - 1]) {
        reason(&file[..length]);
    }
    assert!(reason(&[file, vec![0]].concat()).contains("more bytes follow"));
}

#[test]
fn every_changed_byte_is_refused() {
    let file = file();
    let header = 8 + u64::from_le_bytes(*file.first_chunk().unwrap()) as usize;
    for at in (0..header).chain((header..file.len()).step_by(41)).chain([file.len() - 1]) {
        let mut damaged = file.clone();
        damaged[at] ^= 0x15;
        assert!(read(&damaged).is_err(), "byte {at}");
    }
}

#[test]
fn foreign_files_are_refused() {
    assert!(reason(b"").contains("ends early"));
    assert!(reason(&[b"{\"epoch\": 1}\n".as_slice(), &[0; 64]].concat()).contains("too long"));
    let trainer = Trainer::new(TrainConfig { epochs: 1, ..config() });
    let model: HashModel = trainer.fit(&toy(64).features(), &mut ()).unwrap().model;
    assert!(reason(&model.to_bytes()).contains("twinbit-checkpoint"));
}

/// The file with its JSON changed.
fn with_header(change: impl Fn(&str) -> String) -> Vec<u8> {
    let file = file();
    let end = 8 + u64::from_le_bytes(*file.first_chunk().unwrap()) as usize;
    let header = change(std::str::from_utf8(&file[8..end]).unwrap());
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &file[end..]].concat()
}

#[test]
fn hostile_and_newer_headers_are_refused() {
    let replaced = |from: &str, to: &str| {
        let changed = with_header(|header| {
            assert!(header.contains(from), "{from} in {header}");
            header.replace(from, to)
        });
        read(&changed).unwrap_err()
    };
    let newer = replaced(r#"{\"version\":0"#, r#"{\"version\":9"#);
    assert!(matches!(newer, Error::CheckpointVersion { found: 9, supported: VERSION }));
    for (from, to) in [
        (r#"\"hidden\":24"#, r#"\"hidden\":9000000000"#),
        (r#"\"training_pairs\":150"#, r#"\"training_pairs\":90000000000000"#),
        (r#"\"epochs\":2"#, r#"\"epochs\":4000000000"#),
        (r#"\"best_epoch\":"#, r#"\"best_epoch\":9"#),
        (r#"\"best_epoch\":"#, r#"\"other\":"#),
    ] {
        assert!(matches!(replaced(from, to), Error::Checkpoint { .. }), "{to}");
    }
}

#[test]
fn an_observer_that_cannot_keep_a_checkpoint_ends_training() {
    struct Full;
    impl Observer for Full {
        fn on_checkpoint(
            &mut self,
            progress: &Progress<'_>,
        ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            Ok(progress.write_to(&mut [0_u8; 100].as_mut_slice())?)
        }
    }
    let trained = Trainer::new(config()).fit(&toy(100).features(), &mut Full);
    let Err(Error::CheckpointNotKept { source }) = trained else { panic!("{trained:?}") };
    assert!(matches!(source.downcast_ref(), Some(Error::CheckpointIo(_))), "{source:?}");
}
