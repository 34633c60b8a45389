//! What can go wrong, said in sentences.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use twinbit_kernels::Modality;

use crate::id::ModelId;
use crate::schema::FieldType;

/// A boxed error of another layer.
pub type BoxedError = Box<dyn StdError + Send + Sync>;

/// Everything this crate can fail with.
///
/// `Display` is a sentence that names what failed, where, and what to do next; `source()` leads to
/// the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call to the file system failed.
    #[error("could not {operation} {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb: "create", "sync", ...
        operation: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// Stored bytes are not what was written.
    #[error("{} is damaged at byte {offset}: {what}; put a copy from a backup in its place, or run verify for the full list", path.display())]
    Corrupt {
        /// The file, or the catalog's folder.
        path: PathBuf,
        /// Byte offset in the file; 0 where the place is named in `what`.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The files were written by a newer version of this library.
    #[error("{} has format version {found}, this build reads up to {supported}; open it with a newer twinbit", path.display())]
    Version {
        /// The file or folder.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version this build understands.
        supported: u32,
    },
    /// The folder holds something else.
    #[error("{} is not a database: {what}; choose an empty or a new folder", path.display())]
    NotADatabase {
        /// The folder.
        path: PathBuf,
        /// What was found or missed.
        what: String,
    },
    /// There is something where a copy of the database was to be made.
    #[error("{} is there already; choose a new or an empty folder", path.display())]
    TargetTaken {
        /// The folder or file.
        path: PathBuf,
    },
    /// Another handle, here or in another process, has the database open for writing.
    #[error("{} is open for writing in process {}; close it there or open read-only", path.display(), pid.map_or("(unknown)".to_owned(), |pid| pid.to_string()))]
    Locked {
        /// The database folder.
        path: PathBuf,
        /// The process written in the lock file.
        pid: Option<u32>,
    },
    /// A write was asked of a handle opened read-only.
    #[error("the database is open read-only; open it for writing to change it")]
    ReadOnly,
    /// Another exclusive transaction on the collection is open.
    #[error("collection \"{collection}\" has an open writer; commit or drop it first")]
    WriterBusy {
        /// Name of the collection.
        collection: String,
    },
    /// A collection or field of that name is already there.
    #[error("{what} \"{name}\" exists already; choose another name")]
    Exists {
        /// "collection" or "field".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// There is no such collection or model.
    #[error("there is no {what} \"{name}\"")]
    NotFound {
        /// "collection" or "model".
        what: &'static str,
        /// The name or number.
        name: String,
    },
    /// Something that every collection has was to be removed.
    #[error("{what} is built in and stays")]
    BuiltIn {
        /// What was to be removed.
        what: &'static str,
    },
    /// A name is empty, too long or holds characters that are not allowed.
    #[error("\"{name}\" cannot be a name: {what}")]
    Name {
        /// The name.
        name: String,
        /// The rule broken.
        what: &'static str,
    },
    /// The field is not declared in the collection.
    #[error("the collection has no field number {field}; declare it at creation or with add_field")]
    UnknownField {
        /// The field's number.
        field: u16,
    },
    /// A value is of another type than its field.
    #[error("field \"{field}\" holds {expected} values, got {got}")]
    FieldType {
        /// The field's name.
        field: String,
        /// Its declared type.
        expected: FieldType,
        /// The type of the value given.
        got: FieldType,
    },
    /// A value cannot be stored.
    #[error("field \"{field}\" cannot hold this value: {what}")]
    Value {
        /// The field's name.
        field: String,
        /// The rule broken.
        what: &'static str,
    },
    /// Features or a code have another width than the collection's.
    #[error("{modality} {what} has {got} entries, the collection takes {expected}")]
    Width {
        /// The modality concerned.
        modality: Modality,
        /// "input" or "code" (in bytes).
        what: &'static str,
        /// What the collection takes.
        expected: usize,
        /// What was given.
        got: usize,
    },
    /// An input is of a kind that the collection does not take.
    #[error("{modality} input refused: {what}")]
    Input {
        /// The modality concerned.
        modality: Modality,
        /// The rule broken.
        what: &'static str,
    },
    /// A present modality came without its code.
    #[error("the record's {modality} has no code, and this collection stores one with every {modality}")]
    MissingCode {
        /// The modality without a code.
        modality: Modality,
    },
    /// A code came to a collection that has no model and takes no external codes.
    #[error(
        "the record brings a code for its {modality}, but the collection has no model yet; install one first"
    )]
    UnexpectedCode {
        /// The modality.
        modality: Modality,
    },
    /// The id is missing, of the wrong kind or outside its limits.
    #[error("id refused: {0}")]
    Id(&'static str),
    /// The record has neither modality.
    #[error("the record is empty: give at least one of image and text")]
    Empty,
    /// A limit of the format is reached.
    #[error("{what} is at its limit of {limit}")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The collection's codes cannot be made anew.
    #[error("collection \"{collection}\" cannot be re-encoded: {what}")]
    NotEncodable {
        /// Name of the collection.
        collection: String,
        /// Why.
        what: &'static str,
    },
    /// The encoder returned codes of another shape than asked for.
    #[error(
        "the encoder returned {got} {modality} rows of {got_bits} bits for {expected} rows of {expected_bits} bits"
    )]
    EncodedShape {
        /// The modality.
        modality: Modality,
        /// Rows of the part.
        expected: usize,
        /// Rows returned.
        got: usize,
        /// Bits of the collection.
        expected_bits: usize,
        /// Bits returned.
        got_bits: usize,
    },
    /// An earlier commit failed; what reached the disk is unknown until the database is reopened.
    #[error("writing is off because an earlier commit failed ({reason}); close and reopen the database")]
    Poisoned {
        /// The failure.
        reason: String,
    },
    /// RocksDB failed.
    #[error("the catalog could not {operation}: {source}")]
    Catalog {
        /// What was tried.
        operation: &'static str,
        /// RocksDB's error.
        source: BoxedError,
    },
    /// The commit shared with other threads failed.
    #[error("{source}")]
    Grouped {
        /// Why.
        source: std::sync::Arc<Error>,
    },
    /// The caller's encoder failed during an install.
    #[error("encoding failed: {source}")]
    Encoder {
        /// The encoder's error.
        source: BoxedError,
    },
    /// The code types refused the data.
    #[error("codes refused: {source}")]
    Codes {
        /// The reason.
        source: BoxedError,
    },
    /// A progress callback asked to stop; nothing was changed.
    #[error("canceled; nothing was changed")]
    Canceled,
    /// A model of that id is there already, with other bytes.
    #[error(
        "model {model} is in the database already, with other bytes; give the changed model an id of its own"
    )]
    ModelDiffers {
        /// The id.
        model: ModelId,
    },
    /// Another install on the collection is running.
    #[error("a model is being installed in collection \"{collection}\"; wait until it is done")]
    InstallBusy {
        /// Name of the collection.
        collection: String,
    },
}

impl Error {
    /// Whether stored bytes are damaged.
    pub fn is_corruption(&self) -> bool {
        match self {
            Error::Corrupt { .. } => true,
            Error::Grouped { source } => source.is_corruption(),
            _ => false,
        }
    }

    /// Whether the same call may succeed later without any change by the caller.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::WriterBusy { .. } | Error::Locked { .. } | Error::InstallBusy { .. })
    }

    /// Whether a file was not there.
    pub(crate) fn is_missing_file(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn io(path: &Path, operation: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { path, operation, source }
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, what: impl Into<String>) -> Error {
        Error::Corrupt { path: path.to_path_buf(), offset, what: what.into() }
    }

    pub(crate) fn codes(source: twinbit_kernels::Error) -> Error {
        Error::Codes { source: Box::new(source) }
    }

    pub(crate) fn collection_not_found(name: impl ToString) -> Error {
        Error::NotFound { what: "collection", name: name.to_string() }
    }
}
