//! Why a card cannot be used or a call to it failed.

/// Why a card cannot be used, or what its driver reported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// This program was compiled without the feature `cuda`.
    #[error("this program was built without CUDA: build it with the cargo feature 'cuda'")]
    NotBuilt,
    /// The driver's library is not there, or it is not a whole driver.
    #[error("no NVIDIA driver was found: install one of version {} or newer", CudaError::DRIVER)]
    NoDriver,
    /// The driver cannot load the embedded kernels.
    #[error(
        "the NVIDIA driver speaks CUDA {}.{}, and the kernels need CUDA {}.{}: install a driver of version {} or newer",
        found / 1000, found % 1000 / 10, needed / 1000, needed % 1000 / 10, CudaError::DRIVER
    )]
    DriverTooOld {
        /// The CUDA version of the driver, as 1000 times the major plus 10 times the minor number.
        found: i32,
        /// The CUDA version needed, in the same form.
        needed: i32,
    },
    /// There is no card of this number.
    #[error("there is no CUDA device {device}: {count} can be seen, numbered from 0")]
    NoDevice {
        /// The number asked for.
        device: usize,
        /// How many there are.
        count: usize,
    },
    /// The card is older than the kernels.
    #[error("the card has compute capability {major}.{minor}, and the kernels need 8.0 or newer")]
    CardTooOld {
        /// The card's major number.
        major: i32,
        /// The card's minor number.
        minor: i32,
    },
    /// The card's memory is full.
    #[error(
        "the card has no {bytes} bytes of free memory left: give it less to hold at once, or compute on the CPU"
    )]
    OutOfMemory {
        /// How much was asked for.
        bytes: usize,
    },
    /// Codes, a mask or other memory belong to a card that was opened apart.
    #[error(
        "the codes or the mask are in the memory of another card, or of the same one opened again: copy them to this one"
    )]
    OtherMachine,
    /// cuBLAS, which training needs, is not there, or it is not whole.
    #[error(
        "cuBLAS, which training on a card needs, cannot be opened: install that of CUDA 13 with its cuBLASLt, and let LD_LIBRARY_PATH name their folder where the system does not"
    )]
    NoBlas,
    /// cuBLAS refused a product.
    #[error("cuBLAS could not multiply matrices: {reason}")]
    Blas {
        /// The library's name for what went wrong.
        reason: String,
    },
    /// The driver refused a call for another reason.
    #[error("the NVIDIA driver could not {action}: {reason}")]
    Driver {
        /// What was tried.
        action: &'static str,
        /// The driver's name for what went wrong.
        reason: String,
    },
}

impl CudaError {
    /// The first driver that speaks CUDA 13, whose PTX the kernels are.
    pub(crate) const DRIVER: u32 = 580;
}
