//! Work that comes again and again.

use super::super::{Captured, CudaError, Machine};

/// Launches and products with the same arguments every time. The first time they are done one by
/// one, which also lets the machine load what they need; the second time the machine captures them,
/// and from then on they are asked for at once. Where it cannot capture them they stay one by one.
#[derive(Debug, Default)]
pub(crate) enum Sequence {
    /// Not done yet.
    #[default]
    New,
    /// Done once.
    Known,
    /// Noted by the machine.
    Captured(Captured),
    /// Done one by one.
    OneByOne,
}

impl Sequence {
    /// Do the work.
    ///
    /// # Safety
    /// `work` asks for the same launches and products of the same machine every time, and all memory
    /// that they use lives until they are done.
    pub(crate) unsafe fn run<M: Machine>(
        &mut self,
        machine: &M,
        work: &mut dyn FnMut() -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        if matches!(self, Self::Known) {
            *self = machine.capture(work).map_or(Self::OneByOne, Self::Captured);
        }
        match self {
            // SAFETY: the work is what it was when it was captured, with memory that still lives.
            Self::Captured(captured) => unsafe { machine.replay(captured) },
            Self::OneByOne => work(),
            Self::New | Self::Known => {
                work()?;
                *self = Self::Known;
                Ok(())
            }
        }
    }
}
