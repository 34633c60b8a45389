//! Arrays in HDF5 files, as h5py and MATLAB 7.3 write them. Needs the cargo feature `hdf5`.

#[cfg(feature = "hdf5")]
mod dataset;

#[cfg(feature = "hdf5")]
pub(super) use dataset::{Rows, open};

use super::mat;

const MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";

/// Whose habits a file follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// Rows come first.
    Any,
    /// Columns come first.
    Matlab,
}

impl Writer {
    /// Told by the first bytes of a file; none where it is no HDF5 file. MATLAB puts a text of its own
    /// before the file proper, and the version 2 behind the text.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        if start.starts_with(MAGIC) {
            return Some(Self::Any);
        }
        let ends = start.len() >= mat::HEADER_BYTES && start.ends_with(&[2, b'I', b'M']);
        (start.starts_with(mat::MAGIC) && ends).then_some(Self::Matlab)
    }
}

/// Rows of a file that this build does not read: there are none.
#[cfg(not(feature = "hdf5"))]
#[derive(Debug)]
pub(super) enum Rows {}

#[cfg(not(feature = "hdf5"))]
impl Rows {
    pub(super) fn read(
        &self,
        _rows: std::ops::Range<usize>,
        _name: &str,
    ) -> Result<Vec<u8>, super::error::ArrayError> {
        match *self {}
    }
}

#[cfg(not(feature = "hdf5"))]
pub(super) fn open(
    _file: std::fs::File,
    _writer: Writer,
    _key: Option<&str>,
    name: &str,
) -> Result<(super::npy::Header, super::array::Data), super::error::ArrayError> {
    Err(super::error::ArrayError::Hdf5 { name: name.to_owned() })
}
