//! Training on a card: models as good as the processor's, runs that go on where they began.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use twinbit::{
    CodeBits, Collection, CudaError, Device, EpochReport, Error, Features, KeySource, Modality, Observer,
    Optimizer, Outcome, PairSource, Precision, RankingInput, RankingLoss, TrainConfig, Trainer,
    TrainingMachine,
};

use crate::things::{KINDS, WIDTHS, features, labels, put, quick, things};
use crate::{builder, for_nothing, with_card};

fn trainer(collection: &Collection) -> Trainer<'_> {
    collection.trainer().config(quick())
}

fn fit(trainer: Trainer<'_>, collection: &Collection) -> Result<Outcome, Error> {
    trainer.fit(&collection.snapshot()?)
}

/// Everything of an outcome but wall times.
fn told(outcome: &Outcome) -> (Vec<u8>, u32, Vec<EpochReport>) {
    let untimed = |report: &EpochReport| EpochReport { seconds: 0.0, step_ms: 0.0, ..report.clone() };
    (outcome.model.to_bytes(), outcome.best_epoch, outcome.epochs.iter().map(untimed).collect())
}

#[test]
fn models_from_a_card_are_as_good_as_those_from_the_processor() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let plain = things(builder().device(Device::Cpu), folders[0].path(), 320, false);
    let (options, _) = with_card(Device::Cuda(0));
    let on_card = things(options, folders[1].path(), 320, false);
    for (precision, config) in [
        (Precision::Tf32, quick()),
        (Precision::Bf16, TrainConfig { neighbors: 8, dropout: 0.1, ..quick() }),
        (
            Precision::Float32,
            TrainConfig { ranking: RankingLoss::MaxMargin, keys: KeySource::Batch, ..quick() },
        ),
        // `train --preset captions --method ucch-plus`.
        (Precision::Tf32, TrainConfig { epochs: 4, ..quick().plus_for_captions() }),
        (Precision::Tf32, TrainConfig { ranking_input: RankingInput::Signs, ..quick() }),
    ] {
        let train = |collection: &Collection| {
            let trainer = trainer(collection).config(config.clone()).precision(precision).labels(labels(320));
            fit(trainer, collection).unwrap()
        };
        let expected = train(&plain);
        assert_eq!(expected.machine, TrainingMachine::Processor);
        let outcome = train(&on_card);
        assert_eq!(outcome.machine, TrainingMachine::Card(precision));
        let score =
            |outcome: &Outcome| outcome.epochs[outcome.best_epoch as usize - 1].validation.unwrap().mean();
        let (score, expected) = (score(&outcome), score(&expected));
        assert!(score > 0.6 && score > expected - 0.1, "{score}, {expected}; chance is 1 in {KINDS}");
        assert_eq!(outcome.model.training().unwrap().epochs.len(), 4);
    }
}

#[test]
fn the_same_seed_gives_the_same_model_and_precision_matters() {
    let folder = tempfile::tempdir().unwrap();
    let (options, _) = with_card(Device::Cuda(0));
    let things = things(options, folder.path(), 100, true);
    let train = |seed, precision| {
        let trainer = trainer(&things).seed(seed).epochs(2).precision(precision);
        told(&fit(trainer, &things).unwrap())
    };
    let first = train(1, Precision::Tf32);
    assert_eq!(train(1, Precision::Tf32), first);
    assert_ne!(train(2, Precision::Tf32).0, first.0);
    assert_ne!(train(1, Precision::Float32).0, first.0);
}

