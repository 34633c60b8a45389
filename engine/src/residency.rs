//! Copies of codes in the memory of a card, as many as a budget allows.

use std::collections::HashMap;

use twinbit_kernels::cuda::{AnyMachine, CudaError, DeviceCodes};
use twinbit_kernels::{Codes, Error, Modality};
use twinbit_storage::CodesIdentity;

/// The codes of one modality in one file, as the file was opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct MatrixKey {
    pub(crate) file: CodesIdentity,
    pub(crate) modality: Modality,
}

/// The copies that are on a card.
///
/// A search goes in rounds: what a round needs is [held](Self::hold) one after the other, and nothing of
/// it leaves before the next round.
#[derive(Debug)]
pub(crate) struct Residency {
    machine: AnyMachine,
    budget: u64,
    round: u64,
    matrices: HashMap<MatrixKey, Resident>,
}

#[derive(Debug)]
struct Resident {
    codes: DeviceCodes<AnyMachine>,
    /// The last round that held it.
    round: u64,
}

impl Residency {
    /// Room for `budget` bytes of codes on a machine.
    pub(crate) fn new(machine: AnyMachine, budget: u64) -> Self {
        Self { machine, budget, round: 0, matrices: HashMap::new() }
    }

    /// Begins a round; codes of files that nobody has open any more go.
    pub(crate) fn begin_round(&mut self) {
        self.round += 1;
        self.matrices.retain(|key, _| key.file.is_open());
    }

    /// The keys of all copies with the bytes that each takes.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = (&MatrixKey, u64)> {
        self.matrices.iter().map(|(key, resident)| (key, resident.codes.bytes() as u64))
    }

    /// The copy of these codes, if there is one.
    pub(crate) fn get(&self, key: &MatrixKey) -> Option<&DeviceCodes<AnyMachine>> {
        self.matrices.get(key).map(|resident| &resident.codes)
    }

    /// Sees that a copy of the codes is on the card until the next round: copies them when there is none,
    /// after those used longest ago have made room. `false` when there is no room beside what this
    /// round holds already.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`] for codes that do not fit by themselves; [`Error::Stopped`] when
    /// `stop` said so; what the driver reports.
    pub(crate) fn hold(
        &mut self,
        key: &MatrixKey,
        codes: Codes<'_>,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<bool, Error> {
        if let Some(resident) = self.matrices.get_mut(key) {
            resident.round = self.round;
            return Ok(true);
        }
        let bytes = Codes::byte_len(codes.bits(), codes.rows());
        if bytes as u64 > self.budget {
            return Err(CudaError::OutOfMemory { bytes }.into());
        }
        while self.bytes() + bytes as u64 > self.budget {
            if !self.evict() {
                return Ok(false);
            }
        }
        loop {
            match DeviceCodes::upload_until(&self.machine, codes, stop) {
                Ok(codes) => {
                    self.matrices.insert(key.clone(), Resident { codes, round: self.round });
                    return Ok(true);
                }
                // Others use the card, too: what is free may be less than the budget.
                Err(Error::Cuda(CudaError::OutOfMemory { .. })) if self.evict() => {}
                Err(Error::Cuda(CudaError::OutOfMemory { .. })) if self.holds_any() => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets all copies go.
    pub(crate) fn clear(&mut self) {
        self.matrices.clear();
    }

    fn bytes(&self) -> u64 {
        self.matrices().map(|(_, bytes)| bytes).sum()
    }

    fn holds_any(&self) -> bool {
        self.matrices.values().any(|resident| resident.round == self.round)
    }

    /// Lets the copy go that was used longest ago, unless this round holds all there are.
    fn evict(&mut self) -> bool {
        let oldest = self.matrices.iter().min_by_key(|(_, resident)| resident.round);
        match oldest {
            Some((key, resident)) if resident.round < self.round => {
                let key = key.clone();
                self.matrices.remove(&key).is_some()
            }
            _ => false,
        }
    }
}
