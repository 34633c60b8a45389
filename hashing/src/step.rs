//! One training step, taken apart: differentiate, then apply.
//!
//! [`Trainer`](crate::Trainer) drives this. It is public for whoever wants to impose batches, keys
//! and initial weights and look at every number on the way, as the tests `parity` do.

use candle_core::{Device, Tensor, Var};
use twinbit_kernels::{CodeBits, Modality};

use crate::Error;
use crate::bank::MemoryBank;
use crate::config::{KeySource, Optimizer, RankingLoss, TrainConfig};
use crate::dropout::Dropout;
use crate::in_place::read;
use crate::keys::{BatchKeys, StepKeys};
use crate::loss::ranking::{self, Ranking};
use crate::loss::{Differentiated, contrastive};
use crate::net::{Layer, Network};
use crate::optimizer::{OptimizerState, Update, clip_factor, gradient_norm};
use crate::real::Real;

/// How gradients are computed. Both give the same numbers up to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differentiation {
    /// Fused losses on packed signs and a backward pass written out.
    Fused,
    /// Candle's automatic differentiation of the losses as the paper writes them: slow, and needs
    /// memory for batch x keys x bits numbers. The reference.
    Autodiff,
}

/// The hyper-parameters of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSettings {
    /// Weight of the contrastive loss.
    pub alpha: f64,
    /// Keys of the contrastive loss.
    pub keys: KeySource,
    /// The ranking loss.
    pub ranking: RankingLoss,
    /// Margin of the ranking loss.
    pub margin: f64,
    /// Shift of the ranking loss.
    pub shift: f64,
    /// Temperature of the contrastive loss.
    pub temperature: f64,
    /// Of a pair's bank keys, how many after its own are its neighbors'.
    pub neighbors: usize,
    /// What the neighbors together weigh in the contrastive loss.
    pub neighbor_share: f64,
    /// Probability with which a feature or a hidden activation is left out.
    pub dropout: f64,
    /// Decides, with the number of updates so far, which ones.
    pub seed: u64,
    /// Momentum of the memory bank; 0 makes every step a warm-up step.
    pub momentum: f64,
    /// Largest norm of all gradients together.
    pub clip_norm: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// How gradients are computed.
    pub differentiation: Differentiation,
}

impl From<&TrainConfig> for StepSettings {
    fn from(config: &TrainConfig) -> Self {
        Self {
            alpha: config.alpha,
            keys: config.keys,
            ranking: config.ranking,
            margin: config.margin,
            shift: config.shift,
            temperature: config.temperature,
            neighbors: config.neighbors,
            neighbor_share: config.neighbor_share,
            dropout: config.dropout,
            seed: config.seed,
            momentum: config.momentum,
            clip_norm: config.clip_norm,
            weight_decay: config.weight_decay,
            optimizer: config.optimizer,
            differentiation: Differentiation::Fused,
        }
    }
}

impl StepSettings {
    /// Whether the bank's rows are never keys.
    fn without_bank(&self) -> bool {
        self.momentum == 0.0 || self.keys == KeySource::Batch
    }

    /// How much each of a pair's first keys counts as a positive: its own, then its neighbors'.
    fn targets<T: Real>(&self, keys: Keys<'_>) -> Vec<T> {
        let mut targets = vec![T::one()];
        if let (Keys::Bank(_), 1..) = (keys, self.neighbors) {
            let each = self.neighbor_share / self.neighbors as f64;
            targets[0] = T::from_f64(1.0 - self.neighbor_share);
            targets.resize(1 + self.neighbors, T::from_f64(each));
        }
        targets
    }

    fn ranking(&self) -> Ranking {
        let Self { margin, shift, .. } = *self;
        match self.ranking {
            RankingLoss::Global => Ranking::Global { margin, shift },
            RankingLoss::MaxMargin => Ranking::MaxMargin { margin },
        }
    }
}

/// Where a step's contrastive keys come from.
#[derive(Clone, Copy, Debug)]
pub enum Keys<'a> {
    /// Warm-up: the signs of the means of the batch's own outputs.
    Batch,
    /// Rows of the memory bank, row-major (batch, keys), each pair's own row first, then its neighbors'.
    Bank(&'a [u32]),
}

/// What a step is given.
#[derive(Clone, Debug)]
pub struct Batch<'a, T> {
    /// Row of each pair in the memory bank.
    pub pairs: &'a [u32],
    /// Image features, row-major.
    pub image: Vec<T>,
    /// Text features, row-major.
    pub text: Vec<T>,
    /// The contrastive keys.
    pub keys: Keys<'a>,
}

