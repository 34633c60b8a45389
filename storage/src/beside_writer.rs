//! Opening a catalog while another process may write it.

use crate::catalog::Catalog;
use crate::damage;
use crate::error::Error;
use crate::layout::Layout;

/// How often a read-only open is tried while the writer replaces files under it.
const READ_ATTEMPTS: usize = 10;

/// Opens the catalog by `open` without the lock, trying again while the writer replaces its files.
pub(crate) fn beside_the_writer<T>(layout: &Layout, open: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let before = Catalog::manifest(&layout.catalog).ok();
        let opened = open();
        // Between reading the manifest and the logs the writer may write a log's commits out and
        // remove it: they would be missing while later ones are there. Or it removed a table that was
        // named to RocksDB, which calls that corruption.
        let moved = Catalog::manifest(&layout.catalog).ok() != before;
        match opened {
            Ok(opened) if !moved => return Ok(opened),
            Err(error) if !moved && !may_have_moved_on(&error) => {
                return Err(missing_is_damage(layout, error));
            }
            _ if attempt < READ_ATTEMPTS => {
                std::thread::sleep(std::time::Duration::from_millis(1 << attempt.min(7)));
            }
            // Faster than it can be read: no damage, whatever was missing.
            _ if moved => {
                let source = "the writer replaced files of the catalog meanwhile, try again".into();
                return Err(Error::Catalog { operation: "open", source });
            }
            other => return other.map_err(|error| missing_is_damage(layout, error)),
        }
    }
}

fn may_have_moved_on(error: &Error) -> bool {
    match error {
        Error::Catalog { .. } => true,
        // RocksDB calls a catalog damaged whose table is not there any more.
        Error::Corrupt { path, .. } => !path.exists(),
        other => other.is_missing_file(),
    }
}

/// A file that the catalog names and that is not there is damage, once no writer can have replaced it.
pub(crate) fn missing_is_damage(layout: &Layout, error: Error) -> Error {
    match error {
        Error::Io { path, .. } if !path.exists() => {
            Error::corrupt(&path, 0, "the catalog names this file, but it is not there")
        }
        // RocksDB names the table that it misses.
        Error::Catalog { operation, source } => match damage::place(&layout.catalog, &source.to_string()) {
            (path, _) if path != layout.catalog && !path.exists() => {
                Error::corrupt(&path, 0, "the catalog names this file, but it is not there")
            }
            _ => Error::Catalog { operation, source },
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::StoreOptions;
    use crate::store::Store;

    /// What a read-only open goes by to see that the writer replaced files meanwhile.
    #[test]
    fn the_manifest_changes_when_the_catalog_replaces_files() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = folder.path().join(crate::format::CATALOG_FOLDER);
        let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
        let before = Catalog::manifest(&catalog).unwrap();
        assert_eq!(Catalog::manifest(&catalog).unwrap(), before);
        // Closing writes out what the log holds.
        drop(store);
        assert_ne!(Catalog::manifest(&catalog).unwrap(), before);
    }
}
