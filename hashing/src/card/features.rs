//! The features of a run in the memory of a card.

use twinbit_kernels::Modality;
use twinbit_kernels::cuda::AnyMachine;
use twinbit_kernels::cuda::train::{DeviceFeatures, FeatureType};

use super::failed;
use crate::Error;
use crate::epoch::{TrainingPairs, read};

/// Bytes of features in this memory at once.
const BLOCK_BYTES: usize = 32 << 20;

/// Features of all training pairs, row i those of the i-th, each side in the narrowest type that holds all of
/// its values.
///
/// The values say which one that is, not their source: tags are often float32 in a file, and a step computes
/// the same from either.
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
        let narrowest = |modality| {
            let width = pairs.source.width(modality);
            DeviceFeatures::stored_as(machine, FeatureType::Byte, pairs.training.len(), width).map_err(failed)
        };
        let sides = [narrowest(Modality::Image)?, narrowest(Modality::Text)?];
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

    /// Copies a side, from its beginning again where it turns out to need a wider type: twice at most, and
    /// mostly after the first block.
    fn write(&mut self, modality: Modality, epoch: u32) -> Result<(), Error> {
        while let Some(wider) = self.write_unless_wider(modality, epoch)? {
            let side = &mut self.sides[modality.index()];
            let (rows, width) = (side.rows(), side.width());
            let room = |rows| DeviceFeatures::stored_as(self.machine, wider, rows, width).map_err(failed);
            // What is there goes first: both may be too much.
            *side = room(0)?;
            *side = room(rows)?;
        }
        Ok(())
    }

    /// The type that the values met so far need, where they do not fit the one that there is room for.
    fn write_unless_wider(&mut self, modality: Modality, epoch: u32) -> Result<Option<FeatureType>, Error> {
        let side = &mut self.sides[modality.index()];
        let rows = (BLOCK_BYTES / (4 * side.width().max(1))).max(1);
        for (block, pairs) in self.pairs.training.chunks(rows).enumerate() {
            let values = read(self.pairs.source, modality, pairs, epoch)?;
            let needed = FeatureType::holding(&values);
            if needed > side.stored() {
                return Ok(Some(needed));
            }
            side.write(self.machine, block * rows, &values).map_err(failed)?;
        }
        Ok(None)
    }
}
