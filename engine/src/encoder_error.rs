//! What can go wrong with an encoder from a folder.

use std::path::PathBuf;
use std::sync::Arc;

use crate::Modality;

/// Why the encoder of a collection cannot be had from its folder.
///
/// Whatever needs no encoder goes on: reading, searching by features, codes or records, verifying.
///
/// ```
/// use twinbit::{CodeBits, Database, EncoderError, Error, Schema, TextEncoding};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// let schema = Schema::new(CodeBits::B64).image_features(8).text_encoder(TextEncoding::Folder("nowhere".into()));
/// let error = database.create_collection("photos", schema).unwrap_err();
/// assert!(matches!(error, Error::Encoder(EncoderError::Unreadable { .. })), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// The folder is missing, or holds something else.
    #[error(
        "the {modality} encoder cannot be read from {}: {}; if it was moved, say where it is (`twinbit model encoders`, `Collection::move_encoder`)",
        folder.display(),
        told(source)
    )]
    Unreadable {
        /// The modality it encodes.
        modality: Modality,
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        source: Arc<twinbit_hashing::Error>,
    },
    /// The folder holds another encoder than the one that the collection was created with.
    #[error(
        "{} holds the {modality} encoder \"{got}\", the collection's features come from \"{expected}\", and the two do not compare; put the old files back, say where they are (`twinbit model encoders`, `Collection::move_encoder`), or ingest into a new collection",
        folder.display()
    )]
    Changed {
        /// The modality it encodes.
        modality: Modality,
        /// The folder.
        folder: PathBuf,
        /// Id of the collection's encoder.
        expected: String,
        /// Id of the encoder in the folder.
        got: String,
    },
}

/// An error with its cause, which its own sentence leaves out.
fn told(error: &twinbit_hashing::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error} ({cause})"),
        None => error.to_string(),
    }
}
