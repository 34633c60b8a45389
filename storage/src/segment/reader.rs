//! Opening a segment file: header, column table and footer are checked at once, columns are trusted
//! until `verify` hashes them.

use std::path::{Path, PathBuf};

use bytemuck::AnyBitPattern;

use crate::cursor::Cursor;
use crate::durable::FileGuard;
use crate::error::Error;
use crate::format::{
    Column, ColumnKind, FOOTER_BYTES, FORMAT_VERSION, FileKind, Footer, HEADER_BYTES, Header, HeaderFault,
    PAGE, hash, page_up,
};
use crate::mmap::Mapping;
use crate::verify::Problem;

/// A mapped segment file whose header, table and footer are sound.
#[derive(Debug)]
pub(crate) struct ColumnFile {
    // The map goes before the guard may remove the file.
    map: Mapping,
    pub(crate) header: Header,
    columns: Vec<(ColumnKind, Column)>,
    guard: FileGuard,
}

impl ColumnFile {
    /// Maps and checks the file, which the catalog or its writer says has `length` bytes.
    pub(super) fn open(guard: FileGuard, kind: FileKind, length: u64) -> Result<Self, Error> {
        let path = guard.path().to_path_buf();
        let corrupt = |offset: u64, what: &str| Error::corrupt(&path, offset, what);
        let map = Mapping::open(&path, length)?;
        let Some(page) = map.get(..PAGE) else {
            return Err(corrupt(length, "it is shorter than a header"));
        };
        let header = Header::decode(kind, page).map_err(|fault| match fault {
            HeaderFault::Version(found) => {
                Error::Version { path: path.clone(), found, supported: FORMAT_VERSION }
            }
            HeaderFault::Damaged { offset, what } => corrupt(offset, what),
        })?;
        let footer_offset = length.saturating_sub(FOOTER_BYTES as u64);
        let footer = map
            .get(footer_offset as usize..)
            .and_then(Footer::decode)
            .ok_or_else(|| corrupt(footer_offset, "the footer is missing"))?;
        if footer.length != length {
            return Err(corrupt(footer_offset, "the footer states another length"));
        }
        if footer.header_hash != hash(page) {
            return Err(corrupt(0, "the header's checksum does not match"));
        }
        let mut columns = Vec::new();
        let mut table = Cursor::new(page.get(HEADER_BYTES..).unwrap_or_default());
        let mut expected_offset = PAGE as u64;
        for index in 0..usize::from(header.columns) {
            let entry_offset = (HEADER_BYTES + index * crate::format::COLUMN_BYTES) as u64;
            let column =
                Column::decode(&mut table).ok_or_else(|| corrupt(entry_offset, "the table is cut off"))?;
            let kind = ColumnKind::from_number(column.kind)
                .ok_or_else(|| corrupt(entry_offset, "a column of unknown kind"))?;
            if columns.iter().any(|(other, _)| *other == kind) {
                return Err(corrupt(entry_offset, "a second column of a kind"));
            }
            let end = column.offset.checked_add(column.length).filter(|end| *end <= footer_offset);
            let Some(end) = end.filter(|_| column.offset == expected_offset) else {
                return Err(corrupt(entry_offset, "a column is not where it belongs"));
            };
            expected_offset = page_up(end);
            columns.push((kind, column));
        }
        if expected_offset != footer_offset {
            return Err(corrupt(footer_offset, "the columns do not fill the file"));
        }
        Ok(ColumnFile { map, header, columns, guard })
    }

    pub(crate) fn guard(&self) -> &FileGuard {
        &self.guard
    }

    pub(crate) fn path(&self) -> &Path {
        self.guard.path()
    }

    pub(crate) fn length(&self) -> u64 {
        self.map.len() as u64
    }

    fn find(&self, kind: ColumnKind) -> Option<&Column> {
        self.columns.iter().find_map(|(found, column)| (*found == kind).then_some(column))
    }

    /// A column's bytes.
    pub(super) fn bytes(&self, kind: ColumnKind) -> Option<&[u8]> {
        let column = self.find(kind)?;
        let start = column.offset as usize;
        self.map.get(start..start + column.length as usize)
    }

    /// A column as numbers. `None` when it is absent; its length was checked by [`expect`](Self::expect).
    pub(super) fn numbers<T: AnyBitPattern>(&self, kind: ColumnKind) -> Option<&[T]> {
        // Columns start at pages, so only a length that is no multiple could fail here.
        bytemuck::try_cast_slice(self.bytes(kind)?).ok()
    }

    /// A column's parameter.
    pub(super) fn parameter(&self, kind: ColumnKind) -> Option<u32> {
        self.find(kind).map(|column| column.parameter)
    }

    /// An error that names a place in a column.
    pub(super) fn corrupt(&self, kind: ColumnKind, at: usize, what: impl Into<String>) -> Error {
        let start = self.find(kind).map_or(0, |column| column.offset);
        Error::corrupt(self.path(), start + at as u64, what)
    }

    /// Checks that the column is there exactly when `length` is given, with that many bytes.
    pub(super) fn expect(&self, kind: ColumnKind, length: Option<u64>) -> Result<(), Error> {
        let found = self.find(kind).map(|column| column.length);
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
            Some(column) if size == 0 || !column.length.is_multiple_of(size) => {
                Err(self.corrupt(kind, 0, format!("column {kind:?} is not made of whole entries")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn has(&self, kind: ColumnKind) -> bool {
        self.find(kind).is_some()
    }

    /// Hashes every column and checks that the bytes between columns are zero.
    pub(crate) fn verify(&self, problems: &mut Vec<Problem>) {
        let path: PathBuf = self.path().to_path_buf();
        let mut problem = |offset: u64, what: String| {
            problems.push(Problem { path: path.clone(), offset, what });
        };
        let mut table_end = HEADER_BYTES;
        for (kind, column) in &self.columns {
            table_end += crate::format::COLUMN_BYTES;
            let bytes = self.bytes(*kind).unwrap_or_default();
            if hash(bytes) != column.hash {
                problem(column.offset, format!("the checksum of column {kind:?} does not match"));
            }
            let end = column.offset + column.length;
            let padding = self.map.get(end as usize..page_up(end) as usize).unwrap_or_default();
            if let Some(at) = padding.iter().position(|byte| *byte != 0) {
                problem(end + at as u64, format!("bytes after column {kind:?} are not zero"));
            }
        }
        if self.map.get(table_end..PAGE).is_some_and(|rest| rest.iter().any(|byte| *byte != 0)) {
            problem(table_end as u64, "bytes after the column table are not zero".to_owned());
        }
    }
}
