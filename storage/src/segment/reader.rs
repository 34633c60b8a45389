//! Opening a segment file: header, column table and footer are checked at once, mapped columns are
//! trusted until `verify` hashes them.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use bytemuck::AnyBitPattern;
use xxhash_rust::xxh3::Xxh3Default;

use super::Step;
use super::content::{BLOCK, Content, Held};
use crate::cursor::Cursor;
use crate::durable::FileGuard;
use crate::error::Error;
use crate::format::{
    Column, ColumnKind, FOOTER_BYTES, FORMAT_VERSION, FileKind, Footer, HEADER_BYTES, Header, HeaderFault,
    PAGE, hash, page_up,
};
use crate::verify::Problem;

/// An open segment file whose header, table and footer are sound.
#[derive(Debug)]
pub(crate) struct ColumnFile {
    // The map goes before the guard may remove the file.
    content: Content,
    pub(crate) header: Header,
    columns: Vec<OpenColumn>,
    guard: FileGuard,
    damaged: AtomicBool,
}

#[derive(Debug)]
struct OpenColumn {
    kind: ColumnKind,
    entry: Column,
    /// The column in memory, where the file is not mapped.
    held: Option<Held>,
}

impl ColumnFile {
    /// Opens and checks the file, which the catalog or its writer says has `length` bytes.
    pub(super) fn open(guard: FileGuard, kind: FileKind, length: u64) -> Result<Self, Error> {
        let path = guard.path().to_path_buf();
        let corrupt = |offset: u64, what: &str| Error::corrupt(&path, offset, what);
        let content = Content::open(&guard, length)?;
        if length < (PAGE + FOOTER_BYTES) as u64 {
            return Err(corrupt(length, "it is shorter than a header"));
        }
        let page = content.range(&path, 0..PAGE as u64)?;
        let header = Header::decode(kind, &page).map_err(|fault| match fault {
            HeaderFault::Version(found) => {
                Error::Version { path: path.clone(), found, supported: FORMAT_VERSION }
            }
            HeaderFault::Damaged { offset, what } => corrupt(offset, what),
        })?;
        let footer_offset = length - FOOTER_BYTES as u64;
        let footer = Footer::decode(&content.range(&path, footer_offset..length)?)
            .ok_or_else(|| corrupt(footer_offset, "the footer is missing"))?;
        if footer.length != length {
            return Err(corrupt(footer_offset, "the footer states another length"));
        }
        if footer.header_hash != hash(&page) {
            return Err(corrupt(0, "the header's checksum does not match"));
        }
        let mut columns = Vec::new();
        let mut table = Cursor::new(page.get(HEADER_BYTES..).unwrap_or_default());
        let mut expected_offset = PAGE as u64;
        for index in 0..usize::from(header.columns) {
            let entry_offset = (HEADER_BYTES + index * crate::format::COLUMN_BYTES) as u64;
            let entry =
                Column::decode(&mut table).ok_or_else(|| corrupt(entry_offset, "the table is cut off"))?;
            let kind = ColumnKind::from_number(entry.kind)
                .ok_or_else(|| corrupt(entry_offset, "a column of unknown kind"))?;
            if columns.iter().any(|other: &OpenColumn| other.kind == kind) {
                return Err(corrupt(entry_offset, "a second column of a kind"));
            }
            let end = entry.offset.checked_add(entry.length).filter(|end| *end <= footer_offset);
            let Some(end) = end.filter(|_| entry.offset == expected_offset) else {
                return Err(corrupt(entry_offset, "a column is not where it belongs"));
            };
            expected_offset = page_up(end);
            let held = match kind.is_kept_input() {
                true => None,
                false => Held::read(&content, &path, entry.offset, entry.length)?,
            };
            if held.as_ref().is_some_and(|held| hash(held.bytes()) != entry.hash) {
                return Err(corrupt(
                    entry.offset,
                    &format!("the checksum of column {kind:?} does not match"),
                ));
            }
            columns.push(OpenColumn { kind, entry, held });
        }
        if expected_offset != footer_offset {
            return Err(corrupt(footer_offset, "the columns do not fill the file"));
        }
        drop(page);
        Ok(ColumnFile { content, header, columns, guard, damaged: AtomicBool::new(false) })
    }

    pub(crate) fn guard(&self) -> &FileGuard {
        &self.guard
    }

    pub(crate) fn path(&self) -> &Path {
        self.guard.path()
    }

    pub(crate) fn length(&self) -> u64 {
        self.content.length()
    }

