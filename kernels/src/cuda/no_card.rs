//! Stands in for the card in a program built without the feature `cuda`.

use std::path::PathBuf;

use super::train::{Multiply, Product};
use super::{Captured, CudaError, Identity, Launch, Machine, Memory};

/// A card, of which there is none: this program was built without the feature `cuda`.
#[derive(Debug)]
pub enum Card {}

/// Always [`CudaError::NotBuilt`].
///
/// # Errors
/// Always.
pub const fn open_blas() -> Result<PathBuf, CudaError> {
    Err(CudaError::NotBuilt)
}

impl Card {
    /// Always [`CudaError::NotBuilt`].
    ///
    /// # Errors
    /// Always.
    pub const fn open(_device: usize) -> Result<Self, CudaError> {
        Err(CudaError::NotBuilt)
    }

    /// The card's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match *self {}
    }

    /// The card's compute capability, major and minor number.
    #[must_use]
    pub const fn compute_capability(&self) -> (i32, i32) {
        match *self {}
    }

    /// The CUDA version that the driver speaks, as 1000 times the major plus 10 times the minor number.
    #[must_use]
    pub const fn cuda_version(&self) -> i32 {
        match *self {}
    }

    /// Free and total memory in bytes.
    ///
    /// # Errors
    /// None.
    pub const fn memory(&self) -> Result<(usize, usize), CudaError> {
        match *self {}
    }
}

impl Memory for Card {
    fn address(&self) -> u64 {
        match *self {}
    }

    fn owner(&self) -> Identity {
        match *self {}
    }

    fn len(&self) -> usize {
        match *self {}
    }
}

// SAFETY: there is no value of this type, so that nothing here is ever called.
unsafe impl Machine for Card {
    type Memory = Self;

    fn identity(&self) -> Identity {
        match *self {}
    }

    fn allocate(&self, _bytes: usize) -> Result<Self, CudaError> {
        match *self {}
    }

    fn write(&self, _memory: &mut Self, _offset: usize, _bytes: &[u8]) -> Result<(), CudaError> {
        match *self {}
    }

    fn read(&self, _memory: &Self, _offset: usize, _bytes: &mut [u8]) -> Result<(), CudaError> {
        match *self {}
    }

    unsafe fn launch(&self, _launch: Launch, _argument: &[u8]) -> Result<(), CudaError> {
        match *self {}
    }

    fn capture(&self, _work: &mut dyn FnMut() -> Result<(), CudaError>) -> Option<Captured> {
        match *self {}
    }

    unsafe fn replay(&self, _captured: &Captured) -> Result<(), CudaError> {
        match *self {}
    }

    fn busy_blocks(&self) -> u32 {
        match *self {}
    }
}

// SAFETY: as above.
unsafe impl Multiply for Card {
    unsafe fn multiply(&self, _product: Product) -> Result<(), CudaError> {
        match *self {}
    }
}
