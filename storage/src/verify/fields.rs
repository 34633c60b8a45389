//! Fields: column chunks, the fields of fresh rows, the index and the statistics that follow from them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::index::{Difference, differences};
use super::records::report_all;
use super::{MANY, VerifyReport};
use crate::catalog::Family;
use crate::columns::Chunk;
use crate::error::Error;
use crate::format::{ORDINALS_PER_COLUMN_CHUNK, hash};
use crate::fresh;
use crate::keys;
use crate::place::Place;
use crate::schema::FieldId;
use crate::sketch::Sketch;
use crate::value::ValueRef;
use crate::view::CollectionView;

/// A set of index entries, told from another one without keeping either: how many there are, and the
/// sum of the checksums of their keys.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Entries {
    count: u64,
    sum: u64,
}

impl Entries {
    fn add(&mut self, key: &[u8]) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(hash(key));
    }
}

/// What a way through a field's chunks finds.
#[derive(Default)]
pub(crate) struct Measured {
    /// The statistics of the values.
    pub(crate) sketch: Sketch,
    /// The entries that belong into an index.
    entries: Entries,
    /// Chunks that are damaged.
    pub(crate) wrong: Vec<Error>,
}

pub(super) fn verify(view: &CollectionView, report: &mut VerifyReport) -> Result<(), Error> {
    let config = &view.info().config;
    let mut expected = verify_fresh_fields(view, report)?;
    verify_unknown(view, report)?;
    let found = index_entries(view, report)?;
    for field in config.field_ids() {
        let measured = measure_field(view, field)?;
        let is_sound = measured.wrong.is_empty();
        report_all(measured.wrong, report)?;
        if !is_sound {
            continue;
        }
        if !statistics_cover(view, field, &measured.sketch)? {
            let what = format!("the statistics of field {} do not hold for its values", field.0);
            report.add_repairable(view.state.pin.catalog().path(), what);
        }
        if config.is_indexed(field) {
            let expected = expected.entry(field).or_default();
            expected.count += measured.entries.count;
            expected.sum = expected.sum.wrapping_add(measured.entries.sum);
            if *expected != found.get(&field).copied().unwrap_or_default() {
                list_differences(view, field, report)?;
            }
        }
    }
    Ok(())
}

/// Whether the stored statistics of a field account for its values.
pub(crate) fn statistics_cover(
    view: &CollectionView,
    field: FieldId,
    measured: &Sketch,
) -> Result<bool, Error> {
    let stored = view.state.pin.get(Family::Meta, keys::statistics(view.info().id, field))?;
    Ok(match stored {
        None => measured.values == 0,
        Some(bytes) => Sketch::decode(&bytes).is_some_and(|stored| stored.covers(measured)),
    })
}

