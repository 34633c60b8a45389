//! A training step by its definition: float64, one number after the other.

use twinbit_kernels::cuda::train::{KeySource, Layer, Optimizer, RankingInput, RankingLoss, StepSettings};

/// The random words of a counter (Philox4x32-10), as in `cu/philox.cuh`.
pub(crate) fn philox(seed: u64, counter: [u32; 4]) -> [u32; 4] {
    let [mut a, mut b, mut c, mut d] = counter;
    let [mut key, mut other_key] = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let [first, second] = [0xd251_1f53_u64 * u64::from(a), 0xcd9e_8d57_u64 * u64::from(c)];
        (a, c) = ((second >> 32) as u32 ^ b ^ key, (first >> 32) as u32 ^ d ^ other_key);
        (b, d) = (second as u32, first as u32);
        key = key.wrapping_add(0x9e37_79b9);
        other_key = other_key.wrapping_add(0xbb67_ae85);
    }
    [a, b, c, d]
}

/// The upper half of a counter.
fn step_of(purpose: u32, step: u32) -> [u32; 2] {
    [step, purpose << 24]
}

/// The keys that a step draws, row-major.
pub(crate) fn draw_keys(
    settings: &StepSettings,
    step: u32,
    pairs: &[u32],
    neighbors: &[u32],
    rows: usize,
) -> Vec<u32> {
    let count = settings.neighbors;
    let width = 1 + count + settings.negatives;
    let mut keys = Vec::new();
    for (sample, &own) in pairs.iter().enumerate() {
        let [low, high] = step_of(1, step);
        keys.extend((0..width).map(|key| match key {
            0 => own,
            _ if key <= count => neighbors[own as usize * count + key - 1],
            _ => {
                let words = philox(settings.seed, [key as u32 / 4, sample as u32, low, high]);
                ((u64::from(words[key % 4]) * rows as u64) >> 32) as u32
            }
        }));
    }
    keys
}

/// One layer in float64.
#[derive(Debug, Clone)]
pub(crate) struct Layer64 {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Weight, then bias.
    pub(crate) values: Vec<f64>,
}

impl Layer64 {
    pub(crate) fn new(layer: &Layer) -> Self {
        let values = layer.weight.iter().chain(&layer.bias).map(|&value| f64::from(value)).collect();
        Self { inputs: layer.inputs, outputs: layer.outputs, values }
    }

    fn weight(&self, output: usize, input: usize) -> f64 {
        self.values[output * self.inputs + input]
    }

    fn bias(&self, output: usize) -> f64 {
        self.values[self.outputs * self.inputs + output]
    }
}

/// Everything that training changes.
#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    pub(crate) networks: [Vec<Layer64>; 2],
    pub(crate) moments: [[Vec<Vec<f64>>; 2]; 2],
    pub(crate) bank: Vec<f64>,
    pub(crate) updates: u32,
}

/// What a step gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) contrastive: f64,
    pub(crate) ranking: f64,
    pub(crate) norm: f64,
    pub(crate) outputs: [Vec<f64>; 2],
    pub(crate) gradients: [Vec<Layer64>; 2],
}

/// A forward pass.
struct Pass {
    inputs: Vec<Vec<f64>>,
    squashed: Vec<f64>,
    norms: Vec<f64>,
    outputs: Vec<f64>,
    scale: f64,
}

impl Oracle {
    pub(crate) fn new(networks: &[Vec<Layer>; 2], bank: &[f32]) -> Self {
        let networks = networks.each_ref().map(|layers| layers.iter().map(Layer64::new).collect());
        let zeros = || {
            networks.each_ref().map(|layers: &Vec<Layer64>| {
                layers.iter().map(|layer| vec![0.0; layer.values.len()]).collect()
            })
        };
        let moments = [zeros(), zeros()];
        let bank = bank.iter().map(|&value| f64::from(value)).collect();
        Self { networks, moments, bank, updates: 0 }
    }

    fn bits(&self) -> usize {
        self.networks[0].last().unwrap().outputs
    }

    /// The outputs of the last layer before tanh.
    pub(crate) fn products(&self, side: usize, features: &[f32]) -> Vec<f64> {
        let rows = features.iter().map(|&value| f64::from(value)).collect();
        let pass = forward(&self.networks[side], rows, side, 0, 0, 0);
        pass.squashed.iter().map(|value| value.atanh()).collect()
    }

