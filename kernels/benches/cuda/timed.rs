//! A machine that tells where the time of a step goes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use twinbit_kernels::cuda::train::{Multiply, Product};
use twinbit_kernels::cuda::{Captured, CudaError, Identity, Launch, Machine};

/// A machine that, when asked to, waits for every kernel and product and adds up their times by name.
#[derive(Debug)]
pub(crate) struct Timed<'a, M> {
    machine: &'a M,
    parts: Mutex<Option<BTreeMap<&'static str, f64>>>,
}

impl<'a, M: Multiply> Timed<'a, M> {
    pub(crate) const fn new(machine: &'a M) -> Self {
        Self { machine, parts: Mutex::new(None) }
    }

    /// Take note of times from now on, or stop; what was noted before.
    pub(crate) fn set_parts(
        &self,
        parts: Option<BTreeMap<&'static str, f64>>,
    ) -> Option<BTreeMap<&'static str, f64>> {
        std::mem::replace(&mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner), parts)
    }

    /// Wait for everything that was asked for.
    pub(crate) fn wait(&self) -> Result<(), CudaError> {
        let mut memory = self.machine.allocate(4)?;
        self.machine.write(&mut memory, 0, &[0; 4])?;
        self.machine.read(&memory, 0, &mut [0; 4])
    }

    fn timed(
        &self,
        name: &'static str,
        work: impl FnOnce() -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(parts) = &mut *parts else { return work() };
        let start = Instant::now();
        work()?;
        self.wait()?;
        *parts.entry(name).or_default() += start.elapsed().as_secs_f64();
        Ok(())
    }
}

// SAFETY: everything is the machine's.
unsafe impl<M: Multiply> Machine for Timed<'_, M> {
    type Memory = M::Memory;

    fn identity(&self) -> Identity {
        self.machine.identity()
    }

    fn allocate(&self, bytes: usize) -> Result<Self::Memory, CudaError> {
        self.machine.allocate(bytes)
    }

    fn write(&self, memory: &mut Self::Memory, offset: usize, bytes: &[u8]) -> Result<(), CudaError> {
        self.machine.write(memory, offset, bytes)
    }

    fn read(&self, memory: &Self::Memory, offset: usize, bytes: &mut [u8]) -> Result<(), CudaError> {
        self.machine.read(memory, offset, bytes)
    }

    unsafe fn launch(&self, launch: Launch, argument: &[u8]) -> Result<(), CudaError> {
        // SAFETY: the caller's promise is the same.
        self.timed(launch.kernel.name(), || unsafe { self.machine.launch(launch, argument) })
    }

    fn capture(&self, work: &mut dyn FnMut() -> Result<(), CudaError>) -> Option<Captured> {
        self.machine.capture(work)
    }

    unsafe fn replay(&self, captured: &Captured) -> Result<(), CudaError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.machine.replay(captured) }
    }

    fn busy_blocks(&self) -> u32 {
        self.machine.busy_blocks()
    }
}

// SAFETY: as above.
unsafe impl<M: Multiply> Multiply for Timed<'_, M> {
    unsafe fn multiply(&self, product: Product) -> Result<(), CudaError> {
        // SAFETY: the caller's promise is the same.
        self.timed("matrix products", || unsafe { self.machine.multiply(product) })
    }
}
