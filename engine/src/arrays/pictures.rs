//! Raw pictures in array files.

use std::ops::{ControlFlow, Range};
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use twinbit_hashing::{DecodeLimits, ImageEncoder, Picture};

use super::array::Array;
use super::error::ArrayError;
use super::npy::ElementType;
use crate::encoder_folder::read_unresized;
use crate::featurizers::efficientnet_lite0;
use crate::{Error, ImageEncoding, ImageKind, Modality, Result, Schema, SourceError};

/// Bytes of pictures that are read at once.
const BLOCK_BYTES: usize = 16 << 20;
/// Pictures that are read at once, at most.
const PICTURES_A_BLOCK: usize = 256;
/// Red, green and blue.
const COLORS: usize = 3;

/// Raw pictures in a file, all of one size, read in blocks: the file may be larger than memory.
///
/// They are `uint8` arrays of four dimensions, of which the kind of the file tells the order: (pictures, 3,
/// width, height) in HDF5 files called `.mat`, which is how the (height, width, 3, pictures) of MATLAB lies in
/// them and how the authors of UCCH distribute theirs; (pictures, height, width, 3) in all others.
///
/// ```
/// use twinbit::{Array, ArrayError, PictureArray};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("pictures.npy");
/// # let header = format!("{:<117}\n", "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1, 2, 3), }");
/// # std::fs::write(&path, [b"\x93NUMPY\x01\x00\x76\x00", header.as_bytes(), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]].concat())?;
/// let pictures = PictureArray::open(&path)?;
/// assert_eq!((pictures.rows(), pictures.width(), pictures.height()), (2, 2, 1));
/// assert_eq!(pictures.read(1..2)?[0].rgb(), [7, 8, 9, 10, 11, 12]);
/// // They are no features.
/// assert!(matches!(Array::open(&path), Err(ArrayError::NoFeatures { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PictureArray {
    /// One picture a row.
    array: Array,
    order: Order,
    width: u32,
    height: u32,
}

/// In which order the bytes of a picture come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// (height, width, 3)
    Rows,
    /// (3, width, height)
    Matlab,
}

/// What stands for the images in an array file: features, or pictures of which an encoder makes features.
///
/// ```no_run
/// use twinbit::ImageArray;
///
/// match ImageArray::open("mirflickr25k-iall.mat:IAll")? {
///     ImageArray::Features(array) => println!("{} rows of {} values", array.rows(), array.width()),
///     ImageArray::Pictures(pictures) => println!("{} pictures", pictures.rows()),
/// }
/// # Ok::<(), twinbit::ArrayError>(())
/// ```
#[derive(Debug)]
pub enum ImageArray {
    /// Features, one row an image.
    Features(Array),
    /// Raw pictures.
    Pictures(PictureArray),
}

impl ImageArray {
    /// The file that holds it.
    pub fn path(&self) -> &Path {
        match self {
            Self::Features(array) => array.path(),
            Self::Pictures(pictures) => pictures.path(),
        }
    }

    /// Opens `FILE` or `FILE:KEY`: an array of four dimensions holds pictures.
    ///
    /// # Errors
    /// As [`Array::open`] and [`PictureArray::open`].
    pub fn open(spec: impl AsRef<Path>) -> std::result::Result<Self, ArrayError> {
        let array = Array::open_any(spec.as_ref())?;
        Ok(match array.is_pictures() {
            true => Self::Pictures(PictureArray::new(array)?),
            false => Self::Features(array),
        })
    }
}

impl PictureArray {
    /// Opens an array of pictures: `FILE.npy`, or `FILE:KEY` of the other kinds that [`Array::open`] reads,
    /// MATLAB files of version 5 left out.
    ///
    /// # Errors
    /// [`ArrayError::NoPictures`] for another shape, [`ArrayError::WrongElements`] for other elements than
    /// uint8, and as [`Array::open`].
    pub fn open(spec: impl AsRef<Path>) -> std::result::Result<Self, ArrayError> {
        Self::new(Array::open_any(spec.as_ref())?)
    }

    fn new(mut array: Array) -> std::result::Result<Self, ArrayError> {
        let order = match array.is_matlab_hdf5() {
            true => Order::Matlab,
            false => Order::Rows,
        };
        let (width, height, colors) = match (array.shape(), order) {
            (&[_, height, width, colors], Order::Rows) => (width, height, colors),
            (&[_, colors, width, height], Order::Matlab) => (width, height, colors),
            _ => return Err(no_pictures(&array, order)),
        };
        let limits = DecodeLimits::default();
        let side = |pixels: usize| u32::try_from(pixels).ok().filter(|side| (1..=limits.side).contains(side));
        let (Some(width), Some(height), COLORS) = (side(width), side(height), colors) else {
            return Err(no_pictures(&array, order));
        };
        if u64::from(width) * u64::from(height) > limits.pixels {
            return Err(no_pictures(&array, order));
        }
        if array.element_type() != ElementType::U8 {
            return Err(array.wrong_elements("uint8 pictures"));
        }
        array.flatten(width as usize * height as usize * COLORS);
        Ok(Self { array, order, width, height })
    }

