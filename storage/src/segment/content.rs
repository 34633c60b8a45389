//! The bytes of a segment file: mapped, or read with ordinary calls.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use twinbit_kernels::Line;

use crate::durable::FileGuard;
use crate::error::Error;
use crate::fs::ReadFile;
use crate::mmap::Mapping;
use crate::options::ReadMode;

/// Bytes read at once where a whole file is gone through.
pub(super) const BLOCK: u64 = 1 << 20;

/// The bytes of a file whose length was checked.
#[derive(Debug)]
pub(super) enum Content {
    /// All of them, in memory when touched.
    Mapped(Mapping),
    /// Nothing in memory but what [`Held`] keeps.
    Read { file: Box<dyn ReadFile>, length: u64 },
}

impl Content {
    /// Opens the file, which must have exactly `length` bytes.
    pub(super) fn open(guard: &FileGuard, length: u64) -> Result<Self, Error> {
        let (files, path) = (guard.files(), guard.path());
        let found = files.length(path)?;
        if found != length {
            return Err(Error::corrupt(
                path,
                found.min(length),
                format!("it has {found} bytes instead of {length}"),
            ));
        }
        Ok(match files.read_mode() {
            ReadMode::Mapped => Content::Mapped(Mapping::open(path, length)?),
            ReadMode::Read => Content::Read { file: files.open(path)?, length },
        })
    }

    pub(super) fn length(&self) -> u64 {
        match self {
            Content::Mapped(map) => map.len() as u64,
            Content::Read { length, .. } => *length,
        }
    }

    /// The bytes in a range, borrowed where the file is mapped.
    pub(super) fn range(&self, path: &Path, range: Range<u64>) -> Result<Cow<'_, [u8]>, Error> {
        let beyond = || Error::corrupt(path, range.start, "it ends before these bytes");
        match self {
            Content::Mapped(map) => {
                let range = range.start as usize..range.end as usize;
                map.get(range).map(Cow::Borrowed).ok_or_else(beyond)
            }
            Content::Read { file, length } => {
                if range.start > range.end || range.end > *length {
                    return Err(beyond());
                }
                let mut bytes = vec![0; (range.end - range.start) as usize];
                read(file.as_ref(), path, range.start, &mut bytes)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

fn read(file: &dyn ReadFile, path: &Path, offset: u64, into: &mut [u8]) -> Result<(), Error> {
    file.read_at(offset, into).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            Error::corrupt(path, offset, "it was cut off after it had been opened")
        }
        _ => Error::io(path, "read")(error),
    })
}

/// A column in memory, aligned as in a mapped file.
#[derive(Debug)]
pub(super) struct Held {
    lines: Vec<Line>,
    length: usize,
}

impl Held {
    /// Reads a column of a file that is not mapped.
    pub(super) fn read(
        content: &Content,
        path: &Path,
        offset: u64,
        length: u64,
    ) -> Result<Option<Self>, Error> {
        let Content::Read { file, .. } = content else { return Ok(None) };
        let length = length as usize;
        let mut lines = vec![Line::default(); length.div_ceil(size_of::<Line>())];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut lines);
        read(file.as_ref(), path, offset, bytes.get_mut(..length).unwrap_or_default())?;
        Ok(Some(Held { lines, length }))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.lines).get(..self.length).unwrap_or_default()
    }
}
