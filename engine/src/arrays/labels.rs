//! A matrix of labels in a file.

use twinbit_hashing::Labels;

use super::array::Array;
use super::error::ArrayError;
use crate::Result;

/// A matrix of zeros and ones, one row a pair, and the labels of some of its rows.
///
/// ```
/// use twinbit::{Array, LabelMatrix};
///
/// # fn npy(kind: &str, rows: usize, width: usize, data: &[u8]) -> Vec<u8> {
/// #     let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, {width}), }}\n");
/// #     [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
/// # }
/// # let folder = tempfile::tempdir()?;
/// # std::fs::write(folder.path().join("labels.npy"), npy("|u1", 2, 3, &[1, 0, 1, 0, 1, 0]))?;
/// let labels = LabelMatrix::new(&Array::open(folder.path().join("labels.npy"))?)?;
/// assert_eq!((labels.rows(), labels.classes()), (2, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct LabelMatrix {
    name: String,
    rows: usize,
    classes: usize,
    values: Vec<u8>,
}

impl LabelMatrix {
    /// Reads all rows of an array.
    ///
    /// # Errors
    /// [`ArrayError::NoColumns`], [`ArrayError::Value`] at the first value that is neither 0 nor 1.
    pub fn new(array: &Array) -> Result<Self> {
        let name = array.name().to_owned();
        if array.width() == 0 {
            return Err(ArrayError::NoColumns { name }.into());
        }
        let (rows, classes, values) = (array.rows(), array.width(), array.to_u8()?);
        if let Some(at) = values.iter().position(|value| *value > 1) {
            let wanted = "a label, 0 or 1";
            return Err(ArrayError::Value { name, row: at / classes, column: at % classes, wanted }.into());
        }
        Ok(Self { name, rows, classes, values })
    }

    /// The array as it was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The labels of all rows.
    ///
    /// # Errors
    /// When there are more classes than labels may name.
    pub fn all(&self) -> Result<Labels> {
        Ok(Labels::from_dense(self.rows, self.classes, &self.values)?)
    }

    /// The labels of these rows, in this order; rows that do not exist have none.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub fn of(&self, rows: &[u32]) -> Result<Labels> {
        let row = |&row: &u32| {
            let at = (row as usize).saturating_mul(self.classes);
            self.values
                .get(at..at.saturating_add(self.classes))
                .map_or_else(|| vec![0; self.classes], <[u8]>::to_vec)
        };
        let values: Vec<u8> = rows.iter().flat_map(row).collect();
        Ok(Labels::from_dense(rows.len(), self.classes, &values)?)
    }
}
