//! A training run on the card or on the processor.

use std::ops::ControlFlow;

use twinbit_hashing::{Checkpoint, EpochReport, Error, Observer, PairSource, Progress, Trainer};
use twinbit_kernels::cuda::train::Precision;

use crate::accelerator::Accelerator;
use crate::card_work::TrainingWork;
use crate::{Modality, Outcome};

/// A run that has not begun, or a checkpoint of one that is to go on.
pub(crate) struct TrainingRun<'a> {
    pub(crate) trainer: Trainer,
    /// Of the products, on a card.
    pub(crate) precision: Precision,
    pub(crate) source: &'a dyn PairSource,
    pub(crate) saved: Option<Checkpoint>,
}

impl TrainingRun<'_> {
    /// Trains where it is worth it or demanded. What a card that need not be used cannot do, memory included,
    /// the processor does, as long as nobody has been told of a step.
    pub(crate) fn run(
        self,
        accelerator: &Accelerator,
        observer: &mut dyn Observer,
    ) -> crate::Result<Result<Outcome, Error>> {
        let Self { trainer, precision, source, saved } = self;
        let widths = Modality::ALL.map(|modality| source.width(modality) as u64);
        let operations = match trainer.operations(source) {
            Ok(operations) => operations,
            Err(error) => return Ok(Err(error)),
        };
        let machine = accelerator.training_machine(TrainingWork {
            operations,
            bytes: 4 * widths.iter().sum::<u64>() * source.pairs() as u64,
            began_on: saved.as_ref().map(Checkpoint::machine),
        })?;
        let Some(machine) = machine else { return Ok(fit(&trainer, saved, source, observer)) };
        let may_change = saved.is_none() && !accelerator.is_demanded();
        let mut telling = Telling { observer, told: false };
        let on_card = trainer.clone().on_card(machine, precision);
        match fit(&on_card, saved, source, &mut telling) {
            Err(error @ Error::Card(_)) if may_change && !telling.told => {
                tracing::warn!(%error, "trained on the processor instead of the card");
                Ok(trainer.fit(source, observer))
            }
            trained => Ok(trained),
        }
    }
}

fn fit(
    trainer: &Trainer,
    saved: Option<Checkpoint>,
    source: &dyn PairSource,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    match saved {
        Some(checkpoint) => trainer.resume(checkpoint, source, observer),
        None => trainer.fit(source, observer),
    }
}

/// Notes whether the observer has been told of a step.
struct Telling<'a> {
    observer: &'a mut dyn Observer,
    told: bool,
}

impl Observer for Telling<'_> {
    fn on_step(&mut self, step: usize, steps: usize, loss: f64) -> ControlFlow<()> {
        self.told = true;
        self.observer.on_step(step, steps, loss)
    }

    fn on_checkpoint(
        &mut self,
        progress: &Progress<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.observer.on_checkpoint(progress)
    }

    fn on_epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
        self.observer.on_epoch(report)
    }
}
