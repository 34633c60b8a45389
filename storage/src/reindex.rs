//! Indexes of fields that are there already: made and removed.

use std::sync::Arc;

use crate::catalog::Family;
use crate::error::Error;
use crate::id::CollectionId;
use crate::keys;
use crate::schema::FieldId;
use crate::state::CollectionState;
use crate::store::{Inner, Store, put_definition};

/// Rows whose entries are committed together.
const ROWS_AT_ONCE: usize = 1 << 14;

impl Store {
    /// Makes an index of a field, from the records that are there, in batches.
    ///
    /// Waits for an open transaction, and writers wait until it is done; searches go on without the
    /// index meanwhile. After an error or a crash the field is not indexed. A field that is indexed
    /// already stays so.
    pub fn add_index(&self, id: CollectionId, field: FieldId) -> Result<(), Error> {
        self.inner.check_writable()?;
        let _pass = self.inner.gate(id).short();
        let view = self.view().collection(id).ok_or_else(|| Error::collection_not_found(id))?;
        let config = &view.info().config;
        config.field_type(field)?;
        if config.is_indexed(field) {
            return Ok(());
        }
        // Of an attempt that was interrupted; a plain commit goes before those that add entries.
        self.inner.commit(self.inner.durable(), |state, batch, _| {
            state.collection(id)?;
            batch.delete_prefix(Family::Index, &keys::field(id, field));
            Ok(Vec::new())
        })?;
        let mut after = None;
        loop {
            let page = view.page(after, ROWS_AT_ONCE)?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            let rows = view.fields_where(&page, |wanted| wanted == field)?;
            self.inner.commit(false, |state, batch, _| {
                state.collection(id)?;
                for (ordinal, fields) in page.iter().zip(&rows) {
                    for (_, value) in fields {
                        batch.put(Family::Index, keys::index(id, field, value.borrow(), *ordinal), []);
                    }
                }
                Ok(Vec::new())
            })?;
        }
        set_indexed(&self.inner, id, field, true)
    }

    /// Removes the index of a field. The built-in field `of` keeps its one.
    pub fn remove_index(&self, id: CollectionId, field: FieldId) -> Result<(), Error> {
        self.inner.check_writable()?;
        let _pass = self.inner.gate(id).short();
        let state = self.inner.state();
        let config = &state.collection(id)?.info.config;
        config.field_type(field)?;
        match (field, config.is_indexed(field)) {
            (FieldId::OF, _) => Err(Error::BuiltIn { what: "the index of field \"of\"" }),
            (_, true) => set_indexed(&self.inner, id, field, false),
            (_, false) => Ok(()),
        }
    }
}

/// Switches between using the index and not having one. Synced, as the batches before are not.
fn set_indexed(store: &Inner, id: CollectionId, field: FieldId, indexed: bool) -> Result<(), Error> {
    store.commit(true, |state, batch, _| {
        let mut next: CollectionState = state.collection(id)?.as_ref().clone();
        let mut info = next.info.as_ref().clone();
        if let Some(spec) = usize::from(field.0).checked_sub(1).and_then(|at| info.config.fields.get_mut(at))
        {
            spec.indexed = indexed;
        }
        put_definition(batch, &info);
        if !indexed {
            batch.delete_prefix(Family::Index, &keys::field(id, field));
        }
        next.info = Arc::new(info);
        Ok(vec![(id, Some(next))])
    })?;
    Ok(())
}
