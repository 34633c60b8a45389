//! Entries of the catalog that belong to nothing: to a collection that is not there, or to no kind of
//! thing that this version writes.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::{MANY, VerifyReport};
use crate::catalog::Family;
use crate::error::Error;
use crate::id::CollectionId;
use crate::keys::{self, MetaKey};
use crate::meta::{ModelEntry, SegmentEntry};
use crate::schema::CollectionInfo;
use crate::view::View;

pub(super) fn verify(view: &View, report: &mut VerifyReport) -> Result<(), Error> {
    let collections: Vec<CollectionInfo> = view.collections();
    let known: BTreeSet<CollectionId> = collections.iter().map(|info| info.id).collect();
    verify_meta(view, &known, report)?;
    for family in Family::OF_COLLECTIONS {
        // What lies between the collections, one gap after the other.
        let mut first = Vec::new();
        for id in known.iter().copied().map(Some).chain([None]) {
            let end = id.map(keys::collection);
            stray(view, family, &first, end, report)?;
            let Some(id) = id else { break };
            match keys::after_prefix(&keys::collection(id)) {
                Some(next) => first = next,
                None => break,
            }
        }
    }
    Ok(())
}

fn stray(
    view: &View,
    family: Family,
    first: &[u8],
    end: Option<Vec<u8>>,
    report: &mut VerifyReport,
) -> Result<(), Error> {
    let pin = &view.state.pin;
    let mut found = Vec::new();
    pin.scan(family, first, end, &mut |key, _| {
        found.push(pin.corrupt(family, key, "the entry belongs to no collection"));
        Ok(match found.len() < MANY {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    super::records::report_all(found, report)
}

fn verify_meta(view: &View, known: &BTreeSet<CollectionId>, report: &mut VerifyReport) -> Result<(), Error> {
    let pin = &view.state.pin;
    let counters = view.state.counters;
    let is_declared = |key: &[u8], id| {
        let info = view.collection(id).map(|collection| collection.info().clone());
        let field = keys::statistics_field(key);
        info.zip(field).is_some_and(|(info, field)| info.config.field_type(field).is_ok())
    };
    let mut wrong = Vec::new();
    pin.scan(Family::Meta, &[], None, &mut |key, value| {
        let what = match keys::meta_key(key) {
            None => Some("nothing is known of such an entry"),
            Some(MetaKey::Collection(id)) if !known.contains(&id) => {
                Some("the entry belongs to no collection")
            }
            Some(MetaKey::Collection(id)) => {
                let is_segment = key.starts_with(&keys::segments(id));
                let is_source = key.starts_with(&keys::sources(id));
                if is_segment
                    && SegmentEntry::decode(value).is_none_or(|entry| entry.number >= counters.next_segment)
                {
                    Some("the segment's number is one that was not given out yet")
                } else if is_source && std::str::from_utf8(value).is_err() {
                    Some("the position is not text")
                } else if key.starts_with(&keys::all_statistics(id)) && !is_declared(key, id) {
                    Some("the statistics belong to no field")
                } else {
                    None
                }
            }
            Some(MetaKey::Model) if ModelEntry::decode(value).is_none() => {
                Some("the model's entry is unreadable")
            }
            Some(MetaKey::Model | MetaKey::Database) => None,
        };
        wrong.extend(what.map(|what| pin.corrupt(Family::Meta, key, what)));
        Ok(ControlFlow::Continue(()))
    })?;
    if known.last().is_some_and(|last| last.0 >= counters.next_collection) {
        report.add(pin.catalog().path(), "a collection has a number that was not given out yet".to_owned());
    }
    super::records::report_all(wrong, report)
}
