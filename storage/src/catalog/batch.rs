//! Changes that are written at once.

use rocksdb::{ColumnFamily, WriteBatch};

use super::Family;
use crate::keys;

/// Changes that become visible and durable together.
pub(crate) struct Batch<'a> {
    pub(super) inner: WriteBatch,
    pub(super) handles: Vec<&'a ColumnFamily>,
}

impl Batch<'_> {
    #[expect(clippy::indexing_slicing, reason = "one handle a family, checked by Catalog::batch")]
    fn with(&mut self, family: Family) -> (&mut WriteBatch, &ColumnFamily) {
        (&mut self.inner, self.handles[family as usize])
    }

    pub(crate) fn put(&mut self, family: Family, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (batch, handle) = self.with(family);
        batch.put_cf(&handle, key, value);
    }

    pub(crate) fn delete(&mut self, family: Family, key: impl AsRef<[u8]>) {
        let (batch, handle) = self.with(family);
        batch.delete_cf(&handle, key);
    }

    pub(crate) fn merge(&mut self, family: Family, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (batch, handle) = self.with(family);
        batch.merge_cf(&handle, key, value);
    }

    /// Removes the keys from `first` up to but not including `end`.
    pub(crate) fn delete_range(&mut self, family: Family, first: impl AsRef<[u8]>, end: impl AsRef<[u8]>) {
        let (batch, handle) = self.with(family);
        batch.delete_range_cf(&handle, first.as_ref(), end.as_ref());
    }

    /// Removes the keys with a prefix.
    pub(crate) fn delete_prefix(&mut self, family: Family, prefix: &[u8]) {
        // Prefixes hold a collection's number, which never reaches the largest.
        if let Some(end) = keys::after_prefix(prefix) {
            self.delete_range(family, prefix, end);
        }
    }
}