#[test]
fn a_resumed_run_equals_an_unbroken_one_after_every_epoch() {
    let folder = tempfile::tempdir().unwrap();
    for (name, second_texts, config) in [
        ("plain", false, TrainConfig { patience: Some(3), ..quick() }),
        (
            "descent",
            false,
            TrainConfig { optimizer: Optimizer::Sgd, keys: KeySource::Continuous, epochs: 2, ..quick() },
        ),
        // Texts are drawn anew for each epoch.
        ("texts", true, TrainConfig { neighbors: 3, dropout: 0.25, warmup_epochs: 2, epochs: 3, ..quick() }),
    ] {
        let (options, _) = with_card(Device::Cuda(0));
        let collection = things(options, &folder.path().join(name), 130, second_texts);
        let trainer = || trainer(&collection).config(config.clone()).held_out(30);
        let unbroken = fit(trainer(), &collection).unwrap();
        let path = folder.path().join(format!("{name}.ckpt"));
        for last in 1..=unbroken.epochs.len() as u32 {
            let _ = std::fs::remove_file(&path);
            let flow = move |report: &EpochReport| match report.epoch == last {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            };
            let broken = fit(trainer().checkpoint(&path).on_epoch(flow), &collection);
            assert!(matches!(broken, Err(Error::Canceled)));
            let resumed = fit(trainer().checkpoint(&path).resume(), &collection).unwrap();
            assert_eq!(told(&resumed), told(&unbroken), "{name} after epoch {last}");
        }
    }
}

#[test]
fn a_run_goes_on_where_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let open = |device, costs: bool, name: &str| {
        let (options, _) = with_card(device);
        let options = if costs { options.device_costs(for_nothing()) } else { options };
        let path = folder.path().join(name);
        if path.exists() {
            return options.open(&path).unwrap().only_collection().unwrap();
        }
        things(options, &path, 100, false)
    };
    let broken_off = |collection: &Collection, path: &std::path::Path| {
        let trainer = trainer(collection).checkpoint(path).on_epoch(|_| ControlFlow::Break(()));
        assert!(matches!(fit(trainer, collection), Err(Error::Canceled)));
    };
    let resume = |collection: &Collection, path: &std::path::Path, precision| {
        let copy = path.with_extension("copy");
        std::fs::copy(path, &copy).unwrap();
        fit(trainer(collection).precision(precision).checkpoint(copy).resume(), collection)
    };
    let refused = |outcome: Result<Outcome, Error>| match outcome {
        Err(Error::TrainingCheckpoint { source, .. }) => source.to_string(),
        other => panic!("{other:?}"),
    };
    let (of_card, of_processor) = (folder.path().join("card.ckpt"), folder.path().join("processor.ckpt"));
    {
        let demanded = open(Device::Cuda(0), false, "db");
        broken_off(&demanded, &of_card);
    }
    {
        let plain = open(Device::Cpu, false, "db");
        broken_off(&plain, &of_processor);
        let told = refused(resume(&plain, &of_card, Precision::Tf32));
        assert!(
            told.contains("its machine is a card with tf32 products, this run's is the processor"),
            "{told}"
        );
    }
    {
        let demanded = open(Device::Cuda(0), false, "db");
        let told = refused(resume(&demanded, &of_processor, Precision::Tf32));
        assert!(told.contains("its machine is the processor, this run's is a card"), "{told}");
        let told = refused(resume(&demanded, &of_card, Precision::Bf16));
        assert!(told.contains("tf32") && told.contains("bf16"), "{told}");
        assert!(resume(&demanded, &of_card, Precision::Tf32).is_ok());
    }
    for worth_it in [true, false] {
        let automatic = open(Device::Auto, worth_it, "db");
        let outcome = resume(&automatic, &of_processor, Precision::Tf32).unwrap();
        assert_eq!(outcome.machine, TrainingMachine::Processor);
        let outcome = resume(&automatic, &of_card, Precision::Tf32).unwrap();
        assert_eq!(outcome.machine, TrainingMachine::Card(Precision::Tf32));
    }
}

/// A number too small to change any sum: features that hold it go to the card as float32 and are trained on as
/// if it were 0.
const NEXT_TO_NOTHING: f32 = f32::from_bits(1);

/// Images in sixteenths, texts in small whole numbers, with one image value and one text value as given.
fn exact_features(value: f32) -> [Vec<f32>; 2] {
    let all = features(100);
    let side = |side: usize, exact: fn(f32) -> f32| {
        let values = all.iter().flat_map(|pair| pair[side].iter().map(|&value| exact(value)));
        let mut values: Vec<f32> = values.collect();
        values[5] = value;
        values
    };
    [side(0, |value| (value * 16.0).round() / 16.0), side(1, |value| (value.abs() * 8.0).round())]
}

