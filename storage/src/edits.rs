//! What a commit does to fields: column chunks rewritten, index entries added and removed.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::catalog::{Batch, Family, Pin};
use crate::columns::{self, Chunk, Edit, place};
use crate::error::Error;
use crate::fields::Fields;
use crate::format::ORDINALS_PER_COLUMN_CHUNK;
use crate::id::CollectionId;
use crate::keys;
use crate::schema::{CollectionInfo, FieldId};
use crate::sketch::Sketch;
use crate::value::Value;

/// Changes to column chunks, gathered so that each chunk is rewritten once.
#[derive(Default)]
pub(crate) struct ColumnEdits<'v> {
    chunks: BTreeMap<(FieldId, u64), Vec<Edit<'v>>>,
}

impl<'v> ColumnEdits<'v> {
    /// Sets or, with `None`, removes a value. Of several edits of a place the last one counts.
    pub(crate) fn set(&mut self, field: FieldId, ordinal: u64, value: Option<Cow<'v, Value>>) {
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
            let unreadable = || pin.corrupt(Family::Columns, &key, "the chunk is unreadable");
            for value in edits.iter().filter_map(|(_, value)| value.as_deref()) {
                sketch.note(value.borrow());
            }
            let before = old.as_deref().map_or(0, columns::stored_values) as u64;
            let old = old.as_deref().map(|bytes| Chunk::decode(bytes).ok_or_else(unreadable)).transpose()?;
            let new = columns::edited(old.as_ref(), edits).ok_or_else(unreadable)?;
            let after = new.as_deref().map_or(0, columns::stored_values) as u64;
            sketch.values = sketch.values.saturating_add(after).saturating_sub(before);
            match new {
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

/// Index entries of many new rows, to be added in the order of their keys: RocksDB takes them much
/// faster so.
#[derive(Default)]
pub(crate) struct IndexEntries {
    entries: Vec<IndexEntry>,
    /// The bytes of one value, kept for the next.
    value: Vec<u8>,
}

/// An index entry. Most values have at most eight bytes, so that sorting
/// seldom looks behind a pointer.
struct IndexEntry {
    field: FieldId,
    /// The first eight bytes of the value, big-endian, zeros behind a shorter one.
    head: u64,
    /// The value's other bytes.
    rest: Vec<u8>,
    ordinal: u64,
    /// Bytes of the value in `head`.
    length: u8,
}

impl IndexEntries {
    pub(crate) fn add(&mut self, info: &CollectionInfo, ordinal: u64, fields: &Fields) {
        for (field, value) in fields.iter().filter(|(field, _)| info.config.is_indexed(*field)) {
            self.value.clear();
            keys::push_value(&mut self.value, value.borrow());
            self.entries.push(IndexEntry::new(*field, &self.value, ordinal));
        }
    }

    pub(crate) fn write(mut self, batch: &mut Batch<'_>, collection: CollectionId) {
        self.entries.sort_unstable_by(IndexEntry::compare);
        let mut key = Vec::new();
        for entry in &self.entries {
            key.clear();
            entry.push_key(&mut key, collection);
            batch.put(Family::Index, &key, []);
        }
    }
}

impl IndexEntry {
    /// An entry for a value given as the bytes of [`keys::push_value`].
    fn new(field: FieldId, value: &[u8], ordinal: u64) -> Self {
        let (start, rest) = value.split_at(value.len().min(8));
        let mut head = [0; 8];
        head.iter_mut().zip(start).for_each(|(to, from)| *to = *from);
        let (head, length) = (u64::from_be_bytes(head), start.len() as u8);
        IndexEntry { field, head, rest: rest.to_vec(), ordinal, length }
    }

    /// The order of the keys.
    fn compare(&self, other: &Self) -> Ordering {
        (self.field, self.head)
            .cmp(&(other.field, other.head))
            .then_with(|| match self.rest.is_empty() && other.rest.is_empty() {
                true => Ordering::Equal,
                false => self.rest.cmp(&other.rest),
            })
            .then_with(|| self.ordinal.cmp(&other.ordinal))
    }

    fn push_key(&self, key: &mut Vec<u8>, collection: CollectionId) {
        let head = self.head.to_be_bytes();
        let head = head.get(..usize::from(self.length)).unwrap_or_default();
        keys::push_index(key, collection, self.field, [head, &self.rest], self.ordinal);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::ValueRef;

    proptest! {
        /// Entries have the keys that single rows get, and are ordered as these are.
        #[test]
        fn entries_are_ordered_as_their_keys(
            texts in proptest::collection::vec(("[\\x00-\\x02a-c\u{ff}]{0,12}", 0_u64..3), 2..40),
            numbers in proptest::collection::vec((-2_i64..2, 0_u64..3), 2..40),
        ) {
            let collection = CollectionId(7);
            let texts = texts.iter().map(|(text, ordinal)| (FieldId(2), ValueRef::Str(text), *ordinal));
            let numbers = numbers.iter().map(|(number, ordinal)| (FieldId(1), ValueRef::I64(*number), *ordinal));
            let mut entries = Vec::new();
            for (field, value, ordinal) in texts.chain(numbers) {
                let mut bytes = Vec::new();
                keys::push_value(&mut bytes, value);
                let entry = IndexEntry::new(field, &bytes, ordinal);
                let mut key = Vec::new();
                entry.push_key(&mut key, collection);
                prop_assert_eq!(&key, &keys::index(collection, field, value, ordinal));
                entries.push((entry, key));
            }
            entries.sort_unstable_by(|(a, _), (b, _)| a.compare(b));
            prop_assert!(entries.is_sorted_by_key(|(_, key)| key));
        }
    }
}
