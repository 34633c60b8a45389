//! How files outside the catalog appear and go.
//!
//! A file appears whole or not at all: it is written under a temporary name, synced, renamed, and
//! its folder synced. After that it is never changed, only removed.

use std::collections::HashMap;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::error::Error;
use crate::format::TEMPORARY_ENDING;
use crate::fs::{Disk, FileSystem, NewFile, ReadFile};
use crate::gate;
use crate::options::ReadMode;

/// A file that is being written under its temporary name.
pub(crate) struct Draft {
    out: BufWriter<Box<dyn NewFile>>,
}

impl Draft {
    /// Returns once what was written so far would survive a power failure.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_mut().sync()
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Seek for Draft {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.out.seek(to)
    }
}

/// The folder that holds the name of a path.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_ENDING);
    PathBuf::from(name)
}

/// The name that a file is to have, from that or its temporary one.
fn final_path(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(TEMPORARY_ENDING));
    name.map_or_else(|| path.to_path_buf(), |name| path.with_file_name(name))
}

/// The files of one open database: the way to the disk, and which guard answers for which path.
///
/// A name can come back while an older file of that name is still in use: a model that is installed
/// again, for one. The newest guard owns the name; older ones leave the file alone.
#[derive(Debug)]
pub(crate) struct Files {
    file_system: Arc<dyn FileSystem>,
    read_mode: ReadMode,
    owners: Mutex<HashMap<PathBuf, u64>>,
    /// Guards of files that several collections may use.
    shared: Mutex<HashMap<PathBuf, Weak<FileGuard>>>,
    next_guard: AtomicU64,
}

impl Default for Files {
    fn default() -> Self {
        Files::new(Arc::new(Disk), ReadMode::default())
    }
}

impl Files {
    pub(crate) fn new(file_system: Arc<dyn FileSystem>, read_mode: ReadMode) -> Self {
        Files {
            file_system,
            read_mode,
            owners: Mutex::default(),
            shared: Mutex::default(),
            next_guard: AtomicU64::new(0),
        }
    }

    pub(crate) fn read_mode(&self) -> ReadMode {
        self.read_mode
    }

