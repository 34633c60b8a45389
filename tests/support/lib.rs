//! What the test targets share.

#![forbid(unsafe_code)]

mod data;
mod disk;
mod faulty;
mod files;
mod filled;
mod fixtures;
mod indexer;
mod mutate;
mod row;
pub mod small_resnet;
mod strace;
mod table;
pub mod towers;
mod workload;

pub use data::data_set;
pub use disk::{CrashModel, Recorded};
pub use faulty::{FaultyFileSystem, ForgetfulFileSystem};
pub use files::{mat_compressed, mat_element, mat_file, mat_matrix, npy, npy_f32, picture, shard};
pub use filled::fill_codes;
pub use fixtures::{Fixture, fixtures};
pub use indexer::Indexer;
pub use mutate::{Random, fuzz};
pub use row::{Row, Scratch, first_seed, fuzz_time, is_long, is_thorough, scratch, seconds, size};
pub use strace::{Call, has_strace, read_calls, strace};
pub use table::{ColumnOf, parquet_file};
pub use workload::{
    ACKNOWLEDGED, BROKEN, COMMITS, COMPLETE, Contents, FAILED, READY, SPARE_CALLS, Workload,
    last_acknowledged, tell,
};
