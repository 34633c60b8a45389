//! Features in the memory of a card.

use super::super::{Identity, Machine};
use super::array::Array;
use super::feature_type::FeatureType;
use crate::Error;

/// The features of one side of all pairs, row-major, in any [`FeatureType`].
#[derive(Debug)]
pub struct DeviceFeatures<M: Machine> {
    rows: usize,
    width: usize,
    stored: FeatureType,
    values: Array<M, u8>,
}

impl<M: Machine> DeviceFeatures<M> {
    /// Room for `rows` rows of `width` float32 values, to be filled with [`write`](Self::write).
    ///
    /// # Errors
    /// [`Error::TooManyRows`] beyond `u32::MAX` rows, [`Error::Cuda`] when there is not enough memory.
    pub fn new(machine: &M, rows: usize, width: usize) -> Result<Self, Error> {
        Self::stored_as(machine, FeatureType::Float32, rows, width)
    }

    /// The same for values stored in another type.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn stored_as(machine: &M, stored: FeatureType, rows: usize, width: usize) -> Result<Self, Error> {
        if u32::try_from(rows).is_err() {
            return Err(Error::TooManyRows { rows });
        }
        let bytes = rows.saturating_mul(width).saturating_mul(stored.bytes());
        Ok(Self { rows, width, stored, values: Array::new(machine, bytes)? })
    }

    /// Copy whole rows to the places from row `first` on.
    ///
    /// # Errors
    /// [`Error::Shape`] when they are no whole rows or do not fit, [`Error::Inexact`] naming a value that
    /// the type does not hold, [`Error::Cuda`] when the machine refuses.
    pub fn write(&mut self, machine: &M, first: usize, rows: &[f32]) -> Result<(), Error> {
        self.check(first, rows.len())?;
        match self.stored {
            FeatureType::Float32 => self.write_bytes(machine, first, bytemuck::cast_slice(rows)),
            narrow => self.write_bytes(machine, first, &narrow.narrow(rows, first, self.width)?),
        }
    }

    /// Copy whole rows whose values are of the type already: their bytes, little-endian, as those of
    /// float16 numbers from a file.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_stored(&mut self, machine: &M, first: usize, rows: &[u8]) -> Result<(), Error> {
        self.check(first, rows.len().div_ceil(self.stored.bytes()))?;
        self.write_bytes(machine, first, rows)
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

    /// The type of the values.
    #[must_use]
    pub const fn stored(&self) -> FeatureType {
        self.stored
    }

    pub(crate) fn owner(&self) -> Identity {
        self.values.owner()
    }

    pub(crate) fn address(&self) -> u64 {
        self.values.address(0)
    }

    /// Check that as many values are whole rows with places from row `first` on.
    fn check(&self, first: usize, values: usize) -> Result<(), Error> {
        let places = self.rows.saturating_sub(first) * self.width;
        if values > places || !values.is_multiple_of(self.width.max(1)) {
            return Err(Error::Shape { what: "features, whole rows", expected: places, got: values });
        }
        Ok(())
    }

    fn write_bytes(&mut self, machine: &M, first: usize, bytes: &[u8]) -> Result<(), Error> {
        let row = self.width * self.stored.bytes();
        if !bytes.len().is_multiple_of(row.max(1)) {
            let expected = bytes.len().next_multiple_of(row.max(1));
            return Err(Error::Shape { what: "bytes of features, whole rows", expected, got: bytes.len() });
        }
        Ok(self.values.write(machine, first * row, bytes)?)
    }
}
