//! What steps leave for the host.

use super::super::{CudaError, Machine};
use super::arguments::StepRecord;
use super::array::Array;
use crate::{Error, Modality};

/// Steps whose records the machine holds.
const PLACES: usize = 256;

/// The losses of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepLosses {
    /// L_c (eq. 3 and 4), both sides added; 0 where its weight is 0.
    pub contrastive: f64,
    /// The ranking loss; 0 where its weight is 0.
    pub ranking: f64,
    /// alpha L_c + (1 - alpha) L_r.
    pub total: f64,
    /// l2 norm of all gradients together, before clipping.
    pub gradient_norm: f64,
}

impl StepLosses {
    /// The losses of a record; [`Error::NoOutput`] when an output had no direction.
    fn new(record: &StepRecord, alpha: f64) -> Result<Self, Error> {
        for modality in Modality::ALL {
            let row = record.undirected[modality.index()];
            if row != u32::MAX {
                return Err(Error::NoOutput { modality, row: row as usize });
            }
        }
        let (contrastive, ranking) = (f64::from(record.contrastive), f64::from(record.ranking));
        Ok(Self {
            contrastive,
            ranking,
            total: alpha * contrastive + (1.0 - alpha) * ranking,
            gradient_norm: f64::from(record.gradient_norm),
        })
    }
}

/// The records of the last steps. A step's place is its number modulo the places.
#[derive(Debug)]
pub(crate) struct Records<M: Machine> {
    pub(crate) places: Array<M, StepRecord>,
    /// The first step whose record is not among `finished`.
    first: u32,
    finished: Vec<StepRecord>,
}

impl<M: Machine> Records<M> {
    /// Room for the records of the steps from `first` on.
    pub(crate) fn new(machine: &M, first: u32) -> Result<Self, CudaError> {
        Ok(Self { places: Array::new(machine, PLACES)?, first, finished: Vec::new() })
    }

    /// See to it that there is a place for the record of a step.
    pub(crate) fn make_room(&mut self, machine: &M, step: u32) -> Result<(), CudaError> {
        if step - self.first == PLACES as u32 { self.collect(machine, step) } else { Ok(()) }
    }

    /// Wait for the steps before `step`, and give the losses of those not given yet.
    pub(crate) fn take(&mut self, machine: &M, step: u32, alpha: f64) -> Result<Vec<StepLosses>, Error> {
        self.collect(machine, step)?;
        let records = std::mem::take(&mut self.finished);
        records.iter().map(|record| StepLosses::new(record, alpha)).collect()
    }

    fn collect(&mut self, machine: &M, step: u32) -> Result<(), CudaError> {
        while self.first < step {
            let place = self.first as usize % PLACES;
            let count = ((step - self.first) as usize).min(PLACES - place);
            self.finished.extend(self.places.read(machine, place, count)?);
            self.first += count as u32;
        }
        Ok(())
    }
}