    /// One step up to the optimizer, which [`update`](Self::update) is; `keys` are rows of the bank, or the
    /// batch's own.
    pub(crate) fn step(
        &mut self,
        settings: &StepSettings,
        features: [&[f32]; 2],
        pairs: &[u32],
        keys: Option<&[u32]>,
    ) -> Outcome {
        let bits = self.bits();
        let samples = pairs.len();
        let out = (settings.dropout * 256.0).round() as u32;
        let passes = [0, 1].map(|side| {
            let width = self.networks[side][0].inputs;
            let row = |&pair: &u32| &features[side][pair as usize * width..(pair as usize + 1) * width];
            let rows = pairs.iter().flat_map(row).map(|&value| f64::from(value)).collect();
            forward(&self.networks[side], rows, side, out, settings.seed, self.updates)
        });
        let outputs = passes.each_ref().map(|pass| &pass.outputs[..]);
        let alpha = settings.alpha;
        let mut gradients = [vec![0.0; samples * bits], vec![0.0; samples * bits]];
        let contrastive =
            if alpha > 0.0 { self.contrastive(settings, outputs, keys, &mut gradients) } else { 0.0 };
        let ranking = if alpha < 1.0 { ranking(settings, outputs, bits, &mut gradients) } else { 0.0 };
        let gradients =
            [0, 1].map(|side| backward(&self.networks[side], &passes[side], &gradients[side], bits));
        let norm = norm_of(&gradients);
        self.update_bank(pairs, outputs, if keys.is_some() { settings.momentum } else { 0.0 });
        let outputs = passes.map(|pass| pass.outputs);
        Outcome { contrastive, ranking, norm, outputs, gradients }
    }

    fn contrastive(
        &self,
        settings: &StepSettings,
        outputs: [&[f64]; 2],
        keys: Option<&[u32]>,
        gradients: &mut [Vec<f64>; 2],
    ) -> f64 {
        let bits = self.bits();
        let samples = outputs[0].len() / bits;
        let mut rows: Vec<f64> = match keys {
            Some(_) => self.bank.clone(),
            None => outputs[0].iter().zip(outputs[1]).map(|(a, b)| a + b).collect(),
        };
        let binary = settings.keys != KeySource::Continuous;
        for row in rows.chunks_exact_mut(bits) {
            if binary {
                row.iter_mut().for_each(|value| *value = if *value >= 0.0 { 1.0 } else { -1.0 });
            }
            if binary || keys.is_none() {
                normalize(row);
            }
        }
        let scale = 1.0 / settings.temperature;
        let mut loss = 0.0;
        for sample in 0..samples {
            let named: Vec<usize> = match keys {
                Some(keys) => {
                    let width = keys.len() / samples;
                    keys[sample * width..(sample + 1) * width].iter().map(|&key| key as usize).collect()
                }
                None => std::iter::once(sample).chain((0..samples).filter(|&row| row != sample)).collect(),
            };
            let mut targets = vec![0.0; named.len()];
            targets[0] = 1.0;
            if keys.is_some() && settings.neighbors > 0 {
                targets[0] -= settings.neighbor_share;
                targets[1..=settings.neighbors].fill(settings.neighbor_share / settings.neighbors as f64);
            }
            for (side, gradients) in gradients.iter_mut().enumerate() {
                let h = &outputs[side][sample * bits..(sample + 1) * bits];
                let key = |row: usize| &rows[row * bits..(row + 1) * bits];
                let dot = |&row: &usize| h.iter().zip(key(row)).map(|(a, b)| a * b).sum::<f64>() * scale;
                let logits: Vec<f64> = named.iter().map(dot).collect();
                let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
                let expected: f64 = logits.iter().zip(&targets).map(|(a, b)| a * b).sum();
                loss += (total.ln() - expected) / samples as f64;
                for ((logit, target), &row) in logits.iter().zip(&targets).zip(&named) {
                    let weight = settings.alpha * (logit.exp() / total - target) * scale / samples as f64;
                    for (gradient, key) in gradients[sample * bits..].iter_mut().zip(key(row)) {
                        *gradient += weight * key;
                    }
                }
            }
        }
        loss
    }

