//! One epoch of training: which pairs, and what is told of its steps.

use std::time::Duration;

use twinbit_kernels::Modality;

use crate::Error;
use crate::config::{KeySource, TrainConfig};
use crate::neighbors::Neighbors;
use crate::report::Observer;
use crate::sampler::Sampler;
use crate::source::{PairSource, rows};

/// The pairs of a run and how they are dealt.
#[derive(Clone, Copy)]
pub(crate) struct TrainingPairs<'a> {
    pub(crate) source: &'a dyn PairSource,
    /// The pairs trained on, ascending; row i of the memory bank belongs to the i-th.
    pub(crate) training: &'a [u32],
    pub(crate) sampler: &'a Sampler,
    pub(crate) neighbors: &'a Neighbors,
}

impl TrainingPairs<'_> {
    /// The pairs that rows of the bank belong to.
    pub(crate) fn of(&self, rows: &[u32]) -> Vec<u32> {
        rows.iter().map(|&row| self.training[row as usize]).collect()
    }
}

/// An epoch under way.
pub(crate) struct Epoch<'a> {
    pub(crate) config: &'a TrainConfig,
    pub(crate) pairs: &'a TrainingPairs<'a>,
    /// Counted from 0.
    pub(crate) number: u32,
    /// Its learning rate.
    pub(crate) rate: f64,
    observer: &'a mut dyn Observer,
    losses: f64,
    times: Vec<Duration>,
}

impl<'a> Epoch<'a> {
    pub(crate) fn new(
        config: &'a TrainConfig,
        pairs: &'a TrainingPairs<'a>,
        number: u32,
        rate: f64,
        observer: &'a mut dyn Observer,
    ) -> Self {
        Self { config, pairs, number, rate, observer, losses: 0.0, times: Vec::new() }
    }

    /// Whether the keys of its steps are rows of the bank.
    pub(crate) fn draws_keys(&self) -> bool {
        let config = self.config;
        let uses_bank = config.alpha > 0.0 && config.momentum > 0.0 && config.keys != KeySource::Batch;
        uses_bank && self.number >= config.warmup_epochs
    }

    /// Whether the numbers of the step after those told so far are finite.
    pub(crate) fn check(&self, loss: f64, gradient_norm: f64) -> Result<(), Error> {
        if loss.is_finite() && gradient_norm.is_finite() {
            return Ok(());
        }
        Err(Error::Diverged { epoch: self.number + 1, step: self.times.len() + 1 })
    }

    /// Tells of a step that has ended.
    pub(crate) fn stepped(&mut self, loss: f64, time: Duration) -> Result<(), Error> {
        self.losses += loss;
        self.times.push(time);
        let steps = self.pairs.sampler.steps();
        let step = self.number as usize * steps + self.times.len();
        match self.observer.on_step(step, steps * self.config.epochs as usize, loss).is_break() {
            true => Err(Error::Canceled),
            false => Ok(()),
        }
    }

    /// The mean loss, and the median time of a step in milliseconds.
    pub(crate) fn end(mut self) -> (f64, f64) {
        self.times.sort_unstable();
        let median = self.times.get(self.times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3);
        (self.losses / self.times.len() as f64, median)
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