    /// The array as it was asked for, with its key.
    pub fn name(&self) -> &str {
        self.array.name()
    }

    /// The file that holds it.
    pub fn path(&self) -> &Path {
        self.array.path()
    }

    /// Number of pictures.
    pub fn rows(&self) -> usize {
        self.array.rows()
    }

    /// Pixels in a row of a picture.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows of pixels of a picture.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Reads some of the pictures into memory.
    ///
    /// # Errors
    /// [`ArrayError::Rows`] when there are not so many, and when the file cannot be read.
    pub fn read(&self, rows: Range<usize>) -> std::result::Result<Vec<Picture>, ArrayError> {
        let size = self.array.width();
        let mut bytes = vec![0; rows.len().min(self.rows()) * size];
        self.array.read_rows_u8(rows, &mut bytes)?;
        bytes.chunks_exact(size).map(|bytes| self.picture(bytes)).collect()
    }

    fn picture(&self, bytes: &[u8]) -> std::result::Result<Picture, ArrayError> {
        let rgb = match self.order {
            Order::Rows => bytes.to_vec(),
            Order::Matlab => upright(bytes, self.width as usize, self.height as usize),
        };
        Picture::from_rgb(self.width, self.height, rgb).map_err(|_| no_pictures(&self.array, self.order))
    }

    /// Refuses text features, or labels, of another number of rows: worth asking before pictures are encoded.
    ///
    /// # Errors
    /// [`ArrayError::RowsDiffer`].
    pub fn check_partner(&self, other: &Array) -> std::result::Result<(), ArrayError> {
        if other.rows() == self.rows() {
            return Ok(());
        }
        let (first, second) = (self.name().to_owned(), other.name().to_owned());
        Err(ArrayError::RowsDiffer { first, first_rows: self.rows(), second, second_rows: other.rows() })
    }

