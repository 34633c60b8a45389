//! Copies of a whole database: a checkpoint of an open one, and a database restored from a copy.
//!
//! Segment, model and table files never change, so a copy on the same file system shares them by hard
//! links. What does change (the catalog's log and manifest) is copied. A copy is made under a temporary
//! name and renamed at the end: it is there whole or not at all.

use std::path::{Path, PathBuf};

use crate::durable::Files;
use crate::error::Error;
use crate::format::{CATALOG_FOLDER, LOCK_FILE, MODELS_FOLDER, SEGMENTS_FOLDER, TEMPORARY_ENDING};
use crate::gate::lock;
use crate::layout::Layout;
use crate::lock::Lock;
use crate::options::StoreOptions;
use crate::state::State;
use crate::store::Store;
use crate::sweep;

/// What a copy of a database holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// The version that was copied.
    pub version: u64,
    /// Files.
    pub files: u64,
    /// Their bytes; those of files that the copy shares with its source count too.
    pub bytes: u64,
}

impl Store {
    /// Makes a copy of the database as it is now, while reading and writing go on.
    ///
    /// The copy is a database of its own. Where `target` is on the same file system it shares the
    /// immutable files by hard links, so that it takes little time and room; elsewhere they are
    /// copied. Commits wait while RocksDB writes its buffers out, not while files are linked or copied.
    ///
    /// # Errors
    /// [`Error::TargetTaken`] when there is something at `target`; [`Error::ReadOnly`]. A failed
    /// checkpoint leaves nothing behind.
    pub fn checkpoint(&self, target: impl AsRef<Path>) -> Result<Copied, Error> {
        let store = &self.inner;
        let copy = Copy::begin(&store.layout.files, target.as_ref())?;
        let mut attempt = 1;
        loop {
            copy.start()?;
            // The state keeps the files that it names, also those that later commits stop naming.
            let state = {
                let _no_commit = lock(&store.commit);
                store.check_writable()?;
                let state = store.state();
                state.pin.catalog().checkpoint(&copy.temporary.join(CATALOG_FOLDER))?;
                state
            };
            match copy.add_named(&store.layout, &state) {
                Ok(()) => return copy.finish(state.counters.version),
                // Unless their names are used again: a model that was replaced, came back and was
                // called off takes its codes along. Then a later version is copied.
                Err(error) if error.is_missing_file() && attempt < ATTEMPTS => {
                    if store.state().counters.version == state.counters.version {
                        return Err(error);
                    }
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes a database at `target` from a checkpoint, or from any database that no process writes
    /// to, after verifying all of it. The source stays as it is, and may be on a read-only medium.
    ///
    /// # Errors
    /// [`Error::TargetTaken`] when there is something at `target`, [`Error::Locked`] when the source
    /// is in use, [`Error::Corrupt`] with the first problem when it is damaged. A failed restore
    /// leaves nothing behind.
    pub fn restore(source: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<Copied, Error> {
        let options = StoreOptions::default();
        let files = Files::new(options.file_system.clone(), options.read_mode);
        let layout = Layout::new(source.as_ref(), files);
        let reader = Store::open_read_only(&layout.root, options)?;
        // A checkpoint has no lock file and needs none; a database that was in use has one.
        let _held = match layout.lock.exists() {
            true => Some(Lock::hold(&layout.lock, &layout.root)?),
            false => None,
        };
        reader.refresh()?;
        let report = reader.verify()?;
        if let Some(problem) = report.problems.into_iter().next() {
            return Err(Error::Corrupt { path: problem.path, offset: problem.offset, what: problem.what });
        }
        let state = reader.inner.state();
        let copy = Copy::begin(&layout.files, target.as_ref())?;
        copy.start()?;
        layout.files.create_folder(&copy.temporary.join(CATALOG_FOLDER))?;
        for name in layout.files.names(&layout.catalog)? {
            let path = layout.catalog.join(&name);
            match name.ends_with(".sst") {
                true => copy.add(&path, CATALOG_FOLDER)?,
                false if name == LOCK_FILE || name.starts_with("LOG") => {}
                false => layout.files.copy(&path, &copy.temporary.join(CATALOG_FOLDER).join(&name))?,
            }
        }
        copy.add_named(&layout, &state)?;
        copy.finish(state.counters.version)
    }
}

/// How many versions are tried before a checkpoint gives up.
const ATTEMPTS: usize = 10;

/// Marks a folder as a copy that is being made, and is locked meanwhile.
const MARKER: &str = "COPYING";

/// A copy being made, removed again unless it is finished.
struct Copy<'f> {
    files: &'f Files,
    target: PathBuf,
    temporary: PathBuf,
    finished: bool,
    _held: Lock,
}

impl<'f> Copy<'f> {
    fn begin(files: &'f Files, target: &Path) -> Result<Self, Error> {
        let is_taken = match target.is_dir() {
            true => !files.names(target)?.is_empty(),
            false => target.symlink_metadata().is_ok(),
        };
        // Beside the target, also when that ends with a slash; a name such as `.` has no place beside it.
        let target: PathBuf = target.components().collect();
        let Some(name) = target.file_name().filter(|_| !is_taken) else {
            return Err(Error::TargetTaken { path: target });
        };
        let mut temporary = name.to_owned();
        temporary.push(TEMPORARY_ENDING);
        let temporary = target.with_file_name(temporary);
        // What has the temporary name is cleared only when an interrupted copy left it, and refused
        // while another copy is being made there.
        let names = files.names(&temporary)?;
        let is_left = names.is_empty() || names.iter().any(|name| name == MARKER);
        if temporary.is_file() || !is_left {
            return Err(Error::TargetTaken { path: temporary });
        }
        files.create_folder(&temporary).inspect_err(|_| drop(files.remove_folder(&temporary)))?;
        let held = Lock::take(&temporary.join(MARKER), &temporary).inspect_err(|_| {
            // That of another copy is not empty.
            let _ = files.remove_folder(&temporary);
        })?;
        Ok(Copy { files, target, temporary, finished: false, _held: held })
    }

    /// Makes the folders anew, without what an earlier attempt left.
    fn start(&self) -> Result<(), Error> {
        self.clear()?;
        for folder in [SEGMENTS_FOLDER, MODELS_FOLDER] {
            self.files.create_folder(&self.temporary.join(folder))?;
        }
        Ok(())
    }

    fn add(&self, path: &Path, folder: &str) -> Result<(), Error> {
        let name = path.file_name().unwrap_or_default();
        self.files.link_or_copy(path, &self.temporary.join(folder).join(name))
    }

    /// Adds the segment and model files that a version names.
    fn add_named(&self, layout: &Layout, state: &State) -> Result<(), Error> {
        for path in sweep::named(layout, state) {
            let folder = match path.starts_with(&layout.models) {
                true => MODELS_FOLDER,
                false => SEGMENTS_FOLDER,
            };
            self.add(&path, folder)?;
        }
        Ok(())
    }

    fn finish(mut self, version: u64) -> Result<Copied, Error> {
        let mut copied = Copied { version, ..Copied::default() };
        for folder in [CATALOG_FOLDER, SEGMENTS_FOLDER, MODELS_FOLDER] {
            let folder = self.temporary.join(folder);
            self.files.sync_folder(&folder)?;
            copied.files += self.files.names(&folder)?.len() as u64;
            copied.bytes += self.files.folder_bytes(&folder)?;
        }
        self.files.remove(&self.temporary.join(MARKER))?;
        self.files.sync_folder(&self.temporary)?;
        // A rename replaces an empty folder.
        let renamed = self.files.rename(&self.temporary, &self.target);
        if renamed.is_err() && !self.temporary.exists() {
            // It has the name, but not for good: what is there is to be removed.
            self.temporary.clone_from(&self.target);
        }
        renamed?;
        self.finished = true;
        Ok(copied)
    }

    /// Removes everything but the marker.
    fn clear(&self) -> Result<(), Error> {
        for name in self.files.names(&self.temporary)? {
            let path = self.temporary.join(&name);
            if !path.is_dir() {
                continue;
            }
            for name in self.files.names(&path)? {
                self.files.remove(&path.join(name))?;
            }
            self.files.remove_folder(&path)?;
        }
        Ok(())
    }
}

impl Drop for Copy<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let removed = self
            .clear()
            .and_then(|()| self.files.remove(&self.temporary.join(MARKER)))
            .and_then(|()| self.files.remove_folder(&self.temporary));
        if let Err(error) = removed {
            tracing::warn!(%error, "left of a copy that failed; it may be removed");
        }
    }
}
