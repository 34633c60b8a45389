//! What a commit does to fields: column chunks rewritten, index entries added and removed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::catalog::{Batch, Family, Pin};
use crate::columns::{Chunk, ChunkValues, place};
use crate::error::Error;
use crate::fields::Fields;
use crate::format::ORDINALS_PER_COLUMN_CHUNK;
use crate::id::CollectionId;
use crate::keys;
use crate::schema::{CollectionInfo, FieldId};
use crate::sketch::Sketch;
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

    /// Adds the rewritten chunks to a batch, and the statistics that go with them. From ordinal
    /// `new_from` on no chunk exists yet.
    pub(crate) fn write(
        self,
        batch: &mut Batch<'_>,
        pin: &Pin,
        collection: CollectionId,
        new_from: u64,
    ) -> Result<(), Error> {
        let mut sketches: BTreeMap<FieldId, Sketch> = BTreeMap::new();
        for ((field, chunk), edits) in self.chunks {
            let sketch = match sketches.entry(field) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    entry.insert(stored_sketch(pin, collection, field)?.unwrap_or_default())
                }
            };
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
            let before = values.count();
            for (place, value) in edits {
                if let Some(value) = &value {
                    sketch.note(value.borrow());
                }
                values.set(place, value);
            }
            sketch.values = sketch.values.saturating_add(values.count() as u64).saturating_sub(before as u64);
            match values.encode() {
                Some(bytes) => batch.put(Family::Columns, &key, bytes),
                None => batch.delete(Family::Columns, &key),
            }
        }
        for (field, sketch) in sketches {
            if let Some(bytes) = sketch.encode() {
                batch.put(Family::Meta, keys::statistics(collection, field), bytes);
            }
        }
        Ok(())
    }
}

/// Takes values that are gone from their chunks out of a field's statistics. Bounds and the number of
/// different values stay.
pub(crate) fn forget_values(
    batch: &mut Batch<'_>,
    pin: &Pin,
    collection: CollectionId,
    field: FieldId,
    removed: u64,
) -> Result<(), Error> {
    if let Some(mut sketch) = stored_sketch(pin, collection, field)? {
        sketch.values = sketch.values.saturating_sub(removed);
        if let Some(bytes) = sketch.encode() {
            batch.put(Family::Meta, keys::statistics(collection, field), bytes);
        }
    }
    Ok(())
}

/// A field's statistics as they are stored. Unreadable ones count as none: they only guide the choice
/// of a plan, and `verify` tells of them.
pub(crate) fn stored_sketch(
    pin: &Pin,
    collection: CollectionId,
    field: FieldId,
) -> Result<Option<Sketch>, Error> {
    let stored = pin.get(Family::Meta, keys::statistics(collection, field))?;
    Ok(stored.and_then(|bytes| Sketch::decode(&bytes)))
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
