//! The full check: every checksum, ids to rows and back, counts, fields, indexes, the catalog's
//! tables, files and entries that are too many.
//!
//! Problems are collected rather than returned at the first, so that a report is complete.

mod entries;
mod fields;
mod index;
mod records;
mod segments;
mod tables;

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use crate::catalog::Family;
use crate::error::Error;
use crate::keys;
use crate::store::Store;
use crate::sweep;
use crate::view::View;

pub(crate) use fields::{measure_field, statistics_cover};
pub(crate) use index::{Difference, differences};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the catalog's folder.
    pub path: PathBuf,
    /// Byte offset in the file; 0 where `what` names the place.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// Whether [`Store::repair`] puts it right. Everything else is data that exists once, which only a
    /// backup brings back.
    pub repairable: bool,
}

/// The outcome of a full check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Segment and model files, and tables of the catalog, read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Alive records whose ids, inputs and fields were read.
    pub rows: u64,
    /// What was found; empty for a sound database.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    fn add(&mut self, path: &Path, what: String) {
        self.problems.push(Problem { path: path.to_path_buf(), offset: 0, what, repairable: false });
    }

    fn add_repairable(&mut self, path: &Path, what: String) {
        self.problems.push(Problem { path: path.to_path_buf(), offset: 0, what, repairable: true });
    }

    /// Turns damage into a problem; other errors end the check.
    fn note<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Corrupt { path, offset, what }) => {
                self.problems.push(Problem { path, offset, what, repairable: false });
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// Adds another report; both may have met the same damaged table.
    fn append(&mut self, other: VerifyReport) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.rows += other.rows;
        for problem in other.problems {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
    }
}

/// Problems of one kind after which a check stops: the rest would say the same.
const MANY: usize = 100;

impl Store {
    /// Reads everything and reports what does not fit. Works on the current version; writing may go
    /// on.
    pub fn verify(&self) -> Result<VerifyReport, Error> {
        let view = self.view();
        // The catalog's tables are read beside the contents: both are bound by the processor.
        let (tables, contents) = thread::scope(|scope| {
            let tables = scope.spawn(|| tables::verify(&self.inner.layout));
            let contents = self.verify_contents(&view);
            (tables.join().unwrap_or_else(|panic| resume_unwind(panic)), contents)
        });
        let mut report = tables?;
        report.append(contents?);
        Ok(report)
    }

    fn verify_contents(&self, view: &View) -> Result<VerifyReport, Error> {
        let mut report = VerifyReport::default();
        let models = verify_models(view, &mut report);
        report.note(models)?;
        let entries = entries::verify(view, &mut report);
        report.note(entries)?;
        for info in view.collections() {
            let Some(collection) = view.collection(info.id) else { continue };
            segments::verify(&collection, self.inner.layout.indexer.as_deref(), &mut report);
            for check in [records::verify, fields::verify] {
                let done = check(&collection, &mut report);
                report.note(done)?;
            }
        }
        if !self.is_read_only() {
            for path in sweep::unnamed(&self.inner.layout, &view.state)? {
                report.add_repairable(&path, "no commit names this file".to_owned());
            }
        }
        Ok(report)
    }
}

fn verify_models(view: &View, report: &mut VerifyReport) -> Result<(), Error> {
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
        let Some(file) = view.state.model_file(model) else {
            report.add(pin.catalog().path(), format!("no collection uses model {model}"));
            continue;
        };
        report.files += 1;
        match file.read() {
            Err(Error::Io { path, source, .. }) => report.add(&path, source.to_string()),
            other => report.bytes += report.note(other)?.map_or(0, |bytes| bytes.len() as u64),
        }
    }
    Ok(())
}
