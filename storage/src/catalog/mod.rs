//! The RocksDB catalog: opening it, checking it, and what is done with the whole of it.

mod batch;
mod family;
mod options;
mod pin;

pub(crate) use batch::Batch;
pub(crate) use family::Family;
pub(crate) use pin::Pin;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, ColumnFamily, ColumnFamilyDescriptor, CompactOptions, DB,
    ErrorKind, ReadOptions, WriteBatch, WriteOptions,
};

use crate::damage;
use crate::error::Error;
use crate::format::CATALOG_MAGIC;
use crate::id::CollectionId;
use crate::keys;
use crate::lock::Lock;
use crate::log::{self, Logs};
use crate::meta::Counters;
use options::{block_cache, database_options, descriptors, family_options};

/// Bytes read ahead while every table is checked.
const CHECK_READAHEAD: usize = 1 << 20;

/// Entries from which on a batch profits from its order.
const SORTED_BATCH: usize = 64;

/// An open catalog, with the lock of the database when it is open for writing.
pub(crate) struct Catalog {
    // Closed before the lock is released.
    db: DB,
    path: PathBuf,
    writable: bool,
    /// The last commit that is known to be on the disk.
    synced: AtomicU64,
    _lock: Option<Lock>,
}

impl Catalog {
    fn new(db: DB, path: &Path, lock: Option<Lock>) -> Self {
        let writable = lock.is_some();
        Catalog { db, path: path.to_path_buf(), writable, synced: AtomicU64::new(0), _lock: lock }
    }

    /// Opens the catalog for writing, creating it when absent.
    pub(crate) fn open(path: &Path, cache_bytes: usize, lock: Lock) -> Result<Self, Error> {
        Catalog::check_manifest(path)?;
        let cache = block_cache(cache_bytes);
        let mut options = database_options();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let db = DB::open_cf_descriptors(&options, path, descriptors(&cache))
            .map_err(|e| wrap(path, "open", e))?;
        Ok(Catalog::new(db, path, Some(lock)))
    }

    /// Opens the catalog as it is now, for reading.
    pub(crate) fn open_read_only(path: &Path, cache_bytes: usize) -> Result<Self, Error> {
        Logs::read(path)?.check_is_mended()?;
        Catalog::check_manifest(path)?;
        let cache = block_cache(cache_bytes);
        let mut options = database_options();
        // Every table is opened at once, as the writer may remove any of them later.
        options.set_max_open_files(-1);
        let db = DB::open_cf_descriptors_read_only(&options, path, descriptors(&cache), false)
            .map_err(|e| wrap(path, "open", e))?;
        Ok(Catalog::new(db, path, None))
    }

    /// The format version of the catalog in a folder and its last commit, read without changing anything
    /// there. `None` when there is none yet.
    pub(crate) fn glance(path: &Path) -> Result<Option<(u32, u64)>, Error> {
        if !path.join("CURRENT").exists() {
            return Ok(None);
        }
        Catalog::check_manifest(path)?;
        // A newer version may have families that this one does not know; `meta` is among any.
        let families = [rocksdb::DEFAULT_COLUMN_FAMILY_NAME, Family::Meta.name()];
        let db = DB::open_cf_for_read_only(&database_options(), path, families, false)
            .map_err(|e| wrap(path, "open", e))?;
        let Some(meta) = db.cf_handle(Family::Meta.name()) else { return Ok(None) };
        let get = |key: &[u8]| db.get_cf(&meta, key).map_err(|e| wrap(path, "read", e));
        let version = get(&keys::format())?.and_then(|value| format_version(&value));
        let counters = get(&keys::counters())?.and_then(|value| Counters::decode(&value));
        Ok(version.map(|version| (version, counters.unwrap_or_default().version)))
    }

