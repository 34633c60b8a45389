//! The training step.

use super::super::{CudaError, Machine};
use super::activations::Activations;
use super::arguments::StepNumbers;
use super::array::{Array, Matrix};
use super::features::DeviceFeatures;
use super::launch::{self, Dropout, Weighted};
use super::launch_keys::{self as key_rows, Bank, Draw, Sides, words_of};
use super::launch_losses::{self as losses, ContrastiveKeys, KeyRows};
use super::launch_optimizer::{self as optimizers, Recorded, Weights};
use super::placement::{Placement, zeros};
use super::product::{Multiply, Operand, Precision, multiply};
use super::records::{Records, StepLosses};
use super::schedule::Schedule;
use super::sequence::Sequence;
use super::settings::{BatchKeys, KeySource, Optimizer, StepSettings};
use super::state::TrainingState;
use crate::{Error, Modality};

/// The training pairs.
#[derive(Debug)]
pub struct Pairs<'a, M: Machine> {
    /// Features of the images and of the texts: row i of each belongs to pair i.
    pub features: [&'a DeviceFeatures<M>; 2],
    /// The neighbors of each pair, row-major; empty where settings ask for none.
    pub neighbors: &'a [u32],
}

/// Where the contrastive keys come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Own,
    Drawn,
    Given,
}

/// Everything that training changes, in the memory of a machine, with room for a step's numbers.
#[derive(Debug)]
pub struct TrainingStep<'a, M: Multiply> {
    machine: &'a M,
    settings: StepSettings,
    features: [&'a DeviceFeatures<M>; 2],
    placements: [Placement; 2],
    weights: Weights<M>,
    updates: u32,
    bank: Bank<M>,
    neighbors: Array<M, u32>,
    schedule: Schedule<M>,
    /// The bank rows that are the keys of the batch.
    keys: Array<M, u32>,
    /// The batch's own keys in the form that is asked for, nothing in the other.
    batch_signs: Array<M, u32>,
    batch_means: Array<M, f32>,
    activations: [Activations<M>; 2],
    key_weights: Array<M, f32>,
    contrastive: [Array<M, f32>; 2],
    contrastive_losses: Array<M, f32>,
    similarities: Array<M, f32>,
    similarity_gradients: Array<M, f32>,
    ranking: [Array<M, f32>; 2],
    /// Of the outputs, then of the signs, where both are ranked.
    ranking_losses: Array<M, f32>,
    /// The signs of the outputs, where they are ranked.
    sign_rows: [Array<M, f32>; 2],
    squares: Array<M, f64>,
    clip: Array<M, f32>,
    undirected: Array<M, u32>,
    records: Records<M>,
    /// The work of a step, one for each [`Source`].
    sequences: [Sequence; 3],
    /// Whether steps may be captured.
    captured: bool,
}

