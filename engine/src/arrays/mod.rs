//! Arrays in files: features, codes, labels and splits as numpy writes them.
//!
//! An [`Array`] is opened by name, tells its shape and type, and is read in blocks of rows, so that
//! it may be larger than memory. `.npy` files and members of `.npz` archives that were stored
//! without compression are read in place; compressed members are unpacked into memory, within a
//! limit. So are matrices of MATLAB files (`.mat`, version 5), which store columns, and, with the
//! feature `hdf5`, datasets of HDF5 files. Tensors of `.safetensors` files are read in place. A
//! [`PictureArray`] holds raw pictures instead of numbers.

mod array;
mod error;
mod hdf5;
mod labels;
mod mat;
mod npy;
mod npz;
mod pairs;
mod pictures;
mod published;
mod safetensors;
mod split;

pub use array::Array;
pub use error::ArrayError;
pub use labels::LabelMatrix;
pub use npy::ElementType;
pub use pairs::ArrayPairs;
pub use pictures::{ImageArray, PictureArray};
pub use published::{CheckedPart, PublishedData};
pub use split::{Split, SplitPairs};
