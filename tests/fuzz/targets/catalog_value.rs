//! Values of the catalog: any bytes are read or refused.

#![no_main]
#![allow(dead_code, unused_imports, reason = "parts of another package are included")]

#[path = "../../../storage/src/bits.rs"]
mod bits;
#[path = "../../../storage/src/buffer.rs"]
mod buffer;
#[path = "../../../storage/src/columns.rs"]
mod columns;
#[path = "../../../storage/src/cursor.rs"]
mod cursor;
#[path = "../../../storage/src/error.rs"]
mod error;
#[path = "../../../storage/src/format.rs"]
mod format;
#[path = "../../../storage/src/fresh.rs"]
mod fresh;
#[path = "../../../storage/src/id.rs"]
mod id;
#[path = "../../../storage/src/meta.rs"]
mod meta;
#[path = "../../../storage/src/schema.rs"]
mod schema;
#[path = "../../../storage/src/value.rs"]
mod value;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fresh::decode(5, bytes, 2);
    let _ = fresh::decode_fields(bytes);
    let _ = meta::Definition::decode(bytes).map(|definition| definition.config.validate().is_ok());
    let _ = meta::SegmentEntry::decode(bytes);
    if let Some(chunk) = columns::Chunk::decode(bytes) {
        for (place, value) in chunk.iter() {
            let _ = (value.map(|value| value.to_value()), chunk.get(place));
        }
    }
});
