//! The batches to come, in the memory of a machine.

use super::super::{CudaError, Kernel, Launch, Machine};
use super::arguments::{BeginArgument, StepNumbers};
use super::array::Array;

/// What steps take that those before them did not. The batches of an epoch are copied at once; every
/// step makes the next one the present one on the machine, so that all steps are the same work.
#[derive(Debug)]
pub(crate) struct Schedule<M: Machine> {
    samples: usize,
    order: Array<M, u32>,
    numbers: Array<M, StepNumbers>,
    next: Array<M, u32>,
    /// The pairs of the present batch.
    pub(crate) pairs: Array<M, u32>,
    /// The numbers of the present step, one place.
    pub(crate) now: Array<M, StepNumbers>,
    /// Batches that were loaded and not yet taken.
    left: usize,
}

impl<M: Machine> Schedule<M> {
    /// Room for `batches` batches of `samples` pairs.
    pub(crate) fn new(machine: &M, samples: usize, batches: usize) -> Result<Self, CudaError> {
        Ok(Self {
            samples,
            order: Array::new(machine, batches * samples)?,
            numbers: Array::new(machine, batches)?,
            next: Array::new(machine, 1)?,
            pairs: Array::new(machine, samples)?,
            now: Array::new(machine, 1)?,
            left: 0,
        })
    }

    /// The most batches that can be loaded.
    pub(crate) const fn room(&self) -> usize {
        self.numbers.len()
    }

    /// Batches that were loaded and not yet taken.
    pub(crate) const fn left(&self) -> usize {
        self.left
    }

    /// Put batches, one after the other, with the numbers of their steps in place of those before.
    pub(crate) fn load(
        &mut self,
        machine: &M,
        order: &[u32],
        numbers: &[StepNumbers],
    ) -> Result<(), CudaError> {
        assert_eq!(order.len(), numbers.len() * self.samples, "numbers for each batch");
        self.left = 0;
        self.order.write(machine, 0, order)?;
        self.numbers.write(machine, 0, numbers)?;
        self.next.write(machine, 0, &[0])?;
        self.left = numbers.len();
        Ok(())
    }

    /// Count a batch as taken; false when none is left.
    pub(crate) const fn take(&mut self) -> bool {
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }

    /// Make the next batch the present one.
    ///
    /// # Safety
    /// One is left: `take` said so, once for each time this work is done.
    pub(crate) unsafe fn begin(&self, machine: &M) -> Result<(), CudaError> {
        let argument = BeginArgument {
            order: self.order.address(0),
            numbers: self.numbers.address(0),
            next: self.next.address(0),
            pairs: self.pairs.address(0),
            now: self.now.address(0),
            samples: self.samples as u32,
            unused: 0,
        };
        let launch = Launch { kernel: Kernel::BeginStep, blocks: [1, 1] };
        // SAFETY: the structure is the kernel's, which runs as one block; the caller promises that the
        // next batch is one of those that were written.
        unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
    }
}
