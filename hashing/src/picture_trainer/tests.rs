//! Small backbones that train along, whole runs and broken ones.

use std::ops::ControlFlow;

use super::*;
use crate::config::{Optimizer, TrainConfig};
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
    let color =
        |is_light: bool, channel: u32| ((pair * 37 + channel * 71) % 128 + 127 * u32::from(is_light)) as u8;
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

fn trainer(config: TrainConfig) -> PictureTrainer {
    let labels = Labels::from_sets((0..PAIRS).map(|pair| [pair % KINDS])).unwrap();
    PictureTrainer { side: 64, ..PictureTrainer::new(Trainer::new(config).validation_labels(&labels), "") }
}

fn run(
    trainer: &PictureTrainer,
    checkpoint: Option<&[u8]>,
    observer: &mut dyn Observer,
) -> Result<PictureOutcome, Error> {
    let texts = texts();
    let image = vec![0.0; PAIRS as usize];
    let pairs = Features::new(&image, 1, &texts, 6).unwrap();
    let checkpoint = checkpoint.map(|mut file| Checkpoint::read_from(&mut file).unwrap());
    trainer.fit_from(toy_backbone(), checkpoint, &pairs, &|pair| Ok(picture(pair)), observer)
}

fn config(warmup_epochs: u32, epochs: u32) -> TrainConfig {
    TrainConfig {
        bits: CodeBits::B16,
        hidden: 32,
        image_layers: 2,
        negatives: 24,
        batch: 16,
        epochs,
        warmup_epochs,
        learning_rate: 1e-2,
        ..TrainConfig::default()
    }
}

fn fit(warmup_epochs: u32, epochs: u32) -> PictureOutcome {
    run(&trainer(config(warmup_epochs, epochs)), None, &mut ()).unwrap()
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
    assert_eq!(frozen.backbone, toy_backbone(), "a frozen backbone is that of the file");
}

/// Keeps the checkpoint of every epoch, and may end training after one of them.
#[derive(Default)]
struct Keeper {
    files: Vec<Vec<u8>>,
    last: Option<u32>,
}

impl Observer for Keeper {
    fn on_checkpoint(&mut self, progress: &Progress<'_>) -> Result<(), Cause> {
        let mut file = Vec::new();
        progress.write_to(&mut file)?;
        self.files.push(file);
        Ok(())
    }

    fn on_epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
        if self.last == Some(report.epoch) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Everything of an outcome but wall times.
fn told(outcome: &PictureOutcome) -> (Vec<u8>, &[u8], Vec<EpochReport>) {
    let untimed = |report: &EpochReport| EpochReport { seconds: 0.0, step_ms: 0.0, ..report.clone() };
    let PictureOutcome { outcome, backbone } = outcome;
    (outcome.model.to_bytes(), backbone, outcome.epochs.iter().map(untimed).collect())
}

#[test]
fn a_resumed_run_equals_an_unbroken_one_in_model_and_backbone() {
    for optimizer in [Optimizer::Adam, Optimizer::Sgd] {
        let trainer = trainer(TrainConfig { optimizer, dropout: 0.25, ..config(1, 3) });
        let mut whole = Keeper::default();
        let unbroken = run(&trainer, None, &mut whole).unwrap();
        for epoch in 1..=3 {
            let mut rest = Keeper::default();
            let file = &whole.files[epoch - 1];
            let resumed = run(&trainer, Some(file), &mut rest).unwrap();
            assert!(told(&resumed) == told(&unbroken), "{optimizer:?} after epoch {epoch}");
            assert_eq!(rest.files.len(), 3 - epoch);
        }
        // A run that ends early has written what the unbroken one wrote by then, but for wall times.
        let mut broken = Keeper { last: Some(2), ..Keeper::default() };
        assert!(matches!(run(&trainer, None, &mut broken), Err(Error::Canceled)));
        let resumed = run(&trainer, Some(&broken.files[1]), &mut ()).unwrap();
        assert!(told(&resumed) == told(&unbroken), "{optimizer:?}");
    }
}

#[test]
fn a_frozen_backbone_stays_in_all_epochs_while_the_networks_train() {
    let trainer = trainer(config(0, 6)).frozen();
    let mut keeper = Keeper::default();
    let outcome = run(&trainer, None, &mut keeper).unwrap();
    assert_eq!(outcome.backbone, toy_backbone());
    let [first, .., last] = outcome.outcome.epochs.as_slice() else { panic!("six epochs") };
    assert!(last.loss < first.loss, "{last:?} after {first:?}");
    let resumed = run(&trainer, Some(&keeper.files[1]), &mut ()).unwrap();
    assert!(told(&resumed) == told(&outcome));
    let other = PictureTrainer { is_frozen: false, ..trainer };
    let error = run(&other, Some(&keeper.files[1]), &mut ()).unwrap_err();
    assert!(matches!(&error, Error::CheckpointMismatch { what, .. } if what == "backbone"), "{error}");
}

#[test]
fn a_checkpoint_of_other_pictures_or_of_features_is_refused() {
    let trainer = trainer(TrainConfig { epochs: 1, ..config(1, 1) });
    let mut keeper = Keeper::default();
    run(&trainer, None, &mut keeper).unwrap();
    let texts = texts();
    let image = vec![0.5; PAIRS as usize];
    let pairs = Features::new(&image, 1, &texts, 6).unwrap();
    let read = |file: &[u8]| Checkpoint::read_from(&mut &*file).unwrap();
    let resume = |file: &[u8], weights: Vec<u8>, shift: u32| {
        let pictures = |pair| Ok(picture(pair + shift));
        match trainer.fit_from(weights, Some(read(file)), &pairs, &pictures, &mut ()) {
            Err(Error::CheckpointMismatch { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(resume(&keeper.files[0], toy_backbone(), KINDS), "fingerprint of the pairs and labels");
    let mut other = toy_backbone();
    let last = other.len() - 4;
    other[last] ^= 1;
    assert_eq!(resume(&keeper.files[0], other, 0), "image featurizer");
    let mut on_features = Keeper::default();
    trainer.trainer.fit(&pairs, &mut on_features).unwrap();
    assert_eq!(resume(&on_features.files[0], toy_backbone(), 0), "backbone");
    // Damage is found, wherever it is.
    let file = &keeper.files[0];
    for at in [file.len() / 3, file.len() / 2, file.len() - 1] {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        let damaged = Checkpoint::read_from(&mut damaged.as_slice());
        assert!(matches!(damaged, Err(Error::Checkpoint { .. })), "{at}");
    }
}
