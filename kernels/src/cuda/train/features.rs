//! Features in the memory of a card.

use super::super::{Identity, Machine};
use super::array::{Array, Matrix};
use crate::Error;

/// The features of one side of all pairs, row-major float32.
#[derive(Debug)]
pub struct DeviceFeatures<M: Machine> {
    rows: usize,
    width: usize,
    values: Array<M, f32>,
}

impl<M: Machine> DeviceFeatures<M> {
    /// Room for `rows` rows of `width` values, to be filled with [`write`](Self::write).
    ///
    /// # Errors
    /// [`Error::TooManyRows`] beyond `u32::MAX` rows, [`Error::Cuda`] when there is not enough memory.
    pub fn new(machine: &M, rows: usize, width: usize) -> Result<Self, Error> {
        if u32::try_from(rows).is_err() {
            return Err(Error::TooManyRows { rows });
        }
        Ok(Self { rows, width, values: Array::new(machine, rows.saturating_mul(width))? })
    }

    /// Copy whole rows to the places from row `first` on.
    ///
    /// # Errors
    /// [`Error::Shape`] when they are no whole rows or do not fit, [`Error::Cuda`] when the machine
    /// refuses.
    pub fn write(&mut self, machine: &M, first: usize, rows: &[f32]) -> Result<(), Error> {
        let places = self.rows.saturating_sub(first) * self.width;
        if rows.len() > places || !rows.len().is_multiple_of(self.width.max(1)) {
            return Err(Error::Shape { what: "features, whole rows", expected: places, got: rows.len() });
        }
        Ok(self.values.write(machine, first * self.width, rows)?)
    }

    /// A copy of whole rows of `width` values.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`write`](Self::write).
    pub fn upload(machine: &M, width: usize, values: &[f32]) -> Result<Self, Error> {
        let mut features = Self::new(machine, values.len() / width.max(1), width)?;
        features.write(machine, 0, values)?;
        Ok(features)
    }

    /// The number of rows.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The values of a row.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn owner(&self) -> Identity {
        self.values.owner()
    }

    pub(crate) fn matrix(&self) -> Matrix<'_> {
        self.values.as_matrix(self.rows, self.width)
    }
}
