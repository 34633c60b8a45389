//! The features of a run in the memory of a card.

use twinbit_kernels::Modality;
use twinbit_kernels::cuda::AnyMachine;
use twinbit_kernels::cuda::train::DeviceFeatures;

use super::failed;
use crate::Error;
use crate::epoch::{TrainingPairs, read};

/// Bytes of features in this memory at once.
const BLOCK_BYTES: usize = 32 << 20;

/// Features of all training pairs, row i those of the i-th.
pub(crate) struct CardFeatures<'a> {
    machine: &'a AnyMachine,
    pairs: &'a TrainingPairs<'a>,
    sides: [DeviceFeatures<AnyMachine>; 2],
}

impl<'a> CardFeatures<'a> {
    /// Copies the features that an epoch reads.
    pub(crate) fn upload(
        machine: &'a AnyMachine,
        pairs: &'a TrainingPairs<'a>,
        epoch: u32,
    ) -> Result<Self, Error> {
        let side = |modality| {
            let width = pairs.source.width(modality);
            DeviceFeatures::new(machine, pairs.training.len(), width).map_err(failed)
        };
        let sides = [side(Modality::Image)?, side(Modality::Text)?];
        let mut features = Self { machine, pairs, sides };
        Modality::ALL.into_iter().try_for_each(|modality| features.write(modality, epoch))?;
        Ok(features)
    }

    /// Image's and text's.
    pub(crate) fn sides(&self) -> [&DeviceFeatures<AnyMachine>; 2] {
        self.sides.each_ref()
    }

    /// Whether epochs read other features.
    pub(crate) fn vary(&self) -> bool {
        Modality::ALL.into_iter().any(|modality| self.pairs.source.varies(modality))
    }

    /// Copies what an epoch reads otherwise than the one before.
    pub(crate) fn renew(&mut self, epoch: u32) -> Result<(), Error> {
        let varying = Modality::ALL.into_iter().filter(|&modality| self.pairs.source.varies(modality));
        varying.collect::<Vec<_>>().into_iter().try_for_each(|modality| self.write(modality, epoch))
    }

    fn write(&mut self, modality: Modality, epoch: u32) -> Result<(), Error> {
        let side = &mut self.sides[modality.index()];
        let rows = (BLOCK_BYTES / (4 * side.width().max(1))).max(1);
        for (block, pairs) in self.pairs.training.chunks(rows).enumerate() {
            let values = read(self.pairs.source, modality, pairs, epoch)?;
            side.write(self.machine, block * rows, &values).map_err(failed)?;
        }
        Ok(())
    }
}
