//! What takes a change back: a note of every entry that it replaced.

use std::collections::BTreeMap;

use crate::fields::Fields;
use crate::id::RecordId;
use crate::schema::FieldId;
use crate::txn::Pending;
use crate::value::Value;

/// An entry of [`Pending`] before it was changed.
pub(crate) enum Undo {
    /// Where an id led; the outer `None` when nothing was pending for it.
    Id(RecordId, Option<Option<u64>>),
    /// An ordinal was put. Its row stays, dead, as those killed within a transaction do.
    Put(u64),
    /// An ordinal died, with the fields that had been set on it.
    Killed(u64, Option<BTreeMap<FieldId, Option<Value>>>),
    /// Fields set on a row that was there before the transaction.
    SetFields(u64, Option<BTreeMap<FieldId, Option<Value>>>),
    /// Fields of a new row.
    NewFields(u64, Option<Fields>),
    /// How far a source had been read.
    Source(String, Option<String>),
}

impl Pending {
    /// Takes changes back, the last one first.
    pub(crate) fn undo(&mut self, changes: Vec<Undo>) {
        for change in changes.into_iter().rev() {
            match change {
                Undo::Id(id, Some(before)) => drop(self.ids.insert(id, before)),
                Undo::Id(id, None) => drop(self.ids.remove(&id)),
                Undo::Put(ordinal) => {
                    self.dead.insert(ordinal);
                    self.live = self.live.saturating_sub(1);
                }
                Undo::Killed(ordinal, fields) => {
                    self.dead.remove(ordinal);
                    self.live += 1;
                    self.set_fields.extend(fields.map(|fields| (ordinal, fields)));
                }
                Undo::SetFields(ordinal, Some(fields)) => drop(self.set_fields.insert(ordinal, fields)),
                Undo::SetFields(ordinal, None) => drop(self.set_fields.remove(&ordinal)),
                Undo::NewFields(ordinal, fields) => {
                    if let Ok(index) = self.new_fields.binary_search_by_key(&ordinal, |(row, _)| *row) {
                        match (fields, self.new_fields.get_mut(index)) {
                            (Some(fields), Some((_, row))) => *row = fields,
                            _ => drop(self.new_fields.remove(index)),
                        }
                    }
                }
                Undo::Source(source, Some(position)) => drop(self.sources.insert(source, position)),
                Undo::Source(source, None) => drop(self.sources.remove(&source)),
            }
        }
    }
}
