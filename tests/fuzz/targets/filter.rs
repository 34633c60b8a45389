//! The filter language: any text is read or refused, and what is read means the same when printed.

#![no_main]
#![allow(dead_code, unused_imports, reason = "parts of other packages are included")]

#[path = "../../../storage/src/cursor.rs"]
mod cursor;
#[path = "../../../storage/src/error.rs"]
mod error;
#[path = "../../../storage/src/format.rs"]
mod format;
#[path = "../../../storage/src/id.rs"]
mod id;
mod language;
#[path = "../../../storage/src/predicate.rs"]
mod predicate;
#[path = "../../../storage/src/schema.rs"]
mod schema;
#[path = "../../../storage/src/value.rs"]
mod stored;
#[path = "../../../engine/src/value.rs"]
mod shown;
/// What the two packages call by this name.
mod value {
    pub(crate) use crate::shown::shown;
    pub(crate) use crate::stored::{Value, ValueRef};
}

extern crate self as twinbit_storage;

use libfuzzer_sys::fuzz_target;
pub use predicate::Comparison;
use schema::FieldType;
use stored::Value;

fuzz_target!(|text: &str| {
    if let Ok(filter) = language::Filter::parse(text)
        && let Ok(again) = language::Filter::parse(&filter.to_string())
    {
        assert_eq!(again, filter);
    }
});
