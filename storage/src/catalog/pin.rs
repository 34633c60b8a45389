//! Reads of one version.

use std::ops::ControlFlow;
use std::sync::Arc;

use rocksdb::{DB, ReadOptions};

use super::{Catalog, Family, wrap};
use crate::error::Error;
use crate::keys;

type RocksSnapshot<'a> = rocksdb::SnapshotWithThreadMode<'a, DB>;

self_cell::self_cell!(
    struct PinCell {
        owner: Arc<Catalog>,
        #[covariant]
        dependent: RocksSnapshot,
    }
);

/// Called with a key and its value; says whether to go on.
pub(crate) type Each<'f> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Error> + 'f;

/// The catalog as it was at one version. Keeps the catalog open.
pub(crate) struct Pin {
    cell: PinCell,
}

impl Pin {
    pub(super) fn new(catalog: Arc<Catalog>) -> Self {
        Pin { cell: PinCell::new(catalog, |catalog| catalog.db.snapshot()) }
    }

    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        self.cell.borrow_owner()
    }

    pub(crate) fn get(&self, family: Family, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
        let catalog = self.catalog();
        self.cell
            .borrow_dependent()
            .get_cf(&catalog.handle(family)?, key)
            .map_err(|e| wrap(&catalog.path, "read", e))
    }

    /// The values of many ascending keys, in their order.
    pub(crate) fn get_many(&self, family: Family, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let catalog = self.catalog();
        let mut options = ReadOptions::default();
        options.set_snapshot(self.cell.borrow_dependent());
        let values = catalog.db.batched_multi_get_cf_opt(&catalog.handle(family)?, keys, true, &options);
        let values = values.into_iter().map(|value| Ok(value?.map(|bytes| bytes.to_vec())));
        values.collect::<Result<_, _>>().map_err(|e| wrap(&catalog.path, "read", e))
    }

    /// Calls `each` for the keys from `first` up to but not including `end` (or to the last), in
    /// order, until it breaks.
    pub(crate) fn scan(
        &self,
        family: Family,
        first: &[u8],
        end: Option<Vec<u8>>,
        each: &mut Each<'_>,
    ) -> Result<(), Error> {
        let catalog = self.catalog();
        let mut options = ReadOptions::default();
        if let Some(end) = end {
            options.set_iterate_upper_bound(end);
        }
        let mut iterator =
            self.cell.borrow_dependent().raw_iterator_cf_opt(&catalog.handle(family)?, options);
        iterator.seek(first);
        while let Some((key, value)) = iterator.item() {
            if each(key, value)?.is_break() {
                return Ok(());
            }
            iterator.next();
        }
        iterator.status().map_err(|e| wrap(&catalog.path, "read", e))
    }

    /// [`scan`](Self::scan) over the keys with a prefix.
    pub(crate) fn scan_prefix(
        &self,
        family: Family,
        prefix: &[u8],
        each: &mut Each<'_>,
    ) -> Result<(), Error> {
        self.scan(family, prefix, keys::after_prefix(prefix), each)
    }

    /// An error that names a key with an unreadable value.
    pub(crate) fn corrupt(&self, family: Family, key: &[u8], what: &str) -> Error {
        let key: String = key.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
        Error::corrupt(self.catalog().path(), 0, format!("family \"{}\", key {key}: {what}", family.name()))
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pin").field(&self.catalog().path).finish()
    }
}
