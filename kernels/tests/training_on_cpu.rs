//! Encoding and the training step on the CPU: the CUDA kernels compiled from their sources, against
//! their definition in float64 and against recorded runs of the public UCCH code.
#![cfg(target_os = "linux")]

#[path = "support/blocks.rs"]
#[allow(dead_code, reason = "launches are counted elsewhere")]
mod blocks;
#[path = "support/cases.rs"]
#[allow(dead_code, reason = "only its numbers are used here")]
mod cases;
#[path = "support/compiled.rs"]
mod compiled;
#[path = "support/differences.rs"]
mod differences;
#[path = "support/fixture.rs"]
mod fixture;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/training.rs"]
mod training;

use std::sync::atomic::Ordering;

use blocks::Blocks;
use cases::Numbers;
use fixture::Fixture;
use oracle::philox;
use training::{CHANGES, Run, Sizes, chained_codes, check_codes, network, same_trained, settings};
use twinbit_kernels::cuda::CudaError;
use twinbit_kernels::cuda::train::{
    BatchKeys, DeviceFeatures, Encoder, FeatureType, KeySource, Layer, Optimizer, Pairs, Precision,
    RankingLoss, StepSettings, TrainingState, TrainingStep,
};
use twinbit_kernels::{Error, Modality};

/// Sizes that divide nothing.
const ODD: Sizes = Sizes { pairs: 37, features: [13, 7], hidden: 21, layers: [3, 2], bits: 40 };

#[test]
fn recorded_runs_are_repeated() {
    for (seed, fixture) in Fixture::all().iter().enumerate() {
        fixture.replay(&Blocks::new(seed as u64));
    }
}

#[test]
fn rounded_products_give_the_recorded_losses_nearly() {
    for fixture in Fixture::all() {
        for precision in [Precision::Tf32, Precision::Bf16] {
            fixture.check_rounded_losses(&Blocks::new(3), precision);
        }
    }
}

#[test]
fn steps_follow_their_definition() {
    let shapes = [
        (ODD, 9, 33, 1),
        (Sizes { pairs: 20, features: [300, 5], hidden: 270, layers: [2, 1], bits: 8 }, 3, 1, 1),
        (Sizes { pairs: 12, features: [6, 9], hidden: 5, layers: [1, 3], bits: 328 }, 1, 300, 0),
    ];
    for (seed, (sizes, batch, negatives, warm_up)) in (1..).zip(shapes) {
        let run = Run::new(&mut Numbers::new(seed), sizes, settings(batch, negatives));
        run.check(&Blocks::new(seed), warm_up, 3);
    }
}

#[test]
fn a_similarity_exactly_on_the_margin_is_not_shifted() {
    let sizes = Sizes { pairs: 6, features: [4, 3], hidden: 4, layers: [1, 1], bits: 16 };
    let ranking = RankingLoss::Global { margin: 0.0, shift: 1.0, temperature: 1.0 };
    let mut run =
        Run::new(&mut Numbers::new(2), sizes, StepSettings { alpha: 0.0, ranking, ..settings(6, 1) });
    // Every pair has a twin, as similar to it as itself.
    for (features, width) in run.features.iter_mut().zip(sizes.features) {
        for twin in features.chunks_exact_mut(2 * width) {
            twin.copy_within(..width, width);
        }
    }
    run.check(&Blocks::new(1), 1, 1);
}

#[test]
fn more_pairs_than_threads_and_the_longest_code_fit() {
    let sizes = Sizes { pairs: 270, features: [4, 3], hidden: 6, layers: [2, 1], bits: 16 };
    Run::new(&mut Numbers::new(5), sizes, settings(260, 2)).check(&Blocks::new(5), 1, 2);
    let sizes = Sizes { pairs: 5, features: [3, 3], hidden: 4, layers: [1, 1], bits: 4096 };
    for keys in [KeySource::Binary, KeySource::Continuous] {
        let settings = StepSettings { keys, ..settings(2, 5) };
        Run::new(&mut Numbers::new(6), sizes, settings).check(&Blocks::new(6), 0, 1);
    }
}

