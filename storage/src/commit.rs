//! From a transaction to one batch and the next version.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::buffer::Row;
use crate::catalog::{Batch, Family};
use crate::edits::{ColumnEdits, IndexEntries, add_to_index, remove_from_index};
use crate::error::Error;
use crate::fields::Fields;
use crate::flush;
use crate::fresh;
use crate::keys;
use crate::order;
use crate::schema::IdKind;
use crate::state::{CollectionState, State, segment_entry};
use crate::txn::{Pending, Transaction, updated};
use crate::view::CollectionView;

/// Commits; see [`Transaction::commit`].
pub(crate) fn commit(mut transaction: Transaction) -> Result<u64, Error> {
    let store = transaction.store.clone();
    if transaction.pending.is_unchanged() {
        store.check_writable()?;
        return Ok(store.state().counters.version);
    }
    transaction.finish_segments()?;
    let Transaction { id, base, pending, .. } = &transaction;
    let version = store.commit(store.durable(), |state, batch, _| {
        let next = write(state, batch, base, pending)?;
        // From here on it is unknown, until the database is reopened, whether the batch reached the
        // disk: the files must stay even if writing it fails.
        pending.spilled.iter().for_each(|segment| segment.keep());
        Ok(vec![(*id, Some(next))])
    })?;
    // The commit stands. If writing out the fresh rows fails, the next commit tries again.
    if flush::is_due(&store, *id)
        && let Err(error) = flush::flush(&store, *id)
    {
        tracing::warn!(%error, "rows stay in the catalog until the next commit");
    }
    Ok(version)
}

fn write(
    state: &State,
    batch: &mut Batch<'_>,
    base: &CollectionView,
    pending: &Pending,
) -> Result<CollectionState, Error> {
    let id = base.info().id;
    let mut next = state.collection(id)?.as_ref().clone();
    write_ids(batch, state, base, pending)?;
    for (chunk, bitmap) in pending.dead.encoded() {
        batch.merge(Family::Dead, keys::ordinal(id, chunk), bitmap);
    }
    for (source, position) in &pending.sources {
        batch.put(Family::Meta, keys::source(id, source), position);
    }
    write_fields(batch, state, base, pending, &next)?;

    next.kill(&pending.dead);
    for segment in &pending.spilled {
        batch.put(Family::Meta, keys::segment(id, segment.rows.base()), segment_entry(segment).encode());
        next.push_segment(segment.clone());
    }
    // A row that was put and killed within the transaction never becomes visible.
    let alive = |row: &Row<'_>| !pending.dead.contains(row.ordinal);
    let mut bytes = 0;
    for row in pending.buffer.iter().filter(alive) {
        let value = fresh::encode(&row, base.info().config.keep_inputs);
        bytes += value.len();
        batch.put(Family::Fresh, keys::ordinal(id, row.ordinal), value);
    }
    if pending.buffer.rows() > 0 {
        next.push_fresh(pending.buffer.iter().filter(alive), bytes)?;
    }
    next.next_ordinal = pending.next_ordinal;
    next.live = pending.live;
    batch.put(Family::Meta, keys::state(id), next.counters().encode());
    Ok(next)
}

fn write_ids(
    batch: &mut Batch<'_>,
    state: &State,
    base: &CollectionView,
    pending: &Pending,
) -> Result<(), Error> {
    let id = base.info().id;
    let is_auto = base.info().config.ids == IdKind::Auto;
    // In the order of their keys, which RocksDB takes much faster than scattered ones.
    let mut key = Vec::new();
    for (record, ordinal) in order::by_id(pending.ids.iter()) {
        key.clear();
        keys::push_id(&mut key, id, record);
        match ordinal {
            Some(ordinal) => batch.put(Family::Ids, &key, ordinal.to_le_bytes()),
            // Most automatic ids have no entry that could be removed.
            None if is_auto && state.pin.get(Family::Ids, &key)?.is_none() => {}
            None => batch.delete(Family::Ids, &key),
        }
    }
    Ok(())
}

/// Fields of new rows, fields set on old rows, and what the dead leave in the index.
fn write_fields(
    batch: &mut Batch<'_>,
    state: &State,
    base: &CollectionView,
    pending: &Pending,
    current: &CollectionState,
) -> Result<(), Error> {
    let info = base.info();
    let new_from = base.collection.next_ordinal;
    let mut columns = ColumnEdits::default();
    let mut entries = IndexEntries::default();

    let spilled_until = pending.spilled.last().map(|segment| segment.rows.last());
    for (ordinal, fields) in &pending.new_fields {
        if fields.is_empty() || pending.dead.contains(*ordinal) {
            continue;
        }
        entries.add(info, *ordinal, fields);
        if spilled_until.is_some_and(|last| *ordinal <= last) {
            for (field, value) in fields {
                columns.set(*field, *ordinal, Some(Cow::Borrowed(value)));
            }
        } else {
            batch.put(Family::FreshFields, keys::ordinal(info.id, *ordinal), fresh::encode_fields(fields));
        }
    }
    entries.write(batch, info.id);

    // Reading goes through the view from before the transaction: since then rows can only have
    // moved from the catalog into a segment, or from one segment into another.
    let dead: Vec<u64> = pending.dead.iter().filter(|ordinal| *ordinal < new_from).collect();
    let indexed = base.fields_where(&dead, |field| info.config.is_indexed(field))?;
    for (ordinal, fields) in dead.iter().zip(&indexed) {
        remove_from_index(batch, info, *ordinal, fields);
    }

    let changed: Vec<u64> = pending.set_fields.keys().copied().collect();
    let before: HashMap<u64, Fields> = changed.iter().copied().zip(base.fields_many(&changed)?).collect();
    let fresh_start = current.fresh_start();
    for (ordinal, changes) in &pending.set_fields {
        let old = before.get(ordinal).cloned().unwrap_or_default();
        let new = updated(old.clone(), changes.iter().map(|(field, value)| (*field, value.clone())));
        remove_from_index(batch, info, *ordinal, &old);
        add_to_index(batch, info, *ordinal, &new);
        if *ordinal < fresh_start {
            for (field, value) in changes {
                columns.set(*field, *ordinal, value.as_ref().map(Cow::Borrowed));
            }
        } else {
            batch.put(Family::FreshFields, keys::ordinal(info.id, *ordinal), fresh::encode_fields(&new));
        }
    }
    columns.write(batch, &state.pin, info.id, new_from)
}
