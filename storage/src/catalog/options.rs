//! How RocksDB is set up.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode,
    LogLevel, LruCacheOptions, Options,
};

use super::Family;
use crate::dead;

/// Bytes of a write buffer; with seven families the sum is bounded by [`ALL_WRITE_BUFFERS`].
const WRITE_BUFFER: usize = 16 << 20;
const ALL_WRITE_BUFFERS: usize = 64 << 20;
/// Beyond this the oldest log is retired by writing out what it covers, which bounds replay at open
/// and what the disk holds of rows that are gone again.
const ALL_LOGS: u64 = 32 << 20;
/// Share of a write buffer that is a filter of the keys in it: 10 bits a key of an id.
const FILTER_SHARE: f64 = 0.02;

pub(super) fn database_options() -> Options {
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
pub(super) fn block_cache(bytes: usize) -> Cache {
    let mut options = LruCacheOptions::default();
    options.set_capacity(bytes);
    options.set_num_shard_bits(2);
    Cache::new_lru_cache_opts(&options)
}

pub(super) fn descriptors(cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
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

pub(super) fn family_options(family: Family, table: &BlockBasedOptions) -> Options {
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
