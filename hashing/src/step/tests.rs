//! Both ways against each other, and what is refused.

use super::*;
use crate::config::{KeySource, RankingInput, RankingLoss, TrainConfig};
use crate::net::{Layer, layer_shapes};
use crate::random::{Purpose, below, stream, unit};

const PAIRS: usize = 40;

fn settings(differentiation: Differentiation) -> StepSettings {
    StepSettings { differentiation, ..StepSettings::from(&TrainConfig::default()) }
}

fn state(settings: StepSettings) -> TrainingState<f64> {
    let network = |inputs, layers| {
        let mut generator = stream(4, Purpose::ImageWeights, inputs as u64);
        Network::initialize(&layer_shapes(inputs, 30, layers, 24), &mut generator).unwrap()
    };
    let bank = MemoryBank::initialize(PAIRS, CodeBits::new(24).unwrap(), 4).unwrap();
    TrainingState::new(settings, network(10, 3), network(6, 2), bank).unwrap()
}

fn batch<'a>(pairs: &'a [u32], keys: Keys<'a>) -> Batch<'a, f64> {
    let mut generator = stream(8, Purpose::Bank, 0);
    let mut draw = |count| (0..count).map(|_| unit(&mut generator) - 0.5).collect();
    Batch { pairs, image: draw(pairs.len() * 10), text: draw(pairs.len() * 6), keys }
}

fn close(fused: &[f64], reference: &[f64]) {
    let largest = reference.iter().fold(0f64, |largest, value| largest.max(value.abs()));
    for (fused, reference) in fused.iter().zip(reference) {
        assert!((fused - reference).abs() < 1e-12 * largest, "{fused} is not {reference}");
    }
}

/// Compares losses and gradients of both ways for batch keys and bank keys, of a settings.
fn both_ways_agree(change: impl Fn(&mut StepSettings)) {
    let pairs: Vec<u32> = (0..12).map(|i| (i * 7) % PAIRS as u32).collect();
    let mut generator = stream(6, Purpose::Negatives, 0);
    let drawn: Vec<u32> = pairs
        .iter()
        .flat_map(|&own| {
            let negatives: Vec<u32> = (0..50).map(|_| below(&mut generator, PAIRS as u32)).collect();
            std::iter::once(own).chain(negatives)
        })
        .collect();
    for keys in [Keys::Batch, Keys::Bank(&drawn)] {
        let pass = |differentiation| {
            let mut settings = settings(differentiation);
            change(&mut settings);
            let mut state = state(settings);
            // After an update the bank's rows are no longer mere signs.
            let moved = state.differentiate(batch(&pairs, keys)).unwrap();
            state.bank.update(&moved.pairs, [&moved.outputs[0], &moved.outputs[1]], 0.4);
            state.differentiate(batch(&pairs, keys)).unwrap()
        };
        let (fused, reference) = (pass(Differentiation::Fused), pass(Differentiation::Autodiff));
        close(&[fused.losses.total], &[reference.losses.total]);
        for modality in Modality::ALL {
            let layers = [fused.gradients(modality).unwrap(), reference.gradients(modality).unwrap()];
            for (fused, reference) in layers[0].iter().zip(&layers[1]) {
                assert!(reference.weight.iter().any(|&value| value != 0.0));
                close(&fused.weight, &reference.weight);
                close(&fused.bias, &reference.bias);
            }
        }
    }
}

#[test]
fn fused_gradients_equal_automatic_ones() {
    both_ways_agree(|_| {});
}

#[test]
fn so_do_those_of_each_loss_alone() {
    both_ways_agree(|settings| settings.alpha = 1.0);
    both_ways_agree(|settings| settings.alpha = 0.0);
}

#[test]
fn so_do_those_of_the_max_margin_loss() {
    for margin in [0.1, 0.5, 0.9] {
        both_ways_agree(|settings| {
            (settings.alpha, settings.margin) = (0.0, margin);
            settings.ranking = RankingLoss::MaxMargin;
        });
    }
}

#[test]
fn so_do_those_of_a_cooler_ranking_and_of_one_of_signs() {
    both_ways_agree(|settings| settings.ranking_temperature = 0.1);
    both_ways_agree(|settings| {
        (settings.ranking_input, settings.ranking_temperature) = (RankingInput::Signs, 0.2);
    });
    both_ways_agree(|settings| {
        (settings.ranking_input, settings.alpha, settings.shift) = (RankingInput::Both, 0.0, 0.0);
    });
}

#[test]
fn so_do_those_of_continuous_keys_and_of_batch_keys() {
    for keys in [KeySource::Continuous, KeySource::Batch] {
        both_ways_agree(|settings| settings.keys = keys);
    }
}