    /// Opens the catalog a second time for reading each of its files, with nothing in memory that
    /// would hide what is on disk now. Also returns damage of a log, beside which the rest can be read.
    ///
    /// Opening checks the manifest, and of each table the footer, the properties and the index.
    pub(crate) fn open_for_check(path: &Path) -> Result<(Self, Option<Error>), Error> {
        let logs = Logs::read(path)?;
        logs.check_is_mended()?;
        Catalog::check_manifest(path)?;
        let mut options = database_options();
        options.set_max_open_files(-1);
        let descriptors = Family::ALL.into_iter().map(|family| {
            let mut table = BlockBasedOptions::default();
            table.disable_cache();
            let mut options = family_options(family, &table);
            options.set_max_sequential_skip_in_iterations(u64::MAX);
            ColumnFamilyDescriptor::new(family.name(), options)
        });
        let db = DB::open_cf_descriptors_read_only(&options, path, descriptors, false)
            .map_err(|e| wrap(path, "open", e))?;
        Ok((Catalog::new(db, path, None), logs.damage()))
    }

    /// Reads every data block of every table, those whose entries are all deleted or replaced
    /// included, and tells of each damaged table. Returns how many tables there are, and their bytes.
    pub(crate) fn read_tables(&self, damaged: &mut dyn FnMut(Error)) -> Result<(u64, u64), Error> {
        let files = self.db.live_files().map_err(|e| wrap(&self.path, "list its files", e))?;
        for family in Family::ALL {
            let Err(first) = self.read_range(family, &[], None) else { continue };
            if !first.is_corruption() {
                return Err(first);
            }
            damaged(first);
            // The way through a family ends at the first damage: look at each table's keys alone.
            for file in files.iter().filter(|file| file.column_family_name == family.name()) {
                let (Some(start), Some(end)) = (&file.start_key, &file.end_key) else { continue };
                match self.read_range(family, start, Some(end)) {
                    Err(error) if error.is_corruption() => damaged(error),
                    other => other?,
                }
            }
        }
        Ok((files.len() as u64, files.iter().map(|file| file.size as u64).sum()))
    }

