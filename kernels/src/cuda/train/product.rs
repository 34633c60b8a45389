//! Products of matrices, which a machine brings along.

use std::fmt;
use std::str::FromStr;

use super::super::{CudaError, Machine};
use super::array::Matrix;
use crate::Error;

/// What the numbers of a product are rounded to before they are multiplied; sums are float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Not at all.
    Float32,
    /// To 10 bits of mantissa.
    #[default]
    Tf32,
    /// To 7 bits of mantissa.
    Bf16,
}

impl Precision {
    /// Every precision, the most exact one first.
    pub const ALL: [Self; 3] = [Self::Float32, Self::Tf32, Self::Bf16];

    /// Its name: `float32`, `tf32` or `bf16`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|precision| precision.name() == name);
        known.ok_or_else(|| Error::UnknownPrecision { name: name.to_owned() })
    }
}

/// A row-major matrix, or its transpose, as a factor of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operand {
    /// Where its float32 numbers are, row-major as it is stored.
    pub address: u64,
    /// Rows as it is stored.
    pub rows: usize,
    /// Columns as it is stored.
    pub columns: usize,
    /// Whether its transpose is the factor.
    pub transposed: bool,
}

impl Operand {
    pub(crate) const fn plain(matrix: Matrix<'_>) -> Self {
        let Matrix { address, rows, columns, .. } = matrix;
        Self { address, rows, columns, transposed: false }
    }

    pub(crate) const fn transposed(matrix: Matrix<'_>) -> Self {
        Self { transposed: true, ..Self::plain(matrix) }
    }

    /// Rows and columns of the factor.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        if self.transposed { (self.columns, self.rows) } else { (self.rows, self.columns) }
    }
}

/// A product of two matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// The left factor, (rows, inner).
    pub left: Operand,
    /// The right factor, (inner, columns).
    pub right: Operand,
    /// Where the product goes, row-major (rows, columns).
    pub into: u64,
    /// Whether it is added to what is there.
    pub accumulate: bool,
    /// What the factors are rounded to.
    pub precision: Precision,
}

/// A machine that multiplies matrices.
///
/// # Safety
/// Products must happen in the order of the calls of [`Machine`].
pub unsafe trait Multiply: Machine {
    /// Find out whether there is what products need, without doing one.
    ///
    /// # Errors
    /// [`CudaError::NoBlas`].
    fn check_products(&self) -> Result<(), CudaError> {
        Ok(())
    }

    /// Multiply two matrices.
    ///
    /// # Errors
    /// [`CudaError::NoBlas`], and what the library reports.
    ///
    /// # Safety
    /// The factors fit each other, all addresses lead to memory of this machine with as many numbers
    /// as the shapes say, the product's overlaps no factor's, and it lives until the work is done.
    unsafe fn multiply(&self, product: Product) -> Result<(), CudaError>;
}

/// `into` = `left` `right`, or `into` plus it.
pub(crate) fn multiply<M: Multiply>(
    machine: &M,
    left: Operand,
    right: Operand,
    into: Matrix<'_>,
    accumulate: bool,
    precision: Precision,
) -> Result<(), CudaError> {
    let ((rows, inner), (same, columns)) = (left.shape(), right.shape());
    assert_eq!((rows, inner, columns), (into.rows, same, into.columns), "shapes of a product");
    let apart = |factor: &Operand| {
        let bytes = |rows: usize, columns: usize| (4 * rows * columns) as u64;
        factor.address + bytes(factor.rows, factor.columns) <= into.address
            || into.address + bytes(into.rows, into.columns) <= factor.address
    };
    assert!(apart(&left) && apart(&right), "a product apart from its factors");
    let product = Product { left, right, into: into.address, accumulate, precision };
    // SAFETY: shapes and places were checked above; the factors come from matrices, which borrow the
    // arrays that hold them, as `into` does, and the machine works in the order of the calls.
    unsafe { machine.multiply(product) }
}
