//! Writing the fresh rows of a collection out as a segment.

use std::borrow::Cow;
use std::ops::ControlFlow;

use crate::buffer::RowBuffer;
use crate::catalog::Family;
use crate::dead::put_dead;
use crate::edits::ColumnEdits;
use crate::error::Error;
use crate::fresh;
use crate::id::CollectionId;
use crate::keys;
use crate::segment::Segment;
use crate::state::{CollectionState, State, segment_entry};
use crate::store::{Inner, Store};

impl Store {
    /// Writes the rows that are in no segment yet into one, waiting for an open transaction to end.
    pub fn flush(&self, id: CollectionId) -> Result<(), Error> {
        self.inner.check_writable()?;
        self.inner.state().collection(id)?;
        let _pass = self.inner.gate(id).short();
        flush(&self.inner, id)
    }
}

/// Whether a collection has more fresh rows than the options allow.
pub(crate) fn is_due(store: &Inner, id: CollectionId) -> bool {
    store.state().collection(id).is_ok_and(|collection| {
        collection.fresh_rows >= store.options.fresh_rows
            || collection.fresh_bytes >= store.options.fresh_bytes
    })
}

/// Moves the fresh rows into a segment, leaving out dead ones. The caller holds the right to write.
pub(crate) fn flush(store: &Inner, id: CollectionId) -> Result<(), Error> {
    let state = store.state();
    let collection = state.collection(id)?;
    if collection.fresh_rows == 0 {
        return Ok(());
    }
    let rows = read_alive(&state, collection)?;
    let segment = match rows.rows() {
        0 => None,
        _ => Some(Segment::write(
            &store.layout,
            store.segment_number()?,
            id,
            collection.info.codes_id(),
            &rows,
        )?),
    };
    // Losing this batch in a power failure loses nothing: the rows are then still in the catalog.
    // So it need not be synced for its own sake, only to keep the order of commits.
    store.commit(store.durable(), |state, batch, _| {
        let mut next = state.collection(id)?.as_ref().clone();
        let mut columns = ColumnEdits::default();
        let new_from = next.fresh_start();
        let first = keys::ordinal(id, new_from);
        let end = keys::after_prefix(&keys::collection(id));
        state.pin.scan(Family::FreshFields, &first, end.clone(), &mut |key, value| {
            let corrupt = || state.pin.corrupt(Family::FreshFields, key, "the fields are unreadable");
            let ordinal = keys::last_number(key).ok_or_else(corrupt)?;
            if !next.dead.contains(ordinal) {
                for (field, value) in fresh::decode_fields(value).ok_or_else(corrupt)? {
                    columns.set(field, ordinal, Some(Cow::Owned(value.to_value())));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        // Chunks may hold values of higher ordinals, of rows that a merge has left out.
        columns.write(batch, &state.pin, id, u64::MAX)?;
        let end = end.unwrap_or_default();
        batch.delete_range(Family::Fresh, &first, &end);
        batch.delete_range(Family::FreshFields, &first, &end);
        next.clear_fresh();
        // The dead ones among them have no rows any more.
        let (dead, changed) = next.dead.without(&next.dead, new_from, u64::MAX);
        put_dead(batch, id, changed);
        next.dead = dead;
        if let Some(segment) = &segment {
            batch.put(Family::Meta, keys::segment(id, segment.rows.base()), segment_entry(segment).encode());
            next.push_segment(segment.clone());
            segment.keep();
        }
        Ok(vec![(id, Some(next))])
    })?;
    Ok(())
}

fn read_alive(state: &State, collection: &CollectionState) -> Result<RowBuffer, Error> {
    let info = &collection.info;
    let config = &info.config;
    let bits = info.codes_id().map(|_| config.bits);
    let mut rows = RowBuffer::new(config.ids, bits, config.keep_inputs);
    let pin = &state.pin;
    pin.scan_prefix(Family::Fresh, &keys::collection(info.id), &mut |key, value| {
        let corrupt = || pin.corrupt(Family::Fresh, key, "the row is unreadable");
        let ordinal = keys::last_number(key).ok_or_else(corrupt)?;
        if !collection.dead.contains(ordinal) {
            rows.push(&fresh::decode(ordinal, value, config.bits.bytes()).ok_or_else(corrupt)?)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(rows)
}
