//! Training on the processor.

use std::time::Instant;

use twinbit_kernels::{CodeBits, Modality, pack_signs};

use crate::Error;
use crate::epoch::{Epoch, read};
use crate::learner::{Encode, Held, Learner};
use crate::net::Network;
use crate::step::{Batch, Keys, TrainingState};

/// A training run in this memory.
pub(crate) struct OnProcessor {
    pub(crate) state: TrainingState<f32>,
}

impl Learner for OnProcessor {
    fn steps(&mut self, epoch: &mut Epoch<'_>) -> Result<(), Error> {
        let pairs_of = *epoch.pairs;
        let (number, rate) = (epoch.number, epoch.rate);
        let order = pairs_of.sampler.order(number);
        let steps = pairs_of.sampler.steps();
        let draws_keys = epoch.draws_keys();
        let mut keys = Vec::new();
        for (index, rows) in order.chunks_exact(epoch.config.batch).enumerate() {
            let begin = Instant::now();
            let step = number as usize * steps + index;
            let pairs = pairs_of.of(rows);
            if draws_keys {
                pairs_of.sampler.keys(rows, step as u64, pairs_of.neighbors, &mut keys);
            }
            let pass = self.state.differentiate(Batch {
                pairs: rows,
                image: read(pairs_of.source, Modality::Image, &pairs, number)?,
                text: read(pairs_of.source, Modality::Text, &pairs, number)?,
                keys: if draws_keys { Keys::Bank(&keys) } else { Keys::Batch },
            })?;
            epoch.check(pass.losses.total, pass.gradient_norm)?;
            self.state.apply(&pass, rate)?;
            epoch.stepped(pass.losses.total, begin.elapsed())?;
        }
        Ok(())
    }

    fn encoder(&self, modality: Modality) -> Result<Encode<'_>, Error> {
        let network = self.state.network(modality);
        let bits = CodeBits::new(network.bits())?;
        Ok(Box::new(move |rows| Ok(pack_signs(&network.forward(rows)?.outputs, bits)?)))
    }

    fn networks(&self) -> Result<[Network<f32>; 2], Error> {
        Ok(Modality::ALL.map(|modality| self.state.network(modality).clone()))
    }

    fn state(&self) -> Result<Held<'_>, Error> {
        Ok(Held::Here(&self.state))
    }
}
