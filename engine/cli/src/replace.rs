//! Files that are replaced whole or not at all.

use std::ffi::OsString;
use std::io;
use std::path::Path;

/// Writes beside the file and renames: what had the name stays until then, also when this fails.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if path.exists() && !path.is_file() {
        // A pipe or a device: a rename would put a file in its place.
        return std::fs::write(path, content);
    }
    let mut temporary = OsString::from(path);
    temporary.push(".tmp");
    std::fs::write(&temporary, content)
        .and_then(|()| std::fs::rename(&temporary, path))
        .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_leaves_the_older_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.md");
        replace(&path, b"old").unwrap();
        // Something else has the temporary name.
        let temporary = folder.path().join("table.md.tmp");
        std::fs::create_dir(&temporary).unwrap();
        assert!(replace(&path, b"new").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        std::fs::remove_dir(&temporary).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