#[test]
fn every_setting_follows_its_definition() {
    for (seed, change) in (1..).zip(CHANGES) {
        let mut settings = settings(9, 33);
        change(&mut settings);
        let run = Run::new(&mut Numbers::new(seed), ODD, settings);
        let state = run.check(&Blocks::new(seed), 1, 3);
        let second = state.moments[1].iter().map(Vec::len).sum::<usize>();
        assert_eq!(second, if run.settings.optimizer == Optimizer::Adam { 5 } else { 0 }, "second moments");
    }
}

/// The states after some steps in one schedule.
fn train(run: &Run, seed: u64, start: &TrainingState, batches: &[Vec<u32>]) -> TrainingState {
    let machine = Blocks::new(seed);
    let features = run.upload(&machine);
    let mut training = run.start(&machine, &features, start);
    for pairs in batches {
        training.step(pairs, BatchKeys::Drawn, 1e-3).unwrap();
    }
    assert_eq!(training.losses().unwrap().len(), batches.len());
    training.state().unwrap()
}

#[test]
fn schedules_and_interruptions_change_no_bit() {
    let plain = settings(9, 33);
    change_no_bit(StepSettings { dropout: 0.2, ..plain.clone() });
    change_no_bit(StepSettings { keys: KeySource::Continuous, optimizer: Optimizer::Sgd, ..plain });
}

fn change_no_bit(settings: StepSettings) {
    let mut numbers = Numbers::new(8);
    let run = Run::new(&mut numbers, ODD, settings);
    let batches: Vec<Vec<u32>> = (0..4).map(|_| run.batch(&mut numbers)).collect();
    let expected = train(&run, 1, &run.state, &batches);
    assert_ne!(expected.networks, run.state.networks);
    assert_eq!(train(&run, 2, &run.state, &batches), expected, "another schedule");
    let half = train(&run, 3, &run.state, &batches[..2]);
    assert_eq!(train(&run, 4, &half, &batches[2..]), expected, "saved and resumed");
    let mut other = run.clone();
    other.settings.seed += 1;
    assert_ne!(train(&other, 1, &run.state, &batches), expected, "another seed");
}

#[test]
fn captured_steps_change_no_bit() {
    let sizes = Sizes { pairs: 17, features: [6, 5], hidden: 9, layers: [3, 2], bits: 40 };
    for (seed, change) in (1..).zip(CHANGES) {
        let mut settings = settings(5, 9);
        change(&mut settings);
        let run = Run::new(&mut Numbers::new(seed), sizes, settings);
        let machine = Blocks::new(seed);
        let features = run.upload(&machine);
        let start = || run.start(&machine, &features, &run.state);
        let replays = || machine.health().replays.load(Ordering::Relaxed);
        let expected = run.epochs(start().one_by_one());
        assert_eq!(replays(), 0);
        same_trained("captured", &run.epochs(start()), &expected);
        // Of 12 steps, the first of each kind is not replayed.
        let kinds = if run.settings.momentum == 0.0 || run.settings.keys == KeySource::Batch { 1 } else { 3 };
        assert_eq!(replays(), 12 - kinds, "replayed steps");
        machine.health().captures.store(false, Ordering::Relaxed);
        same_trained("a machine that cannot capture", &run.epochs(start()), &expected);
        assert_eq!(replays(), 12 - kinds);
    }
}