    /// Creates a folder with its parents and makes its name durable.
    pub(crate) fn create_folder(&self, path: &Path) -> Result<(), Error> {
        let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.is_dir()).collect();
        for folder in missing.into_iter().rev().filter(|folder| !folder.as_os_str().is_empty()) {
            match self.file_system.create_folder(folder) {
                Err(error) if !folder.is_dir() => return Err(Error::io(folder, "create")(error)),
                _ => self.sync_folder(folder_of(folder))?,
            }
        }
        Ok(())
    }

    /// Writes a file that appears whole under `path` or not at all; returns its length.
    pub(crate) fn write_new(
        &self,
        path: &Path,
        write: impl FnOnce(&mut Draft) -> io::Result<()>,
    ) -> Result<u64, Error> {
        let temporary = temporary_path(path);
        let result = self.write_and_sync(&temporary, write).and_then(|length| {
            self.file_system.rename(&temporary, path).map_err(Error::io(path, "rename into place"))?;
            self.sync_folder(folder_of(path))?;
            Ok(length)
        });
        if result.is_err() {
            // Whatever has the final name is its guard's business. A failure to remove the temporary
            // is made good by the sweep at the next open.
            let _ = self.file_system.remove(&temporary);
        }
        result
    }

    fn write_and_sync(
        &self,
        path: &Path,
        write: impl FnOnce(&mut Draft) -> io::Result<()>,
    ) -> Result<u64, Error> {
        let file = self.file_system.create(path).map_err(Error::io(path, "create"))?;
        let mut draft = Draft { out: BufWriter::with_capacity(1 << 18, file) };
        write(&mut draft).map_err(Error::io(path, "write"))?;
        let mut file =
            draft.out.into_inner().map_err(|error| Error::io(path, "write")(error.into_error()))?;
        file.sync().map_err(Error::io(path, "sync"))?;
        file.seek(SeekFrom::End(0)).map_err(Error::io(path, "read the length of"))
    }

    /// Gives a file or folder another name, for good.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.file_system.rename(from, to).map_err(Error::io(to, "rename into place"))?;
        self.sync_folder(folder_of(to))
    }

    /// Gives a file a second name, or copies it where that cannot be. The caller syncs the folder.
    pub(crate) fn link_or_copy(&self, from: &Path, to: &Path) -> Result<(), Error> {
        match self.file_system.link(from, to) {
            Ok(()) => Ok(()),
            Err(_) => self.copy(from, to),
        }
    }

    /// Copies a file; one that is at `to` is replaced. The caller syncs the folder.
    pub(crate) fn copy(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let length = self.length(from)?;
        let source = self.open(from)?;
        self.write_and_sync(to, |out| {
            let mut block = vec![0; 1 << 20];
            let mut offset = 0;
            while offset < length {
                let here = (length - offset).min(1 << 20) as usize;
                let bytes = block.get_mut(..here).unwrap_or_default();
                source.read_at(offset, bytes)?;
                out.write_all(bytes)?;
                offset += here as u64;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Makes the names in a folder durable.
    pub(crate) fn sync_folder(&self, path: &Path) -> Result<(), Error> {
        self.file_system.sync_folder(path).map_err(Error::io(path, "sync"))
    }

    /// Removes a file; one that is gone already is fine.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), Error> {
        match self.file_system.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path, "remove")(error)),
            _ => Ok(()),
        }
    }

    /// Removes an empty folder.
    pub(crate) fn remove_folder(&self, path: &Path) -> Result<(), Error> {
        self.file_system.remove_folder(path).map_err(Error::io(path, "remove"))
    }

    /// Names of the entries of a folder in alphabetical order; none when the folder is not there.
    pub(crate) fn names(&self, folder: &Path) -> Result<Vec<String>, Error> {
        match self.file_system.names(folder) {
            Ok(mut names) => {
                names.sort_unstable();
                Ok(names)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::io(folder, "list")(error)),
        }
    }

    /// Opens a file for reading.
    pub(crate) fn open(&self, path: &Path) -> Result<Box<dyn ReadFile>, Error> {
        self.file_system.open(path).map_err(Error::io(path, "open"))
    }

    /// Reads a whole file.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>, Error> {
        self.file_system.read(path).map_err(Error::io(path, "read"))
    }

    /// The length of a file.
    pub(crate) fn length(&self, path: &Path) -> Result<u64, Error> {
        self.file_system.length(path).map_err(Error::io(path, "read the length of"))
    }

    /// Bytes of the files in a folder. Files that go while it is listed do not count.
    pub(crate) fn folder_bytes(&self, folder: &Path) -> Result<u64, Error> {
        let lengths = self.names(folder)?.into_iter().map(|name| self.length(&folder.join(name)));
        Ok(lengths.filter_map(Result::ok).sum())
    }

    /// Guards a file that is about to be written and that no commit names yet.
    pub(crate) fn unnamed(self: &Arc<Self>, path: PathBuf) -> FileGuard {
        self.guard(path, true)
    }

    /// Guards a file that the catalog names.
    pub(crate) fn named(self: &Arc<Self>, path: PathBuf) -> FileGuard {
        self.guard(path, false)
    }

    /// The one guard of a file that the catalog names and that others may use too.
    pub(crate) fn named_shared(self: &Arc<Self>, path: PathBuf) -> Arc<FileGuard> {
        let guard = Arc::new(self.named(path.clone()));
        gate::lock(&self.shared).insert(path, Arc::downgrade(&guard));
        guard
    }

    /// The guard of a file that others may use too: the one there is, or that of a new file that
    /// `write` makes and that no commit names yet.
    ///
    /// With two guards, the one of a failed install would remove the file that the other's commit
    /// names.
    pub(crate) fn shared_or_new(
        self: &Arc<Self>,
        path: PathBuf,
        write: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<Arc<FileGuard>, Error> {
        // Held while writing: who comes meanwhile shares the file.
        let mut shared = gate::lock(&self.shared);
        shared.retain(|_, guard| guard.strong_count() > 0);
        if let Some(guard) = shared.get(&path).and_then(Weak::upgrade) {
            return Ok(guard);
        }
        let guard = Arc::new(self.unnamed(path.clone()));
        write(&path)?;
        shared.insert(path, Arc::downgrade(&guard));
        Ok(guard)
    }

    fn guard(self: &Arc<Self>, path: PathBuf, doomed: bool) -> FileGuard {
        let number = self.next_guard.fetch_add(1, Ordering::Relaxed);
        gate::lock(&self.owners).insert(path.clone(), number);
        FileGuard { path, doomed: AtomicBool::new(doomed), number, files: self.clone() }
    }

    /// Whether a file is there for which no guard answers. That of a file's final name answers for the
    /// temporary one, too.
    pub(crate) fn is_left(&self, path: &Path) -> bool {
        let owners = gate::lock(&self.owners);
        !owners.contains_key(&final_path(path)) && self.file_system.length(path).is_ok()
    }

    /// Removes a file unless a guard answers for it; whether it did. A guard that is made meanwhile, and
    /// so what is written under it, comes after the removal.
    pub(crate) fn remove_left(&self, path: &Path) -> Result<bool, Error> {
        let owners = gate::lock(&self.owners);
        match owners.contains_key(&final_path(path)) {
            true => Ok(false),
            false => self.remove(path).map(|()| true),
        }
    }
}

/// A file that is removed when the last user lets go, if it is doomed.
///
/// A new file is doomed until the commit that names it, and again once a commit stops naming it.
#[derive(Debug)]
pub(crate) struct FileGuard {
    path: PathBuf,
    doomed: AtomicBool,
    number: u64,
    files: Arc<Files>,
}

