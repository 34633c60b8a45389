//! Work beside searching that a card may take over: encoding, measuring recall, training.
//!
//! Codes and recall from the card are those from the processor to the bit, so that any batch may be computed on
//! either. A training run is not: it stays where it began.

use std::sync::PoisonError;
use std::time::Duration;

use twinbit_hashing::TrainingMachine;
use twinbit_kernels::cuda::train::Multiply;
use twinbit_kernels::cuda::{AnyMachine, CudaError, MOST_NEAREST};
use twinbit_kernels::{Codes, CodesBuf, Scan};

use crate::accelerator::{Accelerator, Card};
use crate::card_recall::card_recall;
use crate::{Error, Modality, Model, Result};

/// How long codes may be searched while somebody waits for their memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a training run will take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrainingWork {
    /// Multiplications and additions.
    pub(crate) operations: u64,
    /// Bytes of features.
    pub(crate) bytes: u64,
    /// What computed the part that is done already.
    pub(crate) began_on: Option<TrainingMachine>,
}

impl Accelerator {
    /// The codes of feature rows under a model.
    pub(crate) fn encode(&self, model: &Model, modality: Modality, rows: &[f32]) -> Result<CodesBuf> {
        let width = model.spec().width(modality).max(1);
        let operations = 2 * model.spec().weights(modality) * (rows.len() / width) as u64;
        if !rows.is_empty()
            && let Some(card) = self.worth_it(operations, size_of_val(rows) as u64)
            && let Some(codes) = self.on_card(card, |card| card.encode(model, modality, rows))?.flatten()
        {
            return Ok(codes);
        }
        Ok(model.encode(modality, rows)?)
    }

    /// For each k the share of queries with a right row among their first k.
    pub(crate) fn recall<'r>(
        &self,
        queries: Codes<'_>,
        database: Codes<'_>,
        right: impl Fn(usize) -> &'r [u32] + Sync,
        ks: &[usize],
    ) -> Result<Vec<(usize, f64)>> {
        let bytes = Codes::byte_len(database.bits(), database.rows()) as u64;
        let costs = self.costs();
        let on_card = costs.search(bytes, 0, queries.rows()) + costs.upload(bytes);
        let scan = twinbit_kernels::Search::new(Scan::new(database)).scan_time(queries.rows());
        let possible = queries.rows() > 0 && ks.iter().all(|&k| (1..=MOST_NEAREST).contains(&k));
        if possible && let Some(card) = self.saving(scan.saturating_sub(on_card)) {
            let measured = self.on_card(card, |card| {
                card_recall(&card.machine, queries, database, &right, ks)
                    .map_err(twinbit_hashing::Error::Card)
            })?;
            if let Some(recall) = measured {
                return Ok(recall);
            }
        }
        Ok(twinbit_hashing::recall_at(queries, database, right, ks)?)
    }

    /// Whether training can begin: a card that must be used has to have what products need, which is better
    /// known before pairs are read and texts are encoded.
    pub(crate) fn check_training(&self) -> Result<()> {
        if !self.is_demanded() {
            return Ok(());
        }
        let checked = self.card().map_err(Clone::clone).and_then(|card| card.machine.check_products());
        checked.map_err(|reason| Error::NoCuda { reason })
    }

    /// What a run trains on, if it is a card: a handle of its own, so that searches go on beside it.
    ///
    /// A run that goes on stays on the machine that it began on, where that may be chosen.
    pub(crate) fn training_machine(&self, work: TrainingWork) -> Result<Option<AnyMachine>> {
        let wanted = match work.began_on {
            _ if self.is_demanded() => true,
            Some(machine) => machine != TrainingMachine::Processor && self.is_possible(),
            None => {
                let costs = self.costs();
                let on_card = costs.open + costs.compute(work.operations, work.bytes);
                self.is_possible() && costs.on_processor(work.operations) > on_card
            }
        };
        if !wanted {
            return Ok(None);
        }
        let machine = self.card().map_err(Clone::clone).and_then(|card| {
            card.machine.check_products()?;
            self.make_room(card);
            self.another_handle(card)
        });
        match machine {
            Ok(machine) => Ok(Some(machine)),
            Err(reason) if self.is_demanded() => Err(Error::NoCuda { reason }),
            Err(error) => {
                if self.open_card().is_some() {
                    tracing::warn!(%error, "the processor trains, because the card cannot");
                }
                Ok(None)
            }
        }
    }

    /// The card if computing there takes less time, and opening it has been earned.
    fn worth_it(&self, operations: u64, bytes: u64) -> Option<&Card> {
        let costs = self.costs();
        self.saving(costs.on_processor(operations).saturating_sub(costs.compute(operations, bytes)))
    }

    /// The card if it must be used, or if it saves time and what it has saved or would have pays for opening it.
    fn saving(&self, gain: Duration) -> Option<&Card> {
        if !self.is_possible() {
            return None;
        }
        if !self.is_demanded() {
            if gain.is_zero() {
                return None;
            }
            if self.open_card().is_none() {
                let mut earned = self.earned.lock().unwrap_or_else(PoisonError::into_inner);
                *earned += gain;
                if *earned < self.costs().open {
                    return None;
                }
            }
        }
        self.card().ok()
    }

    /// Work on the card; `None` where the processor has to do it, because the card could not and need not.
    fn on_card<R>(
        &self,
        card: &Card,
        work: impl Fn(&Card) -> Result<R, twinbit_hashing::Error>,
    ) -> Result<Option<R>> {
        let mut done = work(card);
        if out_of_memory(&done) {
            self.make_room(card);
            done = work(card);
        }
        match done {
            Ok(done) => Ok(Some(done)),
            Err(twinbit_hashing::Error::Card(twinbit_kernels::Error::Cuda(reason))) => {
                card.networks().clear();
                if self.is_demanded() {
                    return Err(Error::NoCuda { reason });
                }
                self.failed(&reason);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Frees the memory that codes and networks take: they are copied again when they are needed.
    fn make_room(&self, card: &Card) {
        card.networks().clear();
        if let Some(mut turn) = card.take(Some(PATIENCE), &|| false) {
            turn.thing.clear();
            card.note(&turn.thing);
        }
    }
}

impl Card {
    fn encode(
        &self,
        model: &Model,
        modality: Modality,
        rows: &[f32],
    ) -> Result<Option<CodesBuf>, twinbit_hashing::Error> {
        self.networks().encode(&self.machine, model, modality, rows)
    }
}

fn out_of_memory<R>(done: &Result<R, twinbit_hashing::Error>) -> bool {
    let Err(twinbit_hashing::Error::Card(twinbit_kernels::Error::Cuda(reason))) = done else { return false };
    matches!(reason, CudaError::OutOfMemory { .. })
}
