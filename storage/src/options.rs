//! How a database is opened.

use std::sync::Arc;

use crate::fs::{Disk, FileSystem};
use crate::indexer::SegmentIndexer;

/// Whether a commit waits until it would survive a power failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// It waits.
    #[default]
    Immediate,
    /// It returns once the operating system has it: it survives the end of the process, and a power
    /// failure may take the last commits, never an earlier one without the later ones.
    Eventual,
}

/// How segment files are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// Mapped into memory: nothing is read before it is needed, and the system's cache is all the
    /// memory it takes. Who truncates such a file from outside ends the process with SIGBUS, and so
    /// does a network file system that loses it.
    #[default]
    Mapped,
    /// Read with ordinary calls: codes, ids and presence bits are read and checked against their
    /// checksums at open and held in memory, kept inputs are read as they are asked for. A truncated
    /// file is an error, never a signal.
    Read,
}

/// How segments are merged and freed of dead rows; see [`Store::compact`](crate::Store::compact) for
/// doing it by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// Whether a thread does it while the database is open.
    pub background: bool,
    /// Bytes that the thread reads and writes a second at most; 0 is no bound.
    pub bytes_per_second: u64,
    /// Memory of a merge at most, in bytes, whatever the size of the segments; 4 MiB at least. Kept
    /// texts take three blocks of 64 texts in addition.
    pub memory_bytes: usize,
}

impl Default for Compaction {
    fn default() -> Self {
        Compaction { background: true, bytes_per_second: 64 << 20, memory_bytes: 32 << 20 }
    }
}

/// Which segments get a search index; see [`Store::build_indexes`](crate::Store::build_indexes) for doing
/// it by hand.
///
/// In the background the thread that merges segments makes them, once there is nothing to be merged, at the
/// pace of [`Compaction::bytes_per_second`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexing {
    /// Rows of a segment from which on its codes are indexed. `u32::MAX` for never.
    pub rows: u32,
    /// Memory for making one, in bytes; the less, the longer it takes.
    pub memory_bytes: usize,
}

impl Default for Indexing {
    fn default() -> Self {
        Indexing { rows: 1 << 20, memory_bytes: 256 << 20 }
    }
}

/// Options of [`Store::open`](crate::Store::open).
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Default durability of commits.
    pub durability: Durability,
    /// Memory for the catalog's block cache, in bytes.
    pub cache_bytes: usize,
    /// Rows of a collection outside segments at most; a commit that goes beyond writes a segment.
    pub fresh_rows: usize,
    /// Bytes of a collection's rows outside segments at most.
    pub fresh_bytes: usize,
    /// Bytes that a transaction gathers before it writes them as a segment.
    pub segment_bytes: usize,
    /// How segment files are read.
    pub read_mode: ReadMode,
    /// Merging of segments.
    pub compaction: Compaction,
    /// Making of search indexes.
    pub indexing: Indexing,
    /// What makes and reads search indexes. Without one none are made, and those that are there are
    /// kept and not used.
    pub indexer: Option<Arc<dyn SegmentIndexer>>,
    /// The way to the disk for all files outside the catalog.
    pub file_system: Arc<dyn FileSystem>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            durability: Durability::Immediate,
            cache_bytes: 32 << 20,
            fresh_rows: 65_536,
            fresh_bytes: 32 << 20,
            segment_bytes: 64 << 20,
            read_mode: ReadMode::Mapped,
            compaction: Compaction::default(),
            indexing: Indexing::default(),
            indexer: None,
            file_system: Arc::new(Disk),
        }
    }
}