/// What training on a card gives, and how many bytes were copied to it.
fn trained_on(source: &dyn PairSource) -> ((Vec<u8>, u32, Vec<EpochReport>), usize) {
    let folder = tempfile::tempdir().unwrap();
    let (options, health) = with_card(Device::Cuda(0));
    let things = things(options, folder.path(), 1, false);
    let outcome = trainer(&things).fit_source(source).unwrap();
    assert_eq!(outcome.machine, TrainingMachine::Card(Precision::Tf32));
    (told(&outcome), health.written.load(Ordering::Relaxed))
}

#[test]
fn features_go_to_the_card_in_the_narrowest_type_and_train_the_same_model() {
    let train = |value| {
        let [image, text] = exact_features(value);
        trained_on(&Features::new(&image, WIDTHS[0], &text, WIDTHS[1]).unwrap())
    };
    let (narrow, written) = train(0.0);
    let (wide, written_wide) = train(NEXT_TO_NOTHING);
    assert_eq!(narrow, wide);
    // Images as float16, texts as bytes.
    assert_eq!(written_wide - written, 100 * (2 * WIDTHS[0] + 3 * WIDTHS[1]));
}

/// Texts that are divided by 4 more in each epoch, so that in the second one they fit no byte any more.
struct Divided {
    features: [Vec<f32>; 2],
}

impl PairSource for Divided {
    fn pairs(&self) -> usize {
        100
    }

    fn width(&self, modality: Modality) -> usize {
        WIDTHS[modality.index()]
    }

    fn varies(&self, modality: Modality) -> bool {
        modality == Modality::Text
    }

    fn read(
        &self,
        modality: Modality,
        pairs: &[u32],
        epoch: u32,
        out: &mut [f32],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let width = self.width(modality);
        let divisor = if modality == Modality::Text { 4_f32.powi(epoch as i32) } else { 1.0 };
        for (out, &pair) in out.chunks_exact_mut(width).zip(pairs) {
            let row = &self.features[modality.index()][pair as usize * width..];
            out.iter_mut().zip(row).for_each(|(out, value)| *out = value / divisor);
        }
        Ok(())
    }
}

#[test]
fn an_epoch_whose_features_need_a_wider_type_gets_it() {
    let train = |value| trained_on(&Divided { features: exact_features(value) });
    let (narrow, written) = train(0.0);
    let (wide, written_wide) = train(NEXT_TO_NOTHING);
    assert_eq!(narrow, wide);
    // Images once as float16. Texts as bytes in the first of four epochs and as float16 from then on; of float32
    // texts the value that asks for it is gone after the first epoch, the type is not.
    assert_eq!(written_wide - written, 100 * (2 * WIDTHS[0] + (3 + 2 + 2 + 2) * WIDTHS[1]));
}

/// Stops at a step, or after an epoch.
struct Stop {
    step: usize,
    epoch: u32,
}

