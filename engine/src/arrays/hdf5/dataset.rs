//! Datasets of HDF5 files: matrices, read into memory as a whole, and pictures, read when they are asked for.
//!
//! MATLAB stores matrices column by column, so that HDF5 sees their dimensions turned around; its files
//! begin with a text of its own, by which they are known.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use hdf5_reader::error::Error;
use hdf5_reader::storage::FileStorage;
use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions, SliceInfo, SliceInfoElem};

use super::super::array::Data;
use super::super::error::ArrayError;
use super::super::mat::{FREE_BYTES, MAX_RATIO};
use super::super::npy::{ElementType, Header, PICTURES, check_dimensions};
use super::super::npz::choose;
use super::Writer;

/// Unpacked chunks that are kept between reads of pictures: one may hold parts of many.
const CHUNK_BYTES: usize = 64 << 20;
const CHUNKS: usize = 1 << 14;

/// The rows of a dataset of bytes, read when they are asked for.
pub(in super::super) struct Rows(Box<Dataset>);

impl fmt::Debug for Rows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Rows").field(&self.0.shape()).finish()
    }
}

impl Rows {
    /// The bytes of some rows.
    pub(in super::super) fn read(&self, rows: Range<usize>, name: &str) -> Result<Vec<u8>, ArrayError> {
        let mut selection = SliceInfo::all(self.0.ndim());
        if let Some(first) = selection.selections.first_mut() {
            *first = SliceInfoElem::Slice { start: rows.start as u64, end: rows.end as u64, step: 1 };
        }
        let values = self.0.read_slice::<u8>(&selection).map_err(|source| failed(name, source))?;
        Ok(match values.as_slice() {
            Some(values) => values.to_vec(),
            None => values.into_iter().collect(),
        })
    }
}

fn failed(name: &str, source: Error) -> ArrayError {
    match source {
        Error::Io(source) => ArrayError::Io { name: name.to_owned(), source },
        source => ArrayError::Archive { name: name.to_owned(), source: source.into() },
    }
}

/// The dataset `key` of a file, or its only one. A key may lead through groups, as in `train/image`.
pub(in super::super) fn open(
    file: File,
    writer: Writer,
    key: Option<&str>,
    name: &str,
) -> Result<(Header, Data), ArrayError> {
    let io = |source| ArrayError::Io { name: name.to_owned(), source };
    let file_bytes = file.metadata().map_err(io)?.len();
    let limit = FREE_BYTES.max(file_bytes.saturating_mul(MAX_RATIO));
    let options = OpenOptions::default()
        .with_chunk_cache_bytes(CHUNK_BYTES)
        .with_chunk_cache_slots(CHUNKS)
        .with_max_read_bytes(usize::try_from(limit).unwrap_or(usize::MAX));
    let storage = FileStorage::from_file(file).map_err(|source| failed(name, source))?;
    let file = Hdf5File::from_storage_with_options(Arc::new(storage), options)
        .map_err(|source| failed(name, source))?;
    let (dataset, key) = match key.filter(|key| key.contains('/')) {
        Some(key) => (file.dataset(key).map_err(|source| failed(name, source))?, key.to_owned()),
        None => {
            let datasets = file.root_group().and_then(|root| root.datasets());
            let datasets = datasets.map_err(|source| failed(name, source))?;
            let named = datasets.into_iter().map(|dataset| (dataset.name().to_owned(), dataset));
            // Files keep them in any order.
            let named: BTreeMap<String, Dataset> = named.collect();
            choose(named.into_iter().map(|(key, dataset)| (dataset, key)).collect(), key, name)?
        }
    };
    let name = format!("{name}:{key}");
    let header = header(&dataset, writer, limit, &name)?;
    if header.shape.len() == PICTURES {
        return Ok((header, Data::Dataset(Rows(Box::new(dataset)))));
    }
    let values = dataset.read_native_bytes().map_err(|source| failed(&name, source))?;
    let turned = writer == Writer::Matlab && header.shape.len() == 2;
    let rows = if turned { by_rows(&values, &header) } else { values };
    Ok((header, Data::Memory(rows)))
}

/// Type and shape, rows first.
fn header(dataset: &Dataset, writer: Writer, limit: u64, name: &str) -> Result<Header, ArrayError> {
    let name = || name.to_owned();
    let element_type = element_type(dataset.dtype())
        .ok_or_else(|| ArrayError::Elements { name: name(), found: format!("{:?}", dataset.dtype()) })?;
    check_dimensions(dataset.shape().len(), name)?;
    let lengths = dataset.shape().iter().map(|length| u128::from(*length));
    let bytes = lengths.fold(element_type.bytes() as u128, u128::saturating_mul);
    let too_large = |_| ArrayError::TooLarge { name: name(), bytes, limit };
    let data_bytes = u64::try_from(bytes).map_err(too_large)?;
    if data_bytes > limit {
        return Err(ArrayError::TooLarge { name: name(), bytes, limit });
    }
    let lengths = dataset.shape().iter().map(|length| usize::try_from(*length).map_err(too_large));
    let mut shape = lengths.collect::<Result<Vec<_>, _>>()?;
    if writer == Writer::Matlab && shape.len() == 2 {
        shape.reverse();
    }
    Ok(Header { element_type, shape, bytes: 0, data_bytes })
}