    /// Clip some gradients and let the optimizer take them. They are those that the machine found, compared
    /// with the step's before: Adam divides by their size, so that in the first steps those near 0, which
    /// rounding decides about, would move parameters as far as all others.
    pub(crate) fn update(&mut self, settings: &StepSettings, gradients: &[Vec<Layer>; 2], rate: f64) {
        let gradients = gradients.each_ref().map(|layers| layers.iter().map(Layer64::new).collect());
        self.updates += 1;
        let clip = (settings.clip_norm / (norm_of(&gradients) + 1e-6)).min(1.0);
        let correct = |beta: f64| 1.0 - beta.powi(self.updates as i32);
        for (side, layers) in self.networks.iter_mut().enumerate() {
            for (number, layer) in layers.iter_mut().enumerate() {
                for (place, value) in layer.values.iter_mut().enumerate() {
                    let gradient =
                        gradients[side][number].values[place] * clip + settings.weight_decay * *value;
                    let [first, second] =
                        self.moments.each_mut().map(|moment| &mut moment[side][number][place]);
                    if settings.optimizer == Optimizer::Sgd {
                        *first = 0.9 * *first + gradient;
                        *value -= rate * *first;
                        continue;
                    }
                    *first = 0.9 * *first + 0.1 * gradient;
                    *second = 0.999 * *second + 0.001 * gradient * gradient;
                    let root = (*second / correct(0.999)).sqrt();
                    *value -= rate * (*first / correct(0.9)) / (root + 1e-8);
                }
            }
        }
    }

    fn update_bank(&mut self, pairs: &[u32], outputs: [&[f64]; 2], momentum: f64) {
        let bits = self.bits();
        for (sample, &pair) in pairs.iter().enumerate() {
            let row = &mut self.bank[pair as usize * bits..(pair as usize + 1) * bits];
            let place = sample * bits..(sample + 1) * bits;
            let both = outputs[0][place.clone()].iter().zip(&outputs[1][place]);
            let mut mean: Vec<f64> = both.map(|(a, b)| (a + b) / 2.0).collect();
            normalize(&mut mean);
            for (mean, old) in mean.iter_mut().zip(&*row) {
                *mean = momentum * old + (1.0 - momentum) * *mean;
            }
            normalize(&mut mean);
            row.copy_from_slice(&mean);
        }
    }
}

/// The l2 norm of all gradients together.
fn norm_of(gradients: &[Vec<Layer64>; 2]) -> f64 {
    let all = gradients.iter().flatten().flat_map(|layer| &layer.values);
    all.map(|value| value * value).sum::<f64>().sqrt()
}

fn normalize(row: &mut [f64]) {
    let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt();
    row.iter_mut().for_each(|value| *value /= norm);
}

/// Leave inputs of a layer out.
fn drop_out(values: &mut [f64], out: u32, seed: u64, step: u32, pass: u32) {
    let [low, high] = step_of(2, step);
    for (place, value) in values.iter_mut().enumerate().filter(|_| out > 0) {
        let words = philox(seed, [place as u32 / 16, pass, low, high]);
        let byte = words[place % 16 / 4] >> (8 * (place % 4)) & 0xff;
        *value = if byte < out { 0.0 } else { *value * 256.0 / f64::from(256 - out) };
    }
}

fn forward(layers: &[Layer64], mut rows: Vec<f64>, side: usize, out: u32, seed: u64, step: u32) -> Pass {
    let count = rows.len() / layers[0].inputs;
    drop_out(&mut rows, out, seed, step, side as u32);
    let mut inputs = vec![rows];
    for (number, layer) in layers.iter().enumerate() {
        let last = number + 1 == layers.len();
        let input = &inputs[number];
        let mut product = Vec::with_capacity(count * layer.outputs);
        for row in input.chunks_exact(layer.inputs) {
            for output in 0..layer.outputs {
                let sum: f64 = row.iter().enumerate().map(|(i, value)| value * layer.weight(output, i)).sum();
                let value = sum + layer.bias(output);
                product.push(if last { value } else { value.max(0.0) });
            }
        }
        if !last {
            drop_out(&mut product, out, seed, step, side as u32 + 2 * (number as u32 + 1));
        }
        inputs.push(product);
    }
    let squashed: Vec<f64> = inputs.pop().unwrap().iter().map(|value| value.tanh()).collect();
    let bits = layers.last().unwrap().outputs;
    let norm = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>().sqrt();
    let norms: Vec<f64> = squashed.chunks_exact(bits).map(norm).collect();
    let outputs = squashed.iter().enumerate().map(|(place, value)| value / norms[place / bits]).collect();
    Pass { inputs, squashed, norms, outputs, scale: 256.0 / f64::from(256 - out) }
}

