//! File systems that fail and forget, for the files outside the catalog. They work on the real folder
//! and so on files that are mapped.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use twinbit_storage::{Disk, FileSystem, NewFile, ReadFile};

/// Which call fails, and with which error of the system.
#[derive(Debug)]
struct Fault {
    calls: AtomicU64,
    at: u64,
    error: i32,
}

impl Fault {
    fn meet(&self) -> io::Result<()> {
        match self.calls.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            true => Err(io::Error::from_raw_os_error(self.error)),
            false => Ok(()),
        }
    }
}

/// The disk, one call of which fails.
#[derive(Clone, Debug)]
pub struct FaultyFileSystem {
    fault: Arc<Fault>,
}

impl FaultyFileSystem {
    /// Call number `at`, counted from 1, fails with an error number of the system; 0 fails none.
    pub fn new(at: u64, error: i32) -> Self {
        FaultyFileSystem { fault: Arc::new(Fault { calls: AtomicU64::new(0), at, error }) }
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.fault.calls.load(Ordering::Relaxed)
    }
}

impl FileSystem for FaultyFileSystem {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.fault.meet().and_then(|()| Disk.create_folder(path))
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.fault.meet().and_then(|()| Disk.names(folder))
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        self.fault.meet().and_then(|()| Disk.length(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        self.fault.meet().and_then(|()| Disk.open(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        self.fault.meet()?;
        Ok(Box::new(FaultyFile { file: Disk.create(path)?, fault: self.fault.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fault.meet().and_then(|()| Disk.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fault.meet().and_then(|()| Disk.link(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.fault.meet().and_then(|()| Disk.remove(path))
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.fault.meet().and_then(|()| Disk.remove_folder(path))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.fault.meet().and_then(|()| Disk.sync_folder(path))
    }
}

struct FaultyFile {
    file: Box<dyn NewFile>,
    fault: Arc<Fault>,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full disk takes a part of what it is given.
        self.fault.meet().inspect_err(|_| drop(self.file.write(&bytes[..bytes.len() / 2])))?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for FaultyFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl NewFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        self.fault.meet().and_then(|()| self.file.sync())
    }
}

/// The disk, which remembers what was synced and can lose the rest.
#[derive(Clone, Debug, Default)]
pub struct ForgetfulFileSystem {
    files: Arc<Mutex<Files>>,
}

#[derive(Default)]
struct Files {
    /// By the name a file has now: what of it was synced.
    synced: BTreeMap<PathBuf, Vec<u8>>,
    /// The names that were synced with their folder.
    names: BTreeMap<PathBuf, Vec<String>>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("folders", &self.names).finish_non_exhaustive()
    }
}

impl ForgetfulFileSystem {
    fn files(&self) -> std::sync::MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies a folder whose files all came through this file system as a power failure leaves it:
    /// without what was not synced, or, for each file as `keep` says, with it. Removed files may be
    /// back when their removal was not synced, without content that is known here: they are empty.
    ///
    /// # Panics
    /// When a file cannot be read or written.
    pub fn copy_after_power_loss(&self, folder: &Path, target: &Path, keep: &mut dyn FnMut() -> bool) {
        let files = self.files();
        std::fs::create_dir_all(target).expect("a folder");
        let mut names = Disk.names(folder).expect("a folder");
        let synced = files.names.get(folder).cloned().unwrap_or_default();
        names.retain(|name| synced.contains(name) || keep());
        for name in synced {
            if !names.contains(&name) && keep() {
                names.push(name);
            }
        }
        for name in names {
            let path = folder.join(&name);
            let content = match keep() {
                true => Disk.read(&path).unwrap_or_default(),
                false => files.synced.get(&path).cloned().unwrap_or_default(),
            };
            std::fs::write(target.join(name), content).expect("a file");
        }
    }
}

impl FileSystem for ForgetfulFileSystem {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        Disk.create_folder(path)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        Disk.names(folder)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Disk.length(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        Disk.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let file = Disk.create(path)?;
        Ok(Box::new(ForgetfulFile { file, path: path.to_path_buf(), disk: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)?;
        let mut files = self.files();
        let synced = files.synced.remove(from).unwrap_or_default();
        files.synced.insert(to.to_path_buf(), synced);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.link(from, to)?;
        let mut files = self.files();
        let synced = files.synced.get(from).cloned().unwrap_or_default();
        files.synced.insert(to.to_path_buf(), synced);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)?;
        self.files().synced.remove(path);
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        Disk.remove_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let names = Disk.names(path)?;
        self.files().names.insert(path.to_path_buf(), names);
        Disk.sync_folder(path)
    }
}

struct ForgetfulFile {
    file: Box<dyn NewFile>,
    path: PathBuf,
    disk: ForgetfulFileSystem,
}

impl Write for ForgetfulFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for ForgetfulFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl NewFile for ForgetfulFile {
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        let synced = Disk.read(&self.path)?;
        self.disk.files().synced.insert(self.path.clone(), synced);
        Ok(())
    }
}
