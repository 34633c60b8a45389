//! What can go wrong, said in sentences that name what, where and what to do next.

mod conversion;
mod mismatch;
mod place;

use std::path::PathBuf;

use twinbit_kernels::cuda::CudaError;

use crate::{ArrayError, EncoderError, FieldType, FilterError, Modality, RecordId, SourceError};
pub use mismatch::Mismatch;
pub use place::Place;

/// The result of every fallible call of this crate.
///
/// ```
/// fn bits() -> twinbit::Result<usize> {
///     Ok(twinbit::CodeBits::new(128)?.bits())
/// }
/// assert_eq!(bits().ok(), Some(128));
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every failure of this crate.
///
/// [`is_corruption`](Error::is_corruption) and [`is_retryable`](Error::is_retryable) answer the two
/// questions most callers ask without a `match`.
///
/// ```
/// use twinbit::{CodeBits, Database, Error, Place, Record, Schema};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// let schema = Schema::new(CodeBits::B32).image_features(3).text_features(2);
/// let things = database.create_collection("things", schema)?;
/// let error = things.put(Record::auto().image([1.0, 2.0])).unwrap_err();
/// assert!(matches!(error, Error::Width { place: Place::Position(0), expected: 3, got: 2, .. }), "{error}");
/// assert!(!error.is_corruption() && !error.is_retryable());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no collection of this name.
    #[error("there is no collection \"{name}\"; create it, or check the name")]
    NotFound {
        /// The name asked for.
        name: String,
    },
    /// A collection of this name is there already.
    #[error("a collection \"{name}\" exists already; open it, or choose another name")]
    Exists {
        /// The name asked for.
        name: String,
    },
    /// The collection meant was not named and there is not exactly one.
    #[error("the database holds {} collections{}; name the one that is meant", names.len(), listed(names))]
    WhichCollection {
        /// The names there are.
        names: Vec<String>,
    },
    /// There is no live record of this id.
    #[error("there is no record {id} in collection \"{collection}\"")]
    NoRecord {
        /// The id asked for.
        id: RecordId,
        /// The collection searched.
        collection: String,
    },
    /// A record of this id is there already and the call does not replace.
    #[error(
        "record {id} exists already; replace it with `put` (`--upsert` on the command line), or take another id"
    )]
    Duplicate {
        /// The id met twice.
        id: RecordId,
    },
    /// A record has no id and the collection does not number records by itself.
    #[error("{place} has no id, and the ids of this collection are of type {ids}; give it one")]
    MissingId {
        /// The record concerned.
        place: Place,
        /// Type of the collection's ids.
        ids: &'static str,
    },
    /// An id of the wrong type, empty, or too long.
    #[error("the id {id} does not fit this collection, whose ids are of type {ids}")]
    WrongId {
        /// The id given.
        id: RecordId,
        /// Type of the collection's ids.
        ids: &'static str,
    },
    /// Another exclusive writer of this collection is open.
    #[error("collection \"{collection}\" has an open writer; wait until it commits or is dropped")]
    WriterBusy {
        /// The collection concerned.
        collection: String,
    },
    /// The collection holds no codes yet.
    #[error(
        "collection \"{collection}\" has no model yet, so nothing can be found; train one and install it"
    )]
    Untrained {
        /// The collection concerned.
        collection: String,
    },
    /// The collection takes codes from outside and cannot encode an input.
    #[error(
        "collection \"{collection}\" takes codes from outside and has no networks; give codes instead of inputs"
    )]
    ExternalCodes {
        /// The collection concerned.
        collection: String,
    },
    /// A code was given for a collection that makes its own.
    #[error(
        "{place} brings {modality} codes, but this collection encodes inputs itself; create it with external codes to give codes"
    )]
    CodesNotTaken {
        /// The record concerned.
        place: Place,
        /// The modality concerned.
        modality: Modality,
    },
    /// An input came without its code, where codes come from outside.
    #[error(
        "{place} has {modality} input but no {modality} code, and this collection takes codes from outside; give both or neither"
    )]
    MissingCode {
        /// The record concerned.
        place: Place,
        /// The modality without a code.
        modality: Modality,
    },
    /// A record or query brings something else than the collection takes.
    #[error("{place} brings {got} as its {modality}, this collection takes {expected}")]
    WrongInput {
        /// The record or query concerned.
        place: Place,
        /// The modality concerned.
        modality: Modality,
        /// What the collection takes.
        expected: String,
        /// What was given.
        got: &'static str,
    },
    /// Features of the wrong width.
    #[error("{place} has {got} {modality} values, expected {expected}")]
    Width {
        /// The record or query concerned.
        place: Place,
        /// The modality concerned.
        modality: Modality,
        /// Width of the collection's features.
        expected: usize,
        /// Width given.
        got: usize,
    },
    /// A code of the wrong length.
    #[error("{place} has a {modality} code of {got} bytes, expected {expected}")]
    CodeLength {
        /// The record or query concerned.
        place: Place,
        /// The modality concerned.
        modality: Modality,
        /// Bytes of the collection's codes.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// A feature is NaN or infinite.
    #[error("{place} has a {modality} value that is not a finite number, at column {column}")]
    NotFinite {
        /// The record or query concerned.
        place: Place,
        /// The modality concerned.
        modality: Modality,
        /// Position of the value, from 0.
        column: usize,
    },
    /// A feature is too large for the 16-bit floats in which features are kept.
    #[error(
        "{place} has the {modality} value {value} at column {column}; values are kept as 16-bit floats and must be within 65504, so scale them"
    )]
    Overflow {
        /// The record or query concerned.
        place: Place,
        /// The modality concerned.
        modality: Modality,
        /// Position of the value, from 0.
        column: usize,
        /// The value given.
        value: f32,
    },
    /// A record or query gives neither image nor text.
    #[error("{place} has neither image nor text; give at least one")]
    Empty {
        /// The record concerned.
        place: Place,
    },
    /// The record asked about lacks the modality.
    #[error("record {id} has no {modality}")]
    NoModality {
        /// The record concerned.
        id: RecordId,
        /// The modality it lacks.
        modality: Modality,
    },
    /// A picture cannot be read.
    #[error("the picture of {place} cannot be read: {source}")]
    Picture {
        /// The record or query concerned.
        place: Place,
        /// What the decoder met.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The collection's pictures were encoded by another version of the encoder than this build has.
    #[error(
        "the collection's pictures were encoded by \"{expected}\", this build encodes by \"{got}\"; their features do not compare, so use the build that made them or ingest into a new collection"
    )]
    EncoderChanged {
        /// Encoder of the collection.
        expected: String,
        /// Encoder of this build.
        got: String,
    },
    /// An encoder cannot be had from its folder.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// A cargo feature is missing in this build.
    #[error("this build lacks the cargo feature \"{feature}\" of twinbit; build with it")]
    MissingFeature {
        /// Name of the feature.
        feature: &'static str,
    },
    /// A field is not declared.
    #[error("the collection has no field \"{field}\"{}", known_fields(known))]
    UnknownField {
        /// The name used.
        field: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A value has another type than its field.
    #[error("field \"{field}\" is of type {expected}, the value {value} is not")]
    FieldType {
        /// The field concerned.
        field: String,
        /// Its declared type.
        expected: FieldType,
        /// The value, as text.
        value: String,
    },
    /// A field is declared twice, or under a name that is taken or empty.
    #[error("a field cannot be called \"{field}\": {reason}")]
    FieldName {
        /// The name given.
        field: String,
        /// Why it cannot be taken.
        reason: &'static str,
    },
    /// A schema whose parts contradict each other.
    #[error("the schema cannot be used: {reason}")]
    Schema {
        /// The contradiction.
        reason: &'static str,
    },
    /// No encoder has this name.
    #[error("there is no encoder \"{name}\"; there is {known}")]
    UnknownEncoding {
        /// The name given.
        name: String,
        /// The names there are.
        known: &'static str,
    },
    /// No device has this name.
    #[error("there is no device \"{name}\"; write auto, cpu, cuda or cuda:NUMBER")]
    UnknownDevice {
        /// The name given.
        name: String,
    },
    /// A name that a collection cannot have.
    #[error(
        "\"{name}\" cannot be the name of a collection: 1 to 255 bytes without control characters or \"/\""
    )]
    Name {
        /// The name given.
        name: String,
    },
    /// A model does not fit the collection.
    #[error("the model does not fit: {reason}")]
    ModelMismatch {
        /// What differs.
        reason: Mismatch,
    },
    /// The collection keeps no inputs, so they can be neither trained on nor encoded again.
    #[error("collection \"{collection}\" was created without keeping inputs: {consequence}")]
    InputsNotKept {
        /// The collection concerned.
        collection: String,
        /// What cannot be done, and what to do.
        consequence: &'static str,
    },
    /// A trainer was asked for something this collection cannot give it.
    #[error("training cannot start: {reason}")]
    Training {
        /// What is missing.
        reason: &'static str,
    },
    /// Training cannot go on from a checkpoint file: it is damaged, or of another run.
    #[error("cannot go on from {}: {source}", path.display())]
    TrainingCheckpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<twinbit_hashing::Error>,
    },
    /// `k` was 0.
    #[error("the number of hits asked for is 0; ask for at least 1")]
    ZeroLimit,
    /// Recall was asked for where no record has a counterpart.
    #[error(
        "nothing to measure in collection {collection:?}: no selected record has both an image and a \
         text of it; select others, or put some in"
    )]
    NothingToMeasure {
        /// The collection.
        collection: String,
    },
    /// The hits of a query cannot be ordered anew.
    #[error("the hits cannot be re-ranked: {reason}; leave re-ranking out")]
    Rerank {
        /// Why not.
        reason: &'static str,
    },
    /// `run` was called on a batch.
    #[error("the query holds {count} inputs; use `run_many` for a batch")]
    QueryCount {
        /// Inputs of the query.
        count: usize,
    },
    /// Two things that must have the same number of rows do not.
    #[error("{what} has {got} rows, expected {expected}")]
    Rows {
        /// What has the wrong number.
        what: &'static str,
        /// Rows expected.
        expected: u64,
        /// Rows given.
        got: u64,
    },
    /// The deadline of a query passed.
    #[error("the query did not finish within {milliseconds} ms; give it more time, or narrow it by a filter")]
    DeadlineExceeded {
        /// The time allowed.
        milliseconds: u64,
    },
    /// The caller canceled the work.
    #[error("canceled; nothing was changed")]
    Canceled,
    /// CUDA was asked for and cannot be used.
    #[error("CUDA cannot be used: {reason}")]
    NoCuda {
        /// Why not.
        reason: CudaError,
    },
    /// Threads could not be started.
    #[error("the worker threads could not be started: {source}")]
    Threads {
        /// What the operating system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database was opened for reading only.
    #[error("the database was opened read-only; open it with `Database::open` to write")]
    ReadOnly,
    /// Another process has the database open for writing.
    #[error("{} is open for writing in process {}; close it there, or open it read-only", path.display(), pid.map_or("(unknown)".to_owned(), |pid| pid.to_string()))]
    Locked {
        /// Folder of the database.
        path: PathBuf,
        /// Id of the process that holds it, where it is known.
        pid: Option<u32>,
    },
    /// An earlier write failed, so later ones are refused.
    #[error("an earlier write failed ({reason}), so writing is closed; reopen the database")]
    Poisoned {
        /// What failed.
        reason: String,
    },
    /// Something on disk is not as it was written.
    #[error("{} is damaged at byte {offset}: {what}; put a copy from a backup in its place, or run verify for the full list", path.display())]
    Corrupt {
        /// The file concerned.
        path: PathBuf,
        /// Offset in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A file cannot be read or written.
    #[error("could not {operation} {}: {source}", path.display())]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// What was tried, as a verb: "open", "read", ...
        operation: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A filter cannot be read, or does not fit the collection.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// An array file cannot be read.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// A source of records cannot be read, or does not fit the collection.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A record of a source cannot be ingested.
    #[error("{item}: {source}")]
    Item {
        /// The file and the place in it.
        item: String,
        /// What is wrong with the record.
        source: Box<Error>,
    },
    /// A failure of the storage layer that has no better name here.
    #[error(transparent)]
    Storage(twinbit_storage::Error),
    /// A failure of the networks, the trainer or a model file.
    #[error(transparent)]
    Hashing(#[from] twinbit_hashing::Error),
    /// A failure of the search kernels.
    #[error(transparent)]
    Kernels(#[from] twinbit_kernels::Error),
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

fn known_fields(known: &[String]) -> String {
    if known.is_empty() { "; it declares none".to_owned() } else { format!("; it has {}", known.join(", ")) }
}

impl Error {
    /// Whether something on disk is damaged: restore from a backup, do not retry.
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Corrupt { .. } => true,
            Self::Storage(error) => error.is_corruption(),
            _ => false,
        }
    }

    /// Whether the same call may succeed later without any change by the caller.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::WriterBusy { .. } | Self::Locked { .. } | Self::DeadlineExceeded { .. } => true,
            Self::Storage(error) => error.is_retryable(),
            _ => false,
        }
    }
}
