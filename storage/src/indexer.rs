//! The seam to what makes and reads search indexes, whose bytes mean nothing to this crate.

use std::any::Any;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use twinbit_kernels::Codes;

use crate::error::BoxedError;
use crate::segment::IndexColumn;

/// What an indexer keeps of an index that is open; [`Part::index`](crate::Part::index) hands it back.
pub type OpenIndex = Arc<dyn Any + Send + Sync>;

/// How an index is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexBuild {
    /// Memory to get by with, in bytes.
    pub memory_bytes: usize,
    /// Whether it is made beside other work, which it is not to slow down.
    pub background: bool,
}

/// Makes and reads the search indexes of segments: one for the codes of each modality.
pub trait SegmentIndexer: fmt::Debug + Send + Sync {
    /// Makes the index of some codes and gives its bytes to `out`, from front to back.
    ///
    /// The same codes must always give the same bytes. `out` may wait, and fails when the index is not
    /// wanted any more; while there is nothing to give it is to be asked with no bytes every now and then.
    ///
    /// # Errors
    /// What `out` reports, and what goes wrong here.
    fn build(
        &self,
        codes: Codes<'_>,
        build: IndexBuild,
        out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()>;

    /// Opens the index of some codes without reading much of it: a database is opened no faster than
    /// its indexes are.
    ///
    /// # Errors
    /// When the bytes are not such an index.
    fn open(&self, bytes: IndexBytes, codes: Codes<'_>) -> Result<OpenIndex, BoxedError>;

    /// Reads all of an index and compares it with its codes.
    ///
    /// # Errors
    /// Says what does not fit.
    fn verify(&self, index: &OpenIndex, codes: Codes<'_>) -> Result<(), BoxedError>;
}

/// The bytes of an index where they lie, mapped or in memory, from a multiple of 64 bytes on; they stay
/// for as long as this is kept.
#[derive(Clone, Debug)]
pub struct IndexBytes(pub(crate) IndexColumn);

impl Deref for IndexBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}