/// The losses of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    /// L_c (eq. 3 and 4), both sides added; 0 where its weight is 0, as it is not computed then.
    pub contrastive: f64,
    /// L_r (eq. 8 and 14) or L'_r (eq. 6 and 7); 0 where its weight is 0.
    pub ranking: f64,
    /// alpha L_c + (1 - alpha) L_r.
    pub total: f64,
}

/// What differentiating a batch gave.
pub struct Pass<T> {
    /// The batch's losses, before any change.
    pub losses: Losses,
    /// l2 norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    outputs: [Vec<T>; 2],
    /// For each network: weight, bias, layer by layer.
    gradients: [Vec<Tensor>; 2],
    pairs: Vec<u32>,
    warm_up: bool,
}

impl<T: Real> Pass<T> {
    /// Outputs of that side's network, row-major (batch, bits), rows of unit norm.
    pub fn outputs(&self, modality: Modality) -> &[T] {
        &self.outputs[modality.index()]
    }

    /// Gradients of that side's parameters before clipping, in the shape of its layers.
    ///
    /// # Errors
    /// [`Error::Tensor`] when memory runs out.
    pub fn gradients(&self, modality: Modality) -> Result<Vec<Layer<T>>, Error> {
        self.gradients[modality.index()]
            .chunks_exact(2)
            .map(|pair| {
                let (outputs, inputs) = pair[0].dims2()?;
                Ok(Layer {
                    inputs,
                    outputs,
                    weight: pair[0].flatten_all()?.to_vec1()?,
                    bias: pair[1].to_vec1()?,
                })
            })
            .collect()
    }
}

/// Everything that training changes: both networks, the memory bank and the optimizer's moments.
pub struct TrainingState<T> {
    settings: StepSettings,
    networks: [Network<T>; 2],
    bank: MemoryBank<T>,
    optimizer: OptimizerState<T>,
}

impl<T: Real> TrainingState<T> {
    /// Training from these networks and this bank.
    ///
    /// # Errors
    /// [`Error::Shape`] when the two networks give codes of different lengths, or lengths that the
    /// bank's rows do not have.
    pub fn new(
        settings: StepSettings,
        image: Network<T>,
        text: Network<T>,
        bank: MemoryBank<T>,
    ) -> Result<Self, Error> {
        let bits = CodeBits::new(image.bits())?.bits();
        same("outputs of the text network", bits, text.bits())?;
        same("values in a row of the memory bank", bits, bank.bits())?;
        let parameters = image.parameters().chain(text.parameters());
        let optimizer = OptimizerState::new(settings.optimizer, parameters);
        Ok(Self { settings, networks: [image, text], bank, optimizer })
    }

    /// Training as it was when its optimizer stood like this.
    pub(crate) fn restored(
        settings: StepSettings,
        [image, text]: [Network<T>; 2],
        bank: MemoryBank<T>,
        optimizer: OptimizerState<T>,
    ) -> Result<Self, Error> {
        Ok(Self { optimizer, ..Self::new(settings, image, text, bank)? })
    }

    pub(crate) fn optimizer(&self) -> &OptimizerState<T> {
        &self.optimizer
    }

    /// That side's network.
    pub fn network(&self, modality: Modality) -> &Network<T> {
        &self.networks[modality.index()]
    }

    /// The memory bank.
    pub fn bank(&self) -> &MemoryBank<T> {
        &self.bank
    }

    /// Losses and gradients of a batch; changes nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] when the parts of the batch do not fit together, [`Error::ZeroNorm`] when a
    /// network's output has no direction.
    pub fn differentiate(&self, batch: Batch<'_, T>) -> Result<Pass<T>, Error> {
        self.check(&batch)?;
        let keys = if self.settings.without_bank() { Keys::Batch } else { batch.keys };
        let pairs = batch.pairs.to_vec();
        let warm_up = matches!(keys, Keys::Batch);
        let (losses, outputs, gradients) = match self.settings.differentiation {
            Differentiation::Fused => self.fused(batch.image, batch.text, keys)?,
            Differentiation::Autodiff => self.autodiff(batch.image, batch.text, keys)?,
        };
        let gradient_norm = gradient_norm::<T>(gradients.iter().flatten())?;
        Ok(Pass { losses, gradient_norm, outputs, gradients, pairs, warm_up })
    }

