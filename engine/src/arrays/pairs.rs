//! Two arrays as training pairs.

use std::sync::Arc;

use twinbit_hashing::PairSource;

use super::array::Array;
use super::error::ArrayError;
use crate::Modality;

/// Training pairs read from two arrays: row i of both is a pair. The arrays may be larger than
/// memory; rows are read when they are asked for.
///
/// ```
/// use twinbit::{Array, ArrayPairs, Modality, PairSource};
///
/// # fn npy(kind: &str, rows: usize, width: usize, data: &[u8]) -> Vec<u8> {
/// #     let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, {width}), }}\n");
/// #     [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
/// # }
/// # let folder = tempfile::tempdir()?;
/// # let file = |name: &str| folder.path().join(name);
/// # std::fs::write(file("image.npy"), npy("|u1", 3, 2, &[1, 2, 3, 4, 5, 6]))?;
/// # std::fs::write(file("text.npy"), npy("|u1", 3, 1, &[7, 8, 9]))?;
/// let (image, text) = (Array::open(file("image.npy"))?, Array::open(file("text.npy"))?);
/// let pairs = ArrayPairs::new(image, text)?.rows(vec![2, 0])?;
/// assert_eq!((pairs.pairs(), pairs.width(Modality::Image)), (2, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ArrayPairs {
    arrays: [Arc<Array>; 2],
    /// The rows that are the pairs, when not all are.
    rows: Option<Vec<u32>>,
}

impl ArrayPairs {
    /// All rows of `image` and `text`.
    ///
    /// # Errors
    /// [`ArrayError::RowsDiffer`], or [`ArrayError::WrongElements`] when one holds no features.
    pub fn new(image: Array, text: Array) -> Result<ArrayPairs, ArrayError> {
        if image.rows() != text.rows() {
            return Err(ArrayError::RowsDiffer {
                first: image.name().to_owned(),
                first_rows: image.rows(),
                second: text.name().to_owned(),
                second_rows: text.rows(),
            });
        }
        image.check_features()?;
        text.check_features()?;
        Ok(ArrayPairs { arrays: [Arc::new(image), Arc::new(text)], rows: None })
    }

    /// Only these rows, in this order: those of the training split, say.
    ///
    /// # Errors
    /// [`ArrayError::Rows`] when there is no such row.
    pub fn rows(mut self, rows: Vec<u32>) -> Result<ArrayPairs, ArrayError> {
        let [image, _] = &self.arrays;
        if let Some(&row) = rows.iter().find(|row| **row as usize >= image.rows()) {
            return Err(outside(image, row));
        }
        self.rows = Some(rows);
        Ok(self)
    }

    /// The array of that side, all rows of it.
    pub fn array(&self, modality: Modality) -> &Array {
        let [image, text] = &self.arrays;
        match modality {
            Modality::Image => image,
            Modality::Text => text,
        }
    }

    pub(super) fn read_pairs(
        &self,
        modality: Modality,
        pairs: &[u32],
        out: &mut [f32],
    ) -> Result<(), ArrayError> {
        let array = self.array(modality);
        for (&pair, out) in pairs.iter().zip(out.chunks_exact_mut(array.width().max(1))) {
            let row = match &self.rows {
                Some(rows) => *rows.get(pair as usize).ok_or_else(|| outside(array, pair))?,
                None => pair,
            } as usize;
            array.read_rows_f32(row..row.saturating_add(1), out)?;
            if let Some(column) = out.iter().position(|value| !value.is_finite()) {
                let wanted = "a finite number";
                return Err(ArrayError::Value { name: array.name().to_owned(), row, column, wanted });
            }
        }
        Ok(())
    }
}

fn outside(array: &Array, row: u32) -> ArrayError {
    let start = row as usize;
    ArrayError::Rows {
        name: array.name().to_owned(),
        rows: array.rows(),
        width: array.width(),
        start,
        end: start.saturating_add(1),
        buffer: array.width(),
    }
}

impl PairSource for ArrayPairs {
    fn pairs(&self) -> usize {
        self.rows.as_ref().map_or_else(|| self.array(Modality::Image).rows(), Vec::len)
    }

    fn width(&self, modality: Modality) -> usize {
        self.array(modality).width()
    }

    fn varies(&self, _modality: Modality) -> bool {
        false
    }

    fn read(
        &self,
        modality: Modality,
        pairs: &[u32],
        _epoch: u32,
        out: &mut [f32],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.read_pairs(modality, pairs, out)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::array::tests::npy;
    use super::*;

    fn array(folder: &std::path::Path, name: &str, shape: &str, description: &str, data: &[u8]) -> Array {
        std::fs::write(folder.join(name), npy(description, shape, data)).unwrap();
        Array::open(folder.join(name)).unwrap()
    }

    #[test]
    fn chosen_rows_come_in_the_order_asked() {
        let folder = tempfile::tempdir().unwrap();
        let image = array(folder.path(), "i.npy", "(3, 2)", "|u1", &[0, 1, 2, 3, 4, 5]);
        let text = array(folder.path(), "t.npy", "(3, 1)", "|u1", &[7, 8, 9]);
        let pairs = ArrayPairs::new(image, text).unwrap().rows(vec![2, 0]).unwrap();
        assert_eq!((pairs.pairs(), pairs.width(Modality::Image)), (2, 2));
        let mut out = [0.0; 4];
        pairs.read(Modality::Image, &[0, 1], 0, &mut out).unwrap();
        assert_eq!(out, [4.0, 5.0, 0.0, 1.0]);
        assert!(pairs.read(Modality::Text, &[2], 0, &mut out[..1]).is_err());
    }

    #[test]
    fn arrays_that_do_not_fit_together_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let two = array(folder.path(), "two.npy", "(2, 1)", "|u1", &[1, 2]);
        let three = array(folder.path(), "three.npy", "(3, 1)", "|u1", &[1, 2, 3]);
        assert!(matches!(ArrayPairs::new(two, three), Err(ArrayError::RowsDiffer { .. })));
        let signed = array(folder.path(), "signed.npy", "(1, 1)", "|i1", &[1]);
        let one = array(folder.path(), "one.npy", "(1, 1)", "|u1", &[1]);
        assert!(matches!(ArrayPairs::new(one, signed), Err(ArrayError::WrongElements { .. })));
    }

    #[test]
    fn a_value_that_is_no_number_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let data: Vec<u8> = [1.0_f32, 2.0, 3.0, f32::NAN].iter().flat_map(|v| v.to_le_bytes()).collect();
        let image = array(folder.path(), "i.npy", "(2, 2)", "<f4", &data);
        let text = array(folder.path(), "t.npy", "(2, 1)", "|u1", &[1, 2]);
        let pairs = ArrayPairs::new(image, text).unwrap();
        let error = pairs.read_pairs(Modality::Image, &[0, 1], &mut [0.0; 4]).unwrap_err();
        assert!(matches!(error, ArrayError::Value { row: 1, column: 1, .. }));
    }
}