    /// Whether a merge found that the file cannot be read as it was written.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    pub(super) fn set_damaged(&self, damaged: bool) {
        self.damaged.store(damaged, Ordering::Relaxed);
    }

    fn find(&self, kind: ColumnKind) -> Option<&OpenColumn> {
        self.columns.iter().find(|column| column.kind == kind)
    }

    /// The bytes of a column other than the kept inputs.
    pub(super) fn bytes(&self, kind: ColumnKind) -> Option<&[u8]> {
        let column = self.find(kind)?;
        if let Some(held) = &column.held {
            return Some(held.bytes());
        }
        let Content::Mapped(map) = &self.content else { return None };
        let start = column.entry.offset as usize;
        map.get(start..start + column.entry.length as usize)
    }

    /// Some bytes of a column, the kept inputs included; borrowed where the file is mapped.
    pub(super) fn range(&self, kind: ColumnKind, range: Range<u64>) -> Result<Option<Cow<'_, [u8]>>, Error> {
        let Some(column) = self.find(kind) else { return Ok(None) };
        if range.start > range.end || range.end > column.entry.length {
            return Ok(None);
        }
        let start = column.entry.offset;
        self.content.range(self.path(), start + range.start..start + range.end).map(Some)
    }

    /// A column as numbers. `None` when it is absent; its length was checked by [`expect`](Self::expect).
    pub(super) fn numbers<T: AnyBitPattern>(&self, kind: ColumnKind) -> Option<&[T]> {
        // Columns start at pages, so only a length that is no multiple could fail here.
        bytemuck::try_cast_slice(self.bytes(kind)?).ok()
    }

    /// A column's parameter.
    pub(super) fn parameter(&self, kind: ColumnKind) -> Option<u32> {
        self.find(kind).map(|column| column.entry.parameter)
    }

    /// An error that names a place in a column.
    pub(super) fn corrupt(&self, kind: ColumnKind, at: usize, what: impl Into<String>) -> Error {
        let start = self.find(kind).map_or(0, |column| column.entry.offset);
        Error::corrupt(self.path(), start + at as u64, what)
    }

    /// Checks that the column is there exactly when `length` is given, with that many bytes.
    pub(super) fn expect(&self, kind: ColumnKind, length: Option<u64>) -> Result<(), Error> {
        let found = self.find(kind).map(|column| column.entry.length);
        if found == length {
            return Ok(());
        }
        let say = |length: Option<u64>| {
            length.map_or("no such column".to_owned(), |bytes| format!("{bytes} bytes"))
        };
        Err(self.corrupt(kind, 0, format!("column {kind:?}: {} where {} belong", say(found), say(length))))
    }

    /// Checks that the column's length is a multiple of `size`.
    pub(super) fn expect_multiple(&self, kind: ColumnKind, size: u64) -> Result<(), Error> {
        match self.find(kind) {
            Some(column) if size == 0 || !column.entry.length.is_multiple_of(size) => {
                Err(self.corrupt(kind, 0, format!("column {kind:?} is not made of whole entries")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn has(&self, kind: ColumnKind) -> bool {
        self.find(kind).is_some()
    }

    /// Hashes every column as it is on the disk and checks that the bytes between columns are zero.
    pub(crate) fn verify(&self, problems: &mut Vec<Problem>) {
        let result = self.verify_header();
        self.note(result, problems);
        let mut table_end = HEADER_BYTES as u64;
        for column in &self.columns {
            table_end += crate::format::COLUMN_BYTES as u64;
            let result = self.verify_column(column);
            self.note(result, problems);
        }
        let result = self.verify_zeros(table_end..PAGE as u64, "the column table");
        self.note(result, problems);
    }

    /// Compares columns with their checksums: the one of this kind, or all. `step` hears of the bytes
    /// read.
    pub(crate) fn check(&self, only: Option<ColumnKind>, step: &mut Step<'_>) -> Result<(), Error> {
        let mut columns = self.columns.iter().filter(|column| only.is_none_or(|only| only == column.kind));
        columns.try_for_each(|column| self.check_column(column, step))
    }

    fn note(&self, result: Result<(), Error>, problems: &mut Vec<Problem>) {
        let path: PathBuf = self.path().to_path_buf();
        let (offset, what) = match result {
            Ok(()) => return,
            Err(Error::Corrupt { offset, what, .. }) => (offset, what),
            Err(other) => (0, other.to_string()),
        };
        problems.push(Problem { path, offset, what, repairable: false });
    }

    fn verify_header(&self) -> Result<(), Error> {
        let (path, length) = (self.path(), self.length());
        let page = self.content.range(path, 0..PAGE as u64)?;
        let offset = length.saturating_sub(FOOTER_BYTES as u64);
        match Footer::decode(&self.content.range(path, offset..length)?) {
            Some(footer) if footer.length != length => {
                Err(Error::corrupt(path, offset, "the footer states another length"))
            }
            Some(footer) if footer.header_hash != hash(&page) => {
                Err(Error::corrupt(path, 0, "the header's checksum does not match"))
            }
            Some(_) => Ok(()),
            None => Err(Error::corrupt(path, offset, "the footer is missing")),
        }
    }

    fn verify_column(&self, column: &OpenColumn) -> Result<(), Error> {
        self.check_column(column, &mut |_| Ok(()))?;
        let end = column.entry.offset + column.entry.length;
        self.verify_zeros(end..page_up(end), &format!("column {:?}", column.kind))
    }

    fn check_column(
        &self,
        OpenColumn { kind, entry, .. }: &OpenColumn,
        step: &mut Step<'_>,
    ) -> Result<(), Error> {
        let end = entry.offset + entry.length;
        let mut hasher = Xxh3Default::new();
        let mut at = entry.offset;
        while at < end {
            let until = end.min(at + BLOCK);
            hasher.update(&self.content.range(self.path(), at..until)?);
            step(until - at)?;
            at = until;
        }
        if hasher.digest() != entry.hash {
            let what = format!("the checksum of column {kind:?} does not match");
            return Err(Error::corrupt(self.path(), entry.offset, what));
        }
        Ok(())
    }

    fn verify_zeros(&self, range: Range<u64>, after: &str) -> Result<(), Error> {
        let padding = self.content.range(self.path(), range.clone())?;
        match padding.iter().position(|byte| *byte != 0) {
            None => Ok(()),
            Some(at) => {
                let what = format!("bytes after {after} are not zero");
                Err(Error::corrupt(self.path(), range.start + at as u64, what))
            }
        }
    }
}
