//! The package's error type.

use crate::Modality;

/// What can go wrong in this package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The code length is not one this library handles.
    #[error("a code cannot have {bits} bits: choose a multiple of 8 between 8 and 4096")]
    Bits {
        /// The length asked for.
        bits: usize,
    },
    /// Two sizes that must agree do not.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// What was measured, with its unit.
        what: &'static str,
        /// The size needed.
        expected: usize,
        /// The size given.
        got: usize,
    },
    /// More rows than a row number (`u32`) can name.
    #[error("{rows} rows do not fit one matrix of codes: split them, at most {} fit", u32::MAX)]
    TooManyRows {
        /// The number of rows asked for.
        rows: usize,
    },
    /// Mapped bytes do not start where numbers may.
    #[error("{what} must start at a multiple of {unit} bytes, this one starts {remainder} bytes after one")]
    Alignment {
        /// What was mapped.
        what: &'static str,
        /// 64 bytes for codes, 8 for an index.
        unit: usize,
        /// The address modulo the unit.
        remainder: usize,
    },
    /// The bytes of a multi-index do not hold together.
    #[error(
        "a multi-index is damaged, {what}: expected {expected}, got {got}; build it again from its codes"
    )]
    DamagedIndex {
        /// What was read.
        what: &'static str,
        /// The value that would fit.
        expected: u64,
        /// The value found.
        got: u64,
    },
    /// The nearest 0 codes were asked for.
    #[error("k must be at least 1")]
    ZeroK,
    /// More nearest rows than a card can select.
    #[error("a card finds at most {most} nearest rows, not {k}: ask for fewer, or search on the CPU")]
    TooManyNearest {
        /// The number asked for.
        k: usize,
        /// The most there can be.
        most: usize,
    },
    /// The card or its driver failed.
    #[error(transparent)]
    Cuda(#[from] crate::cuda::CudaError),
    /// The scan was told to stop before it was done.
    #[error("the scan was stopped before it was done")]
    Stopped,
    /// A value to be packed is not a number and so has no sign.
    #[error("the value in row {row}, column {column} is not a number and has no sign")]
    NotANumber {
        /// The row, from 0.
        row: usize,
        /// The column, from 0.
        column: usize,
    },
    /// A feature is not of the type that it is to be stored in.
    #[error(
        "the feature in row {row}, column {column} is not of the type that it is to be stored in: choose a wider one"
    )]
    Inexact {
        /// The row, from 0.
        row: usize,
        /// The column, from 0.
        column: usize,
    },
    /// Outputs that are all 0 have no code, and outputs that are not numbers have no signs.
    #[error("the network's output for row {row} is zero or not a number: check the features and the model")]
    NoDirection {
        /// The row, from 0.
        row: usize,
    },
    /// The same in training, of a batch.
    #[error(
        "the {modality} network's output for pair {row} of a batch is zero or not a number: check the features, or train at a lower learning rate"
    )]
    NoOutput {
        /// Whose network.
        modality: Modality,
        /// The place in the batch, from 0.
        row: usize,
    },
    /// No modality has this name.
    #[error("'{name}' is not a modality: write 'image' or 'text'")]
    UnknownModality {
        /// The name given.
        name: String,
    },
    /// No precision of matrix products has this name.
    #[error("'{name}' is not a precision of matrix products: write 'float32', 'tf32' or 'bf16'")]
    UnknownPrecision {
        /// The name given.
        name: String,
    },
    /// No implementation of this name can run on this machine.
    #[error("'{name}' is not an instruction set of this machine: choose one of {available}")]
    UnknownIsa {
        /// The name given.
        name: String,
        /// The names that would do, comma separated.
        available: String,
    },
}
