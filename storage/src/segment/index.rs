//! The index file: what makes searching the codes of a segment faster, for both modalities.
//!
//! Everything in it follows from the codes, so a damaged one is no reason to refuse a database: the
//! segment is then searched without, and `verify` names the damage.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use twinbit_kernels::Modality;

use super::codes::CodesFile;
use super::reader::ColumnFile;
use super::{Step, writer};
use crate::durable::FileGuard;
use crate::error::Error;
use crate::format::{ColumnKind, FileKind, Header, Presence};
use crate::indexer::{IndexBuild, IndexBytes, OpenIndex, SegmentIndexer};
use crate::layout::Layout;
use crate::verify::Problem;

const INDEXES: [ColumnKind; 2] = [ColumnKind::ImageIndex, ColumnKind::TextIndex];

/// An index file, as the catalog names it.
#[derive(Debug)]
pub(crate) struct IndexFile {
    length: u64,
    condition: Condition,
}

#[derive(Debug)]
enum Condition {
    Sound {
        /// What the indexer made of each column.
        indexes: [Option<OpenIndex>; 2],
        file: Arc<ColumnFile>,
    },
    Damaged {
        problem: Problem,
        guard: FileGuard,
    },
}

/// A column of an index file.
#[derive(Clone, Debug)]
pub(crate) struct IndexColumn {
    file: Arc<ColumnFile>,
    kind: ColumnKind,
}

impl IndexColumn {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.file.bytes(self.kind).unwrap_or_default()
    }
}

impl IndexFile {
    /// Makes the indexes of the codes, which were compared with their checksums.
    pub(crate) fn write(
        layout: &Layout,
        codes: &CodesFile,
        indexer: &dyn SegmentIndexer,
        build: IndexBuild,
        step: &mut Step<'_>,
    ) -> Result<Self, Error> {
        let header = header(codes);
        let guard = layout.files.unnamed(layout.index(header.number, header.model));
        let length = writer::write(guard.files(), guard.path(), header, |columns| {
            for (modality, kind) in Modality::ALL.into_iter().zip(INDEXES) {
                let Some(codes) = codes.codes(modality) else { continue };
                columns.begin(kind, 0)?;
                let mut refused = None;
                let built = indexer.build(codes, build, &mut |bytes| {
                    let pushed = columns.push(bytes).and_then(|()| columns.step(step));
                    pushed.map_err(|error| {
                        refused = Some(error);
                        io::Error::other("given up")
                    })
                });
                built.map_err(|error| refused.unwrap_or_else(|| Error::io(guard.path(), "make")(error)))?;
            }
            Ok(())
        })?;
        let index = Self::open(layout, guard, length, codes)?;
        match index.condition {
            Condition::Sound { .. } => Ok(index),
            Condition::Damaged { problem: Problem { path, offset, what, .. }, .. } => {
                Err(Error::Corrupt { path, offset, what })
            }
        }
    }

    /// Opens the file; one that is damaged or missing is open, too, but holds no index.
    ///
    /// # Errors
    /// Only what may be otherwise next time, or in a newer version.
    pub(crate) fn open(
        layout: &Layout,
        guard: FileGuard,
        length: u64,
        codes: &CodesFile,
    ) -> Result<Self, Error> {
        let path = guard.path().to_path_buf();
        let opened = ColumnFile::open(guard, FileKind::Index, length)
            .and_then(|file| open_columns(Arc::new(file), codes, layout.indexer.as_deref()));
        let problem = match opened {
            Ok(condition) => return Ok(IndexFile { length, condition }),
            Err(Error::Corrupt { path, offset, what }) => mendable(path, offset, what),
            Err(Error::Io { path, source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                mendable(path, 0, "the catalog names this file, but it is not there".to_owned())
            }
            Err(other) => return Err(other),
        };
        tracing::warn!(path = %path.display(), offset = problem.offset, what = problem.what,
            "a damaged index is not used; repair makes it anew");
        Ok(IndexFile { length, condition: Condition::Damaged { problem, guard: layout.files.named(path) } })
    }

    /// What the indexer made of a modality's index; `None` where there is none that can be used.
    pub(crate) fn index(&self, modality: Modality) -> Option<&OpenIndex> {
        match &self.condition {
            Condition::Sound { indexes, .. } => indexes.get(modality.index())?.as_ref(),
            Condition::Damaged { .. } => None,
        }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn guard(&self) -> &FileGuard {
        match &self.condition {
            Condition::Sound { file, .. } => file.guard(),
            Condition::Damaged { guard, .. } => guard,
        }
    }

    /// Compares everything with its checksums and, where somebody understands it, with the codes; what
    /// is found can be made anew from these.
    pub(crate) fn verify(&self, codes: &CodesFile, indexer: Option<&dyn SegmentIndexer>) -> Vec<Problem> {
        let (indexes, file) = match &self.condition {
            Condition::Sound { indexes, file } => (indexes, file),
            Condition::Damaged { problem, .. } => return vec![problem.clone()],
        };
        let mut problems = Vec::new();
        file.verify(&mut problems);
        problems.iter_mut().for_each(|problem| problem.repairable = true);
        let Some(indexer) = indexer.filter(|_| problems.is_empty()) else { return problems };
        for ((modality, kind), index) in Modality::ALL.into_iter().zip(INDEXES).zip(indexes) {
            if let (Some(index), Some(codes)) = (index, codes.codes(modality))
                && let Err(wrong) = indexer.verify(index, codes)
                && let Error::Corrupt { path, offset, what } = misfit(file, kind, wrong.as_ref())
            {
                problems.push(mendable(path, offset, what));
            }
        }
        problems
    }
}

fn mendable(path: PathBuf, offset: u64, what: String) -> Problem {
    Problem { path, offset, what, repairable: true }
}

/// The header of the index file beside a codes file.
fn header(codes: &CodesFile) -> Header {
    Header { kind: FileKind::Index, columns: 0, ..codes.file().header }
}

fn open_columns(
    file: Arc<ColumnFile>,
    codes: &CodesFile,
    indexer: Option<&dyn SegmentIndexer>,
) -> Result<Condition, Error> {
    if (Header { columns: 0, ..file.header }) != header(codes) {
        return Err(Error::corrupt(file.path(), 0, "it is the index of other codes"));
    }
    let mut indexes = [None, None];
    let columns = Modality::ALL.into_iter().zip(INDEXES).zip(file.header.presence);
    for (place, ((modality, kind), presence)) in indexes.iter_mut().zip(columns) {
        if file.has(kind) != (presence != Presence::None) {
            return Err(file.corrupt(kind, 0, format!("column {kind:?} is missing, or one too many")));
        }
        if let (Some(indexer), Some(codes)) = (indexer, codes.codes(modality)) {
            let column = IndexColumn { file: file.clone(), kind };
            let opened = indexer.open(IndexBytes(column), codes);
            *place = Some(opened.map_err(|wrong| misfit(&file, kind, wrong.as_ref()))?);
        }
    }
    Ok(Condition::Sound { indexes, file })
}

/// The error that says what the indexer does not like about a column.
fn misfit(file: &ColumnFile, kind: ColumnKind, wrong: &dyn std::error::Error) -> Error {
    file.corrupt(kind, 0, format!("column {kind:?}: {wrong}"))
}