    /// The encoder of a collection that takes pictures.
    pub(crate) fn check_taken<'a>(&self, schema: &'a Schema) -> Result<&'a ImageEncoding> {
        match schema.image_kind() {
            ImageKind::Pictures(encoding) => Ok(encoding),
            _ => Err(SourceError::Takes {
                name: self.name().to_owned(),
                modality: Modality::Image,
                gives: "pictures".to_owned(),
                takes: schema.expects(Modality::Image),
            }
            .into()),
        }
    }

    /// As many pictures as are worth reading at once.
    pub(crate) fn block(&self) -> usize {
        (BLOCK_BYTES / self.array.width().max(1)).clamp(1, PICTURES_A_BLOCK)
    }

    /// The features of all pictures, in memory, as 16-bit floats: for training and testing without a
    /// collection. A ResNet or a VGG from a folder sees the middle 224 x 224 pixels without resizing, as in
    /// UCCH's evaluation; other encoders prepare pictures as they always do. `watch` is told after each block
    /// how many pictures are done, and may call it off.
    ///
    /// # Errors
    /// [`Error::Canceled`], [`Error::Encoder`] when the folder cannot be used, [`Error::Array`] when
    /// a picture cannot be read.
    pub fn features(
        &self,
        encoding: &ImageEncoding,
        watch: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Array> {
        let encoder = match encoding {
            ImageEncoding::EfficientNetLite0 => efficientnet_lite0()?,
            ImageEncoding::Folder(folder) => read_unresized(folder)?,
        };
        self.encode(&encoder, watch)
    }

    /// The features of all pictures under an encoder, rounded as a collection keeps them.
    pub(crate) fn encode(
        &self,
        encoder: &ImageEncoder,
        mut watch: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Array> {
        let width = encoder.width();
        let mut bytes = Vec::with_capacity(self.rows().saturating_mul(2 * width));
        for start in (0..self.rows()).step_by(self.block()) {
            let end = self.rows().min(start + self.block());
            let values = encoder.encode(&self.read(start..end)?)?;
            let mut rounded = vec![f16::ZERO; values.len()];
            rounded.convert_from_f32_slice(&values);
            if let Some(at) = rounded.iter().position(|value| !value.is_finite()) {
                let row = start + at / width.max(1);
                return Err(twinbit_hashing::Error::NotFinite { modality: Modality::Image, row }.into());
            }
            bytes.extend(rounded.iter().flat_map(|value| value.to_le_bytes()));
            if watch(end).is_break() {
                return Err(Error::Canceled);
            }
        }
        let name = format!("{} by {}", self.name(), encoder.id());
        Ok(Array::in_memory(name, self.path(), ElementType::F16, [self.rows(), width], bytes))
    }

    /// Reads all pictures, which tells whether the file is whole.
    pub(super) fn check(&self) -> std::result::Result<(), ArrayError> {
        (0..self.rows())
            .step_by(self.block())
            .try_for_each(|start| self.read(start..self.rows().min(start + self.block())).map(drop))
    }
}

/// The (height, width, 3) of a picture that is stored as (3, width, height).
fn upright(bytes: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut rgb = vec![0; bytes.len()];
    for (color, plane) in bytes.chunks_exact(width * height).enumerate() {
        for (x, column) in plane.chunks_exact(height).enumerate() {
            let pixels = rgb.iter_mut().skip(x * COLORS + color).step_by(width * COLORS);
            for (to, level) in pixels.zip(column) {
                *to = *level;
            }
        }
    }
    rgb
}

fn no_pictures(array: &Array, order: Order) -> ArrayError {
    let wanted = match order {
        Order::Rows => "(pictures, height, width, 3)",
        Order::Matlab => "(pictures, 3, width, height), which MATLAB calls (height, width, 3, pictures)",
    };
    ArrayError::NoPictures { name: array.name().to_owned(), shape: array.shape().to_vec(), wanted }
}

#[cfg(test)]
mod tests {
    use super::super::array::tests::npy;
    use super::*;

    /// Wider than high, and no two pixels alike.
    fn level(picture: usize, y: usize, x: usize, color: usize) -> u8 {
        (picture * 100 + y * 15 + x * 3 + color) as u8
    }

    fn opened(folder: &Path, name: &str, shape: &str, data: &[u8]) -> Result<PictureArray, ArrayError> {
        std::fs::write(folder.join(name), npy("|u1", shape, data)).unwrap();
        PictureArray::open(folder.join(name))
    }

    #[test]
    fn rows_of_pixels_come_as_numpy_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let data: Vec<u8> = (0..90).map(|at| level(at / 45, at / 15 % 3, at / 3 % 5, at % 3)).collect();
        let pictures = opened(folder.path(), "a.npy", "(2, 3, 5, 3)", &data).unwrap();
        assert_eq!((pictures.rows(), pictures.width(), pictures.height()), (2, 5, 3));
        assert_eq!(pictures.read(1..2).unwrap()[0].rgb(), &data[45..]);
        assert_eq!(pictures.read(0..2).unwrap().len(), 2);
        assert!(matches!(pictures.read(1..3), Err(ArrayError::Rows { end: 3, .. })));
        let as_image = ImageArray::open(folder.path().join("a.npy")).unwrap();
        assert!(matches!(as_image, ImageArray::Pictures(pictures) if pictures.rows() == 2));
        let as_features = Array::open(folder.path().join("a.npy"));
        assert!(matches!(as_features, Err(ArrayError::NoFeatures { .. })));
    }

    #[test]
    fn matlab_s_columns_are_turned_into_rows() {
        let stored: Vec<u8> = (0..3)
            .flat_map(|color| (0..5).flat_map(move |x| (0..3).map(move |y| level(0, y, x, color))))
            .collect();
        let expected: Vec<u8> = (0..45).map(|at| level(0, at / 15, at / 3 % 5, at % 3)).collect();
        assert_eq!(upright(&stored, 5, 3), expected);
    }

    #[test]
    fn what_is_no_array_of_pictures_is_told_with_its_shape() {
        let folder = tempfile::tempdir().unwrap();
        for (shape, count) in
            [("(2, 3, 5, 4)", 120), ("(2, 3, 5, 2)", 60), ("(9, 0, 5, 3)", 0), ("(6, 2)", 12)]
        {
            let refused = opened(folder.path(), "a.npy", shape, &vec![0; count]).unwrap_err();
            assert!(matches!(refused, ArrayError::NoPictures { .. }), "{refused}");
            assert!(refused.to_string().contains("(pictures, height, width, 3)"), "{refused}");
        }
        // 3 colors at the second place: this is not the order of .npy files.
        let refused = opened(folder.path(), "a.npy", "(1, 3, 4, 5)", &[0; 60]).unwrap_err();
        assert!(refused.to_string().contains("(1, 3, 4, 5)"), "{refused}");
        std::fs::write(folder.path().join("f.npy"), npy("|i1", "(1, 2, 2, 3)", &[0; 12])).unwrap();
        let refused = PictureArray::open(folder.path().join("f.npy")).unwrap_err();
        assert!(matches!(refused, ArrayError::WrongElements { found: "int8", .. }), "{refused}");
        let wide = format!("(1, 1, {}, 3)", 1 << 20);
        let refused = opened(folder.path(), "a.npy", &wide, &vec![0; 3 << 20]).unwrap_err();
        assert!(matches!(refused, ArrayError::NoPictures { .. }), "{refused}");
    }
}
