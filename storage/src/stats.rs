//! Sizes and counts.

use crate::catalog::Family;
use crate::error::Error;
use crate::id::CollectionId;
use crate::store::Store;

/// Counts and sizes of one collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Alive records.
    pub rows: u64,
    /// Dead rows that still take space.
    pub deleted: u64,
    /// Segments.
    pub segments: u64,
    /// Segments that compaction met damage in, by this handle, and leaves as they are; `verify` names all
    /// damage.
    pub damaged_segments: u64,
    /// Rows, alive or dead, that are in no segment yet.
    pub fresh_rows: u64,
    /// Sizes on disk.
    pub bytes: StoredBytes,
}

/// Bytes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredBytes {
    /// The collection's rows files.
    pub rows: u64,
    /// The collection's codes files.
    pub codes: u64,
    /// The collection's files of search indexes.
    pub search_index: u64,
    /// The catalog's table files with secondary indexes, of all collections together.
    pub index: u64,
    /// The rest of the catalog's folder, its log included, of all collections together.
    pub catalog: u64,
    /// The collection's model.
    pub models: u64,
}

impl StoredBytes {
    /// The sum.
    pub fn total(&self) -> u64 {
        self.rows + self.codes + self.search_index + self.index + self.catalog + self.models
    }
}

impl Store {
    /// Counts and sizes of a collection.
    pub fn stats(&self, id: CollectionId) -> Result<StoreStats, Error> {
        let state = self.inner.state();
        let collection = state.collection(id)?;
        let layout = &self.inner.layout;
        let mut bytes = StoredBytes::default();
        for segment in collection.segments() {
            bytes.rows += segment.rows.file().length();
            bytes.codes += segment.codes.as_ref().map_or(0, |codes| codes.file().length());
            bytes.search_index += segment.index.as_ref().map_or(0, |index| index.length());
        }
        bytes.models = collection.model_file.as_ref().map_or(0, |file| file.entry().length);
        bytes.index = state.pin.catalog().family_bytes(Family::Index)?;
        bytes.catalog = layout.files.folder_bytes(&layout.catalog)?.saturating_sub(bytes.index);
        let stored: u64 = collection.parts.iter().map(|part| u64::from(part.rows())).sum();
        Ok(StoreStats {
            rows: collection.live,
            deleted: stored.saturating_sub(collection.live),
            segments: collection.segments as u64,
            damaged_segments: collection.segments().filter(|segment| segment.is_damaged()).count() as u64,
            fresh_rows: collection.fresh_rows as u64,
            bytes,
        })
    }
}
