//! Array files without what uses them.

#[path = "../../../../engine/src/arrays/array.rs"]
mod array;
#[path = "../../../../engine/src/arrays/error.rs"]
mod error;
#[path = "../../../../engine/src/arrays/mat/mod.rs"]
mod mat;
#[path = "../../../../engine/src/arrays/npy.rs"]
mod npy;
#[path = "../../../../engine/src/arrays/npz.rs"]
mod npz;

pub use array::Array;
