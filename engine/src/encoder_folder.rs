//! Folders with pretrained encoders: read when first needed, and once a process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use twinbit_hashing::{ImageEncoder, TextTower};

use crate::{EncoderError, Modality};

/// Folders in use, by their path as written.
static IN_USE: Mutex<BTreeMap<PathBuf, Weak<EncoderFolder>>> = Mutex::new(BTreeMap::new());

/// What was read of a folder. It may hold encoders of both modalities, as CLIP's does.
#[derive(Default)]
pub(crate) struct EncoderFolder {
    image: Mutex<Option<ImageEncoder>>,
    text: Mutex<Option<TextTower>>,
}

/// The folders that a database has read from; the encoders are freed with the last one that uses them.
#[derive(Default)]
pub(crate) struct EncoderFolders {
    used: Mutex<BTreeMap<PathBuf, Arc<EncoderFolder>>>,
}

/// A panic elsewhere leaves what these hold whole, because it is changed in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EncoderFolders {
    /// The image encoder in a folder.
    pub(crate) fn image(&self, path: &Path) -> Result<ImageEncoder, EncoderError> {
        once(&self.folder(path).image, || read_image(path))
    }

    /// The text tower in a folder.
    pub(crate) fn text(&self, path: &Path) -> Result<TextTower, EncoderError> {
        once(&self.folder(path).text, || read_text(path))
    }

    fn folder(&self, path: &Path) -> Arc<EncoderFolder> {
        let mut used = lock(&self.used);
        if let Some(folder) = used.get(path) {
            return Arc::clone(folder);
        }
        let mut in_use = lock(&IN_USE);
        in_use.retain(|_, folder| folder.strong_count() > 0);
        let folder = in_use.get(path).and_then(Weak::upgrade).unwrap_or_default();
        in_use.insert(path.to_path_buf(), Arc::downgrade(&folder));
        used.insert(path.to_path_buf(), Arc::clone(&folder));
        folder
    }
}

/// What `slot` holds, read first where nothing does. A failure is not kept: the folder may come back.
///
/// Others wait meanwhile, so `read` must not wait for them: reading encoders uses no thread pool.
fn once<T: Clone>(
    slot: &Mutex<Option<T>>,
    read: impl FnOnce() -> Result<T, EncoderError>,
) -> Result<T, EncoderError> {
    let mut slot = lock(slot);
    if let Some(encoder) = &*slot {
        return Ok(encoder.clone());
    }
    let encoder = read()?;
    *slot = Some(encoder.clone());
    Ok(encoder)
}

/// Reads the image encoder in a folder.
pub(crate) fn read_image(folder: &Path) -> Result<ImageEncoder, EncoderError> {
    ImageEncoder::from_folder(folder).map_err(|source| unreadable(Modality::Image, folder, source))
}

/// Reads the image encoder in a folder, for pictures that are not to be resized where that is how it was
/// published.
pub(crate) fn read_unresized(folder: &Path) -> Result<ImageEncoder, EncoderError> {
    ImageEncoder::from_folder_unresized(folder).map_err(|source| unreadable(Modality::Image, folder, source))
}

/// Reads the text tower in a folder.
pub(crate) fn read_text(folder: &Path) -> Result<TextTower, EncoderError> {
    TextTower::from_folder(folder).map_err(|source| unreadable(Modality::Text, folder, source))
}

fn unreadable(modality: Modality, folder: &Path, source: twinbit_hashing::Error) -> EncoderError {
    EncoderError::Unreadable { modality, folder: folder.to_path_buf(), source: Arc::new(source) }
}
