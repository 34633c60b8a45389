//! A machine whose kind is known only when the program runs.

use std::any::Any;
use std::sync::Arc;

use super::train::{Multiply, Product};
use super::{Captured, CudaError, Identity, Launch, Machine, Memory};

/// Any machine that multiplies matrices, so that who searches, encodes or trains on one need not be generic
/// over it. Clones share it.
#[derive(Debug, Clone)]
pub struct AnyMachine(Arc<dyn Erased>);

/// Memory of an [`AnyMachine`].
#[derive(Debug)]
pub struct AnyMemory(Box<dyn ErasedMemory>);

impl AnyMachine {
    /// This machine, without its type.
    #[must_use]
    pub fn new<M>(machine: M) -> Self
    where
        M: Multiply + 'static,
        M::Memory: 'static,
    {
        Self(Arc::new(machine))
    }
}

impl Memory for AnyMemory {
    fn address(&self) -> u64 {
        self.0.address()
    }

    fn owner(&self) -> Identity {
        self.0.owner()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

// SAFETY: memory, copies and launches are those of the machine within, which keeps the promise.
unsafe impl Machine for AnyMachine {
    type Memory = AnyMemory;

    fn identity(&self) -> Identity {
        self.0.erased_identity()
    }

    fn allocate(&self, bytes: usize) -> Result<AnyMemory, CudaError> {
        self.0.erased_allocate(bytes).map(AnyMemory)
    }

    fn write(&self, memory: &mut AnyMemory, offset: usize, bytes: &[u8]) -> Result<(), CudaError> {
        self.0.erased_write(&mut *memory.0, offset, bytes)
    }

    fn read(&self, memory: &AnyMemory, offset: usize, bytes: &mut [u8]) -> Result<(), CudaError> {
        self.0.erased_read(&*memory.0, offset, bytes)
    }

    unsafe fn launch(&self, launch: Launch, argument: &[u8]) -> Result<(), CudaError> {
        // SAFETY: the argument is the kernel's and its memory this machine's, which the caller promises.
        unsafe { self.0.erased_launch(launch, argument) }
    }

    fn capture(&self, work: &mut dyn FnMut() -> Result<(), CudaError>) -> Option<Captured> {
        self.0.erased_capture(work)
    }

    unsafe fn replay(&self, captured: &Captured) -> Result<(), CudaError> {
        // SAFETY: the caller promises the same.
        unsafe { self.0.erased_replay(captured) }
    }

    fn busy_blocks(&self) -> u32 {
        self.0.erased_busy_blocks()
    }
}

// SAFETY: products are those of the machine within, which keeps the promise.
unsafe impl Multiply for AnyMachine {
    fn check_products(&self) -> Result<(), CudaError> {
        self.0.erased_check_products()
    }

    unsafe fn multiply(&self, product: Product) -> Result<(), CudaError> {
        // SAFETY: shapes and addresses are good, and the memory is this machine's, which the caller promises.
        unsafe { self.0.erased_multiply(product) }
    }
}

/// Memory that can be told apart by its type.
trait ErasedMemory: Memory + Any {}

impl<T: Memory + Any> ErasedMemory for T {}

/// [`Multiply`] without its associated type; memory of another type is that of another machine.
trait Erased: std::fmt::Debug + Send + Sync {
    fn erased_identity(&self) -> Identity;
    fn erased_allocate(&self, bytes: usize) -> Result<Box<dyn ErasedMemory>, CudaError>;
    fn erased_write(
        &self,
        memory: &mut dyn ErasedMemory,
        offset: usize,
        bytes: &[u8],
    ) -> Result<(), CudaError>;
    fn erased_read(
        &self,
        memory: &dyn ErasedMemory,
        offset: usize,
        bytes: &mut [u8],
    ) -> Result<(), CudaError>;
    /// # Safety
    /// As [`Machine::launch`].
    unsafe fn erased_launch(&self, launch: Launch, argument: &[u8]) -> Result<(), CudaError>;
    fn erased_capture(&self, work: &mut dyn FnMut() -> Result<(), CudaError>) -> Option<Captured>;
    /// # Safety
    /// As [`Machine::replay`].
    unsafe fn erased_replay(&self, captured: &Captured) -> Result<(), CudaError>;
    fn erased_busy_blocks(&self) -> u32;
    fn erased_check_products(&self) -> Result<(), CudaError>;
    /// # Safety
    /// As [`Multiply::multiply`].
    unsafe fn erased_multiply(&self, product: Product) -> Result<(), CudaError>;
}

impl<M> Erased for M
where
    M: Multiply + 'static,
    M::Memory: 'static,
{
    fn erased_identity(&self) -> Identity {
        self.identity()
    }

    fn erased_allocate(&self, bytes: usize) -> Result<Box<dyn ErasedMemory>, CudaError> {
        Ok(Box::new(self.allocate(bytes)?))
    }

    fn erased_write(
        &self,
        memory: &mut dyn ErasedMemory,
        offset: usize,
        bytes: &[u8],
    ) -> Result<(), CudaError> {
        let memory: &mut dyn Any = memory;
        self.write(memory.downcast_mut().ok_or(CudaError::OtherMachine)?, offset, bytes)
    }

    fn erased_read(
        &self,
        memory: &dyn ErasedMemory,
        offset: usize,
        bytes: &mut [u8],
    ) -> Result<(), CudaError> {
        let memory: &dyn Any = memory;
        self.read(memory.downcast_ref().ok_or(CudaError::OtherMachine)?, offset, bytes)
    }

    unsafe fn erased_launch(&self, launch: Launch, argument: &[u8]) -> Result<(), CudaError> {
        // SAFETY: the argument is the kernel's and its memory this machine's, which the caller promises.
        unsafe { self.launch(launch, argument) }
    }

    fn erased_capture(&self, work: &mut dyn FnMut() -> Result<(), CudaError>) -> Option<Captured> {
        self.capture(work)
    }

    unsafe fn erased_replay(&self, captured: &Captured) -> Result<(), CudaError> {
        // SAFETY: the caller promises the same.
        unsafe { self.replay(captured) }
    }

    fn erased_busy_blocks(&self) -> u32 {
        self.busy_blocks()
    }

    fn erased_check_products(&self) -> Result<(), CudaError> {
        self.check_products()
    }

    unsafe fn erased_multiply(&self, product: Product) -> Result<(), CudaError> {
        // SAFETY: shapes and addresses are good, which the caller promises.
        unsafe { self.multiply(product) }
    }
}