fn element_type(datatype: &Datatype) -> Option<ElementType> {
    Some(match datatype {
        Datatype::FloatingPoint { size: 2, .. } => ElementType::F16,
        Datatype::FloatingPoint { size: 4, .. } => ElementType::F32,
        Datatype::FloatingPoint { size: 8, .. } => ElementType::F64,
        Datatype::FixedPoint { size: 1, signed: true, .. } => ElementType::I8,
        Datatype::FixedPoint { size: 4, signed: true, .. } => ElementType::I32,
        Datatype::FixedPoint { size: 8, signed: true, .. } => ElementType::I64,
        Datatype::FixedPoint { size: 1, signed: false, .. } => ElementType::U8,
        // What h5py makes of numpy's bool.
        Datatype::Enum { base, .. } if matches!(**base, Datatype::FixedPoint { size: 1, .. }) => {
            ElementType::Bool
        }
        _ => return None,
    })
}

/// Values that are stored column by column, row by row.
fn by_rows(values: &[u8], header: &Header) -> Vec<u8> {
    let size = header.element_type.bytes();
    let rows = header.shape.first().copied().unwrap_or(0);
    let column_bytes = rows * size;
    let mut turned = Vec::with_capacity(values.len());
    for row in 0..rows {
        for column in values.chunks_exact(column_bytes) {
            turned.extend_from_slice(column.get(row * size..(row + 1) * size).unwrap_or(&[]));
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use rand::Rng;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::{Array, PictureArray};

    /// A file that h5py wrote; `make.py` beside it says what is in it.
    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/arrays").join(name)
    }

    fn open(name: &str, key: &str) -> Result<Array, ArrayError> {
        Array::open(format!("{}:{key}", fixture(name).display()))
    }

    fn features() -> Vec<f32> {
        (0..12).flat_map(|row| [0.0, 0.25, 0.5].map(|part| row as f32 + part)).collect()
    }

    #[test]
    fn features_and_labels_are_read_whoever_wrote_the_file() {
        let labels: Vec<u8> =
            (0..12).flat_map(|row| [0, 1, 2].map(|class| (row % 3 == class).into())).collect();
        let types = [
            ("plain.h5", [ElementType::F32, ElementType::Bool]),
            ("packed.h5", [ElementType::F64, ElementType::U8]),
            ("matlab73.mat", [ElementType::F64, ElementType::U8]),
        ];
        for (name, expected) in types {
            let (image, label) = (open(name, "XAll").unwrap(), open(name, "LAll").unwrap());
            assert_eq!([image.element_type(), label.element_type()], expected, "{name}");
            assert_eq!((image.shape(), label.shape()), (&[12, 3][..], &[12, 3][..]), "{name}");
            assert_eq!(image.to_f32().unwrap(), features(), "{name}");
            assert_eq!(label.to_u8().unwrap(), labels, "{name}");
        }
        let half = open("plain.h5", "parts/half").unwrap();
        assert_eq!((half.element_type(), half.to_f32().unwrap()), (ElementType::F16, features()));
    }

    #[test]
    fn what_is_no_matrix_of_numbers_is_refused() {
        let which = Array::open(fixture("packed.h5")).unwrap_err();
        assert!(matches!(which, ArrayError::WhichKey { keys, .. } if keys == ["LAll", "XAll"]));
        assert!(matches!(open("packed.h5", "YAll").unwrap_err(), ArrayError::Key { .. }));
        assert!(matches!(open("plain.h5", "parts/none").unwrap_err(), ArrayError::Archive { .. }));
        let cube = open("plain.h5", "parts/cube").unwrap_err();
        assert!(matches!(cube, ArrayError::Dimensions { dimensions: 3, .. }));
        assert!(matches!(open("plain.h5", "parts/words").unwrap_err(), ArrayError::Elements { .. }));
    }

    #[test]
    fn no_cut_and_no_changed_byte_is_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mat");
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let (mut refused, mut unreadable) = (0, 0);
        for name in ["plain.h5", "packed.h5", "matlab73.mat", "pictures.mat"] {
            let whole = std::fs::read(fixture(name)).unwrap();
            for round in 0..400 {
                let mut bytes = whole.clone();
                if round % 4 == 0 {
                    bytes.truncate(random.random_range(0..whole.len()));
                } else {
                    for _ in 0..=round % 3 {
                        bytes[random.random_range(0..whole.len())] = random.random();
                    }
                }
                std::fs::write(&path, bytes).unwrap();
                let keys = ["XAll", "LAll", "parts/half", "parts/words"];
                let opened = keys.map(|key| Array::open(format!("{}:{key}", path.display())));
                refused += opened.iter().filter(|array| array.is_err()).count();
                let pictures = PictureArray::open(format!("{}:IAll", path.display()));
                let pictures = pictures.and_then(|pictures| pictures.read(0..pictures.rows().min(30)));
                unreadable += usize::from(pictures.is_err());
            }
        }
        assert!(refused > 400, "{refused}");
        // All of the files that hold none, and some of those that do.
        assert!((1210..1600).contains(&unreadable), "{unreadable}");
    }
}
