//! Read-only memory maps: the one file of this crate with `unsafe`.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use crate::error::Error;

/// A whole file, mapped for reading.
#[derive(Debug)]
pub(crate) struct Mapping {
    map: Mmap,
}

impl Mapping {
    /// Maps the file, which must have exactly `length` bytes.
    pub(crate) fn open(path: &Path, length: u64) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io(path, "open"))?;
        let mapping = Self::map(&file).map_err(Error::io(path, "map"))?;
        match mapping.len() as u64 {
            found if found == length => Ok(mapping),
            found => Err(Error::corrupt(
                path,
                found.min(length),
                format!("it has {found} bytes instead of {length}"),
            )),
        }
    }

    #[allow(unsafe_code, reason = "mapping a file is unsafe by nature; see the comment")]
    fn map(file: &File) -> std::io::Result<Self> {
        // SAFETY: a map is sound as long as nobody changes or truncates the file under it. Files of
        // a database are written under another name, renamed once complete, and from then on only
        // unlinked (`durable.rs`), which leaves existing maps intact; the database's lock keeps
        // other writers of ours away. A foreign program that edits or truncates the files in place
        // breaks this, as it does for every engine that maps its files: docs/format.md says so
        // among the assumptions.
        let map = unsafe { Mmap::map(file)? };
        Ok(Mapping { map })
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
