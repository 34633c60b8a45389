//! The full check: every checksum, ids to rows and back, counts, indexes, files that are too many.
//!
//! Problems are collected rather than returned at the first, so that a report is complete. What is
//! not checked: RocksDB's own files beyond reading every key, which checks their checksums.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use twinbit_kernels::Modality;

use crate::catalog::Family;
use crate::columns::Chunk;
use crate::error::Error;
use crate::format::ORDINALS_PER_COLUMN_CHUNK;
use crate::fresh;
use crate::id::{CollectionId, RecordId};
use crate::keys;
use crate::schema::{FieldId, IdKind};
use crate::store::Store;
use crate::sweep;
use crate::value::Value;
use crate::view::{CollectionView, View};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the catalog's folder.
    pub path: PathBuf,
    /// Byte offset in the file; 0 where `what` names the place.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// The outcome of a full check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Segment and model files read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows whose ids, inputs and fields were read.
    pub rows: u64,
    /// What was found; empty for a sound database.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    fn add(&mut self, path: &Path, what: String) {
        self.problems.push(Problem { path: path.to_path_buf(), offset: 0, what });
    }

    /// Turns damage into a problem; other errors end the check.
    fn note<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Corrupt { path, offset, what }) => {
                self.problems.push(Problem { path, offset, what });
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }
}

/// Rows whose fields are read at once.
const ROWS_AT_ONCE: usize = 4096;
/// Problems of one kind after which a check stops: the rest would say the same.
const MANY: usize = 100;

impl Store {
    /// Reads everything and reports what does not fit. Works on the current version; writing may go
    /// on.
    pub fn verify(&self) -> Result<VerifyReport, Error> {
        let view = self.view();
        let mut report = VerifyReport::default();
        self.verify_models(&view, &mut report)?;
        for info in view.collections() {
            let Some(collection) = view.collection(info.id) else { continue };
            verify_segments(&collection, &mut report);
            verify_rows(&collection, &mut report)?;
            verify_ids(&collection, &mut report)?;
            verify_columns(&collection, &mut report)?;
            verify_index(&collection, &mut report)?;
        }
        if !self.is_read_only() {
            for path in sweep::unnamed(&self.inner.layout, &view.state)? {
                report.add(&path, "no commit names this file; it goes at the next open".to_owned());
            }
        }
        Ok(report)
    }

    fn verify_models(&self, view: &View, report: &mut VerifyReport) -> Result<(), Error> {
        let pin = &view.state.pin;
        let mut models = Vec::new();
        pin.scan_prefix(Family::Meta, &keys::models(), &mut |key, _| {
            models.push(keys::model_of(key).ok_or_else(|| pin.corrupt(Family::Meta, key, "no such key"))?);
            Ok(ControlFlow::Continue(()))
        })?;
        let used: Vec<_> = view.collections().into_iter().filter_map(|info| info.model).collect();
        for model in &used {
            if !models.contains(model) {
                report.add(pin.catalog().path(), format!("the entry of model {model} is missing"));
            }
        }
        for model in models {
            report.files += 1;
            match self.model_bytes(model) {
                // Replaced since the view was pinned.
                Err(Error::NotFound { .. }) => {}
                Err(Error::Io { path, source, .. }) => report.add(&path, source.to_string()),
                other => report.bytes += report.note(other)?.map_or(0, |bytes| bytes.len() as u64),
            }
        }
        Ok(())
    }
}

fn verify_segments(view: &CollectionView, report: &mut VerifyReport) {
    let mut end = None;
    for segment in view.collection.segments() {
        let files = [Some(segment.rows.file()), segment.codes.as_ref().map(|codes| codes.file())];
        for file in files.into_iter().flatten() {
            report.files += 1;
            report.bytes += file.length();
            file.verify(&mut report.problems);
        }
        if end.is_some_and(|end| segment.rows.base() <= end) {
            report.add(
                segment.rows.file().path(),
                "its ordinals overlap those of the segment before".to_owned(),
            );
        }
        end = Some(segment.rows.last());
        let ordinals = (0..segment.rows.rows()).map(|row| segment.rows.ordinal(row));
        if !ordinals.is_sorted_by(|a, b| a < b) {
            report.add(segment.rows.file().path(), "its ordinals do not ascend".to_owned());
        }
        let wants_codes = view.info().codes_id();
        let has_codes = segment.codes.as_ref().map(|codes| codes.model());
        if wants_codes != has_codes {
            report.add(
                segment.rows.file().path(),
                "the codes beside it are not of the collection's model".to_owned(),
            );
        }
    }
}

/// Every alive row: its id leads back to it, its inputs are readable; and how many there are.
fn verify_rows(view: &CollectionView, report: &mut VerifyReport) -> Result<(), Error> {
    let mut alive = 0_u64;
    let before = report.problems.len();
    let catalog = view.state.pin.catalog().path().to_path_buf();
    for part in view.parts().iter() {
        for row in 0..part.rows() {
            if report.problems.len() > before + MANY {
                return Ok(());
            }
            if !part.data.is_alive(row) {
                continue;
            }
            alive += 1;
            report.rows += 1;
            let Some(id) = report.note(part.id(row))? else { continue };
            let found = report.note(view.find(&id))?;
            if found.is_some_and(|found| found != Some(part.ordinal(row))) {
                let ordinal = part.ordinal(row);
                report.add(&catalog, format!("id {id} does not lead to its row with ordinal {ordinal}"));
            }
            if !part.is_segment() || view.info().config.keep_inputs {
                report.note(part.record(row))?;
            }
            if !Modality::ALL.iter().any(|modality| part.present(*modality).get(row as usize)) {
                report.add(&catalog, format!("the record {id} has neither modality"));
            }
        }
    }
    if alive != view.len() {
        report.add(&catalog, format!("{} records are counted, {alive} are there", view.len()));
    }
    Ok(())
}