    /// Clips the gradients, lets the optimizer change the networks, and moves the bank's rows
    /// towards the outputs the batch had before that.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the pass belongs to other networks.
    pub fn apply(&mut self, pass: &Pass<T>, learning_rate: f64) -> Result<(), Error> {
        let update = Update {
            learning_rate,
            weight_decay: self.settings.weight_decay,
            clip: clip_factor(pass.gradient_norm, self.settings.clip_norm),
        };
        let parameters = self.networks.iter().flat_map(Network::parameters);
        let gradients = pass.gradients.iter().flatten();
        self.optimizer.update(parameters.zip(gradients), &update)?;
        let momentum = if pass.warm_up { 0.0 } else { self.settings.momentum };
        self.bank.update(&pass.pairs, [&pass.outputs[0], &pass.outputs[1]], momentum);
        Ok(())
    }

    fn bits(&self) -> usize {
        self.networks[0].bits()
    }

    /// What the next step leaves out on either side.
    fn dropouts(&self) -> [Option<Dropout>; 2] {
        let StepSettings { dropout, seed, .. } = self.settings;
        Modality::ALL.map(|modality| Dropout::new(dropout, seed, self.optimizer.updates(), modality))
    }

    fn check(&self, batch: &Batch<'_, T>) -> Result<(), Error> {
        let samples = batch.pairs.len();
        let rows = self.bank.rows();
        let outside = |rows_named: &[u32]| rows_named.iter().copied().find(|&row| row as usize >= rows);
        same("image features of the batch", samples * self.networks[0].inputs(), batch.image.len())?;
        same("text features of the batch", samples * self.networks[1].inputs(), batch.text.len())?;
        if samples == 0 {
            return Err(Error::Shape { what: "pairs of the batch", expected: 1, got: 0 });
        }
        let named = match batch.keys {
            Keys::Batch => &[],
            Keys::Bank(keys)
                if keys.is_empty()
                    || keys.len() % samples != 0
                    || keys.len() / samples <= self.settings.neighbors =>
            {
                return Err(Error::Shape {
                    what: "keys of the batch, the same number for each pair",
                    expected: keys.len().div_ceil(samples).max(1 + self.settings.neighbors) * samples,
                    got: keys.len(),
                });
            }
            Keys::Bank(keys) => keys,
        };
        match outside(batch.pairs).or_else(|| outside(named)) {
            Some(row) => {
                Err(Error::Shape { what: "rows of the memory bank", expected: row as usize + 1, got: rows })
            }
            None => Ok(()),
        }
    }

    #[expect(clippy::type_complexity, reason = "the two halves of one pass, used once")]
    fn fused(
        &self,
        image: Vec<T>,
        text: Vec<T>,
        keys: Keys<'_>,
    ) -> Result<(Losses, [Vec<T>; 2], [Vec<Tensor>; 2]), Error> {
        let bits = self.bits();
        let [image_dropout, text_dropout] = self.dropouts();
        let activations = [
            self.networks[0].forward_with(image, image_dropout)?,
            self.networks[1].forward_with(text, text_dropout)?,
        ];
        for (modality, activations) in Modality::ALL.into_iter().zip(&activations) {
            if let Some(row) = activations.zero_row() {
                return Err(Error::ZeroNorm { modality, row });
            }
        }
        let outputs = [&activations[0].outputs[..], &activations[1].outputs[..]];
        let alpha = self.settings.alpha;
        let contrastive = (alpha > 0.0).then(|| {
            let targets = self.settings.targets(keys);
            let batch_keys = BatchKeys::new(outputs, bits);
            let keys = StepKeys::new(self.settings.keys, keys, &self.bank, &batch_keys);
            keys.fused(outputs, bits, &targets, self.settings.temperature)
        });
        let ranking = (alpha < 1.0).then(|| ranking::fused(outputs, bits, self.settings.ranking()));
        let (losses, [image, text]) = self.combine(contrastive, ranking.transpose()?);
        let gradients = [
            self.networks[0].backward(&activations[0], &image)?,
            self.networks[1].backward(&activations[1], &text)?,
        ];
        Ok((losses, activations.map(|activations| activations.outputs), gradients))
    }

