//! Taking the fields of removed rows out of the column chunks.
//!
//! Not part of the switch, so that no commit is long. A crash in between costs space alone: no
//! answer shows the values, and the next compaction by hand goes through all chunks.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, RangeInclusive};

use crate::catalog::{Family, Pin};
use crate::columns::{Chunk, retained, stored_values};
use crate::dead::Dead;
use crate::edits::forget_values;
use crate::error::Error;
use crate::format::ORDINALS_PER_COLUMN_CHUNK;
use crate::id::CollectionId;
use crate::keys;
use crate::schema::FieldId;
use crate::segment::Step;
use crate::state::CollectionState;
use crate::store::Inner;

/// Chunks that one commit rewrites at most: some milliseconds.
const CHUNKS_A_COMMIT: usize = 16;
/// Bytes of chunks that are looked at before others may go on.
const BYTES_A_LOOK: usize = 1 << 20;

/// Goes through all chunks of a collection.
pub(super) fn purge(store: &Inner, id: CollectionId, step: &mut Step<'_>) -> Result<(), Error> {
    let end = keys::after_prefix(&keys::collection(id));
    let mut first = keys::collection(id);
    loop {
        let (mut keys, mut bytes, mut last) = (Vec::new(), 0, None);
        let state = store.state();
        let collection = state.collection(id)?;
        state.pin.scan(Family::Columns, &first, end.clone(), &mut |key, value| {
            if has_removed(&state.pin, collection, key, value)? {
                keys.push(key.to_vec());
            }
            bytes += value.len();
            last = Some(key.to_vec());
            Ok(match keys.len() < CHUNKS_A_COMMIT && bytes < BYTES_A_LOOK {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        })?;
        drop(state);
        rewrite(store, id, &keys)?;
        step(0)?;
        let Some(mut key) = last else { return Ok(()) };
        // The smallest key above the last one.
        key.push(0);
        first = key;
    }
}

/// Goes through the chunks of rows that a merge left out.
pub(super) fn purge_dropped(
    store: &Inner,
    id: CollectionId,
    dropped: &Dead,
    range: RangeInclusive<u64>,
    step: &mut Step<'_>,
) -> Result<(), Error> {
    let fields: Vec<_> = store.state().collection(id)?.info.config.field_ids().collect();
    let mut at = *range.start();
    while let Some(ordinal) = dropped.range(at, *range.end()).next() {
        let chunk = ordinal / ORDINALS_PER_COLUMN_CHUNK;
        for some in fields.chunks(CHUNKS_A_COMMIT) {
            let mut keys = Vec::new();
            let state = store.state();
            let collection = state.collection(id)?;
            for field in some {
                let key = keys::column(id, *field, chunk);
                if let Some(value) = state.pin.get(Family::Columns, &key)?
                    && has_removed(&state.pin, collection, &key, &value)?
                {
                    keys.push(key);
                }
            }
            drop(state);
            rewrite(store, id, &keys)?;
            step(0)?;
        }
        let Some(next) = (chunk + 1).checked_mul(ORDINALS_PER_COLUMN_CHUNK) else { break };
        at = next;
    }
    Ok(())
}

fn corrupt(pin: &Pin, key: &[u8]) -> Error {
    pin.corrupt(Family::Columns, key, "the chunk is unreadable")
}

/// The ordinal of a chunk's first place.
fn base_of(pin: &Pin, key: &[u8]) -> Result<u64, Error> {
    keys::last_number(key)
        .and_then(|chunk| chunk.checked_mul(ORDINALS_PER_COLUMN_CHUNK))
        .ok_or_else(|| corrupt(pin, key))
}

/// Whether a chunk has values of records that are no longer alive.
fn has_removed(pin: &Pin, collection: &CollectionState, key: &[u8], value: &[u8]) -> Result<bool, Error> {
    let base = base_of(pin, key)?;
    let chunk = Chunk::decode(value).ok_or_else(|| corrupt(pin, key))?;
    Ok(chunk.places().any(|place| !collection.is_alive(base + u64::from(place))))
}

/// Writes chunks without the values of records that are not alive, as they are at the commit.
fn rewrite(store: &Inner, id: CollectionId, keys: &[Vec<u8>]) -> Result<(), Error> {
    if keys.is_empty() {
        return Ok(());
    }
    // Losing this batch in a power failure loses nothing.
    store.commit(false, |state, batch, _| {
        let collection = state.collection(id)?;
        let mut removed: BTreeMap<FieldId, u64> = BTreeMap::new();
        for key in keys {
            let Some(value) = state.pin.get(Family::Columns, key)? else { continue };
            let base = base_of(&state.pin, key)?;
            let kept = Chunk::decode(&value)
                .and_then(|chunk| retained(&chunk, |place| collection.is_alive(base + u64::from(place))))
                .ok_or_else(|| corrupt(&state.pin, key))?;
            if let Some(field) = keys::column_field(key) {
                let left = kept.as_deref().map_or(0, stored_values);
                *removed.entry(field).or_default() += (stored_values(&value) - left) as u64;
            }
            match kept {
                Some(bytes) => batch.put(Family::Columns, key, bytes),
                None => batch.delete(Family::Columns, key),
            }
        }
        for (field, removed) in removed {
            forget_values(batch, &state.pin, id, field, removed)?;
        }
        Ok(Vec::new())
    })?;
    Ok(())
}