impl FileGuard {
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A commit is about to name the file.
    pub(crate) fn keep(&self) {
        self.doomed.store(false, Ordering::Release);
    }

    /// A commit has stopped naming the file.
    pub(crate) fn retire(&self) {
        self.doomed.store(true, Ordering::Release);
    }
}

impl Drop for FileGuard {
    fn drop(&mut self) {
        // Held until the file is gone, so that a new file of that name is not removed instead.
        let mut owners = gate::lock(&self.files.owners);
        if owners.get(&self.path) != Some(&self.number) {
            return;
        }
        owners.remove(&self.path);
        if self.doomed.load(Ordering::Acquire)
            && let Err(error) = self.files.remove(&self.path)
        {
            tracing::warn!(%error, "left for the sweep at the next open");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_nothing() {
        let files = Files::default();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let result = files.write_new(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("full"))
        });
        assert!(matches!(result, Err(Error::Io { operation: "write", .. })));
        assert!(files.names(folder.path()).unwrap().is_empty());

        assert_eq!(files.write_new(&path, |out| out.write_all(b"whole")).unwrap(), 5);
        assert_eq!(files.names(folder.path()).unwrap(), ["a"]);
    }

    #[test]
    fn a_failed_rename_leaves_what_has_the_name() {
        let files = Files::default();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        files.write_new(&path, |out| out.write_all(b"old")).unwrap();
        // The temporary file vanishes, so that it cannot be renamed.
        let temporary = temporary_path(&path);
        let result = files.write_new(&path, |_| std::fs::remove_file(&temporary));
        assert!(matches!(result, Err(Error::Io { operation: "rename into place", .. })));
        assert_eq!(files.read(&path).unwrap(), b"old");
    }

    #[test]
    fn folders_are_created_with_their_parents() {
        let files = Files::default();
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        files.create_folder(&deep).unwrap();
        files.create_folder(&deep).unwrap();
        assert!(deep.is_dir());
        files.write_new(&deep.join("file"), |out| out.write_all(b"x")).unwrap();
        assert!(matches!(
            files.create_folder(&deep.join("file/d")),
            Err(Error::Io { operation: "create", .. })
        ));
        assert_eq!(folder_of(Path::new("d.db")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/d.db")), Path::new("a"));
    }

    #[test]
    fn a_shared_file_stays_while_one_of_its_users_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let files = Arc::new(Files::default());
        let path = folder.path().join("a");
        let write = |path: &Path| files.write_new(path, |out| out.write_all(b"x")).map(|_| ());
        let first = files.shared_or_new(path.clone(), write).unwrap();
        let second = files.shared_or_new(path.clone(), |_| panic!("it is there")).unwrap();
        first.keep();
        drop(second);
        assert!(path.is_file());
        first.retire();
        drop(first);
        assert!(!path.exists());
        drop(files.shared_or_new(path.clone(), write).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn doomed_files_go_with_their_guard() {
        let folder = tempfile::tempdir().unwrap();
        let files = Arc::new(Files::default());
        for (keep, retire, left) in [(false, false, 0), (true, false, 1), (true, true, 0)] {
            let path = folder.path().join("a");
            files.write_new(&path, |out| out.write_all(b"x")).unwrap();
            let guard = files.unnamed(path);
            if keep {
                guard.keep();
            }
            if retire {
                guard.retire();
            }
            drop(guard);
            assert_eq!(files.names(folder.path()).unwrap().len(), left);
        }
    }

    #[test]
    fn an_old_guard_leaves_a_new_file_of_its_name_alone() {
        let folder = tempfile::tempdir().unwrap();
        let files = Arc::new(Files::default());
        let path = folder.path().join("a");
        files.write_new(&path, |out| out.write_all(b"old")).unwrap();
        let old = files.unnamed(path.clone());
        let new = files.unnamed(path.clone());
        files.write_new(&path, |out| out.write_all(b"new")).unwrap();
        drop(old);
        assert!(!files.is_left(&path));
        assert_eq!(files.read(&path).unwrap(), b"new");
        drop(new);
        assert!(files.names(folder.path()).unwrap().is_empty());
        assert!(gate::lock(&files.owners).is_empty());
    }

    /// Between listing what is left and removing it, somebody may begin to write under such a name.
    #[test]
    fn what_is_left_is_removed_unless_it_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let files = Arc::new(Files::default());
        let path = folder.path().join("a");
        for left in [path.clone(), temporary_path(&path)] {
            std::fs::write(&left, b"left").unwrap();
            assert!(files.is_left(&left));
            let guard = files.unnamed(path.clone());
            assert!(!files.is_left(&left) && !files.remove_left(&left).unwrap());
            guard.keep();
            drop(guard);
            assert!(left.is_file() && files.remove_left(&left).unwrap());
            assert!(!left.exists() && !files.is_left(&left));
        }
    }
}
