//! The lock that keeps a second writing process away.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::error::Error;

/// Takes the lock of a database and writes this process into it. It ends with the file handle, so
/// at the latest with the process, however that ends.
pub(crate) fn lock(path: &Path, database: &Path) -> Result<File, Error> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(Error::io(path, "open"))?;
    acquire(&file, path, database)?;
    // The process number only serves the message of the next one; it need not be durable, and on a full
    // disk it may be missing.
    let written =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "the lock is held, but does not say by whom");
    }
    Ok(file)
}

/// Takes the lock of a database without changing its file: others are told no process.
pub(crate) fn hold(path: &Path, database: &Path) -> Result<File, Error> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    acquire(&file, path, database)?;
    Ok(file)
}

fn acquire(mut file: &File, path: &Path, database: &Path) -> Result<(), Error> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = (&mut file).take(32).read_to_string(&mut text);
            Err(Error::Locked { path: database.to_path_buf(), pid: text.trim().parse().ok() })
        }
        Err(TryLockError::Error(error)) => Err(Error::io(path, "lock")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_lock_names_the_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("LOCK");
        let held = lock(&path, folder.path()).unwrap();
        let refused = lock(&path, folder.path());
        assert!(matches!(refused, Err(Error::Locked { pid: Some(pid), .. }) if pid == std::process::id()));
        assert!(matches!(hold(&path, folder.path()), Err(Error::Locked { .. })));
        drop(held);
        std::fs::write(&path, "what it was").unwrap();
        let held = hold(&path, folder.path()).unwrap();
        assert!(matches!(lock(&path, folder.path()), Err(Error::Locked { pid: None, .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"what it was");
        drop(held);
        assert!(lock(&path, folder.path()).is_ok());
    }
}
