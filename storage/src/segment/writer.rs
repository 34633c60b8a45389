//! Writing a segment file: header page, page-aligned columns, footer.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;

use crate::durable::Files;
use crate::error::Error;
use crate::format::{Column, ColumnKind, Footer, HEADER_BYTES, Header, PAGE, hash, page_up};

/// A column to be written.
pub(super) struct ColumnData<'a> {
    pub(super) kind: ColumnKind,
    pub(super) parameter: u32,
    pub(super) bytes: Cow<'a, [u8]>,
}

impl<'a> ColumnData<'a> {
    pub(super) fn new(kind: ColumnKind, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        ColumnData { kind, parameter: 0, bytes: bytes.into() }
    }
}

/// Writes the file and returns its length. `header.columns` is filled in here.
pub(super) fn write(
    files: &Files,
    path: &Path,
    mut header: Header,
    columns: &[ColumnData<'_>],
) -> Result<u64, Error> {
    header.columns = u16::try_from(columns.len()).unwrap_or(u16::MAX);
    let mut page = header.encode();
    debug_assert_eq!(page.len(), HEADER_BYTES);
    let mut offset = PAGE as u64;
    for column in columns {
        Column {
            kind: column.kind as u32,
            parameter: column.parameter,
            offset,
            length: column.bytes.len() as u64,
            hash: hash(&column.bytes),
        }
        .encode(&mut page);
        offset = page_up(offset + column.bytes.len() as u64);
    }
    page.resize(PAGE, 0);
    let footer = Footer { length: offset + crate::format::FOOTER_BYTES as u64, header_hash: hash(&page) };
    files.write_new(path, |out| {
        out.write_all(&page)?;
        for column in columns {
            out.write_all(&column.bytes)?;
            pad(out, column.bytes.len())?;
        }
        out.write_all(&footer.encode())
    })
}

fn pad(out: &mut dyn Write, length: usize) -> io::Result<()> {
    let zeros = [0; PAGE];
    let missing = length.next_multiple_of(PAGE) - length;
    out.write_all(zeros.get(..missing).unwrap_or_default())
}
