//! A tuned image encoder and its hash model, as a folder.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use twinbit_hashing::Outcome;

use crate::training_checkpoint::sync_folder;
use crate::{Error, Result};

/// The weights of an image encoder, where [`ImageEncoding::Folder`](crate::ImageEncoding::Folder) looks for them.
const WEIGHTS: &str = "model.safetensors";
/// What other programs want to know of an image encoder; copied where there is one.
const COPIED: [&str; 2] = ["config.json", "preprocessor_config.json"];

/// What [`Tuner`](crate::Tuner) leaves: an image encoder and the model made for it.
///
/// ```no_run
/// use twinbit::{FolderSource, Tuned, Tuner};
///
/// let tuned = Tuner::new("models/resnet18").source(FolderSource::open("photos")?).run()?;
/// tuned.write("models/tuned")?;
/// assert!(std::path::Path::new("models/tuned").join(Tuned::MODEL_FILE).is_file());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tuned {
    /// The model, which names the tuned encoder, and the epochs.
    pub outcome: Outcome,
    /// Pairs read, held-out ones included.
    pub pairs: usize,
    /// Items left out.
    pub skipped: u64,
    pub(super) weights: Vec<u8>,
    pub(super) began_with: PathBuf,
}

impl Tuned {
    /// The file of the hash model in the folder.
    pub const MODEL_FILE: &'static str = "hash-model.safetensors";

    /// Writes a folder, whole or not at all: the image encoder for
    /// [`ImageEncoding::Folder`](crate::ImageEncoding::Folder), with the configuration files that lay beside
    /// the one it began with, and the [model](Self::MODEL_FILE).
    ///
    /// # Errors
    /// [`Error::Io`] when something lies in the folder already, or the disk refuses.
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        let partial = partial(folder);
        let written = self.write_files(&partial).and_then(|()| {
            // Takes the place of an empty folder, and of no other.
            fs::rename(&partial, folder)?;
            sync_folder(folder)
        });
        written.map_err(|source| {
            // What was begun is of no use.
            let _ = fs::remove_dir_all(&partial);
            Error::Io { path: folder.to_path_buf(), operation: "write the tuned encoder to", source }
        })
    }

    fn write_files(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)?;
        write(&folder.join(WEIGHTS), &self.weights)?;
        write(&folder.join(Self::MODEL_FILE), &self.outcome.model.to_bytes())?;
        for name in COPIED {
            let from = self.began_with.join(name);
            if from.is_file() {
                write(&folder.join(name), &fs::read(from)?)?;
            }
        }
        File::open(folder)?.sync_all()
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// `models/tuned` is written as `models/.tuned.partial`.
fn partial(folder: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(folder.file_name().unwrap_or_default());
    name.push(".partial");
    folder.with_file_name(name)
}
