//! The file of a model: bytes that this crate does not understand, and that collections may share.

use std::io::Write;
use std::sync::Arc;

use crate::durable::FileGuard;
use crate::error::Error;
use crate::format::hash;
use crate::fs::ReadFile;
use crate::id::ModelId;
use crate::layout::Layout;
use crate::meta::ModelEntry;

/// An open file: a version that names it can read it for good, also in a process beside the writer,
/// which replaces the model and removes the file meanwhile.
#[derive(Debug)]
pub(crate) struct ModelFile {
    file: Box<dyn ReadFile>,
    entry: ModelEntry,
    guard: Arc<FileGuard>,
}

impl ModelFile {
    /// Opens the file that the catalog names. Its length is checked, its content when it is read.
    pub(crate) fn open(layout: &Layout, model: ModelId, entry: ModelEntry) -> Result<Self, Error> {
        ModelFile::with_guard(layout.files.named_shared(layout.model(model)), entry)
    }

    /// Writes the file, or takes the one that others use. No commit names it yet.
    pub(crate) fn write(layout: &Layout, model: ModelId, bytes: &[u8]) -> Result<Self, Error> {
        let mut is_new = false;
        let guard = layout.files.shared_or_new(layout.model(model), |path| {
            is_new = true;
            layout.files.write_new(path, |out| out.write_all(bytes)).map(|_| ())
        })?;
        if !is_new && layout.files.read(guard.path())? != bytes {
            return Err(Error::ModelDiffers { model });
        }
        ModelFile::with_guard(guard, ModelEntry::of(bytes))
    }

    fn with_guard(guard: Arc<FileGuard>, entry: ModelEntry) -> Result<Self, Error> {
        let (files, path) = (guard.files(), guard.path());
        let length = files.length(path)?;
        if length != entry.length {
            let what = format!("it has {length} bytes where the catalog states {}", entry.length);
            return Err(Error::corrupt(path, length.min(entry.length), what));
        }
        Ok(ModelFile { file: files.open(path)?, entry, guard })
    }

    /// The model's bytes, compared with their checksum.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Error> {
        let path = self.guard.path();
        let length = usize::try_from(self.entry.length)
            .map_err(|_| Error::corrupt(path, 0, "it is larger than memory can be"))?;
        let mut bytes = vec![0; length];
        self.file.read_at(0, &mut bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Error::corrupt(path, 0, "it was cut off after it had been opened")
            }
            _ => Error::io(path, "read")(error),
        })?;
        match hash(&bytes) == self.entry.hash {
            true => Ok(bytes),
            false => Err(Error::corrupt(path, 0, "the model's checksum does not match")),
        }
    }

    /// What the catalog says of the file.
    pub(crate) fn entry(&self) -> ModelEntry {
        self.entry
    }

    /// A commit is about to name the file.
    pub(crate) fn keep(&self) {
        self.guard.keep();
    }

    /// A commit has stopped naming the file.
    pub(crate) fn retire(&self) {
        self.guard.retire();
    }
}
