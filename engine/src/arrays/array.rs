//! An open array and the reading of its rows.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::f16;

use super::error::ArrayError;
use super::npy::{self, ElementType, Header};
use super::{mat, npz, safetensors};

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
    File { file: File, start: u64 },
    Memory(Vec<u8>),
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
    /// Opens `FILE.npy`, `FILE.npz`, `FILE.safetensors` or `FILE.mat` (when it holds one array), or
    /// `FILE:KEY` for one of several in the last three.
    ///
    /// # Errors
    /// [`ArrayError`] when the file cannot be opened, is of another kind, is damaged, or holds
    /// something else than one or two dimensions of readable elements in row order.
    pub fn open(spec: impl AsRef<Path>) -> Result<Array, ArrayError> {
        let spec = spec.as_ref();
        let name = spec.display().to_string();
        let (path, key) = split_key(spec);
        let failed = |source| ArrayError::Io { name: name.clone(), source };
        let mut file = File::open(&path).map_err(failed)?;
        let mut magic = Vec::new();
        (&mut file).take(npy::MAGIC.len() as u64).read_to_end(&mut magic).map_err(failed)?;
        std::io::Seek::rewind(&mut file).map_err(failed)?;
        let (header, data) = if magic == npy::MAGIC {
            if let Some(key) = key {
                return Err(ArrayError::NoKeys { name: path.display().to_string(), key });
            }
            let header = Header::read(&mut file, &name)?;
            let data = Data::in_file(file, header.bytes, &header, &name)?;
            (header, data)
        } else if magic.starts_with(b"PK") {
            npz::open(file, key.as_deref(), &path.display().to_string())?
        } else if path.extension().is_some_and(|ending| ending == safetensors::ENDING) {
            safetensors::open(file, key.as_deref(), &path.display().to_string())?
        } else if magic == mat::MAGIC {
            mat::open(file, key.as_deref(), &path.display().to_string())?
        } else if magic == mat::HDF5_MAGIC {
            return Err(ArrayError::Hdf5 { name });
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
        let shape = vec![self.rows() + below.rows(), self.width()];
        let header = Header { element_type, shape, bytes: 0, data_bytes: bytes.len() as u64 };
        Ok(Array { name, path: self.path.clone(), header, data: Data::Memory(bytes) })
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
pub(super) mod tests {
    use std::io::Write;

    use super::*;

    /// An `.npy` file of version 1.
    pub(in crate::arrays) fn npy(description: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let dictionary =
            format!("{{'descr': '{description}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = npy::MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((dictionary.len() as u16).to_le_bytes());
        bytes.extend(dictionary.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn npz(members: &[(&str, CompressionMethod, Vec<u8>)]) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, method, bytes) in members {
            let options = zip::write::SimpleFileOptions::default().compression_method(*method);
            archive.start_file(*name, options).unwrap();
            archive.write_all(bytes).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    use zip::CompressionMethod::{self, Deflated, Stored};

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn opened(folder: &Path, name: &str, bytes: &[u8]) -> Result<Array, ArrayError> {
        std::fs::write(folder.join(name), bytes).unwrap();
        Array::open(folder.join(name))
    }

    #[test]
    fn every_element_type_is_read_as_float() {
        let folder = tempfile::tempdir().unwrap();
        let f16s: Vec<u8> = [1.0, -2.0].iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        let f64s: Vec<u8> = [1.0_f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let i32s: Vec<u8> = [1_i32, -2].iter().flat_map(|v| v.to_le_bytes()).collect();
        let i64s: Vec<u8> = [1_i64, -2].iter().flat_map(|v| v.to_le_bytes()).collect();
        for (description, data) in [
            ("<f2", f16s),
            ("<f4", floats(&[1.0, -2.0])),
            ("<f8", f64s),
            ("|i1", vec![1, 0xfe]),
            ("<i4", i32s),
            ("<i8", i64s),
        ] {
            let array = opened(folder.path(), "a.npy", &npy(description, "(2,)", &data)).unwrap();
            assert_eq!((array.rows(), array.width()), (2, 1));
            assert_eq!(array.to_f32().unwrap(), [1.0, -2.0], "{description}");
            let error = array.to_u8().unwrap_err();
            assert!(matches!(error, ArrayError::Value { row: 1, column: 0, .. }), "{description}: {error}");
        }
        let bytes = opened(folder.path(), "a.npy", &npy("|b1", "(1, 3)", &[1, 0, 1])).unwrap();
        assert_eq!(bytes.to_f32().unwrap(), [1.0, 0.0, 1.0]);
        assert_eq!(bytes.to_u8().unwrap(), [1, 0, 1]);
        let labels = opened(folder.path(), "a.npy", &npy("<f4", "(2, 1)", &floats(&[255.0, 0.0]))).unwrap();
        assert_eq!(labels.to_u8().unwrap(), [255, 0]);
    }

    #[test]
    fn rows_in_the_middle_are_read_alone() {
        let folder = tempfile::tempdir().unwrap();
        let values: Vec<f32> = (0..600_000_u32).map(|value| value as f32).collect();
        let array = opened(folder.path(), "a.npy", &npy("<f4", "(200000, 3)", &floats(&values))).unwrap();
        let mut row = [0.0; 6];
        array.read_rows_f32(7..9, &mut row).unwrap();
        assert_eq!(row, [21.0, 22.0, 23.0, 24.0, 25.0, 26.0]);
        assert_eq!(array.to_f32().unwrap(), values);
        for (rows, buffer) in [(0..2, 5), (199_999..200_001, 6), (usize::MAX - 1..usize::MAX, 3)] {
            assert!(matches!(
                array.read_rows_f32(rows, &mut vec![0.0; buffer]),
                Err(ArrayError::Rows { .. })
            ));
        }
    }

    #[test]
    fn arrays_in_archives_are_found_by_key() {
        let folder = tempfile::tempdir().unwrap();
        let a = npy("|u1", "(2, 2)", &[1, 2, 3, 4]);
        let b = npy("|u1", "(1,)", &[9]);
        let both = npz(&[("a.npy", Stored, a.clone()), ("b.npy", Deflated, b), ("note.txt", Stored, vec![])]);
        let unnamed = opened(folder.path(), "both.npz", &both).unwrap_err();
        assert!(matches!(unnamed, ArrayError::WhichKey { keys, .. } if keys == ["a", "b"]));
        let open = |spec: &str| Array::open(folder.path().join(spec));
        assert_eq!(open("both.npz:a").unwrap().to_u8().unwrap(), [1, 2, 3, 4]);
        assert_eq!(open("both.npz:b").unwrap().to_u8().unwrap(), [9]);
        assert!(matches!(open("both.npz:c"), Err(ArrayError::Key { .. })));
        assert!(matches!(open("none.npz:c"), Err(ArrayError::Io { .. })));
        let one = opened(folder.path(), "one.npz", &npz(&[("a.npy", Deflated, a.clone())])).unwrap();
        assert_eq!((one.shape(), one.to_u8().unwrap()), (&[2, 2][..], vec![1, 2, 3, 4]));
        opened(folder.path(), "a.npy", &a).unwrap();
        assert!(matches!(open("a.npy:a"), Err(ArrayError::NoKeys { .. })));
    }

    #[test]
    fn archives_that_lie_about_lengths_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for method in [Stored, Deflated] {
            let short = npz(&[("a.npy", method, npy("|u1", "(3,)", &[1, 2]))]);
            assert!(matches!(
                opened(folder.path(), "a.npz", &short),
                Err(ArrayError::Truncated { got: 2, .. })
            ));
        }
        let long = npz(&[("a.npy", Deflated, npy("|u1", "(1,)", &[1, 2]))]);
        assert!(matches!(opened(folder.path(), "a.npz", &long), Err(ArrayError::Header { .. })));
        let huge = npz(&[("a.npy", Deflated, npy("|u1", "(1099511627776,)", &[]))]);
        assert!(matches!(opened(folder.path(), "a.npz", &huge), Err(ArrayError::TooLarge { .. })));
    }

    #[test]
    fn other_files_and_short_ones_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let text = opened(folder.path(), "a.csv", b"1,2,3 and so on").unwrap_err();
        assert!(text.to_string().contains(".npy") && text.to_string().contains("FILE:KEY"), "{text}");
        assert!(matches!(opened(folder.path(), "a", b""), Err(ArrayError::Kind { .. })));
        let short = npy("<f4", "(2, 2)", &floats(&[1.0, 2.0, 3.0]));
        assert!(matches!(
            opened(folder.path(), "a.npy", &short),
            Err(ArrayError::Truncated { expected: 16, got: 12, .. })
        ));
        assert!(matches!(Array::open(folder.path().join("none.npy")), Err(ArrayError::Io { .. })));
    }

    /// Damaged files are refused or read; they never panic and never allocate what they announce.
    #[test]
    fn mutated_files_never_panic() {
        use rand::{Rng, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(11);
        let folder = tempfile::tempdir().unwrap();
        let array = npy("<f4", "(2, 3)", &floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let archive = npz(&[("a.npy", Deflated, array.clone()), ("b.npy", Stored, array.clone())]);
        let mut sound = 0;
        for round in 0..800 {
            let mut bytes = if round % 2 == 0 { array.clone() } else { archive.clone() };
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                match random.random_range(0..4) {
                    0 => bytes.truncate(at.max(1)),
                    1 => bytes[at] = b"0123456789(),'L\xff"[random.random_range(0..16)],
                    2 => bytes[at] ^= 1 << random.random_range(0..8),
                    _ => bytes.insert(at, b'9'),
                }
            }
            let path = folder.path().join("x");
            std::fs::write(&path, &bytes).unwrap();
            for spec in ["x", "x:a", "x:b"] {
                if let Ok(array) = Array::open(folder.path().join(spec)) {
                    sound += usize::from(array.to_f32().is_ok());
                }
            }
            // A new file each time: cutting off an old one makes some file systems wait for the disk.
            std::fs::remove_file(path).unwrap();
        }
        assert!(sound > 50, "{sound}");
    }
}
