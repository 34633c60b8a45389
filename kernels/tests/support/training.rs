//! Training and encoding on a machine, compared with their definition.

use twinbit_kernels::cuda::train::{
    BatchKeys, DeviceFeatures, Encoder, FeatureType, KeySource, Layer, Multiply, Optimizer, Pairs, Precision,
    RankingInput, RankingLoss, StepLosses, StepSettings, TrainingState, TrainingStep,
};
use twinbit_kernels::{CodeBits, CodesBuf, pack_signs};

use crate::cases::Numbers;
use crate::differences::same;
use crate::oracle::{Layer64, Oracle, Outcome, draw_keys};

/// The largest error of float32, relative to the largest number of a tensor.
pub(crate) const FLOAT32: f64 = 1e-4;

/// The sizes of a training run, image's and text's where there are two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) pairs: usize,
    pub(crate) features: [usize; 2],
    pub(crate) hidden: usize,
    pub(crate) layers: [usize; 2],
    pub(crate) bits: usize,
}

/// Uniform in -1..1.
fn unit(numbers: &mut Numbers) -> f32 {
    (numbers.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// A network with weights as training starts with.
pub(crate) fn network(
    numbers: &mut Numbers,
    inputs: usize,
    hidden: usize,
    layers: usize,
    bits: usize,
) -> Vec<Layer> {
    (0..layers)
        .map(|layer| {
            let inputs = if layer == 0 { inputs } else { hidden };
            let outputs = if layer + 1 == layers { bits } else { hidden };
            let bound = 1.0 / (inputs as f32).sqrt();
            let mut draw = |count: usize| (0..count).map(|_| unit(numbers) * bound).collect();
            Layer { inputs, outputs, weight: draw(inputs * outputs), bias: draw(outputs) }
        })
        .collect()
}

/// A training run at its start.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) settings: StepSettings,
    pub(crate) sizes: Sizes,
    pub(crate) state: TrainingState,
    pub(crate) features: [Vec<f32>; 2],
    pub(crate) neighbors: Vec<u32>,
}

/// Settings near those of the paper.
pub(crate) fn settings(batch: usize, negatives: usize) -> StepSettings {
    StepSettings {
        batch,
        negatives,
        alpha: 0.7,
        temperature: 0.9,
        keys: KeySource::Binary,
        ranking: RankingLoss::Global { margin: 0.2, shift: 0.1, temperature: 1.0 },
        ranking_input: RankingInput::Outputs,
        momentum: 0.4,
        clip_norm: 1.0,
        weight_decay: 1e-6,
        optimizer: Optimizer::Adam,
        neighbors: 0,
        neighbor_share: 0.0,
        dropout: 0.0,
        seed: 0x1234_5678_9abc,
        precision: Precision::Float32,
    }
}

/// What a step can be told beside [`settings`].
pub(crate) const CHANGES: [fn(&mut StepSettings); 20] = [
    |settings| settings.alpha = 1.0,
    |settings| settings.alpha = 0.0,
    |settings| settings.momentum = 0.0,
    |settings| settings.ranking = RankingLoss::MaxMargin { margin: 0.5 },
    |settings| settings.ranking = RankingLoss::MaxMargin { margin: 0.02 },
    |settings| (settings.neighbors, settings.neighbor_share) = (5, 0.7),
    |settings| settings.dropout = 0.4,
    |settings| (settings.clip_norm, settings.weight_decay) = (1e-3, 0.1),
    |settings| settings.ranking = RankingLoss::Global { margin: 0.05, shift: 1.0, temperature: 1.0 },
    |settings| settings.optimizer = Optimizer::Sgd,
    |settings| (settings.optimizer, settings.weight_decay) = (Optimizer::Sgd, 0.1),
    |settings| settings.keys = KeySource::Batch,
    |settings| settings.keys = KeySource::Continuous,
    |settings| (settings.keys, settings.momentum) = (KeySource::Continuous, 0.0),
    |settings| (settings.keys, settings.alpha) = (KeySource::Continuous, 1.0),
    |settings| {
        settings.keys = KeySource::Continuous;
        (settings.neighbors, settings.neighbor_share) = (5, 0.7);
    },
    |settings| settings.ranking = RankingLoss::Global { margin: 0.2, shift: 0.3, temperature: 0.1 },
    // Similarities of signs are multiples of 2 / bits, which these margins are not.
    |settings| {
        settings.ranking = RankingLoss::Global { margin: 0.22, shift: 0.3, temperature: 0.2 };
        settings.ranking_input = RankingInput::Signs;
    },
    |settings| {
        (settings.alpha, settings.ranking_input) = (0.0, RankingInput::Both);
        settings.ranking = RankingLoss::Global { margin: 0.22, shift: 0.0, temperature: 0.1 };
    },
    |settings| {
        settings.ranking = RankingLoss::MaxMargin { margin: 0.47 };
        settings.ranking_input = RankingInput::Both;
    },
];

/// What comes out of the steps of two epochs.
#[derive(Debug)]
pub(crate) struct Trained {
    losses: Vec<StepLosses>,
    gradients: [Vec<Layer>; 2],
    keys: Vec<u32>,
    state: TrainingState,
}

/// The losses of a step as numbers.
pub(crate) fn losses_of(step: &StepLosses) -> [f64; 4] {
    [step.contrastive, step.ranking, step.total, step.gradient_norm]
}

/// Panic unless two runs gave the same numbers.
pub(crate) fn same_trained(what: &str, got: &Trained, expected: &Trained) {
    same(
        &format!("{what}, losses of the steps"),
        &got.losses.iter().map(losses_of).collect::<Vec<_>>(),
        &expected.losses.iter().map(losses_of).collect::<Vec<_>>(),
    );
    same(&format!("{what}, keys"), &got.keys, &expected.keys);
    let all = |trained: &Trained| {
        let TrainingState { networks, moments: [first, second], .. } = &trained.state;
        [&trained.gradients, networks, first, second].map(Clone::clone)
    };
    for (kind, (got, expected)) in ["gradients", "parameters", "first moments", "second moments"]
        .iter()
        .zip(all(got).iter().zip(&all(expected)))
    {
        for (side, (got, expected)) in got.iter().zip(expected).enumerate() {
            assert_eq!(got.len(), expected.len(), "{what}, layers of {kind}");
            for (layer, (got, expected)) in got.iter().zip(expected).enumerate() {
                let what = format!("{what}, {kind} of network {side}, layer {layer}");
                same(&format!("{what}, weight"), &got.weight, &expected.weight);
                same(&format!("{what}, bias"), &got.bias, &expected.bias);
            }
        }
    }
    same(&format!("{what}, bank"), &got.state.bank, &expected.state.bank);
    assert_eq!(got.state.updates, expected.state.updates, "{what}, updates");
}

impl Run {
    pub(crate) fn new(numbers: &mut Numbers, sizes: Sizes, settings: StepSettings) -> Self {
        let Sizes { pairs, features, hidden, layers, bits } = sizes;
        let networks = [0, 1].map(|side| network(numbers, features[side], hidden, layers[side], bits));
        let size = 1.0 / (bits as f32).sqrt();
        // Zeros count as positive.
        let sign = |draw| [-size, -size, -size, size, 0.0, -0.0][draw];
        let bank = (0..pairs * bits).map(|_| sign(numbers.below(6))).collect();
        let features = features.map(|width| (0..pairs * width).map(|_| unit(numbers)).collect());
        let neighbors = (0..pairs * settings.neighbors).map(|_| numbers.below(pairs) as u32).collect();
        let state = TrainingState::before(settings.optimizer, networks, bank);
        Self { settings, sizes, state, features, neighbors }
    }

    pub(crate) fn upload<M: Multiply>(&self, machine: &M) -> [DeviceFeatures<M>; 2] {
        [0, 1].map(|side| {
            DeviceFeatures::upload(machine, self.sizes.features[side], &self.features[side]).unwrap()
        })
    }

    /// Put float16 numbers of all sizes in place of the images' features, and small whole numbers in
    /// place of the texts'; their types.
    pub(crate) fn draw_narrow(&mut self, numbers: &mut Numbers) -> [FeatureType; 2] {
        let half = |draw: usize| {
            // Exponents from the smallest up to that of 1; 0 is where fractions have no leading one.
            let (exponent, fraction) = (draw as i32 >> 10 & 15, (draw & 0x3ff) as f32 / 1024.0);
            let size = (fraction + f32::from(exponent > 0)) * 2_f32.powi(exponent.max(1) - 15);
            if draw >> 14 == 1 { -size } else { size }
        };
        self.features[0].iter_mut().for_each(|value| *value = half(numbers.below(1 << 15)));
        self.features[1].iter_mut().for_each(|value| *value = numbers.below(256) as f32);
        let types = self.features.each_ref().map(|values| FeatureType::holding(values));
        assert_eq!(types, [FeatureType::Float16, FeatureType::Byte]);
        types
    }

    pub(crate) fn upload_as<M: Multiply>(
        &self,
        machine: &M,
        types: [FeatureType; 2],
    ) -> [DeviceFeatures<M>; 2] {
        [0, 1].map(|side| {
            let (rows, width) = (self.sizes.pairs, self.sizes.features[side]);
            let mut features = DeviceFeatures::stored_as(machine, types[side], rows, width).unwrap();
            features.write(machine, 0, &self.features[side]).unwrap();
            features
        })
    }

    pub(crate) fn start<'a, M: Multiply>(
        &'a self,
        machine: &'a M,
        features: &'a [DeviceFeatures<M>; 2],
        state: &TrainingState,
    ) -> TrainingStep<'a, M> {
        let pairs = Pairs { features: features.each_ref(), neighbors: &self.neighbors };
        TrainingStep::new(machine, self.settings.clone(), state, pairs).unwrap()
    }

    /// The pairs of a batch, all different.
    pub(crate) fn batch(&self, numbers: &mut Numbers) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.sizes.pairs as u32).collect();
        for place in 0..self.settings.batch {
            let other = place + numbers.below(order.len() - place);
            order.swap(place, other);
        }
        order.truncate(self.settings.batch);
        order
    }

    /// Two epochs, each loaded at once and then again batch by batch, with keys of every kind by turns.
    pub(crate) fn epochs<M: Multiply>(&self, mut training: TrainingStep<'_, M>) -> Trained {
        let mut numbers = Numbers::new(12);
        let rows = self.sizes.pairs;
        let StepSettings { batch, neighbors, negatives, .. } = self.settings;
        let given = (0..batch * (1 + neighbors + negatives)).map(|_| numbers.below(rows) as u32);
        let given: Vec<u32> = given.collect();
        let batches: Vec<u32> = (0..rows / batch).flat_map(|_| self.batch(&mut numbers)).collect();
        let kinds = [BatchKeys::Own, BatchKeys::Drawn, BatchKeys::Given(&given)];
        let mut losses = Vec::new();
        let mut step = 0;
        for rate in [1e-3, 5e-4] {
            training.load(&batches, rate).unwrap();
            for keys in kinds.iter().copied().cycle().take(training.loaded()) {
                training.next_step(keys).unwrap();
            }
            for pairs in batches.chunks(batch) {
                training.step(pairs, kinds[step % 3], rate).unwrap();
                step += 1;
            }
            losses.extend(training.losses().unwrap());
        }
        Trained {
            losses,
            gradients: training.gradients().unwrap(),
            keys: training.last_keys().unwrap(),
            state: training.state().unwrap(),
        }
    }

    /// Steps with the batch's own keys, then with drawn ones, compared in everything that comes out.
    pub(crate) fn check<M: Multiply>(&self, machine: &M, warm_up: usize, steps: usize) -> TrainingState {
        let features = self.upload(machine);
        let mut training = self.start(machine, &features, &self.state);
        let mut oracle = Oracle::new(&self.state.networks, &self.state.bank);
        let mut numbers = Numbers::new(77);
        for step in 0..steps {
            let pairs = self.batch(&mut numbers);
            let own =
                step < warm_up || self.settings.momentum == 0.0 || self.settings.keys == KeySource::Batch;
            training.step(&pairs, if own { BatchKeys::Own } else { BatchKeys::Drawn }, 1e-3).unwrap();
            let keys = draw_keys(&self.settings, step as u32, &pairs, &self.neighbors, self.sizes.pairs);
            if !own && self.settings.alpha > 0.0 {
                same(&format!("keys of step {step}"), &training.last_keys().unwrap(), &keys);
            }
            let sides = self.features.each_ref().map(Vec::as_slice);
            let outcome = oracle.step(&self.settings, sides, &pairs, if own { None } else { Some(&keys) });
            let losses = training.losses().unwrap();
            assert_eq!(losses.len(), 1, "losses of one step");
            let what = format!("{:?}, step {step}", self.sizes);
            compare_step(&what, &mut training, &losses[0], &outcome);
            oracle.update(&self.settings, &training.gradients().unwrap(), 1e-3);
            compare_state(&what, &training.state().unwrap(), &oracle);
        }
        training.state().unwrap()
    }
}