impl Observer for Stop {
    fn on_step(&mut self, step: usize, steps: usize, loss: f64) -> ControlFlow<()> {
        assert!(step <= self.step.max(3 * 4) && steps == 3 * 4 && loss.is_finite());
        if step == self.step { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn on_epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
        if report.epoch == self.epoch { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn training_on_a_card_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let (options, health) = with_card(Device::Cuda(0));
    let things = things(options, folder.path(), 100, false);
    for stop in [Stop { step: 2, epoch: 0 }, Stop { step: 0, epoch: 1 }] {
        let stopped = fit(trainer(&things).observer(stop), &things);
        assert!(matches!(stopped, Err(Error::Canceled)));
        assert_eq!(health.taken.load(Ordering::Relaxed), 0, "nothing stays on the card");
    }
}

#[test]
fn a_card_that_cannot_is_an_error_where_it_was_demanded_and_the_processor_trains_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let plain = things(builder().device(Device::Cpu), &folder.path().join("plain"), 100, false);
    let expected = told(&fit(trainer(&plain), &plain).unwrap());
    for (number, memory) in [100, 40_000, 200_000, usize::MAX].into_iter().enumerate() {
        let fails = |device| {
            let (options, health) = with_card(device);
            let path = folder.path().join(format!("{device} {number}"));
            let collection = things(options.device_costs(for_nothing()), &path, 100, false);
            health.memory.store(memory, Ordering::Relaxed);
            health.broken.store(memory == usize::MAX, Ordering::Relaxed);
            let outcome = fit(trainer(&collection), &collection);
            assert_eq!(health.taken.load(Ordering::Relaxed), 0, "nothing stays on the card");
            outcome
        };
        let error = fails(Device::Cuda(0)).unwrap_err();
        match memory {
            usize::MAX => assert!(matches!(error, Error::NoCuda { reason: CudaError::Driver { .. } })),
            _ => assert!(matches!(error, Error::NoCuda { reason: CudaError::OutOfMemory { .. } }), "{error}"),
        }
        let outcome = fails(Device::Auto).unwrap();
        assert_eq!((outcome.machine, told(&outcome)), (TrainingMachine::Processor, expected.clone()));
    }
}

/// Panics when features are asked for.
struct Untouched;

impl PairSource for Untouched {
    fn pairs(&self) -> usize {
        100
    }

    fn width(&self, modality: Modality) -> usize {
        WIDTHS[modality.index()]
    }

    fn read(
        &self,
        _modality: Modality,
        _pairs: &[u32],
        _epoch: u32,
        _out: &mut [f32],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        unreachable!("training has begun")
    }
}

#[test]
fn a_card_without_cublas_is_told_before_anything_is_read_and_the_processor_trains_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let open = |device: Device| {
        let (options, health) = with_card(device);
        health.without_products.store(true, Ordering::Relaxed);
        things(options.device_costs(for_nothing()), &folder.path().join(device.to_string()), 100, false)
    };
    let demanded = open(Device::Cuda(0));
    for outcome in [trainer(&demanded).fit_source(&Untouched), fit(trainer(&demanded), &demanded)] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::NoCuda { reason: CudaError::NoBlas }), "{error}");
        assert!(error.to_string().contains("install"), "{error}");
    }
    let automatic = open(Device::Auto);
    let outcome = fit(trainer(&automatic), &automatic).unwrap();
    assert_eq!(outcome.machine, TrainingMachine::Processor);
    // Whatever else a card does, this one still does.
    automatic.install(&outcome.model).unwrap();
    assert!(automatic.database().device_status().card.is_some());
}

#[test]
fn small_runs_stay_on_the_processor_and_large_ones_go_to_the_card() {
    let folder = tempfile::tempdir().unwrap();
    let (options, _) = with_card(Device::Auto);
    let things = things(options, folder.path(), 100, false);
    assert_eq!(fit(trainer(&things), &things).unwrap().machine, TrainingMachine::Processor);
    assert!(things.database().device_status().card.is_none(), "no card was opened");
    // Three times 10^12 operations by their number, of which the first epoch is the last one, too.
    let stop = |_: &EpochReport| ControlFlow::Break(());
    let before = things.database().device_status();
    assert!(before.card.is_none());
    let large = TrainConfig { epochs: 4_000_000, ..quick() };
    let stopped = fit(trainer(&things).config(large).on_epoch(stop), &things);
    assert!(matches!(stopped, Err(Error::Canceled)));
    assert!(things.database().device_status().card.is_some());
}

#[test]
fn arrays_are_trained_on_there_too_and_codes_make_room() {
    let folder = tempfile::tempdir().unwrap();
    let (options, health) = with_card(Device::Cuda(0));
    let things = things(options, folder.path(), 100, false);
    let model = fit(trainer(&things), &things).unwrap().model;
    things.install(&model).unwrap();
    things.compact().unwrap();
    let query = things.snapshot().unwrap().query_id(3, twinbit::Modality::Image).run().unwrap();
    assert!(!query.is_empty() && health.taken.load(Ordering::Relaxed) > 0);
    let all = features(100);
    let [image, text] =
        [0, 1].map(|side| all.iter().flat_map(|pair| pair[side].clone()).collect::<Vec<f32>>());
    let source = Features::new(&image, WIDTHS[0], &text, WIDTHS[1]).unwrap();
    let outcome = trainer(&things).fit_source(&source).unwrap();
    assert_eq!(outcome.machine, TrainingMachine::Card(Precision::Tf32));
    assert_eq!(outcome.model.spec().bits, CodeBits::B32);
    assert_eq!(health.taken.load(Ordering::Relaxed), 0);
    put(&things, 0, false);
}
