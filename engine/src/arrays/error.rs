//! Why an array cannot be read.

use std::io;

/// An array file that cannot be opened or read. Every variant names the file, as it was given.
///
/// ```
/// use twinbit::{Array, ArrayError};
///
/// let error = Array::open("nothing.npy").unwrap_err();
/// assert!(matches!(error, ArrayError::Io { .. }));
/// assert!(error.to_string().contains("nothing.npy"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// The operating system refused.
    #[error("cannot read {name}: {source}")]
    Io {
        /// The array.
        name: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is of another kind.
    #[error(
        "{name} is no array file this version reads; it reads .npy files and, written FILE:KEY, arrays in .npz archives, \
         .safetensors and MATLAB files (in Python: numpy.save or numpy.savez)"
    )]
    Kind {
        /// The array.
        name: String,
    },
    /// The file is HDF5, as MATLAB 7.3 and h5py write it.
    #[error(
        "{name} is an HDF5 file (MATLAB 7.3, h5py), which this build does not read; save its arrays with numpy.save, or \
         in MATLAB with save -v7"
    )]
    Hdf5 {
        /// The array.
        name: String,
    },
    /// The archive has no such array.
    #[error("{name} holds no array called {key:?}; it holds {}", listed(.keys))]
    Key {
        /// The archive.
        name: String,
        /// The key asked for.
        key: String,
        /// The keys there are.
        keys: Vec<String>,
    },
    /// The archive holds several arrays, or none, and none was named.
    #[error("{name} holds {}; say which one is meant, as FILE:KEY", listed(.keys))]
    WhichKey {
        /// The archive.
        name: String,
        /// The keys there are.
        keys: Vec<String>,
    },
    /// A key was given for a file that holds one array.
    #[error("{name} holds one array and takes no key: leave out :{key}")]
    NoKeys {
        /// The file.
        name: String,
        /// The key given.
        key: String,
    },
    /// The header is not as numpy writes it.
    #[error("{name} has a damaged header: {reason}")]
    Header {
        /// The array.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The elements have a type this version does not read.
    #[error(
        "{name} holds elements of type {found}; readable are little-endian float16, float32, float64, int8, int32, \
         int64, uint8 and bool (in Python: array.astype('float32'))"
    )]
    Elements {
        /// The array.
        name: String,
        /// numpy's name of the type.
        found: String,
    },
    /// The elements have a type that this use does not take.
    #[error("{name} holds {found} elements, but {wanted} are needed")]
    WrongElements {
        /// The array.
        name: String,
        /// The element type.
        found: &'static str,
        /// What would be taken.
        wanted: &'static str,
    },
    /// Columns are stored one after the other instead of rows.
    #[error(
        "{name} is stored column by column (Fortran order); save it row by row (in Python: numpy.ascontiguousarray)"
    )]
    FortranOrder {
        /// The array.
        name: String,
    },
    /// The array has a number of dimensions other than one, two or four.
    #[error(
        "{name} has {dimensions} dimensions; one (values), two (rows, columns) or four (pictures) can be read"
    )]
    Dimensions {
        /// The array.
        name: String,
        /// How many it has.
        dimensions: usize,
    },
    /// The array holds pictures where numbers are needed.
    #[error(
        "{name} has four dimensions, as raw pictures have; numbers in one or two are needed here. Pictures stand for \
         images where an encoder of pictures is named, of the collection or in the file of an experiment"
    )]
    NoFeatures {
        /// The array.
        name: String,
    },
    /// The array has not the shape of pictures.
    #[error("{name} has the shape {}; pictures in a file of this kind have {wanted}, up to 32,768 pixels a side", tuple(.shape))]
    NoPictures {
        /// The array.
        name: String,
        /// Its lengths.
        shape: Vec<usize>,
        /// The order of lengths in such a file.
        wanted: &'static str,
    },
    /// A published data set has another number of pictures.
    #[error(
        "{name} has {found} pictures, in {data} there are {expected}: this is another version of the data"
    )]
    OtherPictures {
        /// The array.
        name: String,
        /// Name of the data set.
        data: &'static str,
        /// Pictures it has.
        found: usize,
        /// Pictures it should have.
        expected: usize,
    },
    /// No raw pictures are distributed of a published data set.
    #[error("there are no files of raw pictures of {data}, only features; leave the image encoder out")]
    NoPublishedPictures {
        /// Name of the data set.
        data: &'static str,
    },
    /// The rows have no columns.
    #[error("{name} has rows of no values at all")]
    NoColumns {
        /// The array.
        name: String,
    },
    /// The file ends before its last row.
    #[error("{name} is cut off: its header announces {expected} bytes of data, there are {got}")]
    Truncated {
        /// The array.
        name: String,
        /// Bytes announced.
        expected: u64,
        /// Bytes there are.
        got: u64,
    },
    /// More data than can be unpacked into memory or addressed.
    #[error(
        "{name} would take {bytes} bytes of memory, more than the {limit} allowed; save it uncompressed (numpy.save), then it is read in place"
    )]
    TooLarge {
        /// The array.
        name: String,
        /// Bytes announced.
        bytes: u128,
        /// The limit.
        limit: u64,
    },
    /// The archive cannot be read.
    #[error("cannot read the archive {name}: {source}")]
    Archive {
        /// The archive.
        name: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Rows were asked for that do not exist, or a buffer has the wrong length.
    #[error(
        "{name} has {rows} rows of {width} values; rows {start}..{end} do not fit a buffer of {buffer} values"
    )]
    Rows {
        /// The array.
        name: String,
        /// Its rows.
        rows: usize,
        /// Its values in a row.
        width: usize,
        /// The first row asked for.
        start: usize,
        /// The row after the last.
        end: usize,
        /// Length of the buffer.
        buffer: usize,
    },
    /// Two arrays that belong together have different numbers of rows.
    #[error("{first} has {first_rows} rows, {second} has {second_rows}; they must have as many")]
    RowsDiffer {
        /// One array.
        first: String,
        /// Its rows.
        first_rows: usize,
        /// The other.
        second: String,
        /// Its rows.
        second_rows: usize,
    },
    /// A file of a published data set is not there.
    #[error("{data} needs {file}, which is not in {}", folder.display())]
    MissingFile {
        /// Name of the data set.
        data: &'static str,
        /// The file.
        file: String,
        /// Where it was looked for.
        folder: std::path::PathBuf,
    },
    /// A matrix of a published data set has another size than the published one.
    #[error(
        "{name} has {} rows of {} values, in {data} there are {} of {}: this is another version of the data",
        found[0], found[1], expected[0], expected[1]
    )]
    OtherVersion {
        /// The array.
        name: String,
        /// Name of the data set.
        data: &'static str,
        /// Rows and columns it has.
        found: [usize; 2],
        /// Rows and columns it should have.
        expected: [usize; 2],
    },
    /// An array that says something of each row has not one value a row.
    #[error("{name} has {found} rows of {width} values; one value for each of the {rows} rows is needed")]
    RowValues {
        /// The array.
        name: String,
        /// Its rows.
        found: usize,
        /// Its values in a row.
        width: usize,
        /// Rows there should be.
        rows: usize,
    },
    /// Every row would be a query of the test.
    #[error("there are {rows} rows, so {queries} rows to test with would leave none to train on")]
    NothingToTrainOn {
        /// Rows there are.
        rows: usize,
        /// Rows asked for as queries.
        queries: usize,
    },
    /// More rows than can be numbered.
    #[error("{rows} rows are more than can be trained on")]
    TooManyRows {
        /// Rows there are.
        rows: usize,
    },
    /// A value that does not fit what it is used for.
    #[error("{name} holds at row {row}, column {column} a value that is not {wanted}")]
    Value {
        /// The array.
        name: String,
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// What the value should be.
        wanted: &'static str,
    },
}

/// Lengths as Python prints them.
fn tuple(shape: &[usize]) -> String {
    let lengths: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("({})", lengths.join(", "))
}

fn listed(keys: &[String]) -> String {
    const SHOWN: usize = 20;
    if keys.is_empty() {
        return "no arrays".to_owned();
    }
    let more = if keys.len() > SHOWN { ", ..." } else { "" };
    let shown: Vec<&str> = keys.iter().take(SHOWN).map(String::as_str).collect();
    format!("{}{more}", shown.join(", "))
}