fn compare_step<M: Multiply>(
    what: &str,
    training: &mut TrainingStep<'_, M>,
    losses: &StepLosses,
    outcome: &Outcome,
) {
    let got = [losses.contrastive, losses.ranking, losses.gradient_norm];
    for (got, expected) in got.into_iter().zip([outcome.contrastive, outcome.ranking, outcome.norm]) {
        close(&format!("{what}: losses and norm"), &[got as f32], &[expected], FLOAT32);
    }
    for (got, expected) in training.last_outputs().unwrap().iter().zip(&outcome.outputs) {
        close(&format!("{what}: outputs"), got, expected, FLOAT32);
    }
    for (got, expected) in training.gradients().unwrap().iter().zip(&outcome.gradients) {
        compare_layers(&format!("{what}: gradients"), got, expected);
    }
}

fn compare_state(what: &str, state: &TrainingState, oracle: &Oracle) {
    for (got, expected) in state.networks.iter().zip(&oracle.networks) {
        compare_layers(&format!("{what}: parameters"), got, expected);
    }
    for (moments, expected) in state.moments.iter().zip(&oracle.moments) {
        for (layers, expected) in moments.iter().zip(expected) {
            for (layer, expected) in layers.iter().zip(expected) {
                let got = [&layer.weight[..], &layer.bias].concat();
                close(&format!("{what}: moments"), &got, expected, FLOAT32);
            }
        }
    }
    close(&format!("{what}: bank"), &state.bank, &oracle.bank, FLOAT32);
    assert_eq!(state.updates, oracle.updates, "{what}: updates");
}

