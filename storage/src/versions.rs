//! Refusing what a newer version of this library wrote, before anything is changed.

use std::path::Path;

use crate::catalog::Catalog;
use crate::error::Error;
use crate::format::{FORMAT_VERSION, FileKind, TEMPORARY_ENDING, VERSION_OFFSET};
use crate::layout::{Layout, is_our_name};

/// Looks at the versions of the catalog and of all segment files without opening the catalog for
/// writing: RocksDB rewrites its log and manifest when it opens, whatever they hold.
///
/// What cannot be read here is no reason to stop: opening meets it again and says what it is.
pub(crate) fn check(layout: &Layout) -> Result<(), Error> {
    if let Ok(Some(found)) = Catalog::format_version(&layout.catalog) {
        refuse_newer(&layout.catalog, found)?;
    }
    for name in layout.files.names(&layout.segments)? {
        if is_our_name(&name) && !name.ends_with(TEMPORARY_ENDING) {
            let path = layout.segments.join(&name);
            if let Some(found) = segment_version(layout, &path) {
                refuse_newer(&path, found)?;
            }
        }
    }
    Ok(())
}

fn segment_version(layout: &Layout, path: &Path) -> Option<u32> {
    let mut first = [0; VERSION_OFFSET + 4];
    layout.files.open(path).ok()?.read_at(0, &mut first).ok()?;
    let (magic, version) = first.split_at_checked(VERSION_OFFSET)?;
    let is_ours = FileKind::ALL.iter().any(|kind| magic == kind.magic());
    is_ours.then(|| version.try_into().ok().map(u32::from_le_bytes))?
}

fn refuse_newer(path: &Path, found: u32) -> Result<(), Error> {
    match found > FORMAT_VERSION {
        true => Err(Error::Version { path: path.to_path_buf(), found, supported: FORMAT_VERSION }),
        false => Ok(()),
    }
}
