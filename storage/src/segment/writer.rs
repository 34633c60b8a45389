//! Writing a segment file: page-aligned columns as they come, then the footer, and the header page
//! last. Nothing is held in memory but what is being pushed.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3Default;

use super::Step;
use crate::durable::{Draft, Files};
use crate::error::Error;
use crate::format::{Column, ColumnKind, FOOTER_BYTES, Footer, HEADER_BYTES, Header, PAGE, hash, page_up};

/// Bytes of a merge that may be waiting for the disk.
const SYNC_EVERY: u64 = 32 << 20;

/// Writes the file that `fill` pushes the columns of, and returns its length. `header.columns` is
/// filled in here.
pub(super) fn write(
    files: &Files,
    path: &Path,
    mut header: Header,
    fill: impl FnOnce(&mut ColumnWriter<'_>) -> Result<(), Error>,
) -> Result<u64, Error> {
    // What `fill` refuses keeps its own words.
    let mut refused = None;
    let written = files.write_new(path, |draft| {
        // The header page stays a hole until it is known.
        draft.seek(SeekFrom::Start(PAGE as u64))?;
        let mut writer = ColumnWriter {
            draft,
            path,
            columns: Vec::new(),
            open: None,
            offset: PAGE as u64,
            pushed: 0,
            unsynced: 0,
        };
        match fill(&mut writer).and_then(|()| writer.end()) {
            Ok(()) => {}
            Err(error) => {
                refused = Some(error);
                return Err(io::Error::other("given up"));
            }
        }
        let ColumnWriter { draft, columns, offset, .. } = writer;
        header.columns = u16::try_from(columns.len()).unwrap_or(u16::MAX);
        let mut page = header.encode();
        debug_assert_eq!(page.len(), HEADER_BYTES);
        columns.iter().for_each(|column| column.encode(&mut page));
        page.resize(PAGE, 0);
        let footer = Footer { length: offset + FOOTER_BYTES as u64, header_hash: hash(&page) };
        draft.write_all(&footer.encode())?;
        draft.seek(SeekFrom::Start(0))?;
        draft.write_all(&page)
    });
    written.map_err(|error| refused.unwrap_or(error))
}

/// Takes the columns of a file, one after the other.
pub(super) struct ColumnWriter<'d> {
    draft: &'d mut Draft,
    path: &'d Path,
    columns: Vec<Column>,
    open: Option<OpenColumn>,
    /// Where the next column starts.
    offset: u64,
    pushed: u64,
    unsynced: u64,
}

struct OpenColumn {
    kind: ColumnKind,
    parameter: u32,
    length: u64,
    hasher: Xxh3Default,
}

/// A column whose place in the file is kept free until its content is known.
pub(super) struct Reserved {
    column: usize,
    at: u64,
    hasher: Xxh3Default,
}

impl ColumnWriter<'_> {
    /// Begins the next column; the one before is complete.
    pub(super) fn begin(&mut self, kind: ColumnKind, parameter: u32) -> Result<(), Error> {
        self.end()?;
        self.open = Some(OpenColumn { kind, parameter, length: 0, hasher: Xxh3Default::new() });
        Ok(())
    }

    /// Appends to the column that was begun.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Some(open) = &mut self.open {
            open.hasher.update(bytes);
            open.length += bytes.len() as u64;
            self.pushed += bytes.len() as u64;
            self.draft.write_all(bytes).map_err(Error::io(self.path, "write"))?;
        }
        Ok(())
    }

    /// A whole column at once.
    pub(super) fn column(&mut self, kind: ColumnKind, parameter: u32, bytes: &[u8]) -> Result<(), Error> {
        self.begin(kind, parameter)?;
        self.push(bytes)
    }

    /// Leaves room for a column of `length` bytes that [`fill`](Self::fill) writes meanwhile.
    pub(super) fn reserve(&mut self, kind: ColumnKind, length: u64) -> Result<Reserved, Error> {
        self.end()?;
        let reserved = Reserved { column: self.columns.len(), at: self.offset, hasher: Xxh3Default::new() };
        let hash = reserved.hasher.digest();
        self.columns.push(Column { kind: kind as u32, parameter: 0, offset: self.offset, length, hash });
        self.offset = page_up(self.offset + length);
        self.seek(self.offset)?;
        Ok(reserved)
    }

    /// Writes the next bytes of a reserved column.
    pub(super) fn fill(&mut self, reserved: &mut Reserved, bytes: &[u8]) -> Result<(), Error> {
        let here = self.offset + self.open.as_ref().map_or(0, |open| open.length);
        self.seek(reserved.at)?;
        self.draft.write_all(bytes).map_err(Error::io(self.path, "write"))?;
        self.seek(here)?;
        reserved.at += bytes.len() as u64;
        self.pushed += bytes.len() as u64;
        reserved.hasher.update(bytes);
        if let Some(column) = self.columns.get_mut(reserved.column) {
            column.hash = reserved.hasher.digest();
        }
        Ok(())
    }

    /// Tells `step` of the bytes pushed since the last time, and lets them reach the disk bit by bit:
    /// one sync of gigabytes at the end would keep everyone's commits waiting.
    pub(super) fn step(&mut self, step: &mut Step<'_>) -> Result<(), Error> {
        let pushed = std::mem::take(&mut self.pushed);
        self.unsynced += pushed;
        if self.unsynced >= SYNC_EVERY {
            self.unsynced = 0;
            self.draft.sync().map_err(Error::io(self.path, "sync"))?;
        }
        step(pushed)
    }

    /// Completes the column that was begun: zeros up to the next page.
    fn end(&mut self) -> Result<(), Error> {
        let Some(open) = self.open.take() else { return Ok(()) };
        self.columns.push(Column {
            kind: open.kind as u32,
            parameter: open.parameter,
            offset: self.offset,
            length: open.length,
            hash: open.hasher.digest(),
        });
        let end = self.offset + open.length;
        self.offset = page_up(end);
        let zeros = [0; PAGE];
        let padding = zeros.get(..(self.offset - end) as usize).unwrap_or_default();
        self.draft.write_all(padding).map_err(Error::io(self.path, "write"))
    }

    fn seek(&mut self, to: u64) -> Result<(), Error> {
        self.draft.seek(SeekFrom::Start(to)).map(|_| ()).map_err(Error::io(self.path, "write"))
    }
}