impl<'a, M: Multiply> TrainingStep<'a, M> {
    /// Copy a state to the machine.
    ///
    /// # Errors
    /// [`Error::Shape`] when state, features and settings do not fit together, [`Error::Cuda`] when
    /// there is not enough memory or the features are in the memory of another machine.
    pub fn new(
        machine: &'a M,
        settings: StepSettings,
        state: &TrainingState,
        pairs: Pairs<'a, M>,
    ) -> Result<Self, Error> {
        settings.check()?;
        let bits = state.check(settings.optimizer)?.bits();
        let image = Placement::of(&state.networks[0], 0);
        let text = Placement::of(&state.networks[1], image.end);
        let placements = [image, text];
        let rows = state.bank.len() / bits;
        for (features, placement) in pairs.features.iter().zip(&placements) {
            machine.identity().check(features.owner())?;
            same("rows of the features", rows, features.rows())?;
            same("values of a feature row", placement.inputs(), features.width())?;
        }
        same("neighbors of the pairs", rows * settings.neighbors, pairs.neighbors.len())?;
        named(pairs.neighbors, rows)?;
        let len = placements[1].end;
        let array = |len: usize| Array::new(machine, len);
        let mut weights = Weights {
            parameters: zeros(machine, len)?,
            gradients: zeros(machine, len)?,
            moments: match settings.optimizer {
                Optimizer::Adam => [zeros(machine, len)?, zeros(machine, len)?],
                Optimizer::Sgd => [zeros(machine, len)?, array(0)?],
            },
        };
        for (side, placement) in placements.iter().enumerate() {
            placement.write(machine, &state.networks[side], &mut weights.parameters)?;
            for (moment, array) in state.moments.iter().zip(&mut weights.moments) {
                placement.write(machine, &moment[side], array)?;
            }
        }
        let batch = settings.batch;
        let (signs, means) = match settings.keys {
            KeySource::Binary | KeySource::Batch => (batch * words_of(bits), 0),
            KeySource::Continuous => (0, batch * bits),
        };
        let ranked_signs = if settings.ranking_input.has_signs() { batch * bits } else { 0 };
        let [image, text] = &placements;
        Ok(Self {
            features: pairs.features,
            weights,
            updates: state.updates,
            bank: Bank::upload(machine, bits, &state.bank)?,
            neighbors: Array::upload(machine, pairs.neighbors)?,
            schedule: Schedule::new(machine, batch, (rows / batch).max(1))?,
            keys: Array::new(machine, batch * settings.bank_keys())?,
            batch_signs: Array::new(machine, signs)?,
            batch_means: array(means)?,
            activations: [Activations::new(machine, image, batch)?, Activations::new(machine, text, batch)?],
            key_weights: array(2 * batch * settings.most_keys())?,
            contrastive: [array(batch * bits)?, array(batch * bits)?],
            contrastive_losses: array(batch)?,
            similarities: array(batch * batch)?,
            similarity_gradients: array(2 * batch * batch)?,
            ranking: [array(batch * bits)?, array(batch * bits)?],
            ranking_losses: array(2 * batch * settings.ranking_input.losses())?,
            sign_rows: [array(ranked_signs)?, array(ranked_signs)?],
            squares: Array::new(machine, machine.busy_blocks() as usize)?,
            clip: array(1)?,
            undirected: Array::upload(machine, &[u32::MAX; 2])?,
            records: Records::new(machine, state.updates)?,
            sequences: Default::default(),
            captured: true,
            machine,
            settings,
            placements,
        })
    }

    /// Launch the kernels and products of every step one by one, as is done where the machine cannot
    /// capture them. The numbers are the same.
    #[must_use]
    pub fn one_by_one(self) -> Self {
        Self { captured: false, ..self }
    }

    /// Copy the batches of the next steps, one after the other, at most an epoch's: steps that follow need
    /// nothing more from the host. Batches loaded before that no step has taken are forgotten.
    ///
    /// # Errors
    /// [`Error::Shape`] when they are no whole batches or too many, or a batch is not of different rows of
    /// the bank; [`Error::Cuda`] when the machine fails.
    pub fn load(&mut self, batches: &[u32], learning_rate: f64) -> Result<(), Error> {
        let batch = self.settings.batch;
        let count = batches.len() / batch;
        same("pairs, whole batches", count.clamp(1, self.schedule.room()) * batch, batches.len())?;
        named(batches, self.bank.rows)?;
        let mut sorted = Vec::with_capacity(batch);
        for pairs in batches.chunks_exact(batch) {
            sorted.clear();
            sorted.extend_from_slice(pairs);
            sorted.sort_unstable();
            sorted.dedup();
            same("different pairs of the batch", batch, sorted.len())?;
        }
        let optimizer = self.settings.optimizer;
        let numbers: Vec<StepNumbers> = (self.updates..)
            .take(count)
            .map(|step| StepNumbers::new(optimizer, learning_rate, step))
            .collect();
        Ok(self.schedule.load(self.machine, batches, &numbers)?)
    }

    /// Batches that were loaded and that no step has taken yet.
    #[must_use]
    pub const fn loaded(&self) -> usize {
        self.schedule.left()
    }

