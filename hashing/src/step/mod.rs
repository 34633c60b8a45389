//! One training step, taken apart: differentiate, then apply.
//!
//! [`Trainer`](crate::Trainer) drives this. It is public for whoever wants to impose batches, keys
//! and initial weights and look at every number on the way, as the tests `parity` do.

mod batch;
mod gradients;
mod settings;

use twinbit_kernels::{CodeBits, Modality};

use crate::Error;
use crate::bank::MemoryBank;
use crate::dropout::Dropout;
use crate::net::Network;
use crate::optimizer::{OptimizerState, Update, clip_factor, gradient_norm};
use crate::real::Real;
use gradients::Gradients;

pub use batch::{Batch, Keys, Losses, Pass};
pub use settings::{Differentiation, StepSettings};

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
        Ok(self.pass(batch, false)?.0)
    }

    /// The same, and the gradient of the loss with respect to the image features, in their shape: what
    /// a network that computed them is trained with. Always [`Differentiation::Fused`].
    ///
    /// # Errors
    /// As [`differentiate`](Self::differentiate).
    pub fn differentiate_to_features(&self, batch: Batch<'_, T>) -> Result<(Pass<T>, Vec<T>), Error> {
        self.pass(batch, true)
    }

    fn pass(&self, batch: Batch<'_, T>, to_image: bool) -> Result<(Pass<T>, Vec<T>), Error> {
        self.check(&batch)?;
        let keys = if self.settings.without_bank() { Keys::Batch } else { batch.keys };
        let pairs = batch.pairs.to_vec();
        let warm_up = matches!(keys, Keys::Batch);
        let gradients = match self.settings.differentiation {
            Differentiation::Autodiff if !to_image => self.autodiff(batch.image, batch.text, keys)?,
            _ => self.fused(batch.image, batch.text, keys, to_image)?,
        };
        let Gradients { losses, outputs, parameters: gradients, image } = gradients;
        let gradient_norm = gradient_norm::<T>(gradients.iter().flatten())?;
        let pass = Pass { losses, gradient_norm, outputs, gradients, pairs, warm_up };
        Ok((pass, image.unwrap_or_default()))
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

    pub(crate) fn settings(&self) -> &StepSettings {
        &self.settings
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
}

fn same(what: &'static str, expected: usize, got: usize) -> Result<(), Error> {
    if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
}

#[cfg(test)]
mod tests;