fn backward(layers: &[Layer64], pass: &Pass, gradient: &[f64], bits: usize) -> Vec<Layer64> {
    let mut delta = gradient.to_vec();
    for (row, delta) in delta.chunks_exact_mut(bits).enumerate() {
        let place = row * bits..(row + 1) * bits;
        let [h, t] = [&pass.outputs[place.clone()], &pass.squashed[place]];
        let along: f64 = delta.iter().zip(h).map(|(a, b)| a * b).sum();
        for ((delta, h), t) in delta.iter_mut().zip(h).zip(t) {
            *delta = (1.0 - t * t) * (*delta - h * along) / pass.norms[row];
        }
    }
    let mut gradients = Vec::new();
    for (layer, input) in layers.iter().zip(&pass.inputs).rev() {
        let (inputs, outputs) = (layer.inputs, layer.outputs);
        let mut values = vec![0.0; layer.values.len()];
        let mut below = vec![0.0; input.len()];
        for (row, delta) in delta.chunks_exact(outputs).enumerate() {
            for (output, delta) in delta.iter().enumerate() {
                for i in 0..inputs {
                    values[output * inputs + i] += delta * input[row * inputs + i];
                    below[row * inputs + i] += delta * layer.weight(output, i);
                }
                values[outputs * inputs + output] += delta;
            }
        }
        for (below, &input) in below.iter_mut().zip(input) {
            *below = if input > 0.0 { *below * pass.scale } else { 0.0 };
        }
        delta = below;
        gradients.push(Layer64 { inputs, outputs, values });
    }
    gradients.reverse();
    gradients
}

/// The ranking loss: of outputs, of their signs, or the mean of both.
fn ranking(settings: &StepSettings, outputs: [&[f64]; 2], bits: usize, gradients: &mut [Vec<f64>; 2]) -> f64 {
    let signs = outputs.map(|outputs| {
        let size = 1.0 / (bits as f64).sqrt();
        outputs.iter().map(|&value| if value >= 0.0 { size } else { -size }).collect::<Vec<f64>>()
    });
    let signs = signs.each_ref().map(Vec::as_slice);
    let mut of = |rows, share| share * ranking_of(settings, rows, bits, share, gradients);
    match settings.ranking_input {
        RankingInput::Outputs => of(outputs, 1.0),
        RankingInput::Signs => of(signs, 1.0),
        RankingInput::Both => of(outputs, 0.5) + of(signs, 0.5),
    }
}

/// The ranking loss of rows, rows plus columns of their similarities; adds `share` of its gradients with
/// respect to the rows, times its weight.
fn ranking_of(
    settings: &StepSettings,
    outputs: [&[f64]; 2],
    bits: usize,
    share: f64,
    gradients: &mut [Vec<f64>; 2],
) -> f64 {
    let samples = outputs[0].len() / bits;
    let row = |side: usize, i: usize| &outputs[side][i * bits..(i + 1) * bits];
    let similarity = |i: usize, j: usize| row(0, i).iter().zip(row(1, j)).map(|(a, b)| a * b).sum::<f64>();
    let mut flow = vec![0.0; samples * samples];
    let mut loss = 0.0;
    for direction in 0..2 {
        let place = |own: usize, other: usize| if direction == 0 { (own, other) } else { (other, own) };
        for own in 0..samples {
            let value = |other: usize| similarity(place(own, other).0, place(own, other).1);
            let mut add = |other: usize, gradient: f64| {
                let (i, j) = place(own, other);
                flow[i * samples + j] += share * (1.0 - settings.alpha) * gradient;
            };
            match settings.ranking {
                RankingLoss::Global { margin, shift, temperature } => {
                    let bound = value(own) - f64::from(margin);
                    let shifted = |other: usize| {
                        let shift = if value(other) >= bound { 0.0 } else { f64::from(shift) };
                        (value(other) - shift) / temperature
                    };
                    let total: f64 = (0..samples).map(|other| shifted(other).exp()).sum();
                    loss += (total.ln() + (f64::from(margin) - value(own)) / temperature) / samples as f64;
                    for other in 0..samples {
                        let target = if other == own { 1.0 } else { 0.0 };
                        let flow = shifted(other).exp() / total - target;
                        add(other, flow / (temperature * samples as f64));
                    }
                }
                RankingLoss::MaxMargin { margin } => {
                    let terms = (samples * (samples - 1)).max(1) as f64;
                    for other in (0..samples).filter(|&other| other != own) {
                        let hinge = f64::from(margin) + value(other) - value(own);
                        if hinge > 0.0 {
                            loss += hinge / terms;
                            add(other, 1.0 / terms);
                            add(own, -1.0 / terms);
                        }
                    }
                }
            }
        }
    }
    for i in 0..samples {
        for j in 0..samples {
            for bit in 0..bits {
                gradients[0][i * bits + bit] += flow[i * samples + j] * row(1, j)[bit];
                gradients[1][j * bits + bit] += flow[i * samples + j] * row(0, i)[bit];
            }
        }
    }
    loss
}
