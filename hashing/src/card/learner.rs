//! Training on a card.

use std::time::Instant;

use twinbit_kernels::Modality;
use twinbit_kernels::cuda::AnyMachine;
use twinbit_kernels::cuda::train::{BatchKeys, Encoder, Pairs, TrainingStep};

use super::features::CardFeatures;
use super::settings::settings;
use super::{TrainingCard, failed, state};
use crate::Error;
use crate::config::TrainConfig;
use crate::epoch::Epoch;
use crate::learner::{Encode, Held, Learner};
use crate::net::Network;
use crate::step::{StepSettings, TrainingState};
use crate::validation::ROWS_AT_ONCE;

/// Steps that are queued before their losses are waited for: the card has the next step at hand while the
/// processor hears of the last one, and training can still be stopped within a moment.
const STEPS_AT_ONCE: usize = 16;

/// A training run in the memory of a card.
pub(crate) struct OnCard<'a> {
    card: &'a TrainingCard,
    settings: StepSettings,
    step: TrainingStep<'a, AnyMachine>,
}

impl<'a> OnCard<'a> {
    /// Copies a state to the card.
    pub(crate) fn new(
        card: &'a TrainingCard,
        config: &TrainConfig,
        state: &TrainingState<f32>,
        features: &'a CardFeatures<'_>,
        neighbors: &'a [u32],
    ) -> Result<Self, Error> {
        let on_card = settings(config, card.precision);
        let state = state::to_card(state, on_card.optimizer)?;
        let pairs = Pairs { features: features.sides(), neighbors };
        let step = TrainingStep::new(&card.machine, on_card, &state, pairs);
        Ok(Self { card, settings: config.into(), step: step.map_err(failed)? })
    }

    /// Everything as it is now, in this memory.
    pub(crate) fn copy_state(&self) -> Result<TrainingState<f32>, Error> {
        state::from_card(self.step.state().map_err(failed)?, self.settings.clone())
    }
}

impl Learner for OnCard<'_> {
    fn steps(&mut self, epoch: &mut Epoch<'_>) -> Result<(), Error> {
        let order = epoch.pairs.sampler.order(epoch.number);
        let batch = epoch.config.batch;
        let keys = if epoch.draws_keys() { BatchKeys::Drawn } else { BatchKeys::Own };
        self.step.load(&order, epoch.rate).map_err(failed)?;
        for rows in order.chunks(batch * STEPS_AT_ONCE) {
            let begin = Instant::now();
            for _ in rows.chunks_exact(batch) {
                self.step.next_step(keys).map_err(failed)?;
            }
            let losses = self.step.losses().map_err(failed)?;
            let time = begin.elapsed() / losses.len().max(1) as u32;
            for losses in losses {
                epoch.check(losses.total, losses.gradient_norm)?;
                epoch.stepped(losses.total, time)?;
            }
        }
        Ok(())
    }

    fn encoder(&self, modality: Modality) -> Result<Encode<'_>, Error> {
        let layers = self.step.network(modality).map_err(failed)?;
        let machine = &self.card.machine;
        let encoder = Encoder::new(machine, &layers, ROWS_AT_ONCE, self.card.precision);
        let mut encoder = encoder.map_err(failed)?;
        Ok(Box::new(move |rows| encoder.encode(&rows).map_err(failed)))
    }

    fn networks(&self) -> Result<[Network<f32>; 2], Error> {
        let network = |modality| state::network(self.step.network(modality).map_err(failed)?);
        Ok([network(Modality::Image)?, network(Modality::Text)?])
    }

    fn state(&self) -> Result<Held<'_>, Error> {
        Ok(Held::Copied(Box::new(self.copy_state()?)))
    }
}