#[test]
fn so_do_those_of_neighbors_and_of_dropout() {
    both_ways_agree(|settings| (settings.neighbors, settings.neighbor_share) = (6, 0.7));
    both_ways_agree(|settings| settings.dropout = 0.4);
}

#[test]
fn the_gradient_of_the_image_features_equals_differences_of_the_loss() {
    let pairs: Vec<u32> = (0..6).collect();
    for dropout in [0.0, 0.3] {
        let state = state(StepSettings { dropout, ..settings(Differentiation::Fused) });
        let loss = |at: usize, change: f64| {
            let mut batch = batch(&pairs, Keys::Batch);
            batch.image[at] += change;
            state.differentiate(batch).unwrap().losses.total
        };
        let (pass, gradient) = state.differentiate_to_features(batch(&pairs, Keys::Batch)).unwrap();
        let plain = state.differentiate(batch(&pairs, Keys::Batch)).unwrap();
        assert_eq!((pass.losses, pass.gradient_norm), (plain.losses, plain.gradient_norm));
        assert_eq!(gradient.len(), 60);
        let largest = gradient.iter().fold(0f64, |largest, value| largest.max(value.abs()));
        for (at, gradient) in gradient.iter().enumerate() {
            let difference = (loss(at, 1e-5) - loss(at, -1e-5)) / 2e-5;
            assert!((gradient - difference).abs() < 1e-4 * largest, "{at}: {gradient} is not {difference}");
        }
    }
}

#[test]
fn neighbors_share_their_weight_and_the_warm_up_has_none() {
    let settings = StepSettings { neighbors: 4, neighbor_share: 0.5, ..settings(Differentiation::Fused) };
    assert_eq!(settings.targets::<f64>(Keys::Bank(&[])), [0.5, 0.125, 0.125, 0.125, 0.125]);
    assert_eq!(settings.targets::<f64>(Keys::Batch), [1.0]);
}

#[test]
fn the_source_of_the_keys_matters() {
    let pairs: Vec<u32> = (0..8).collect();
    let loss = |source, keys| {
        let settings = StepSettings { keys: source, ..settings(Differentiation::Fused) };
        state(settings).differentiate(batch(&pairs, keys)).unwrap().losses.contrastive
    };
    let drawn: Vec<u32> = (0..8).flat_map(|own| [own, 20, 21]).collect();
    assert_eq!(loss(KeySource::Batch, Keys::Bank(&drawn)), loss(KeySource::Binary, Keys::Batch));
    assert_ne!(loss(KeySource::Binary, Keys::Bank(&drawn)), loss(KeySource::Binary, Keys::Batch));
    assert_ne!(loss(KeySource::Continuous, Keys::Batch), loss(KeySource::Binary, Keys::Batch));
}

#[test]
fn without_momentum_every_step_is_a_warm_up_step() {
    let pairs: Vec<u32> = (0..8).collect();
    let keys = [3; 8 * 5];
    let settings = StepSettings { momentum: 0.0, ..settings(Differentiation::Fused) };
    let loss = |keys| state(settings.clone()).differentiate(batch(&pairs, keys)).unwrap().losses;
    assert_eq!(loss(Keys::Bank(&keys)), loss(Keys::Batch));
}

#[test]
fn an_output_without_direction_is_named() {
    let dead = Layer { inputs: 10, outputs: 24, weight: vec![0.0; 240], bias: vec![0.0; 24] };
    let full = state(settings(Differentiation::Fused));
    let bank = full.bank().clone();
    let text = full.network(Modality::Text).clone();
    let image = Network::new(vec![dead]).unwrap();
    let state = TrainingState::new(settings(Differentiation::Fused), image, text, bank).unwrap();
    let pass = state.differentiate(batch(&[1, 2], Keys::Batch));
    assert!(matches!(pass, Err(Error::ZeroNorm { modality: Modality::Image, row: 0 })));
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let state = state(settings(Differentiation::Fused));
    let refused = |batch| matches!(state.differentiate(batch), Err(Error::Shape { .. }));
    assert!(refused(batch(&[], Keys::Batch)));
    assert!(refused(batch(&[PAIRS as u32], Keys::Batch)));
    assert!(refused(batch(&[0, 1], Keys::Bank(&[0, 1, 2]))));
    assert!(refused(batch(&[0, 1], Keys::Bank(&[0, PAIRS as u32]))));
    assert!(refused(Batch { image: vec![0.0; 3], ..batch(&[0, 1], Keys::Batch) }));
}