fn compare_layers(what: &str, got: &[Layer], expected: &[Layer64]) {
    assert_eq!(got.len(), expected.len(), "{what}: layers");
    for (number, (got, expected)) in got.iter().zip(expected).enumerate() {
        let weights = got.weight.len();
        close(&format!("{what}, weight {number}"), &got.weight, &expected.values[..weights], FLOAT32);
        close(&format!("{what}, bias {number}"), &got.bias, &expected.values[weights..], FLOAT32);
    }
}

/// Every number is as near to the expected one as `tolerance` of the largest one.
pub(crate) fn close(what: &str, got: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let errors =
        got.iter().zip(expected).map(|(&got, &expected)| (f64::from(got) - expected).abs() / largest);
    let errors: Vec<f64> = errors.collect();
    // Where there is no number there is no error below the tolerance either.
    let wrong = |error: &&f64| error.partial_cmp(&&tolerance) != Some(std::cmp::Ordering::Less);
    let Some(place) = errors.iter().position(|error| wrong(&error)) else { return };
    panic!(
        "{what}: {} is not {} at {place}, error {:.1e}; {} of {} are wrong, the largest error is {:.1e}",
        got[place],
        expected[place],
        errors[place],
        errors.iter().filter(wrong).count(),
        errors.len(),
        errors.iter().copied().fold(0.0, f64::max)
    );
}

