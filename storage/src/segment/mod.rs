//! Immutable files of rows, codes and search indexes under one segment number.
//!
//! A segment is useful for scanning codes and for re-reading inputs; which of its rows are alive and
//! what their fields are is the catalog's business.

mod codes;
mod content;
mod index;
mod merge;
mod reader;
mod rows;
mod texts;
mod writer;

use std::sync::Arc;

use twinbit_kernels::{Codes, CodesBuf, Modality};

pub(crate) use codes::CodesFile;
pub use codes::CodesIdentity;
pub(crate) use index::{IndexColumn, IndexFile};
pub(crate) use merge::Merge;
pub(crate) use rows::RowsFile;

use self::reader::ColumnFile;
use crate::buffer::RowBuffer;
use crate::error::Error;
use crate::id::{CollectionId, ModelId};
use crate::layout::Layout;

/// Told of bytes read or written; may wait, and may end the work with an error.
pub(crate) type Step<'f> = dyn FnMut(u64) -> Result<(), Error> + 'f;

/// A segment's rows, the codes that the collection uses now, and their index where there is one.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) rows: Arc<RowsFile>,
    pub(crate) codes: Option<Arc<CodesFile>>,
    pub(crate) index: Option<Arc<IndexFile>>,
}

impl Segment {
    /// Writes the buffer as a segment: its rows, and its codes when it has any.
    pub(crate) fn write(
        layout: &Layout,
        number: u32,
        collection: CollectionId,
        model: Option<ModelId>,
        buffer: &RowBuffer,
    ) -> Result<Self, Error> {
        let rows = Arc::new(RowsFile::write(layout, number, collection, buffer)?);
        let codes = match (model, &buffer.codes) {
            (Some(model), Some(codes)) => Some(Arc::new(CodesFile::write(layout, &rows, model, codes)?)),
            _ => None,
        };
        Ok(Segment { rows, codes, index: None })
    }

    /// Writes codes of another model beside the rows.
    pub(crate) fn with_codes(
        &self,
        layout: &Layout,
        model: ModelId,
        codes: &[CodesBuf; 2],
    ) -> Result<Self, Error> {
        Ok(Segment {
            rows: self.rows.clone(),
            codes: Some(Arc::new(CodesFile::write(layout, &self.rows, model, codes)?)),
            index: None,
        })
    }

    pub(crate) fn codes(&self, modality: Modality) -> Option<Codes<'_>> {
        self.codes.as_ref()?.codes(modality)
    }

    /// The same rows and codes with another index, or without one.
    pub(crate) fn with_index(&self, index: Option<Arc<IndexFile>>) -> Self {
        Segment { rows: self.rows.clone(), codes: self.codes.clone(), index }
    }

    /// Bytes of the files that a merge reads.
    pub(crate) fn bytes(&self) -> u64 {
        self.rows.file().length() + self.codes.as_ref().map_or(0, |codes| codes.file().length())
    }

    fn files(&self) -> impl Iterator<Item = &ColumnFile> {
        [Some(self.rows.file()), self.codes.as_ref().map(|codes| codes.file())].into_iter().flatten()
    }

    /// Whether a merge, or the making of an index, has met damage in one of these files since they were
    /// opened. Others leave the segment out.
    pub(crate) fn is_damaged(&self) -> bool {
        self.files().any(ColumnFile::is_damaged)
    }

    /// Notes the damage that an error tells of, if it is of one of these files.
    pub(crate) fn note_damage(&self, error: &Error) {
        if let Error::Corrupt { path, .. } | Error::Io { path, .. } = error {
            self.files().filter(|file| file.path() == path).for_each(|file| file.set_damaged(true));
        }
    }

    /// Forgets damage that was met, so that the next merge looks again.
    pub(crate) fn forget_damage(&self) {
        self.files().for_each(|file| file.set_damaged(false));
    }

    /// A commit is about to name these files.
    pub(crate) fn keep(&self) {
        self.rows.guard().keep();
        if let Some(codes) = &self.codes {
            codes.guard().keep();
        }
        if let Some(index) = &self.index {
            index.guard().keep();
        }
    }

    /// A commit has stopped naming these files.
    pub(crate) fn retire(&self) {
        self.rows.guard().retire();
        self.retire_codes();
    }

    /// A commit has stopped naming the codes, and the index with them.
    pub(crate) fn retire_codes(&self) {
        if let Some(codes) = &self.codes {
            codes.guard().retire();
        }
        self.retire_index();
    }

    /// A commit has stopped naming the index.
    pub(crate) fn retire_index(&self) {
        if let Some(index) = &self.index {
            index.guard().retire();
        }
    }
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