    /// Queue the step of the next loaded batch: its losses and gradients, the optimizer, the bank's update.
    /// It does not wait for the machine; [`losses`](Self::losses) does.
    ///
    /// # Errors
    /// [`Error::Shape`] when no batch is left, or the keys are not as many rows of the bank as a batch
    /// needs; [`Error::Cuda`] when the machine fails.
    pub fn next_step(&mut self, keys: BatchKeys<'_>) -> Result<(), Error> {
        self.check_keys(keys)?;
        self.records.make_room(self.machine, self.updates)?;
        let source = match keys {
            _ if self.settings.without_bank() => Source::Own,
            BatchKeys::Own => Source::Own,
            BatchKeys::Drawn => Source::Drawn,
            BatchKeys::Given(rows) => {
                self.keys.write(self.machine, 0, rows)?;
                Source::Given
            }
        };
        if !self.schedule.take() {
            return Err(Error::Shape { what: "loaded batches", expected: 1, got: 0 });
        }
        let machine = self.machine;
        let mut sequence = match &mut self.sequences[source as usize] {
            _ if !self.captured => Sequence::OneByOne,
            sequence => std::mem::take(sequence),
        };
        // SAFETY: the arguments of a step's launches and products depend on nothing but the source; the
        // memory is this value's, allocated once, and that of the features, which it borrows.
        unsafe { sequence.run(machine, &mut || self.work(source)) }?;
        self.sequences[source as usize] = sequence;
        self.updates += 1;
        Ok(())
    }

    /// Queue one step of these pairs, as [`load`](Self::load) and [`next_step`](Self::next_step) do.
    ///
    /// # Errors
    /// As theirs; nothing is changed by a step that is refused.
    pub fn step(&mut self, pairs: &[u32], keys: BatchKeys<'_>, learning_rate: f64) -> Result<(), Error> {
        same("pairs of the batch", self.settings.batch, pairs.len())?;
        self.check_keys(keys)?;
        self.load(pairs, learning_rate)?;
        self.next_step(keys)
    }

    /// Wait for the machine, and give the losses of all steps since the last call.
    ///
    /// # Errors
    /// [`Error::NoOutput`] when in any step so far a network's output had no direction: the state is then
    /// not to be used. [`Error::Cuda`] when the machine fails.
    pub fn losses(&mut self) -> Result<Vec<StepLosses>, Error> {
        self.records.take(self.machine, self.updates, self.settings.alpha)
    }

    /// Wait for the machine, and copy everything that training changes.
    ///
    /// # Errors
    /// [`Error::Cuda`] when the machine fails.
    pub fn state(&self) -> Result<TrainingState, Error> {
        let layers = |array: &Array<M, f32>| -> Result<_, Error> {
            let [image, text] = &self.placements;
            Ok([image.read(self.machine, array)?, text.read(self.machine, array)?])
        };
        let [first, second] = &self.weights.moments;
        let second = match self.settings.optimizer {
            Optimizer::Adam => layers(second)?,
            Optimizer::Sgd => [Vec::new(), Vec::new()],
        };
        Ok(TrainingState {
            networks: layers(&self.weights.parameters)?,
            moments: [layers(first)?, second],
            updates: self.updates,
            bank: self.bank.values.read(self.machine, 0, self.bank.values.len())?,
        })
    }

    /// Wait for the machine, and copy one of the networks.
    ///
    /// # Errors
    /// [`Error::Cuda`] when the machine fails.
    pub fn network(&self, modality: Modality) -> Result<Vec<super::Layer>, Error> {
        Ok(self.placements[modality.index()].read(self.machine, &self.weights.parameters)?)
    }

    /// The gradients of the last step before clipping, in the shapes of the networks.
    ///
    /// # Errors
    /// [`Error::Cuda`] when the machine fails.
    pub fn gradients(&self) -> Result<[Vec<super::Layer>; 2], Error> {
        let [image, text] = &self.placements;
        let gradients = &self.weights.gradients;
        Ok([image.read(self.machine, gradients)?, text.read(self.machine, gradients)?])
    }

    /// The outputs of the last step, row-major (batch, bits), image's and text's.
    ///
    /// # Errors
    /// [`Error::Cuda`] when the machine fails.
    pub fn last_outputs(&self) -> Result<[Vec<f32>; 2], Error> {
        let [image, text] = &self.activations;
        Ok([image.read_outputs(self.machine)?, text.read_outputs(self.machine)?])
    }

    /// The bank rows that were the keys of the last step, row-major (batch, keys), unless they were the
    /// batch's own.
    ///
    /// # Errors
    /// [`Error::Cuda`] when the machine fails.
    pub fn last_keys(&self) -> Result<Vec<u32>, Error> {
        Ok(self.keys.read(self.machine, 0, self.keys.len())?)
    }

