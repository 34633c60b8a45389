//! The one seam between this crate and the disk, for every file outside the catalog.
//!
//! RocksDB has its own way to the disk, the lock file and memory maps need a real file. Everything
//! else goes through [`FileSystem`], so that tests can make any call fail.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::Path;

/// What this crate asks of a disk.
///
/// Files are mapped by their path, so an implementation works on a real folder: it may count, delay
/// or fail calls, but what it leaves must be there.
pub trait FileSystem: fmt::Debug + Send + Sync {
    /// Creates a folder in one that is there.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder, in any order.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// The length of a file, in bytes.
    fn length(&self, path: &Path) -> io::Result<u64>;

    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>>;

    /// Creates a file for writing; one that is there is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>>;

    /// Gives a file another name, in one step; a file that has it is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name. Fails where the two names are on different file systems.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name of a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// Returns once the names in a folder would survive a power failure.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Reads a whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.length(path)?).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.open(path)?.read_at(0, &mut bytes)?;
        Ok(bytes)
    }
}

/// A file being read.
pub trait ReadFile: fmt::Debug + Send + Sync {
    /// Fills `into` with the bytes at `offset`; a file that ends before is an error.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

/// A file being written.
pub trait NewFile: Write + Seek + Send {
    /// Returns once the bytes written so far would survive a power failure.
    fn sync(&mut self) -> io::Result<()>;
}

/// The disk as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl FileSystem for Disk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        Ok(Box::new(File::create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }
}

impl ReadFile for File {
    #[cfg(unix)]
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, into, offset)
    }

    #[cfg(not(unix))]
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut file = self.try_clone()?;
        file.seek(io::SeekFrom::Start(offset))?;
        io::Read::read_exact(&mut file, into)
    }
}

impl NewFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}
