//! Exact Hamming search on an NVIDIA card, and in [`train`] encoding and training.
//!
//! Codes are copied to the card once ([`DeviceCodes`]) and stay there; a [`Search`] compares queries
//! with any number of such matrices in one call and gives the rows that [`Scan`](crate::Scan) would
//! give, order of ties included. [`Card`] is the card through its driver, which is opened when the
//! program runs: nothing of CUDA is needed to build, and a machine without a driver gets a
//! [`CudaError`] with the reason.
//!
//! The kernels are compiled to PTX and embedded; their sources and how they are built and tested
//! are in `kernels/cu`. Everything here works on a [`Machine`], of which the card is one; the tests
//! have another one, which runs the same sources on the CPU.

mod any;
mod arguments;
#[cfg(feature = "cuda")]
mod blas_library;
mod candidates;
#[cfg(feature = "cuda")]
mod card;
#[cfg(not(feature = "cuda"))]
#[path = "no_card.rs"]
mod card;
#[cfg(feature = "cuda")]
mod card_capture;
#[cfg(feature = "cuda")]
mod card_module;
#[cfg(feature = "cuda")]
mod card_products;
#[cfg(feature = "cuda")]
mod card_staging;
mod error;
mod kernel;
mod launch;
mod machine;
mod plan;
mod queries;
mod resident;
mod search;
mod targets;
pub mod train;
mod variant;

pub use any::{AnyMachine, AnyMemory};
pub use arguments::ARGUMENT_BYTES;
#[cfg(feature = "cuda")]
pub use blas_library::open_blas;
pub use card::Card;
#[cfg(not(feature = "cuda"))]
pub use card::open_blas;
pub use error::CudaError;
pub use kernel::{Kernel, Module};
pub use machine::{Captured, Identity, Launch, Machine, Memory};
pub use plan::Plan;
pub use resident::{DeviceCodes, DeviceMask};
pub use search::{MOST_NEAREST, Search, SegmentHit};
pub use targets::Target;
pub use variant::Variant;
