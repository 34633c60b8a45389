//! Storage of twinbit: records of image-text pairs in immutable memory-mapped segments, and a RocksDB
//! catalog for everything that changes.
//!
//! It understands ids, which modalities a record has, kept inputs, codes and typed fields. A model is
//! an id and bytes to it, and it does not search.
//!
//! ```
//! use twinbit_kernels::{CodeBits, Modality};
//! use twinbit_storage::{CollectionConfig, IdKind, InputKind, NewRecord, Store, StoreOptions};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path();
//! let store = Store::open(path, StoreOptions::default())?;
//! let photos = store.create_collection("photos", CollectionConfig {
//!     bits: CodeBits::new(64)?,
//!     ids: IdKind::Str,
//!     image: InputKind::None,
//!     text: InputKind::None,
//!     keep_inputs: false,
//!     external_codes: true,
//!     fields: Vec::new(),
//!     application: serde_json::Value::Null,
//! })?;
//! let mut writer = store.writer(photos)?;
//! writer.put(NewRecord { id: Some("sunset".into()), codes: [Some(&[7; 8]), None], ..NewRecord::default() })?;
//! writer.commit()?;
//!
//! let view = store.view().collection(photos).ok_or("dropped meanwhile")?;
//! let part = &view.parts()[0];
//! assert_eq!(part.searchable(Modality::Image).count(), 1);
//! assert_eq!(part.id(0)?, "sunset".into());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//! A commit is one RocksDB write batch. Few rows go into the catalog itself; many are first written as
//! segment files, synced, and then named by the batch. A [`View`] pins a version: a RocksDB snapshot,
//! the mapped files and the masks of alive rows. `docs/format.md` describes every byte on disk and
//! what is assumed of the medium; `unsafe` is in one file, the one that maps files.
//!
//! # Processes
//! One process at a time has a database open for writing: it holds an exclusive `flock` on the file
//! `LOCK`, whose text (its process id) only serves the message that others get, [`Error::Locked`]. The
//! system releases the lock when the process ends, however it ends, so no lock outlives its holder and
//! none has to be removed by hand. Other processes read beside it with [`Store::open_read_only`]: each
//! sees the last commit before its open or [`refresh`](Store::refresh), and goes on with files that
//! the writer removes meanwhile.
//!
//! After `fork` without `exec` the child must not use or drop any handle (store, view, transaction): the
//! lock belongs to the open file that both share, so the child would write as if it were alone, and
//! RocksDB's threads, which flush and compact, are not there in the child. Let it leave by `_exit`, and
//! know that the lock is held until the parent lets go of it, or, should the parent be killed, until the
//! child is gone, too. Starting a program (`fork` and `exec`, as
//! [`std::process::Command`] does) is fine: the file of the lock closes on `exec`. A process that wants
//! several workers opens the database after forking, or reads in them.
//!
//! # Limits
//! Little-endian machines; one process writes, others may read; 2^27 rows a segment, 1 KiB a string id,
//! 64 KiB a string field, 16 MiB a text.

#![deny(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

#[cfg(target_endian = "big")]
compile_error!("the format is little-endian and mapped files are used in place");

mod beside_writer;
mod bits;
mod buffer;
mod catalog;
mod checkpoint;
mod columns;
mod commit;
mod compact;
mod cursor;
mod damage;
mod dead;
mod durable;
mod edits;
mod error;
mod estimate;
mod fields;
mod flush;
pub mod format;
mod fresh;
mod fs;
mod gate;
mod group;
mod id;
mod index;
mod indexer;
mod indexing;
mod install;
mod install_note;
mod keys;
mod layout;
mod lock;
mod log;
mod meta;
mod mmap;
mod model_file;
mod options;
mod order;
mod part;
mod place;
mod predicate;
mod record;
mod reindex;
mod repair;
mod schema;
mod segment;
mod select;
mod sketch;
mod spill;
mod state;
mod stats;
mod store;
mod sweep;
mod turn;
mod txn;
mod undo;
mod value;
mod verify;
mod versions;
mod view;

#[cfg(test)]
mod scorecard;
#[cfg(test)]
mod tests;

pub use checkpoint::Copied;
pub use compact::Compacted;
pub use error::{BoxedError, Error};
pub use estimate::FieldStatistics;
pub use fs::{Disk, FileSystem, NewFile, ReadFile};
pub use id::{CollectionId, ModelId, RecordId};
pub use indexer::{IndexBuild, IndexBytes, OpenIndex, SegmentIndexer};
pub use indexing::Indexed;
pub use options::{Compaction, Durability, Indexing, ReadMode, StoreOptions};
pub use part::Part;
pub use predicate::{Comparison, Predicate};
pub use record::{NewRecord, StoredRecord, StoredText, TextInput, Written};
pub use repair::RepairReport;
pub use schema::{CollectionConfig, CollectionInfo, FieldId, FieldSpec, FieldType, IdKind, InputKind};
pub use segment::CodesIdentity;
pub use stats::{StoreStats, StoredBytes};
pub use store::Store;
pub use txn::Transaction;
pub use value::Value;
pub use verify::{Problem, VerifyReport};
pub use view::{CollectionView, View};
