//! Rebuilding what follows from other data: indexes of fields and of codes, statistics of fields, files that nothing names.
//!
//! Records, ids and field values are never touched. Where those are damaged, what would follow from
//! them is left alone, too.

use std::ops::ControlFlow;

use crate::catalog::Family;
use crate::error::Error;
use crate::id::CollectionId;
use crate::indexing;
use crate::keys;
use crate::schema::FieldId;
use crate::store::{Inner, Store};
use crate::sweep;
use crate::verify::{Difference, differences, measure_field, statistics_cover};
use crate::view::CollectionView;

/// What a repair did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Index entries that were missing.
    pub index_entries_added: u64,
    /// Index entries that led to no record with such a value.
    pub index_entries_removed: u64,
    /// Fields whose statistics were made anew.
    pub statistics_rebuilt: u64,
    /// Files that no commit names.
    pub files_removed: u64,
    /// Search indexes that were damaged or did not fit their codes.
    pub search_indexes_dropped: u64,
    /// Those made anew in their place.
    pub search_indexes_built: u64,
    /// Fields left as they are, because their values are damaged.
    pub fields_left: u64,
}

/// Changed entries that are committed together.
const BATCH: usize = 4096;

impl Store {
    /// Rebuilds what follows from other data, in small commits, and leaves everything else alone.
    ///
    /// Waits for the open transaction of each collection, one after the other, and for its install or
    /// compaction. What
    /// [`verify`](Self::verify) still reports afterwards is damage of data that exists once, which
    /// only a backup brings back.
    pub fn repair(&self) -> Result<RepairReport, Error> {
        self.inner.check_writable()?;
        let mut report = RepairReport::default();
        for info in self.collections() {
            indexing::repair(&self.inner, info.id, &mut report)?;
            let _pass = self.inner.gate(info.id).short();
            // It may have been dropped meanwhile.
            let Some(view) = self.view().collection(info.id) else { continue };
            for field in view.info().config.field_ids() {
                match repair_field(&self.inner, &view, field, &mut report) {
                    Err(error) if error.is_corruption() => report.fields_left += 1,
                    other => other?,
                }
            }
        }
        report.files_removed = sweep::remove_unnamed(&self.inner.layout, &self.inner.state())?;
        Ok(report)
    }
}

fn repair_field(
    store: &Inner,
    view: &CollectionView,
    field: FieldId,
    report: &mut RepairReport,
) -> Result<(), Error> {
    let id = view.info().id;
    let measured = measure_field(view, field)?;
    if let Some(damage) = measured.wrong.into_iter().next() {
        return Err(damage);
    }
    if !statistics_cover(view, field, &measured.sketch)? {
        store.commit(store.durable(), |state, batch, _| {
            state.collection(id)?;
            match measured.sketch.encode() {
                Some(bytes) => batch.put(Family::Meta, keys::statistics(id, field), bytes),
                None => batch.delete(Family::Meta, keys::statistics(id, field)),
            }
            Ok(Vec::new())
        })?;
        report.statistics_rebuilt += 1;
    }
    if !view.info().config.is_indexed(field) {
        return Ok(());
    }
    let mut some = Vec::new();
    differences(view, field, &mut |difference| {
        match &difference {
            Difference::Missing { .. } => report.index_entries_added += 1,
            Difference::Wrong { .. } => report.index_entries_removed += 1,
        }
        some.push(difference);
        if some.len() == BATCH {
            even_out(store, id, std::mem::take(&mut some))?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    even_out(store, id, some)
}

fn even_out(store: &Inner, id: CollectionId, some: Vec<Difference>) -> Result<(), Error> {
    if some.is_empty() {
        return Ok(());
    }
    store.commit(store.durable(), |state, batch, _| {
        state.collection(id)?;
        for difference in &some {
            match difference {
                Difference::Missing { key, .. } => batch.put(Family::Index, key, []),
                Difference::Wrong { key } => batch.delete(Family::Index, key),
            }
        }
        Ok(Vec::new())
    })?;
    Ok(())
}