/// Codes of rows, compared with the signs of float64 outputs where these are at least `distance`
/// from 0, of the largest one. How many bits differ nearer to it.
pub(crate) fn check_codes<M: Multiply>(
    machine: &M,
    layers: &[Layer],
    features: &[f32],
    batch: usize,
    precision: Precision,
    distance: f64,
) -> usize {
    let mut encoder = Encoder::new(machine, layers, batch, precision).unwrap();
    let codes = encoder.encode(features).unwrap();
    let oracle = Oracle::new(&[layers.to_vec(), layers.to_vec()], &[]);
    let products = oracle.products(0, features);
    let largest = products.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let bits = encoder.bits().bits();
    assert_eq!((codes.rows(), codes.bits()), (features.len() / encoder.inputs(), encoder.bits()));
    let mut different = 0;
    for (row, products) in products.chunks_exact(bits).enumerate() {
        let code = codes.as_codes().row(row);
        for (bit, &product) in products.iter().enumerate() {
            let positive = code[bit / 8] >> (7 - bit % 8) & 1 == 1;
            if positive != (product >= 0.0) {
                assert!(product.abs() < distance * largest, "row {row}, bit {bit}: {product}");
                different += 1;
            }
        }
    }
    different
}

/// The signs of outputs computed as the CPU's encoder does: one chain of fused multiply-adds each.
pub(crate) fn chained_codes(layers: &[Layer], features: &[f32]) -> CodesBuf {
    let mut values = features.to_vec();
    for (number, layer) in layers.iter().enumerate() {
        let chain = |row: &[f32], output: usize| {
            let weights = &layer.weight[output * layer.inputs..][..layer.inputs];
            let terms = row.iter().zip(weights);
            terms.fold(layer.bias[output], |sum, (value, weight)| value.mul_add(*weight, sum))
        };
        let last = number + 1 == layers.len();
        let rows = values.chunks_exact(layer.inputs);
        values = rows
            .flat_map(|row| (0..layer.outputs).map(move |output| chain(row, output)))
            .map(|value| if last { value } else { value.max(0.0) })
            .collect();
    }
    let bits = CodeBits::new(layers.last().unwrap().outputs).unwrap();
    pack_signs(&values, bits).unwrap()
}
