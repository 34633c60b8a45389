//! What the test targets share.

#![forbid(unsafe_code)]

mod data;
mod files;
mod fixtures;

pub use data::data_set;
pub use files::{npy, npy_f32, picture, shard};
pub use fixtures::{Fixture, fixtures};
