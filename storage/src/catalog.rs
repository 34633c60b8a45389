//! The RocksDB catalog: families, options, batches and pinned reads.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily,
    ColumnFamilyDescriptor, CompactOptions, DB, DBCompressionType, DBRecoveryMode, ErrorKind, LogLevel,
    LruCacheOptions, Options, ReadOptions, WriteBatch, WriteOptions,
};

use crate::damage;
use crate::dead;
use crate::error::Error;
use crate::format::CATALOG_MAGIC;
use crate::id::CollectionId;
use crate::keys;
use crate::lock::Lock;
use crate::log::{self, Logs};
use crate::meta::Counters;

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Family {
    /// Format version, counters, definitions, segments, sources, models.
    Meta = 0,
    /// (collection, id) to ordinal.
    Ids = 1,
    /// (collection, chunk) to a bitmap of dead ordinals.
    Dead = 2,
    /// (collection, ordinal) to a row that is in no segment yet.
    Fresh = 3,
    /// (collection, ordinal) to the fields of such a row.
    FreshFields = 4,
    /// (collection, field, chunk) to the values of rows in segments.
    Columns = 5,
    /// (collection, field, value, ordinal) to nothing.
    Index = 6,
}

impl Family {
    pub(crate) const ALL: [Family; 7] = [
        Family::Meta,
        Family::Ids,
        Family::Dead,
        Family::Fresh,
        Family::FreshFields,
        Family::Columns,
        Family::Index,
    ];

    /// The families whose keys begin with a collection.
    pub(crate) const OF_COLLECTIONS: [Family; 6] =
        [Family::Ids, Family::Dead, Family::Fresh, Family::FreshFields, Family::Columns, Family::Index];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Family::Meta => "meta",
            Family::Ids => "ids",
            Family::Dead => "dead",
            Family::Fresh => "fresh",
            Family::FreshFields => "fresh_fields",
            Family::Columns => "columns",
            Family::Index => "index",
        }
    }
}

/// Bytes of a write buffer; with seven families the sum is bounded by [`ALL_WRITE_BUFFERS`].
const WRITE_BUFFER: usize = 16 << 20;
const ALL_WRITE_BUFFERS: usize = 64 << 20;
/// Beyond this the oldest log is retired by writing out what it covers, which bounds replay at open
/// and what the disk holds of rows that are gone again.
const ALL_LOGS: u64 = 32 << 20;
/// Bytes read ahead while every table is checked.
const CHECK_READAHEAD: usize = 1 << 20;

/// Entries from which on a batch profits from its order.
const SORTED_BATCH: usize = 64;
/// Share of a write buffer that is a filter of the keys in it: 10 bits a key of an id.
const FILTER_SHARE: f64 = 0.02;

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
        Pin { cell: PinCell::new(self.clone(), |catalog| catalog.db.snapshot()) }
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

fn database_options() -> Options {
    let mut options = Options::default();
    // After power is lost, the end of a log that was never synced may be torn: opening goes back to
    // the last whole commit before the damage. `AbsoluteConsistency` would refuse such a log, which
    // `Durability::Eventual` makes ordinary; the other two modes may skip over a lost commit and
    // apply later ones. Damage of what was synced is told apart by the marks of `crate::log`.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_max_total_wal_size(ALL_LOGS);
    options.set_db_write_buffer_size(ALL_WRITE_BUFFERS);
    options.set_max_background_jobs(2);
    options.set_max_open_files(256);
    // For each family anew RocksDB would start sixteen threads to open its tables, of which there are
    // few: that took longer than everything else of an open.
    options.set_max_file_opening_threads(1);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    options.set_bytes_per_sync(1 << 20);
    options
}

/// The cache is divided among a few locks only: a block larger than its division is never kept.
fn block_cache(bytes: usize) -> Cache {
    let mut options = LruCacheOptions::default();
    options.set_capacity(bytes);
    options.set_num_shard_bits(2);
    Cache::new_lru_cache_opts(&options)
}

fn descriptors(cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
    Family::ALL
        .into_iter()
        .map(|family| {
            let mut table = BlockBasedOptions::default();
            table.set_block_cache(cache);
            table.set_cache_index_and_filter_blocks(true);
            table.set_pin_l0_filter_and_index_blocks_in_cache(true);
            // Indexes and filters in pages: those of a whole table may be larger than the cache, and
            // then every look-up would read megabytes.
            table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
            table.set_partition_filters(true);
            table.set_pin_top_level_index_and_filter(true);
            if family == Family::Ids {
                // Most ids put are new: the filter answers those look-ups.
                table.set_bloom_filter(10.0, false);
            }
            ColumnFamilyDescriptor::new(family.name(), family_options(family, &table))
        })
        .collect()
}

fn family_options(family: Family, table: &BlockBasedOptions) -> Options {
    let mut options = Options::default();
    options.set_block_based_table_factory(table);
    if family == Family::Ids {
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(FILTER_SHARE);
    }
    options.set_write_buffer_size(WRITE_BUFFER);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    if family == Family::Fresh {
        // Rows pass through on their way into segments: what is here is mostly removed already, and
        // goes only when tables are merged. Small tables, merged soon, keep that little; where merging
        // cannot keep up, writing slows down.
        options.set_write_buffer_size(WRITE_BUFFER / 2);
        options.set_level_zero_file_num_compaction_trigger(2);
        options.set_level_zero_slowdown_writes_trigger(12);
        options.set_level_zero_stop_writes_trigger(16);
    }
    if family == Family::Dead {
        options.set_merge_operator_associative("twinbit.union", |_, existing, operands| {
            dead::merge(existing, operands.iter())
        });
    }
    options
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

/// Changes that become visible and durable together.
pub(crate) struct Batch<'a> {
    inner: WriteBatch,
    handles: Vec<&'a ColumnFamily>,
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