#[test]
fn an_epoch_is_loaded_at_once() {
    let run = Run::new(&mut Numbers::new(1), ODD, settings(9, 33));
    let machine = Blocks::new(1);
    let features = run.upload(&machine);
    let mut training = run.start(&machine, &features, &run.state);
    let order: Vec<u32> = (0..37).collect();
    let refused = |result| assert!(matches!(result, Err(Error::Shape { .. })));
    refused(training.next_step(BatchKeys::Drawn));
    refused(training.load(&[], 1e-3));
    refused(training.load(&order, 1e-3));
    refused(training.load(&[&order[..36], &order[..9]].concat(), 1e-3));
    refused(training.load(&[&order[..9], &order[8..16], &[8]].concat(), 1e-3));
    training.load(&order[..36], 1e-3).unwrap();
    refused(training.next_step(BatchKeys::Given(&[0; 3])));
    assert_eq!(training.loaded(), 4);
    for left in (0..4).rev() {
        training.next_step(BatchKeys::Drawn).unwrap();
        assert_eq!(training.loaded(), left);
    }
    refused(training.next_step(BatchKeys::Drawn));
    let epoch = training.state().unwrap();
    let batches: Vec<Vec<u32>> = order[..36].chunks(9).map(<[u32]>::to_vec).collect();
    assert_eq!(train(&run, 2, &run.state, &batches), epoch, "batch after batch");
    // What was loaded before is forgotten.
    training.load(&order[..36], 1e-3).unwrap();
    training.step(&order[1..10], BatchKeys::Drawn, 1e-3).unwrap();
    refused(training.next_step(BatchKeys::Drawn));
}

#[test]
fn narrow_features_are_widened_exactly() {
    let sizes = Sizes { pairs: 17, features: [70, 31], hidden: 9, layers: [2, 1], bits: 16 };
    let mut run = Run::new(&mut Numbers::new(6), sizes, settings(5, 9));
    let types = run.draw_narrow(&mut Numbers::new(2));
    let machine = Blocks::new(1);
    let wide = run.upload(&machine);
    let narrow = run.upload_as(&machine, types);
    assert_eq!(narrow.each_ref().map(DeviceFeatures::stored), types);
    let expected = run.epochs(run.start(&machine, &wide, &run.state));
    same_trained("narrow", &run.epochs(run.start(&machine, &narrow, &run.state)), &expected);

    // Rows as they are stored.
    let mut text = DeviceFeatures::stored_as(&machine, FeatureType::Byte, 17, 31).unwrap();
    let bytes: Vec<u8> = run.features[1].iter().map(|&value| value as u8).collect();
    text.write_stored(&machine, 0, &bytes[..31]).unwrap();
    text.write_stored(&machine, 1, &bytes[31..]).unwrap();
    let [image, _] = narrow;
    same_trained("stored", &run.epochs(run.start(&machine, &[image, text], &run.state)), &expected);

    let mut half = DeviceFeatures::stored_as(&machine, FeatureType::Float16, 3, 2).unwrap();
    let refused = half.write(&machine, 1, &[0.5, 1.0, 2.0, 0.1]).unwrap_err();
    assert_eq!(refused, Error::Inexact { row: 2, column: 1 });
    for bytes in [2, 3, 5, 16] {
        let refused = half.write_stored(&machine, 0, &vec![0; bytes]);
        assert!(matches!(refused, Err(Error::Shape { .. })), "{bytes} bytes");
    }
    half.write_stored(&machine, 0, &[0; 12]).unwrap();
}

