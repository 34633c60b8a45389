//! Storage of twinbit: immutable memory-mapped segments and a RocksDB catalog.
#![deny(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

#[cfg(target_endian = "big")]
compile_error!("the format is little-endian and mapped files are used in place");

mod bits;
mod buffer;
mod catalog;
mod columns;
mod commit;
mod cursor;
mod dead;
mod durable;
mod edits;
mod error;
mod fields;
mod flush;
pub mod format;
mod fresh;
mod gate;
mod group;
mod id;
mod index;
mod install;
mod keys;
mod layout;
mod meta;
mod mmap;
mod options;
mod part;
mod predicate;
mod record;
mod schema;
mod segment;
mod select;
mod state;
mod stats;
mod store;
mod sweep;
mod txn;
mod value;
mod verify;
mod view;

#[cfg(test)]
mod tests;

pub use error::{BoxedError, Error};
pub use id::{CollectionId, ModelId, RecordId};
pub use options::{Durability, StoreOptions};
pub use part::Part;
pub use predicate::{Comparison, Predicate};
pub use record::{NewRecord, StoredRecord, StoredText, TextInput, Written};
pub use schema::{CollectionConfig, CollectionInfo, FieldId, FieldSpec, FieldType, IdKind, InputKind};
pub use stats::{StoreStats, StoredBytes};
pub use store::Store;
pub use txn::Transaction;
pub use value::Value;
pub use verify::{Problem, VerifyReport};
pub use view::{CollectionView, View};