/// Reads all values of a field that are in column chunks.
pub(crate) fn measure_field(view: &CollectionView, field: FieldId) -> Result<Measured, Error> {
    let (pin, info) = (&view.state.pin, view.info());
    let expected = info.config.field_type(field)?;
    let is_indexed = info.config.is_indexed(field);
    let fresh_start = view.collection.fresh_start();
    let mut place = Place::new(&view.collection.parts);
    let mut found = Measured::default();
    pin.scan_prefix(Family::Columns, &keys::field(info.id, field), &mut |key, bytes| {
        let base = keys::last_number(key).and_then(|chunk| chunk.checked_mul(ORDINALS_PER_COLUMN_CHUNK));
        let chunk = Chunk::decode(bytes).filter(|chunk| chunk.field_type() == expected && chunk.is_whole());
        let (Some(base), Some(chunk)) = (base, chunk) else {
            found.wrong.push(pin.corrupt(Family::Columns, key, "the chunk does not fit its field"));
            return Ok(ControlFlow::Continue(()));
        };
        found.sketch.values += chunk.count() as u64;
        for (at, value) in chunk.iter() {
            let (ordinal, Some(value)) = (base + u64::from(at), value) else { continue };
            found.sketch.note(value);
            if ordinal >= fresh_start && place.find(ordinal).is_some() {
                found.wrong.push(pin.corrupt(
                    Family::Columns,
                    key,
                    "a value of a row that is in no segment yet",
                ));
                break;
            }
            if is_indexed && place.is_alive(ordinal) {
                found.entries.add(&keys::index(info.id, field, value, ordinal));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// The fields of fresh rows; returns what belongs into the indexes.
fn verify_fresh_fields(
    view: &CollectionView,
    report: &mut VerifyReport,
) -> Result<BTreeMap<FieldId, Entries>, Error> {
    let (pin, info) = (&view.state.pin, view.info());
    let mut place = Place::new(&view.collection.parts);
    let mut entries: BTreeMap<FieldId, Entries> = BTreeMap::new();
    let mut wrong = Vec::new();
    pin.scan_prefix(Family::FreshFields, &keys::collection(info.id), &mut |key, value| {
        let (ordinal, fields) = (keys::last_number(key), fresh::decode_fields(value));
        let fits = |fields: &Vec<(FieldId, ValueRef<'_>)>| {
            fields.iter().all(|(field, value)| {
                info.config.field_type(*field).is_ok_and(|expected| value.field_type() == expected)
            })
        };
        match (ordinal, fields.filter(fits)) {
            (Some(ordinal), Some(fields)) if place.find(ordinal).is_some() => {
                for (field, value) in fields.into_iter().filter(|_| place.is_alive(ordinal)) {
                    if info.config.is_indexed(field) {
                        entries.entry(field).or_default().add(&keys::index(info.id, field, value, ordinal));
                    }
                }
            }
            // A fresh row that died before the last open is in no part any more.
            (Some(ordinal), Some(_)) if view.collection.dead.contains(ordinal) => {}
            _ => wrong.push(pin.corrupt(Family::FreshFields, key, "the fields do not fit the collection")),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    report_all(wrong, report)?;
    Ok(entries)
}

/// Chunks and index entries of fields that were never declared.
fn verify_unknown(view: &CollectionView, report: &mut VerifyReport) -> Result<(), Error> {
    let (pin, info) = (&view.state.pin, view.info());
    let last = info.config.field_ids().last().unwrap_or(FieldId::OF);
    let first = keys::after_prefix(&keys::field(info.id, last)).unwrap_or_default();
    for family in [Family::Columns, Family::Index] {
        let mut wrong = Vec::new();
        pin.scan(family, &first, keys::after_prefix(&keys::collection(info.id)), &mut |key, _| {
            wrong.push(pin.corrupt(family, key, "the entry belongs to no field"));
            Ok(match wrong.len() < MANY {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        })?;
        report_all(wrong, report)?;
    }
    Ok(())
}

/// The entries of each indexed field. What an interrupted `add_index` left of a field that is not
/// indexed is no damage: nothing reads it, and the next attempt clears it.
fn index_entries(
    view: &CollectionView,
    report: &mut VerifyReport,
) -> Result<BTreeMap<FieldId, Entries>, Error> {
    let (pin, info) = (&view.state.pin, view.info());
    let mut found = BTreeMap::new();
    for field in info.config.field_ids().filter(|field| info.config.is_indexed(*field)) {
        let mut entries = Entries::default();
        let read = pin.scan_prefix(Family::Index, &keys::field(info.id, field), &mut |key, _| {
            entries.add(key);
            Ok(ControlFlow::Continue(()))
        });
        report.note(read)?;
        found.insert(field, entries);
    }
    Ok(found)
}

fn list_differences(view: &CollectionView, field: FieldId, report: &mut VerifyReport) -> Result<(), Error> {
    let catalog = view.state.pin.catalog().path().to_path_buf();
    let mut listed = 0;
    differences(view, field, &mut |difference| {
        let what = match difference {
            Difference::Missing { ordinal, .. } => {
                format!("the index of field {} lacks ordinal {ordinal}", field.0)
            }
            Difference::Wrong { key } => {
                let key: String = key.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
                format!("the index of field {} has an entry too many, key {key}", field.0)
            }
        };
        report.add_repairable(&catalog, what);
        listed += 1;
        Ok(match listed < MANY {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })
}
