//! An open array and the reading of its rows.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::f16;

use super::error::ArrayError;
use super::npy::{self, ElementType, Header};
use super::{hdf5, mat, npz, safetensors};

/// Bytes read from a file at once.
const BLOCK_BYTES: usize = 1 << 20;

/// An array of one or two dimensions in a file, read in blocks of rows.
///
/// Readable from several threads at once: every read says where it starts.
///
/// ```
/// use twinbit::{Array, ElementType};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("features.npy");
/// # let header = format!("{:<117}\n", "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }");
/// # std::fs::write(&path, [b"\x93NUMPY\x01\x00\x76\x00", header.as_bytes(), &[1, 2, 3, 4, 5, 6]].concat())?;
/// let array = Array::open(&path)?;
/// assert_eq!((array.rows(), array.width(), array.element_type()), (2, 3, ElementType::U8));
/// let mut row = [0.0; 3];
/// array.read_rows_f32(1..2, &mut row)?;
/// assert_eq!(row, [4.0, 5.0, 6.0]);
/// assert!(Array::open(folder.path().join("none.npy")).unwrap_err().to_string().contains("none.npy"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Array {
    name: String,
    path: PathBuf,
    header: Header,
    data: Data,
}

/// Where the elements are.
#[derive(Debug)]
pub(super) enum Data {
    File {
        file: File,
        start: u64,
    },
    Memory(Vec<u8>),
    /// Rows of an HDF5 file, unpacked when they are read.
    Dataset(hdf5::Rows),
}

impl Data {
    /// Data of a file from `start`, after a check that the file is long enough.
    pub(super) fn in_file(file: File, start: u64, header: &Header, name: &str) -> Result<Data, ArrayError> {
        let length =
            file.metadata().map_err(|source| ArrayError::Io { name: name.to_owned(), source })?.len();
        let got = length.saturating_sub(start);
        if got < header.data_bytes {
            return Err(ArrayError::Truncated { name: name.to_owned(), expected: header.data_bytes, got });
        }
        Ok(Data::File { file, start })
    }
}

impl Array {
    /// Opens `FILE.npy`, `FILE.npz`, `FILE.safetensors`, `FILE.mat` or an HDF5 file of any name (when it
    /// holds one array), or `FILE:KEY` for one of several in all but the first.
    ///
    /// # Errors
    /// [`ArrayError`] when the file cannot be opened, is of another kind, is damaged, or holds
    /// something else than one or two dimensions of readable elements in row order;
    /// [`ArrayError::NoFeatures`] for the four dimensions of pictures, which a
    /// [`PictureArray`](crate::PictureArray) has; [`ArrayError::Hdf5`] for an HDF5 file without the cargo
    /// feature `hdf5`.
    pub fn open(spec: impl AsRef<Path>) -> Result<Array, ArrayError> {
        let array = Self::open_any(spec.as_ref())?;
        match array.is_pictures() {
            true => Err(ArrayError::NoFeatures { name: array.name }),
            false => Ok(array),
        }
    }

    /// [`open`](Self::open) for arrays that may hold pictures.
    pub(super) fn open_any(spec: &Path) -> Result<Array, ArrayError> {
        let name = spec.display().to_string();
        let (path, key) = split_key(spec);
        let failed = |source| ArrayError::Io { name: name.clone(), source };
        let mut file = File::open(&path).map_err(failed)?;
        let mut start = Vec::new();
        (&mut file).take(mat::HEADER_BYTES as u64).read_to_end(&mut start).map_err(failed)?;
        std::io::Seek::rewind(&mut file).map_err(failed)?;
        let (header, data) = if start.starts_with(npy::MAGIC) {
            if let Some(key) = key {
                return Err(ArrayError::NoKeys { name: path.display().to_string(), key });
            }
            let header = Header::read(&mut file, &name)?;
            let data = Data::in_file(file, header.bytes, &header, &name)?;
            (header, data)
        } else if start.starts_with(b"PK") {
            npz::open(file, key.as_deref(), &path.display().to_string())?
        } else if path.extension().is_some_and(|ending| ending == safetensors::ENDING) {
            safetensors::open(file, key.as_deref(), &path.display().to_string())?
        } else if let Some(writer) = hdf5::Writer::of(&start) {
            hdf5::open(file, writer, key.as_deref(), &path.display().to_string())?
        } else if start.starts_with(mat::MAGIC) {
            mat::open(file, key.as_deref(), &path.display().to_string())?
        } else {
            return Err(ArrayError::Kind { name });
        };
        Ok(Array { name, path, header, data })
    }

