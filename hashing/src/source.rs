//! Where training pairs come from.

use twinbit_kernels::Modality;

use crate::Error;

/// Training pairs: features of an image and a text each.
pub trait PairSource: Sync {
    /// Number of pairs.
    fn pairs(&self) -> usize;

    /// Values in a row of that side.
    fn width(&self, modality: Modality) -> usize;

    /// Whether epochs may read other features of that side. Where they do not, a card gets them once, before
    /// the first epoch, instead of before every one.
    fn varies(&self, modality: Modality) -> bool {
        let _ = modality;
        true
    }

    /// Writes the features of `pairs`, in the order asked, row-major into `out`, which holds exactly
    /// that many rows. `epoch` counts from 0 and lets a source draw one of several captions.
    ///
    /// # Errors
    /// Whatever the source fails with; training stops with it as the cause.
    fn read(
        &self,
        modality: Modality,
        pairs: &[u32],
        epoch: u32,
        out: &mut [f32],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// Pairs whose features lie in memory, row-major float32.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    rows: [&'a [f32]; 2],
    widths: [usize; 2],
    pairs: usize,
}

impl<'a> Features<'a> {
    /// Takes `image` as rows of `image_width` values and `text` as rows of `text_width`; row i of
    /// both is pair i.
    ///
    /// # Errors
    /// [`Error::Width`] when a matrix does not fill whole rows, [`Error::Shape`] when the numbers of
    /// rows differ, [`Error::NotFinite`] when a value is NaN or infinite.
    pub fn new(
        image: &'a [f32],
        image_width: usize,
        text: &'a [f32],
        text_width: usize,
    ) -> Result<Self, Error> {
        let image_rows = rows(Modality::Image, image, image_width)?;
        let text_rows = rows(Modality::Text, text, text_width)?;
        if image_rows != text_rows {
            return Err(Error::Shape {
                what: "rows of text features, as many as of image features",
                expected: image_rows,
                got: text_rows,
            });
        }
        Ok(Self { rows: [image, text], widths: [image_width, text_width], pairs: image_rows })
    }
}

impl PairSource for Features<'_> {
    fn pairs(&self) -> usize {
        self.pairs
    }

    fn width(&self, modality: Modality) -> usize {
        self.widths[modality.index()]
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
        let width = self.width(modality);
        let rows = self.rows[modality.index()];
        for (out, &pair) in out.chunks_exact_mut(width).zip(pairs) {
            let at = pair as usize * width;
            let row = rows.get(at..at + width).ok_or_else(|| Error::Shape {
                what: "pairs of the source",
                expected: self.pairs,
                got: pair as usize,
            })?;
            out.copy_from_slice(row);
        }
        Ok(())
    }
}

/// Number of whole, finite rows in a matrix.
pub(crate) fn rows(modality: Modality, values: &[f32], width: usize) -> Result<usize, Error> {
    if width == 0 || !values.len().is_multiple_of(width) {
        return Err(Error::Width { modality, expected: width, got: values.len() });
    }
    // Without a way out in the middle of a row, it is checked a vector at a time.
    let finite = |row: &[f32]| row.iter().fold(true, |all, value| all & value.is_finite());
    match values.chunks_exact(width).position(|row| !finite(row)) {
        Some(row) => Err(Error::NotFinite { modality, row }),
        None => Ok(values.len() / width),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_numbers_are_checked() {
        assert!(matches!(
            Features::new(&[1.0; 6], 4, &[1.0; 2], 1),
            Err(Error::Width { modality: Modality::Image, expected: 4, got: 6 })
        ));
        assert!(matches!(
            Features::new(&[1.0; 8], 4, &[1.0; 3], 1),
            Err(Error::Shape { expected: 2, got: 3, .. })
        ));
        assert!(matches!(
            Features::new(&[1.0; 8], 4, &[1.0, f32::NAN], 1),
            Err(Error::NotFinite { modality: Modality::Text, row: 1 })
        ));
    }

    #[test]
    fn rows_come_in_the_order_asked() {
        let features = Features::new(&[1.0, 2.0, 3.0], 1, &[0.0; 3], 1).unwrap();
        let mut out = [0.0; 2];
        features.read(Modality::Image, &[2, 0], 0, &mut out).unwrap();
        assert_eq!(out, [3.0, 1.0]);
        assert!(features.read(Modality::Image, &[3], 0, &mut out[..1]).is_err());
    }
}
