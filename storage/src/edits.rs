//! What a commit does to fields: column chunks rewritten, index entries added and removed.

use std::collections::BTreeMap;

use crate::catalog::{Batch, Family, Pin};
use crate::columns::{Chunk, ChunkValues, place};
use crate::error::Error;
use crate::fields::Fields;
use crate::format::ORDINALS_PER_COLUMN_CHUNK;
use crate::id::CollectionId;
use crate::keys;
use crate::schema::{CollectionInfo, FieldId};
use crate::value::Value;

/// Values at places of one chunk; `None` removes.
type ChunkEdits = Vec<(u16, Option<Value>)>;

/// Changes to column chunks, gathered so that each chunk is rewritten once.
#[derive(Default)]
pub(crate) struct ColumnEdits {
    chunks: BTreeMap<(FieldId, u64), ChunkEdits>,
}

impl ColumnEdits {
    pub(crate) fn set(&mut self, field: FieldId, ordinal: u64, value: Option<Value>) {
        let (chunk, place) = place(ordinal);
        self.chunks.entry((field, chunk)).or_default().push((place, value));
    }

    /// Adds the rewritten chunks to a batch. From ordinal `new_from` on no chunk exists yet.
    pub(crate) fn write(
        self,
        batch: &mut Batch<'_>,
        pin: &Pin,
        collection: CollectionId,
        new_from: u64,
    ) -> Result<(), Error> {
        for ((field, chunk), edits) in self.chunks {
            let key = keys::column(collection, field, chunk);
            let old = match chunk * ORDINALS_PER_COLUMN_CHUNK >= new_from {
                true => None,
                false => pin.get(Family::Columns, &key)?,
            };
            let mut values = match &old {
                None => ChunkValues::default(),
                Some(bytes) => Chunk::decode(bytes)
                    .and_then(|chunk| chunk.to_values())
                    .ok_or_else(|| pin.corrupt(Family::Columns, &key, "the chunk is unreadable"))?,
            };
            for (place, value) in edits {
                values.set(place, value);
            }
            match values.encode() {
                Some(bytes) => batch.put(Family::Columns, &key, bytes),
                None => batch.delete(Family::Columns, &key),
            }
        }
        Ok(())
    }
}

/// Adds the index entries of a row's fields to a batch.
pub(crate) fn add_to_index(batch: &mut Batch<'_>, info: &CollectionInfo, ordinal: u64, fields: &Fields) {
    for (field, value) in fields.iter().filter(|(field, _)| info.config.is_indexed(*field)) {
        batch.put(Family::Index, keys::index(info.id, *field, value.borrow(), ordinal), []);
    }
}

/// Removes the index entries of a row's fields.
pub(crate) fn remove_from_index(batch: &mut Batch<'_>, info: &CollectionInfo, ordinal: u64, fields: &Fields) {
    for (field, value) in fields.iter().filter(|(field, _)| info.config.is_indexed(*field)) {
        batch.delete(Family::Index, keys::index(info.id, *field, value.borrow(), ordinal));
    }
}