    /// Steps over every version of the keys from `first` to `last`, both included.
    fn read_range(&self, family: Family, first: &[u8], last: Option<&Vec<u8>>) -> Result<(), Error> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        #[expect(deprecated, reason = "deprecated for its cost; here what was deleted is to be read, too")]
        options.set_ignore_range_deletions(true);
        options.set_readahead_size(CHECK_READAHEAD);
        if let Some(last) = last {
            options.set_iterate_upper_bound([last.as_slice(), &[0]].concat());
        }
        let mut iterator = self.db.raw_iterator_cf_opt(&self.handle(family)?, options);
        iterator.seek(first);
        while iterator.valid() {
            iterator.next();
        }
        iterator.status().map_err(|e| wrap(&self.path, "read", e))
    }

    /// Which manifest is current, and its length: they change whenever the writer replaces files.
    pub(crate) fn manifest(path: &Path) -> Result<(String, u64), Error> {
        let current = path.join("CURRENT");
        let name = fs::read_to_string(&current).map_err(Error::io(&current, "read"))?.trim().to_owned();
        let manifest = path.join(&name);
        let length = fs::metadata(&manifest).map_err(Error::io(&manifest, "read the length of"))?.len();
        Ok((name, length))
    }

    /// Finds what RocksDB would not; what else is wrong with the manifest, or its name, it tells itself.
    fn check_manifest(path: &Path) -> Result<(), Error> {
        match Catalog::manifest(path) {
            Ok((name, _)) => log::check_manifest(&path.join(name)),
            Err(_) => Ok(()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An empty batch.
    pub(crate) fn batch(&self) -> Result<Batch<'_>, Error> {
        let mut handles = Vec::with_capacity(Family::ALL.len());
        for family in Family::ALL {
            handles.push(self.handle(family)?);
        }
        let mut inner = WriteBatch::default();
        inner.put_log_data(log::mark(self.synced.load(Ordering::Acquire)));
        Ok(Batch { inner, handles })
    }

    /// Tells that commit `version`, and so all before it, is on the disk.
    pub(crate) fn is_synced(&self, version: u64) {
        self.synced.fetch_max(version, Ordering::Release);
    }

    /// Writes the batch of commit `version`: this is the one commit point of the database.
    pub(crate) fn write(&self, batch: Batch<'_>, version: u64, sync: bool) -> Result<(), Error> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        // Large batches are sorted, so that a key's place in memory is near the one before.
        options.set_memtable_insert_hint_per_batch(batch.inner.len() >= SORTED_BATCH);
        self.db.write_opt(batch.inner, &options).map_err(|e| wrap(&self.path, "commit", e))?;
        if sync {
            self.is_synced(version);
        }
        Ok(())
    }

    /// Pins the catalog as it is now.
    pub(crate) fn pin(self: &Arc<Self>) -> Pin {
        Pin::new(self.clone())
    }

    /// Writes a copy of the catalog as it is now into a folder that is not there yet. No batch may be
    /// written meanwhile.
    pub(crate) fn checkpoint(&self, target: &Path) -> Result<(), Error> {
        Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(target))
            .map_err(|e| wrap(&self.path, "make a checkpoint", e))
    }

    /// Rewrites what belongs to a collection, so that the space of removed entries comes back.
    pub(crate) fn compact(&self, collection: CollectionId) -> Result<(), Error> {
        let handles: Vec<_> = Family::ALL.into_iter().filter_map(|f| self.handle(f).ok()).collect();
        // What is in the write buffers holds on to the log.
        self.db.flush_cfs_opt(&handles, &Default::default()).map_err(|e| wrap(&self.path, "flush", e))?;
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        let first = keys::collection(collection);
        let end = keys::after_prefix(&first);
        for family in Family::OF_COLLECTIONS {
            let handle = self.handle(family)?;
            self.db.compact_range_cf_opt(&handle, Some(&first), end.as_ref(), &options);
        }
        Ok(())
    }

    /// Bytes of a family's files.
    pub(crate) fn family_bytes(&self, family: Family) -> Result<u64, Error> {
        let handle = self.handle(family)?;
        self.db
            .property_int_value_cf(handle, rocksdb::properties::TOTAL_SST_FILES_SIZE)
            .map(Option::unwrap_or_default)
            .map_err(|e| wrap(&self.path, "measure", e))
    }

    fn handle(&self, family: Family) -> Result<&ColumnFamily, Error> {
        self.db
            .cf_handle(family.name())
            .ok_or_else(|| Error::corrupt(&self.path, 0, format!("family \"{}\" is missing", family.name())))
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        if !self.writable {
            return;
        }
        // Whatever was acknowledged is in the log already. Syncing it ends the wait for `Eventual`
        // commits, and emptying the write buffers leaves nothing to replay at the next open.
        let handles: Vec<_> = Family::ALL.into_iter().filter_map(|f| self.handle(f).ok()).collect();
        let closed =
            self.db.flush_wal(true).and_then(|()| self.db.flush_cfs_opt(&handles, &Default::default()));
        if let Err(error) = closed {
            tracing::warn!(%error, "the catalog was closed without emptying its write buffers");
        }
    }
}

/// The version in the value of the format key; `None` when the value is another one.
pub(crate) fn format_version(value: &[u8]) -> Option<u32> {
    value.strip_prefix(&CATALOG_MAGIC).and_then(|rest| rest.try_into().ok()).map(u32::from_le_bytes)
}

fn wrap(path: &Path, operation: &'static str, error: rocksdb::Error) -> Error {
    match error.kind() {
        ErrorKind::Corruption => {
            let (path, offset) = damage::place(path, error.as_ref());
            Error::corrupt(&path, offset, error.to_string())
        }
        _ => Error::Catalog { operation, source: Box::new(error) },
    }
}