#[test]
fn random_words_are_those_of_the_authors() {
    // Known answers of Random123.
    assert_eq!(philox(0, [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    assert_eq!(philox(u64::MAX, [u32::MAX; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
}

#[test]
fn losses_of_many_steps_are_kept() {
    let sizes = Sizes { pairs: 3, features: [2, 2], hidden: 2, layers: [1, 1], bits: 8 };
    let run = Run::new(&mut Numbers::new(4), sizes, settings(2, 1));
    let machine = Blocks::new(1);
    let features = run.upload(&machine);
    let mut training = run.start(&machine, &features, &run.state);
    for step in 0..300 {
        training.step(&[step % 3, (step + 1) % 3], BatchKeys::Drawn, 1e-2).unwrap();
    }
    let losses = training.losses().unwrap();
    assert_eq!(losses.len(), 300);
    assert!(losses.iter().all(|losses| losses.total.is_finite()));
    assert_eq!(training.losses().unwrap(), []);
}

#[test]
fn codes_are_the_signs_of_the_outputs() {
    let mut numbers = Numbers::new(9);
    for (seed, bits) in (1..).zip([8, 16, 24, 32, 64, 72, 128, 1000]) {
        let layers = network(&mut numbers, 19, 23, 1 + seed as usize % 3, bits);
        // 33 rows in batches of 14: the last one is not full.
        let features: Vec<f32> = (0..33 * 19).map(|_| numbers.below(2000) as f32 / 1000.0 - 1.0).collect();
        let machine = Blocks::new(seed);
        assert_eq!(check_codes(&machine, &layers, &features, 14, Precision::Float32, 1e-6), 0);
        let different = check_codes(&machine, &layers, &features, 14, Precision::Bf16, 2e-2);
        assert!(different * 20 < 33 * bits, "{different} bits of {bits} x 33 differ");
    }
}

#[test]
fn codes_are_those_that_the_cpu_packs() {
    // One layer that is its own input: the codes are the features' signs, zeros included.
    let bits = 40;
    let mut weight = vec![0.0; bits * bits];
    (0..bits).for_each(|i| weight[i * bits + i] = 1.0);
    let layer = Layer { inputs: bits, outputs: bits, weight, bias: vec![0.0; bits] };
    let mut numbers = Numbers::new(10);
    let features: Vec<f32> = (0..bits * 11).map(|_| numbers.below(5) as f32 - 2.0).collect();
    let machine = Blocks::new(1);
    let mut encoder = Encoder::new(&machine, &[layer], 8, Precision::Bf16).unwrap();
    let codes = encoder.encode(&features).unwrap();
    let expected = twinbit_kernels::pack_signs(&features, encoder.bits()).unwrap();
    assert_eq!(codes.as_bytes(), expected.as_bytes());
    assert_eq!(encoder.encode(&[]).unwrap().rows(), 0);
}

#[test]
fn exact_codes_are_those_of_chains_to_the_bit() {
    for (seed, rows, widths) in
        [(1, 5, &[3, 16][..]), (2, 37, &[19, 40, 24]), (3, 130, &[150, 131, 7, 136]), (4, 260, &[8, 9, 8])]
    {
        let mut numbers = Numbers::new(seed);
        let mut draw = |count: usize| -> Vec<f32> {
            // Few bits, so that sums often cancel out to almost nothing and rounding decides.
            (0..count).map(|_| (numbers.below(2001) as f32 - 1000.0) / 999.0).collect()
        };
        let layers: Vec<Layer> = widths
            .windows(2)
            .map(|pair| {
                let (inputs, outputs) = (pair[0], pair[1]);
                Layer { inputs, outputs, weight: draw(inputs * outputs), bias: draw(outputs) }
            })
            .collect();
        let mut features = draw(rows * widths[0]);
        features.iter_mut().step_by(7).for_each(|value| *value = 0.0);
        let machine = Blocks::new(seed);
        let mut encoder = Encoder::exact(&machine, &layers, 129).unwrap();
        let codes = encoder.encode(&features).unwrap();
        assert_eq!(codes, chained_codes(&layers, &features), "widths {widths:?}");
    }
}

#[test]
fn rows_without_a_direction_are_named() {
    let dead = |inputs| Layer { inputs, outputs: 16, weight: vec![0.0; inputs * 16], bias: vec![0.0; 16] };
    let machine = Blocks::new(1);
    let mut encoder = Encoder::new(&machine, &[dead(3)], 4, Precision::Float32).unwrap();
    assert!(matches!(encoder.encode(&[1.0; 6]), Err(Error::NoDirection { row: 0 })));
    let layer = Layer { bias: vec![1.0; 16], ..dead(3) };
    let mut encoder = Encoder::new(&machine, &[layer], 4, Precision::Float32).unwrap();
    let mut features = [1.0; 18];
    assert_eq!(encoder.encode(&features).unwrap().as_codes().row(5), [0xff; 2]);
    features[16] = f32::NAN;
    assert!(matches!(encoder.encode(&features), Err(Error::NoDirection { row: 5 })));

    let sizes = Sizes { pairs: 4, features: [3, 3], hidden: 2, layers: [1, 1], bits: 16 };
    let mut run = Run::new(&mut Numbers::new(3), sizes, settings(2, 3));
    run.state.networks[1] = vec![dead(3)];
    let features = run.upload(&machine);
    let mut training = run.start(&machine, &features, &run.state);
    training.step(&[2, 1], BatchKeys::Own, 1e-3).unwrap();
    assert!(matches!(training.losses(), Err(Error::NoOutput { modality: Modality::Text, row: 0 })));
    // What follows it is of no use.
    training.step(&[2, 1], BatchKeys::Own, 1e-3).unwrap();
    assert!(matches!(training.losses(), Err(Error::NoOutput { .. })));
    assert!(training.state().unwrap().networks[0][0].weight.iter().all(|value| value.is_finite()));
}

#[test]
fn what_does_not_fit_is_refused() {
    let run = Run::new(&mut Numbers::new(1), ODD, settings(9, 33));
    let machine = Blocks::new(1);
    let features = run.upload(&machine);
    let mut training = run.start(&machine, &features, &run.state);
    let mut refused = |pairs: &[u32], keys| {
        assert!(matches!(training.step(pairs, keys, 1e-3), Err(Error::Shape { .. })), "{pairs:?}");
    };
    refused(&[0, 1, 2], BatchKeys::Drawn);
    refused(&[0, 1, 2, 3, 4, 5, 6, 7, 37], BatchKeys::Drawn);
    refused(&[0, 1, 2, 3, 4, 5, 6, 7, 3], BatchKeys::Drawn);
    refused(&[0, 1, 2, 3, 4, 5, 6, 7, 8], BatchKeys::Given(&[0; 9 * 33]));
    refused(&[0, 1, 2, 3, 4, 5, 6, 7, 8], BatchKeys::Given(&[37; 9 * 34]));

    let start = |settings: &StepSettings, state: &TrainingState, features: &[DeviceFeatures<Blocks>; 2]| {
        let pairs = Pairs { features: features.each_ref(), neighbors: &[] };
        TrainingStep::new(&machine, settings.clone(), state, pairs).map(|_| ()).unwrap_err()
    };
    let shape = |error| matches!(error, Error::Shape { .. });
    assert!(shape(start(&StepSettings { batch: 0, ..run.settings.clone() }, &run.state, &features)));
    assert!(shape(start(&StepSettings { neighbors: 2, ..run.settings.clone() }, &run.state, &features)));
    let mut state = run.state.clone();
    state.bank.pop();
    assert!(shape(start(&run.settings, &state, &features)));
    let mut state = run.state.clone();
    state.moments[1][0].pop();
    assert!(shape(start(&run.settings, &state, &features)));
    // The moments of another optimizer.
    let sgd = StepSettings { optimizer: Optimizer::Sgd, ..run.settings.clone() };
    assert!(shape(start(&sgd, &run.state, &features)));
    let TrainingState { networks, bank, .. } = run.state.clone();
    let state = TrainingState::before(Optimizer::Sgd, networks, bank);
    assert!(shape(start(&run.settings, &state, &features)));
    let narrow = [0, 1].map(|side| DeviceFeatures::upload(&machine, 1, &run.features[side]).unwrap());
    assert!(shape(start(&run.settings, &run.state, &narrow)));
    let elsewhere = run.upload(&Blocks::new(2));
    let error = start(&run.settings, &run.state, &elsewhere);
    assert!(matches!(error, Error::Cuda(CudaError::OtherMachine)));
    assert!(shape(Encoder::new(&machine, &[], 8, Precision::Float32).unwrap_err()));
    let nothing = network(&mut Numbers::new(1), 0, 3, 1, 8);
    assert!(shape(Encoder::new(&machine, &nothing, 8, Precision::Float32).unwrap_err()));
    let seven = network(&mut Numbers::new(1), 3, 3, 1, 7);
    assert!(matches!(Encoder::new(&machine, &seven, 8, Precision::Float32), Err(Error::Bits { bits: 7 })));
    let mut encoder = Encoder::new(&machine, &run.state.networks[0], 8, Precision::Float32).unwrap();
    assert!(shape(encoder.encode(&[0.0; 14]).unwrap_err()));
}