    fn check_keys(&self, keys: BatchKeys<'_>) -> Result<(), Error> {
        match keys {
            BatchKeys::Given(rows) => {
                same("keys of the batch", self.keys.len(), rows.len())?;
                named(rows, self.bank.rows)
            }
            BatchKeys::Own | BatchKeys::Drawn => Ok(()),
        }
    }

    /// Everything that a step asks of the machine.
    fn work(&self, source: Source) -> Result<(), CudaError> {
        let Self { machine, settings, weights, schedule, .. } = self;
        // SAFETY: `next_step` takes a batch before it lets this work be done.
        unsafe { schedule.begin(*machine) }?;
        self.forward()?;
        let contrastive = settings.alpha > 0.0;
        if contrastive {
            self.contrastive(source)?;
        }
        let ranking = settings.alpha < 1.0;
        if ranking {
            self.rank()?;
        }
        self.backward(contrastive, ranking)?;
        self.record(contrastive, ranking)?;
        let (optimizer, decay) = (settings.optimizer, settings.weight_decay);
        optimizers::update(*machine, optimizer, weights, &self.clip, &schedule.now, decay)?;
        let momentum = if source == Source::Own { 0.0 } else { settings.momentum };
        key_rows::update_bank(*machine, self.outputs(), &schedule.pairs, &self.bank, momentum)
    }

    fn outputs(&self) -> [Matrix<'_>; 2] {
        self.activations.each_ref().map(Activations::outputs)
    }

    fn forward(&self) -> Result<(), CudaError> {
        let StepSettings { precision, seed, .. } = self.settings;
        let now = &self.schedule.now;
        for side in 0..2 {
            let activations = &self.activations[side];
            let features = self.features[side];
            launch::gather(self.machine, features, &self.schedule.pairs, activations.features())?;
            let dropout = Dropout { seed, now, side: side as u32, out: self.settings.dropped_bytes() };
            let (placement, parameters) = (&self.placements[side], &self.weights.parameters);
            activations.forward(
                self.machine,
                placement,
                parameters,
                precision,
                &dropout,
                &self.undirected,
            )?;
        }
        Ok(())
    }

    /// The contrastive loss and its gradients.
    fn contrastive(&self, source: Source) -> Result<(), CudaError> {
        let StepSettings { batch: samples, neighbors, neighbor_share, temperature, seed, .. } = self.settings;
        let outputs = self.outputs();
        let own = source == Source::Own;
        let dense = self.settings.keys == KeySource::Continuous;
        match source {
            Source::Own if dense => {
                let means = self.batch_means.as_matrix(samples, self.bank.bits);
                key_rows::mean_keys(self.machine, outputs, means)?;
            }
            Source::Own => {
                key_rows::sign_words(self.machine, outputs[0], Some(outputs[1]), &self.batch_signs)?;
            }
            Source::Drawn => {
                let (Schedule { now, pairs, .. }, rows) = (&self.schedule, self.bank.rows);
                let draw = Draw { seed, now, samples, width: self.settings.bank_keys(), neighbors, rows };
                key_rows::draw_keys(self.machine, &draw, pairs, &self.neighbors, &self.keys)?;
            }
            Source::Given => {}
        }
        let neighbors = if own { 0 } else { neighbors };
        let shared = if neighbors > 0 { neighbor_share } else { 0.0 };
        let keys = ContrastiveKeys {
            rows: match (own, dense) {
                (true, true) => KeyRows::Dense(self.batch_means.as_matrix(samples, self.bank.bits)),
                (true, false) => KeyRows::Signs(&self.batch_signs),
                (false, true) => KeyRows::Dense(self.bank.values.as_matrix(self.bank.rows, self.bank.bits)),
                (false, false) => KeyRows::Signs(&self.bank.signs),
            },
            keys: (!own).then_some(&self.keys),
            count: if own { samples } else { self.settings.bank_keys() },
            neighbors,
            own_target: (1.0 - shared) as f32,
            neighbor_target: (shared / neighbors.max(1) as f64) as f32,
            temperature,
        };
        let gradients = self.contrastive.each_ref().map(|array| array.as_matrix(samples, self.bank.bits));
        let losses = &self.contrastive_losses;
        losses::contrastive(self.machine, outputs, &keys, &self.key_weights, gradients, losses)
    }

