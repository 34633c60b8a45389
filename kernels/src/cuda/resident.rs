//! Codes and row masks in the memory of a card.

use super::{Identity, Machine, Memory};
use crate::{CodeBits, Codes, Error, RowMask};

/// Bytes copied before it is asked again whether the copy is still wanted.
const COPIED_AT_ONCE: usize = 64 << 20;

/// A matrix of codes in the memory of a machine, in the layout of [`Codes`].
#[derive(Debug)]
pub struct DeviceCodes<M: Machine> {
    bits: CodeBits,
    rows: usize,
    memory: M::Memory,
}

impl<M: Machine> DeviceCodes<M> {
    /// Copy a matrix; it may lie in a mapped file.
    ///
    /// # Errors
    /// [`Error::Cuda`] when there is not enough memory or the driver refuses.
    pub fn upload(machine: &M, codes: Codes<'_>) -> Result<Self, Error> {
        Self::upload_until(machine, codes, &|| false)
    }

    /// The same, unless `stop`, which is asked every few milliseconds, says that it is no longer wanted.
    ///
    /// # Errors
    /// As [`upload`](Self::upload); [`Error::Stopped`] when `stop` said so.
    pub fn upload_until(
        machine: &M,
        codes: Codes<'_>,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Self, Error> {
        let bytes: &[u8] = bytemuck::cast_slice(codes.lines());
        let mut memory = machine.allocate(bytes.len())?;
        for (number, chunk) in bytes.chunks(COPIED_AT_ONCE).enumerate() {
            if stop() {
                return Err(Error::Stopped);
            }
            machine.write(&mut memory, number * COPIED_AT_ONCE, chunk)?;
        }
        Ok(Self { bits: codes.bits(), rows: codes.rows(), memory })
    }

    /// The length of a code.
    #[must_use]
    pub const fn bits(&self) -> CodeBits {
        self.bits
    }

    /// The number of codes.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The number of bytes taken of the machine's memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.memory.len()
    }

    pub(crate) fn address(&self) -> u64 {
        self.memory.address()
    }

    pub(crate) fn owner(&self) -> Identity {
        self.memory.owner()
    }
}

/// A row mask in the memory of a machine.
#[derive(Debug)]
pub struct DeviceMask<M: Machine> {
    rows: usize,
    memory: M::Memory,
}

impl<M: Machine> DeviceMask<M> {
    /// Copy a mask.
    ///
    /// # Errors
    /// [`Error::Cuda`] when there is not enough memory or the driver refuses.
    pub fn upload(machine: &M, mask: &RowMask) -> Result<Self, Error> {
        let bytes: &[u8] = bytemuck::cast_slice(mask.words());
        let mut memory = machine.allocate(bytes.len())?;
        machine.write(&mut memory, 0, bytes)?;
        Ok(Self { rows: mask.len(), memory })
    }

    /// The number of rows the mask speaks about.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn address(&self) -> u64 {
        self.memory.address()
    }

    pub(crate) fn owner(&self) -> Identity {
        self.memory.owner()
    }
}