/// Every stored id leads to an alive row with that id.
fn verify_ids(view: &CollectionView, report: &mut VerifyReport) -> Result<(), Error> {
    let (pin, info) = (&view.state.pin, view.info());
    let prefix = keys::collection(info.id);
    let mut wrong = Vec::new();
    pin.scan_prefix(Family::Ids, &prefix, &mut |key, value| {
        let rest = key.get(prefix.len()..).unwrap_or_default();
        let id = match info.config.ids {
            IdKind::Str => std::str::from_utf8(rest).ok().map(RecordId::from),
            IdKind::Auto | IdKind::U64 => rest.try_into().ok().map(u64::from_be_bytes).map(RecordId::U64),
        };
        let ordinal = value.try_into().ok().map(u64::from_le_bytes);
        let leads_back = || -> Option<bool> {
            let (part, row) = view.part_of(ordinal?)?;
            let part = view.collection.parts.get(part)?;
            Some(part.is_alive(row) && part.id(row).ok()? == id?)
        };
        if leads_back() != Some(true) {
            wrong.push(pin.corrupt(Family::Ids, key, "the id leads to no record that has it"));
        }
        Ok(match wrong.len() < MANY {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    for error in wrong {
        report.note::<()>(Err(error))?;
    }
    Ok(())
}

/// Every chunk and every fresh row's fields are readable and of their field's type.
fn verify_columns(view: &CollectionView, report: &mut VerifyReport) -> Result<(), Error> {
    let (pin, info) = (&view.state.pin, view.info());
    let mut wrong = Vec::new();
    for field in info.config.field_ids() {
        let expected = info.config.field_type(field)?;
        pin.scan_prefix(Family::Columns, &keys::field(info.id, field), &mut |key, value| {
            let fits = Chunk::decode(value).is_some_and(|chunk| {
                chunk.field_type() == expected && chunk.iter().all(|(_, value)| value.is_some())
            });
            let known = keys::last_number(key)
                .and_then(|chunk| chunk.checked_mul(ORDINALS_PER_COLUMN_CHUNK))
                .is_some_and(|ordinal| ordinal < view.collection.next_ordinal);
            if !fits || !known {
                wrong.push(pin.corrupt(Family::Columns, key, "the chunk does not fit its field"));
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    pin.scan_prefix(Family::FreshFields, &keys::collection(info.id), &mut |key, value| {
        let fits = fresh::decode_fields(value).is_some_and(|fields| {
            fields.iter().all(|(field, value)| {
                info.config.field_type(*field).is_ok_and(|expected| value.field_type() == expected)
            })
        });
        if !fits {
            wrong.push(pin.corrupt(Family::FreshFields, key, "the fields do not fit the collection"));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    for error in wrong.into_iter().take(MANY) {
        report.note::<()>(Err(error))?;
    }
    Ok(())
}

/// The index has an entry for each indexed value of an alive row, and no other.
fn verify_index(view: &CollectionView, report: &mut VerifyReport) -> Result<(), Error> {
    let indexed: Vec<FieldId> =
        view.info().config.field_ids().filter(|field| view.info().config.is_indexed(*field)).collect();
    let catalog = view.state.pin.catalog().path().to_path_buf();
    let before = report.problems.len();
    let mut expected: BTreeMap<FieldId, u64> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = view.page(after, ROWS_AT_ONCE)?;
        let Some(last) = page.last() else { break };
        after = Some(*last);
        let Some(rows) = report.note(view.fields_where(&page, |field| indexed.contains(&field)))? else {
            return Ok(());
        };
        for (ordinal, fields) in page.iter().zip(&rows) {
            for (field, value) in fields {
                *expected.entry(*field).or_default() += 1;
                if !has_entry(view, *field, value, *ordinal)? {
                    report.add(&catalog, format!("the index of field {} lacks ordinal {ordinal}", field.0));
                }
            }
        }
        if report.problems.len() > before + MANY {
            return Ok(());
        }
    }
    for field in indexed {
        let found = count_entries(view, view.info().id, field)?;
        let expected = expected.get(&field).copied().unwrap_or_default();
        if found != expected {
            report.add(
                &catalog,
                format!("the index of field {} has {found} entries where {expected} belong", field.0),
            );
        }
    }
    Ok(())
}

fn has_entry(view: &CollectionView, field: FieldId, value: &Value, ordinal: u64) -> Result<bool, Error> {
    let key = keys::index(view.info().id, field, value.borrow(), ordinal);
    Ok(view.state.pin.get(Family::Index, key)?.is_some())
}

fn count_entries(view: &CollectionView, collection: CollectionId, field: FieldId) -> Result<u64, Error> {
    let mut entries = 0;
    let prefix = keys::field(collection, field);
    view.state.pin.scan_prefix(Family::Index, &prefix, &mut |_, _| {
        entries += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(entries)
}
