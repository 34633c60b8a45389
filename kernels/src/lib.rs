//! Hamming search over binary codes on the CPU.
//!
//! This package holds what is close to the machine: matrices of binary codes in the layout that is
//! also stored on disk ([`Codes`], [`CodesBuf`]), packing of real outputs to sign bits
//! ([`pack_signs`]), row masks ([`RowMask`]), the exact scan ([`Scan`]) with one implementation per
//! instruction set ([`Isa`]), chosen at run time, and an exact index ([`MultiIndex`]) with the planner
//! that uses it where it is cheaper ([`Search`]). [`cuda`] is the scan on an NVIDIA card, and encoding
//! and training there. The package knows nothing of files, models or records.
//!
//! ```
//! use twinbit_kernels::{CodeBits, Scan, pack_signs};
//!
//! let values = [0.3, -0.1, 0.7, -2.0, 0.0, 1.0, -1.0, 5.0, /* row 1 */ 0.3, 0.1, 0.7, -2.0, 0.0, 1.0, -1.0, 5.0];
//! let codes = pack_signs(&values, CodeBits::new(8)?)?;
//! let queries = pack_signs(&values[8..], CodeBits::new(8)?)?;
//! let hits = Scan::new(codes.as_codes()).top_k(queries.as_codes(), 2)?;
//! assert_eq!((hits[0][0].row, hits[0][0].distance), (1, 0));
//! assert_eq!((hits[0][1].row, hits[0][1].distance), (0, 1));
//! # Ok::<(), twinbit_kernels::Error>(())
//! ```
//!
//! # Limits
//! Codes have 8 to 4096 bits in multiples of 8; a matrix has at most `u32::MAX` rows. Hits are
//! ordered by (distance, row) whatever the instruction set and the number of threads. Only
//! little-endian machines are supported, because a mapped file is searched without conversion.
//! `README.md` beside the sources lists the implementations and how one is added.

#![deny(unsafe_op_in_unsafe_fn)]

#[cfg(target_endian = "big")]
compile_error!("twinbit stores codes as little-endian words and searches them in place");

mod bits;
mod codes;
mod codes_buf;
mod cpu;
pub mod cuda;
mod error;
mod lane;
mod mask;
mod mih;
mod modality;
mod pack;
mod product;
mod query;
mod scan;
mod search;
mod topk;

pub use bits::CodeBits;
pub use codes::{Codes, Line, distance};
pub use codes_buf::CodesBuf;
pub use cpu::Isa;
pub use error::Error;
pub use mask::RowMask;
pub use mih::{MultiIndex, MultiIndexBuilder};
pub use modality::Modality;
pub use pack::{pack_signs, pack_signs_row, unpack_signs};
pub use product::{Factor, Matrix};
pub use scan::Scan;
pub use search::{Answer, Method, QueryPlan, Search};
pub use topk::Hit;