    /// alpha times the one loss and its gradient plus (1 - alpha) times the other's. A loss that is
    /// left out has the weight 0.
    fn combine(
        &self,
        contrastive: Option<Differentiated<T>>,
        ranking: Option<Differentiated<T>>,
    ) -> (Losses, [Vec<T>; 2]) {
        let loss = |part: &Option<Differentiated<T>>| part.as_ref().map_or(0.0, |part| part.loss);
        let losses = self.losses(loss(&contrastive), loss(&ranking));
        let gradients = match (contrastive, ranking) {
            (Some(contrastive), Some(ranking)) => {
                let alpha = T::from_f64(self.settings.alpha);
                let beta = T::from_f64(1.0 - self.settings.alpha);
                let mut combined = contrastive.gradients;
                for (combined, ranking) in combined.iter_mut().zip(&ranking.gradients) {
                    for (combined, &ranking) in combined.iter_mut().zip(ranking) {
                        *combined = alpha * *combined + beta * ranking;
                    }
                }
                combined
            }
            (Some(only), None) | (None, Some(only)) => only.gradients,
            (None, None) => [Vec::new(), Vec::new()],
        };
        (losses, gradients)
    }

    fn losses(&self, contrastive: f64, ranking: f64) -> Losses {
        let alpha = self.settings.alpha;
        Losses { contrastive, ranking, total: alpha * contrastive + (1.0 - alpha) * ranking }
    }

    #[expect(clippy::type_complexity, reason = "the two halves of one pass, used once")]
    fn autodiff(
        &self,
        image: Vec<T>,
        text: Vec<T>,
        keys: Keys<'_>,
    ) -> Result<(Losses, [Vec<T>; 2], [Vec<Tensor>; 2]), Error> {
        let bits = self.bits();
        let mut variables: [Vec<Var>; 2] = [Vec::new(), Vec::new()];
        let mut outputs = Vec::with_capacity(2);
        for ((side, mut rows), dropout) in [image, text].into_iter().enumerate().zip(self.dropouts()) {
            if let Some(dropout) = dropout {
                dropout.apply(0, &mut rows);
            }
            let network = &self.networks[side];
            let count = rows.len() / network.inputs();
            let mut values = Tensor::from_vec(rows, (count, network.inputs()), &Device::Cpu)?;
            for (index, layer) in network.layers.iter().enumerate() {
                let weight = Var::from_tensor(&layer.weight)?;
                let bias = Var::from_tensor(&layer.bias)?;
                values = values.matmul(&weight.t()?)?.broadcast_add(&bias)?;
                if index + 1 < network.layers.len() {
                    values = values.relu()?;
                    if let Some(dropout) = dropout {
                        let mut mask = vec![T::one(); values.elem_count()];
                        dropout.apply(index + 1, &mut mask);
                        values = (&values * Tensor::from_vec(mask, values.shape(), &Device::Cpu)?)?;
                    }
                }
                variables[side].extend([weight, bias]);
            }
            let squashed = values.tanh()?;
            let norms = squashed.sqr()?.sum_keepdim(1)?.sqrt()?;
            outputs.push(squashed.broadcast_div(&norms)?);
        }
        let plain = [outputs[0].flatten_all()?.to_vec1()?, outputs[1].flatten_all()?.to_vec1()?];
        let targets = Tensor::new(self.settings.targets::<T>(keys), &Device::Cpu)?;
        let batch_keys = BatchKeys::new([&plain[0], &plain[1]], bits);
        let keys = StepKeys::new(self.settings.keys, keys, &self.bank, &batch_keys).unpack(bits)?;
        let sides = [&outputs[0], &outputs[1]];
        let contrastive = contrastive::autodiff(sides, &keys, &targets, self.settings.temperature)?;
        let ranking = ranking::autodiff(sides, self.settings.ranking())?;
        let alpha = self.settings.alpha;
        let total = ((&contrastive * alpha)? + (&ranking * (1.0 - alpha))?)?;
        let store = total.backward()?;
        let mut gradients = [Vec::new(), Vec::new()];
        for (gradients, variables) in gradients.iter_mut().zip(&variables) {
            for variable in variables {
                let gradient = match store.get(variable) {
                    Some(gradient) => gradient.contiguous()?,
                    None => variable.zeros_like()?,
                };
                gradients.push(gradient);
            }
        }
        let scalar = |loss: &Tensor| read(loss, |values: &[T]| values[0].to_f64());
        Ok((self.losses(scalar(&contrastive)?, scalar(&ranking)?), plain, gradients))
    }
}

fn same(what: &'static str, expected: usize, got: usize) -> Result<(), Error> {
    if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::layer_shapes;
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
}