    /// The ranking loss and its gradients. Its products are never rounded: they are small, and a
    /// similarity decides on which side of the margin it is.
    fn rank(&self) -> Result<(), CudaError> {
        let StepSettings { batch, ranking_input: input, .. } = self.settings;
        let outputs = self.outputs();
        if input.has_outputs() {
            self.rank_rows(outputs, 0)?;
        }
        if input.has_signs() {
            let signs = self.sign_rows.each_ref().map(|array| array.as_matrix(batch, self.bank.bits));
            for (outputs, signs) in outputs.into_iter().zip(signs) {
                key_rows::sign_rows(self.machine, outputs, signs)?;
            }
            self.rank_rows(signs, input.losses() - 1)?;
        }
        Ok(())
    }

    /// One of the losses that the ranking loss is the mean of, by its number, with its gradients with
    /// respect to the rows, which are added to those of the losses before.
    fn rank_rows(&self, [image, text]: Sides<'_>, number: usize) -> Result<(), CudaError> {
        let StepSettings { batch: samples, ranking: loss, ranking_input: input, .. } = self.settings;
        let similarities = self.similarities.as_matrix(samples, samples);
        let product = |left, right, into, accumulate| {
            multiply(self.machine, left, right, into, accumulate, Precision::Float32)
        };
        product(Operand::plain(image), Operand::transposed(text), similarities, false)?;
        let gradients = &self.similarity_gradients;
        let share = losses::ranking_share(samples, loss, input);
        let losses = self.ranking_losses.matrix(2 * number * samples, 2, samples);
        losses::ranking(self.machine, similarities, loss, share, gradients, losses)?;
        let rows = gradients.matrix(0, samples, samples);
        let columns = gradients.matrix(samples * samples, samples, samples);
        let [of_image, of_text] =
            self.ranking.each_ref().map(|array| array.as_matrix(samples, image.columns));
        product(Operand::plain(rows), Operand::plain(text), of_image, number > 0)?;
        product(Operand::transposed(columns), Operand::plain(text), of_image, true)?;
        product(Operand::transposed(rows), Operand::plain(image), of_text, number > 0)?;
        product(Operand::plain(columns), Operand::plain(image), of_text, true)
    }

    fn backward(&self, contrastive: bool, ranking: bool) -> Result<(), CudaError> {
        let StepSettings { batch, alpha, precision, .. } = self.settings;
        let scale = 256.0 / (256 - self.settings.dropped_bytes()) as f32;
        for side in 0..2 {
            let parts: [Weighted<'_>; 2] = [
                contrastive.then(|| (self.contrastive[side].as_matrix(batch, self.bank.bits), alpha as f32)),
                ranking.then(|| (self.ranking[side].as_matrix(batch, self.bank.bits), (1.0 - alpha) as f32)),
            ];
            let (activations, placement) = (&self.activations[side], &self.placements[side]);
            activations.backward(self.machine, placement, &self.weights, parts, precision, scale)?;
        }
        Ok(())
    }

    fn record(&self, contrastive: bool, ranking: bool) -> Result<(), CudaError> {
        let StepSettings { batch, clip_norm, ranking: loss, ranking_input: input, .. } = self.settings;
        optimizers::sum_squares(self.machine, &self.weights.gradients, &self.squares)?;
        let recorded = Recorded {
            contrastive: contrastive.then(|| (&self.contrastive_losses, (1.0 / batch as f64) as f32)),
            ranking: ranking.then(|| (&self.ranking_losses, losses::ranking_share(batch, loss, input))),
            squares: &self.squares,
            undirected: &self.undirected,
            now: &self.schedule.now,
            clip: &self.clip,
            clip_norm,
        };
        optimizers::record_step(self.machine, &recorded, &self.records.places)
    }
}

fn same(what: &'static str, expected: usize, got: usize) -> Result<(), Error> {
    if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
}

/// Every number names a row.
fn named(numbers: &[u32], rows: usize) -> Result<(), Error> {
    match numbers.iter().find(|&&number| number as usize >= rows) {
        Some(&number) => same("rows of the memory bank", number as usize + 1, rows),
        None => Ok(()),
    }
}