    /// The array as it was asked for, with its key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that holds it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One or two lengths.
    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// The type of the elements in the file.
    pub fn element_type(&self) -> ElementType {
        self.header.element_type
    }

    /// Number of rows; of values, when there is one dimension.
    pub fn rows(&self) -> usize {
        self.header.shape.first().copied().unwrap_or(0)
    }

    /// Values in a row; 1 when there is one dimension.
    pub fn width(&self) -> usize {
        self.header.shape.get(1).copied().unwrap_or(1)
    }

    /// Whether it has the four dimensions of pictures.
    pub(super) fn is_pictures(&self) -> bool {
        self.header.shape.len() == npy::PICTURES
    }

    /// Whether it lies in an HDF5 file as MATLAB orders its dimensions: one that ends as MATLAB's do.
    pub(super) fn is_matlab_hdf5(&self) -> bool {
        let is_mat = self.path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("mat"));
        is_mat && matches!(self.data, Data::Dataset(_))
    }

    /// Makes rows of `width` values of all dimensions but the first.
    pub(super) fn flatten(&mut self, width: usize) {
        self.header.shape.truncate(1);
        self.header.shape.push(width);
    }

    /// An array of these bytes, of rows and columns; `path` is where they came from.
    pub(super) fn in_memory(
        name: String,
        path: &Path,
        element_type: ElementType,
        shape: [usize; 2],
        bytes: Vec<u8>,
    ) -> Array {
        let header = Header { element_type, shape: shape.to_vec(), bytes: 0, data_bytes: bytes.len() as u64 };
        Array { name, path: path.to_path_buf(), header, data: Data::Memory(bytes) }
    }

    /// This array with the rows of another below, in memory; as float32 when the types differ.
    ///
    /// The arrays must be equally wide.
    pub(super) fn stack(&self, below: &Array) -> Result<Array, ArrayError> {
        let as_stored = self.element_type() == below.element_type();
        let (element_type, bytes) = match (&self.data, &below.data) {
            (Data::Memory(above), Data::Memory(below)) if as_stored => {
                (self.element_type(), [above.as_slice(), below].concat())
            }
            _ => {
                let values = [self.to_f32()?, below.to_f32()?].concat();
                (ElementType::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
        };
        let name = format!("{} + {}", self.name, below.name);
        let shape = [self.rows() + below.rows(), self.width()];
        Ok(Self::in_memory(name, &self.path, element_type, shape, bytes))
    }

    /// Refuses an array with a NaN or an infinity, naming the place of the first.
    pub(super) fn check_finite(&self) -> Result<(), ArrayError> {
        self.check_features()?;
        let width = self.width();
        let rows_at_once = (BLOCK_BYTES / width).max(1);
        let mut values = Vec::new();
        for start in (0..self.rows()).step_by(rows_at_once) {
            let rows = start..self.rows().min(start + rows_at_once);
            values.resize(rows.len() * width, 0.0);
            self.read_rows_f32(rows, &mut values)?;
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let (row, column) = (start + at / width, at % width);
                let wanted = "a finite number";
                return Err(ArrayError::Value { name: self.name.clone(), row, column, wanted });
            }
        }
        Ok(())
    }

    /// Refuses what cannot be features: floats, uint8 and bool are.
    pub(crate) fn check_features(&self) -> Result<(), ArrayError> {
        if self.width() == 0 {
            return Err(ArrayError::NoColumns { name: self.name.clone() });
        }
        match self.element_type() {
            ElementType::F16 | ElementType::F32 | ElementType::F64 | ElementType::U8 | ElementType::Bool => {
                Ok(())
            }
            ElementType::I8 | ElementType::I32 | ElementType::I64 => {
                Err(self.wrong_elements("float16, float32, float64, uint8 or bool features"))
            }
        }
    }

    pub(crate) fn wrong_elements(&self, wanted: &'static str) -> ArrayError {
        ArrayError::WrongElements { name: self.name.clone(), found: self.element_type().name(), wanted }
    }

    /// Reads `rows` as float32, row after row, into `out`, which must hold exactly as many values.
    /// What float32 cannot hold is rounded; NaN and infinities are passed on.
    ///
    /// # Errors
    /// [`ArrayError::Rows`] when the rows or the buffer do not fit, [`ArrayError::Io`].
    pub fn read_rows_f32(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), ArrayError> {
        self.check_rows(&rows, out.len())?;
        let element_type = self.element_type();
        self.for_blocks(rows, out, |_, bytes, out| {
            match element_type {
                ElementType::F16 => convert(bytes, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
                ElementType::F32 => convert(bytes, out, f32::from_le_bytes),
                ElementType::F64 => convert(bytes, out, |bytes| f64::from_le_bytes(bytes) as f32),
                ElementType::I8 => convert(bytes, out, |bytes| i8::from_le_bytes(bytes).into()),
                ElementType::I32 => convert(bytes, out, |bytes| i32::from_le_bytes(bytes) as f32),
                ElementType::I64 => convert(bytes, out, |bytes| i64::from_le_bytes(bytes) as f32),
                ElementType::U8 | ElementType::Bool => convert(bytes, out, |[byte]| byte.into()),
            }
            Ok(())
        })
    }

    /// Reads `rows` as bytes, row after row, into `out`, which must hold exactly as many values.
    ///
    /// # Errors
    /// [`ArrayError::Value`] at the first value that is no whole number from 0 to 255, and as
    /// [`read_rows_f32`](Self::read_rows_f32).
    pub fn read_rows_u8(&self, rows: Range<usize>, out: &mut [u8]) -> Result<(), ArrayError> {
        self.check_rows(&rows, out.len())?;
        let element_type = self.element_type();
        let width = self.width().max(1);
        let first = rows.start;
        self.for_blocks(rows, out, |done, bytes, out| {
            let fits = match element_type {
                ElementType::U8 | ElementType::Bool => convert_exact(bytes, out, |[byte]| Some(byte)),
                ElementType::I8 => convert_exact(bytes, out, |b| u8::try_from(i8::from_le_bytes(b)).ok()),
                ElementType::I32 => convert_exact(bytes, out, |b| u8::try_from(i32::from_le_bytes(b)).ok()),
                ElementType::I64 => convert_exact(bytes, out, |b| u8::try_from(i64::from_le_bytes(b)).ok()),
                ElementType::F16 => convert_exact(bytes, out, |b| whole(f16::from_le_bytes(b).to_f64())),
                ElementType::F32 => convert_exact(bytes, out, |b| whole(f32::from_le_bytes(b).into())),
                ElementType::F64 => convert_exact(bytes, out, |b| whole(f64::from_le_bytes(b))),
            };
            fits.map_err(|position| ArrayError::Value {
                name: self.name.clone(),
                row: first + (done + position) / width,
                column: (done + position) % width,
                wanted: "a whole number from 0 to 255",
            })
        })
    }

    /// The whole array as float32, row after row.
    ///
    /// # Errors
    /// As [`read_rows_f32`](Self::read_rows_f32).
    pub fn to_f32(&self) -> Result<Vec<f32>, ArrayError> {
        let mut values = vec![0.0; self.rows() * self.width()];
        self.read_rows_f32(0..self.rows(), &mut values)?;
        Ok(values)
    }

    /// The whole array as bytes, row after row.
    ///
    /// # Errors
    /// As [`read_rows_u8`](Self::read_rows_u8).
    pub fn to_u8(&self) -> Result<Vec<u8>, ArrayError> {
        let mut values = vec![0; self.rows() * self.width()];
        self.read_rows_u8(0..self.rows(), &mut values)?;
        Ok(values)
    }

    fn check_rows(&self, rows: &Range<usize>, buffer: usize) -> Result<(), ArrayError> {
        let fits = rows.start <= rows.end
            && rows.end <= self.rows()
            && rows.len().checked_mul(self.width()) == Some(buffer);
        if fits {
            return Ok(());
        }
        Err(ArrayError::Rows {
            name: self.name.clone(),
            rows: self.rows(),
            width: self.width(),
            start: rows.start,
            end: rows.end,
            buffer,
        })
    }

    /// Calls `convert(values done, bytes, out)` for the elements of `rows` in order, in blocks of
    /// bytes that match blocks of `out`.
    fn for_blocks<T>(
        &self,
        rows: Range<usize>,
        out: &mut [T],
        mut convert: impl FnMut(usize, &[u8], &mut [T]) -> Result<(), ArrayError>,
    ) -> Result<(), ArrayError> {
        if let Data::Dataset(dataset) = &self.data {
            return convert(0, &dataset.read(rows, &self.name)?, out);
        }
        let size = self.element_type().bytes();
        let block = BLOCK_BYTES / size;
        // Cannot overflow: the bytes of all rows fit an i64.
        let mut at = (rows.start * self.width() * size) as u64;
        let mut buffer = Vec::new();
        for (index, out) in out.chunks_mut(block).enumerate() {
            let length = out.len() * size;
            let bytes = match &self.data {
                Data::File { file, start } => {
                    buffer.resize(length, 0);
                    file.read_exact_at(&mut buffer, start + at)
                        .map_err(|source| ArrayError::Io { name: self.name.clone(), source })?;
                    buffer.as_slice()
                }
                // Read above, as a whole.
                Data::Dataset(_) => &[],
                Data::Memory(data) => {
                    let start = at as usize;
                    data.get(start..start + length).unwrap_or(&[])
                }
            };
            convert(index * block, bytes, out)?;
            at += length as u64;
        }
        Ok(())
    }
}

/// The file and the key meant by `FILE` or `FILE:KEY`: a name that exists is a file.
fn split_key(spec: &Path) -> (PathBuf, Option<String>) {
    if !spec.exists()
        && let Some((path, key)) = spec.to_str().and_then(|spec| spec.rsplit_once(':'))
        && Path::new(path).exists()
    {
        return (PathBuf::from(path), Some(key.to_owned()));
    }
    (spec.to_owned(), None)
}

fn convert<const N: usize, T>(bytes: &[u8], out: &mut [T], element: impl Fn([u8; N]) -> T) {
    let (elements, _) = bytes.as_chunks::<N>();
    for (out, bytes) in out.iter_mut().zip(elements) {
        *out = element(*bytes);
    }
}

/// [`convert`] for elements that may not fit; gives the position of the first that does not.
fn convert_exact<const N: usize>(
    bytes: &[u8],
    out: &mut [u8],
    element: impl Fn([u8; N]) -> Option<u8>,
) -> Result<(), usize> {
    let (elements, _) = bytes.as_chunks::<N>();
    for (position, (out, bytes)) in out.iter_mut().zip(elements).enumerate() {
        *out = element(*bytes).ok_or(position)?;
    }
    Ok(())
}

/// The byte that equals `value`.
fn whole(value: f64) -> Option<u8> {
    let byte = value as u8;
    (f64::from(byte) == value).then_some(byte)
}

#[cfg(test)]
pub(super) mod tests;
