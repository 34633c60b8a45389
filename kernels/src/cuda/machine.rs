//! What the search needs of a card: memory, copies and launches.

use std::any::Any;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{CudaError, Kernel};

/// Tells a [`Machine`] from all others of the process, those on the same card included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity(u64);

impl Identity {
    /// One that no machine has yet.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "every call gives another one")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Check that something belongs to the machine of this identity.
    ///
    /// # Errors
    /// [`CudaError::OtherMachine`] when it does not.
    pub fn check(self, owner: Self) -> Result<(), CudaError> {
        if self == owner { Ok(()) } else { Err(CudaError::OtherMachine) }
    }
}

/// Memory of a [`Machine`], freed when it is dropped.
pub trait Memory: Debug + Send + Sync {
    /// The address as kernels see it, a multiple of 256.
    fn address(&self) -> u64;
    /// The machine that allocated it; no other one can use it.
    fn owner(&self) -> Identity;
    /// The number of bytes.
    fn len(&self) -> usize;
    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A kernel with the shape of its launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// The kernel.
    pub kernel: Kernel,
    /// The number of blocks, two-dimensional.
    pub blocks: [u32; 2],
}

/// Launches and products that a [`Machine`] has noted, to do them again at once.
#[derive(Debug)]
pub struct Captured {
    owner: Identity,
    work: Box<dyn Any + Send + Sync>,
}

impl Captured {
    /// What a machine keeps of the work.
    pub fn new(owner: Identity, work: impl Any + Send + Sync) -> Self {
        Self { owner, work: Box::new(work) }
    }

    /// The work, as the machine of this identity kept it.
    ///
    /// # Errors
    /// [`CudaError::OtherMachine`] when another one captured it.
    pub fn work<T: Any>(&self, machine: Identity) -> Result<&T, CudaError> {
        machine.check(self.owner)?;
        self.work.downcast_ref().ok_or(CudaError::OtherMachine)
    }
}

/// What runs kernels: a card through its driver or, in tests, the CPU.
///
/// Copies and launches happen in the order of the calls.
///
/// # Safety
/// `allocate` must give memory that a kernel can read and write at `address()` and the `len()`
/// bytes from there, until it is dropped and all work before that is done.
pub unsafe trait Machine: Debug + Send + Sync {
    /// The machine's memory.
    type Memory: Memory;

    /// The owner of all memory that it allocates.
    fn identity(&self) -> Identity;

    /// Memory of `bytes` bytes with any content.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`], and what the driver reports.
    fn allocate(&self, bytes: usize) -> Result<Self::Memory, CudaError>;

    /// Copy `bytes` to `memory` from `offset` on. They may be changed after the call.
    ///
    /// # Errors
    /// [`CudaError::OtherMachine`] for memory that another one allocated, and what the driver reports.
    ///
    /// # Panics
    /// When the memory ends before the bytes do, as copying slices does.
    fn write(&self, memory: &mut Self::Memory, offset: usize, bytes: &[u8]) -> Result<(), CudaError>;

    /// Copy from `memory` from `offset` on, after all launches before.
    ///
    /// # Errors
    /// [`CudaError::OtherMachine`] for memory that another one allocated, and what the driver reports, also about launches before.
    ///
    /// # Panics
    /// When the memory ends before the bytes do, as copying slices does.
    fn read(&self, memory: &Self::Memory, offset: usize, bytes: &mut [u8]) -> Result<(), CudaError>;

    /// Launch a kernel.
    ///
    /// # Errors
    /// What the driver reports.
    ///
    /// # Safety
    /// `argument` is the kernel's argument structure (see `arguments.rs`), all addresses in it are
    /// null where the kernel allows it or lead to memory of this machine that is as long as the
    /// kernel expects, and that memory lives until the work is done.
    unsafe fn launch(&self, launch: Launch, argument: &[u8]) -> Result<(), CudaError>;

    /// Note the launches and products that `work` asks for on this thread, and do none of them; it asks
    /// for nothing else. `None` when they cannot be noted: whoever does the work then learns why.
    fn capture(&self, work: &mut dyn FnMut() -> Result<(), CudaError>) -> Option<Captured>;

    /// Do captured work, as if it were asked for now.
    ///
    /// # Errors
    /// [`CudaError::OtherMachine`] for work that another one captured, and what the driver reports.
    ///
    /// # Safety
    /// What [`launch`](Self::launch) and products demand still holds for all of the work.
    unsafe fn replay(&self, captured: &Captured) -> Result<(), CudaError>;

    /// How many blocks of 256 threads keep the machine busy.
    fn busy_blocks(&self) -> u32;
}
