//! The live records of a snapshot and which image each text belongs to.

use std::collections::HashMap;

use twinbit_kernels::RowMask;
use twinbit_storage::{FieldId, Predicate};

use crate::snapshot::Snapshot;
use crate::{Modality, RecordId, Result, Value};

/// A live record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiveRow {
    /// Position of its part in the snapshot.
    pub(crate) part: u32,
    /// Row within the part.
    pub(crate) row: u32,
    pub(crate) ordinal: u64,
    /// Ordinal of the record whose caption it is; its own when it is no caption of another.
    pub(crate) group: u64,
    pub(crate) has_image: bool,
    pub(crate) has_text: bool,
}

impl LiveRow {
    pub(crate) fn has(&self, modality: Modality) -> bool {
        match modality {
            Modality::Image => self.has_image,
            Modality::Text => self.has_text,
        }
    }
}

/// All live records in the order of their ordinals. A caption whose record is gone stands alone.
pub(crate) fn live_rows(snapshot: &Snapshot) -> Result<Vec<LiveRow>> {
    let captions = Predicate::Not(Box::new(Predicate::IsNull(FieldId(0))));
    let captions = snapshot.view().select(&captions)?;
    let mut targets: HashMap<RecordId, Option<u64>> = HashMap::new();
    let mut rows = Vec::new();
    for (number, part) in (0..).zip(snapshot.parts()) {
        let image = part.searchable(Modality::Image);
        let text = part.searchable(Modality::Text);
        let none = RowMask::none(0);
        let captions = captions.get(number as usize).unwrap_or(&none);
        for row in part.alive().ones() {
            let ordinal = part.ordinal(row);
            let mut group = ordinal;
            if captions.get(row as usize)
                && let Some(target) = target(snapshot, ordinal)?
            {
                let found = match targets.get(&target) {
                    Some(found) => *found,
                    None => {
                        let found = snapshot.view().find(&target)?;
                        targets.insert(target, found);
                        found
                    }
                };
                group = found.unwrap_or(ordinal);
            }
            let (has_image, has_text) = (image.get(row as usize), text.get(row as usize));
            rows.push(LiveRow { part: number, row, ordinal, group, has_image, has_text });
        }
    }
    Ok(rows)
}

/// The record whose caption this one is.
fn target(snapshot: &Snapshot, ordinal: u64) -> Result<Option<RecordId>> {
    let fields = snapshot.view().fields(ordinal)?;
    Ok(fields.into_iter().find_map(|(id, value)| match (id, value) {
        (FieldId(0), Value::U64(id)) => Some(RecordId::U64(id)),
        (FieldId(0), Value::Str(id)) => Some(RecordId::Str(id)),
        _ => None,
    }))
}
