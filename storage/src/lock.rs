//! The lock that keeps a second writing process away.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::error::Error;

/// A lock that is held until this is dropped, or the process ends.
///
/// It belongs to the open file, and a process that another thread is starting holds that file, too,
/// until it has begun its program. Closing the file would leave the lock to it for that moment, so the
/// lock is given up by name.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    /// Who took it: a fork that drops it must not take it from its parent.
    process: u32,
}

impl Lock {
    /// Takes the lock of a database and writes this process into it.
    pub(crate) fn take(path: &Path, database: &Path) -> Result<Self, Error> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(Error::io(path, "open"))?;
        let mut lock = Self::acquire(file, path, database)?;
        // The process number only serves the message of the next one; it need not be durable, and on a
        // full disk it may be missing.
        if let Err(error) = lock.sign() {
            tracing::warn!(path = %path.display(), %error, "the lock is held, but does not say by whom");
        }
        Ok(lock)
    }

    /// Takes the lock of a database without changing its file: others are told no process.
    pub(crate) fn hold(path: &Path, database: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io(path, "open"))?;
        Self::acquire(file, path, database)
    }

    fn acquire(mut file: File, path: &Path, database: &Path) -> Result<Self, Error> {
        match file.try_lock() {
            Ok(()) => Ok(Self { file, process: std::process::id() }),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = (&mut file).take(32).read_to_string(&mut text);
                Err(Error::Locked { path: database.to_path_buf(), pid: text.trim().parse().ok() })
            }
            Err(TryLockError::Error(error)) => Err(Error::io(path, "lock")(error)),
        }
    }

    fn sign(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{}", self.process)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // Should this fail, closing the file gives the lock up.
            let _ = self.file.unlock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_lock_names_the_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("LOCK");
        let held = Lock::take(&path, folder.path()).unwrap();
        let refused = Lock::take(&path, folder.path());
        assert!(matches!(refused, Err(Error::Locked { pid: Some(pid), .. }) if pid == std::process::id()));
        assert!(matches!(Lock::hold(&path, folder.path()), Err(Error::Locked { .. })));
        drop(held);
        std::fs::write(&path, "what it was").unwrap();
        let held = Lock::hold(&path, folder.path()).unwrap();
        assert!(matches!(Lock::take(&path, folder.path()), Err(Error::Locked { pid: None, .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"what it was");
        drop(held);
        assert!(Lock::take(&path, folder.path()).is_ok());
    }
    #[test]
    fn a_process_that_is_being_started_does_not_keep_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("LOCK");
        let held = Lock::take(&path, folder.path()).unwrap();
        // What a fork has until it begins its program: the same open file once more.
        let inherited = held.file.try_clone().unwrap();
        drop(held);
        assert!(Lock::take(&path, folder.path()).is_ok());
        drop(inherited);
    }
}
