//! One epoch of training: reading batches, stepping, telling the observer.

use std::time::Instant;

use twinbit_kernels::Modality;

use crate::Error;
use crate::config::{KeySource, TrainConfig};
use crate::neighbors::Neighbors;
use crate::report::Observer;
use crate::sampler::Sampler;
use crate::source::{PairSource, rows};
use crate::step::{Batch, Keys, TrainingState};

/// The steps of one epoch.
pub(crate) struct EpochRun<'a> {
    pub(crate) config: &'a TrainConfig,
    pub(crate) source: &'a dyn PairSource,
    pub(crate) training: &'a [u32],
    pub(crate) sampler: &'a Sampler,
    pub(crate) neighbors: &'a Neighbors,
}

impl EpochRun<'_> {
    /// Runs them. Gives the mean loss, and the median time of a step in milliseconds.
    pub(crate) fn steps(
        &self,
        state: &mut TrainingState<f32>,
        epoch: u32,
        rate: f64,
        observer: &mut dyn Observer,
    ) -> Result<(f64, f64), Error> {
        let config = self.config;
        let order = self.sampler.order(epoch);
        let steps = self.sampler.steps();
        let warm_up = epoch < config.warmup_epochs;
        let uses_bank = config.alpha > 0.0 && config.momentum > 0.0 && config.keys != KeySource::Batch;
        let draws_keys = uses_bank && !warm_up;
        let mut keys = Vec::new();
        let mut losses = 0.0;
        let mut times = Vec::with_capacity(steps);
        for (index, rows) in order.chunks_exact(config.batch).enumerate() {
            let begin = Instant::now();
            let step = epoch as usize * steps + index;
            let pairs: Vec<u32> = rows.iter().map(|&row| self.training[row as usize]).collect();
            if draws_keys {
                self.sampler.keys(rows, step as u64, self.neighbors, &mut keys);
            }
            let pass = state.differentiate(Batch {
                pairs: rows,
                image: read(self.source, Modality::Image, &pairs, epoch)?,
                text: read(self.source, Modality::Text, &pairs, epoch)?,
                keys: if keys.is_empty() { Keys::Batch } else { Keys::Bank(&keys) },
            })?;
            let loss = pass.losses.total;
            if !loss.is_finite() || !pass.gradient_norm.is_finite() {
                return Err(Error::Diverged { epoch: epoch + 1, step: index + 1 });
            }
            state.apply(&pass, rate)?;
            losses += loss;
            times.push(begin.elapsed().as_secs_f64() * 1e3);
            let steps_in_all = steps * config.epochs as usize;
            if observer.on_step(step + 1, steps_in_all, loss).is_break() {
                return Err(Error::Canceled);
            }
        }
        times.sort_unstable_by(f64::total_cmp);
        Ok((losses / steps as f64, times[times.len() / 2]))
    }
}

/// Features of the pairs; the error names the pair, not its place in the batch.
pub(crate) fn read(
    source: &dyn PairSource,
    modality: Modality,
    pairs: &[u32],
    epoch: u32,
) -> Result<Vec<f32>, Error> {
    let width = source.width(modality);
    let mut values = vec![0.0; pairs.len() * width];
    source.read(modality, pairs, epoch, &mut values).map_err(|source| Error::Source { modality, source })?;
    match rows(modality, &values, width) {
        Err(Error::NotFinite { modality, row }) => {
            Err(Error::NotFinite { modality, row: pairs[row] as usize })
        }
        Err(error) => Err(error),
        Ok(_) => Ok(values),
    }
}
