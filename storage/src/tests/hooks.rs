//! A disk that does something in the middle of a call, as another thread might.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::{Disk, FileSystem, NewFile, ReadFile};

type Hook = Box<dyn FnOnce() + Send>;

/// Runs each hook once: before a link is made, and after names were listed.
#[derive(Default)]
pub(super) struct Hooks {
    pub(super) before_link: Mutex<Option<Hook>>,
    pub(super) after_names: Mutex<Option<Hook>>,
    /// The folder whose names cannot be made durable.
    pub(super) unsynced: Mutex<Option<PathBuf>>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

fn run(hook: &Mutex<Option<Hook>>) {
    let hook = hook.lock().unwrap().take();
    if let Some(hook) = hook {
        hook();
    }
}

impl FileSystem for Hooks {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        Disk.create_folder(path)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let names = Disk.names(folder);
        run(&self.after_names);
        names
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Disk.length(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        Disk.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        Disk.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        run(&self.before_link);
        Disk.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        Disk.remove_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        match self.unsynced.lock().unwrap().as_deref() == Some(path) {
            true => Err(io::Error::other("on purpose")),
            false => Disk.sync_folder(path),
        }
    }
}
