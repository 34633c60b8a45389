//! What can go wrong, said in sentences that name what, where and what to do next.

use std::fmt;
use std::path::PathBuf;

use twinbit_kernels::cuda::CudaError;

use crate::{ArrayError, EncoderError, FieldType, FilterError, Modality, ModelId, RecordId, SourceError};

/// The result of every fallible call of this crate.
///
/// ```
/// fn bits() -> twinbit::Result<usize> {
///     Ok(twinbit::CodeBits::new(128)?.bits())
/// }
/// assert_eq!(bits().ok(), Some(128));
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Which of the things handed in an error is about.
///
/// ```
/// use twinbit::Place;
///
/// assert_eq!(Place::Record(7.into()).to_string(), "record 7");
/// assert_eq!(Place::Query(0).to_string(), "query 0");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The record of this id.
    Record(RecordId),
    /// A record without an id: its position, from 0, among the records handed in.
    Position(u64),
    /// The query at this position, from 0.
    Query(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(id) => write!(f, "record {id}"),
            Self::Position(position) => write!(f, "the record at position {position}"),
            Self::Query(position) => write!(f, "query {position}"),
        }
    }
}

/// Why a model does not fit a collection.
///
/// ```
/// use twinbit::{CodeBits, Database, Error, Mismatch, Record, Schema};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// let things = database.create_collection("things", Schema::new(CodeBits::B32).image_features(2).text_features(2))?;
/// let mut writer = things.writer()?;
/// for number in 0..32_u8 {
///     let side = f32::from(number % 2);
///     writer.put(Record::auto().image([side, 1.0]).text([1.0, side]))?;
/// }
/// writer.commit()?;
/// let model = things.trainer().hidden(8).batch(16).epochs(1).fit(&things.snapshot()?)?.model;
///
/// let wider = database.create_collection("wider", Schema::new(CodeBits::B32).image_features(3).text_features(2))?;
/// let error = wider.install(&model).unwrap_err();
/// assert!(matches!(error, Error::ModelMismatch { reason: Mismatch::Width { expected: 3, got: 2, .. } }), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The code lengths differ.
    #[error("it makes codes of {got} bits, the collection holds {expected}")]
    Bits {
        /// Bits of the collection.
        expected: usize,
        /// Bits of the model.
        got: usize,
    },
    /// The features a network reads have another width than the collection's.
    #[error("its {modality} network reads {got} values, the collection gives {expected}")]
    Width {
        /// The network concerned.
        modality: Modality,
        /// Width of the collection's features.
        expected: usize,
        /// Width the network was trained for.
        got: usize,
    },
    /// The model was trained on features made in another way.
    #[error("its {modality} features come from \"{got}\", the collection's from \"{expected}\"")]
    Featurizer {
        /// The modality concerned.
        modality: Modality,
        /// Featurizer of the collection; "none" when features come in.
        expected: String,
        /// Featurizer of the model.
        got: String,
    },
    /// Codes made by one model were compared with those of another.
    #[error("the codes given come from model {got}, the collection's from {expected}")]
    Codes {
        /// Model of the collection.
        expected: ModelId,
        /// Model that made the codes given.
        got: ModelId,
    },
}

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

impl Error {
    /// A failure of training; those of our own sources and observers, which training passes through,
    /// come out as what they were.
    pub(crate) fn from_training(error: twinbit_hashing::Error) -> Self {
        use twinbit_hashing::Error as Hashing;
        match error {
            Hashing::Canceled => Self::Canceled,
            Hashing::Source { modality, source } => match source.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(source) => match source.downcast::<ArrayError>() {
                    Ok(ours) => Self::Array(*ours),
                    Err(source) => Hashing::Source { modality, source }.into(),
                },
            },
            Hashing::CheckpointNotKept { source } => match source.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(source) => Hashing::CheckpointNotKept { source }.into(),
            },
            Hashing::Card(twinbit_kernels::Error::Cuda(reason)) => Self::NoCuda { reason },
            error => error.into(),
        }
    }
}

/// Failures that this crate has a name for get it; others keep the storage layer's sentence.
impl From<twinbit_storage::Error> for Error {
    fn from(error: twinbit_storage::Error) -> Self {
        use twinbit_storage::Error as Storage;
        match error {
            Storage::Io { path, operation, source } => Self::Io { path, operation, source },
            Storage::Corrupt { path, offset, what } => Self::Corrupt { path, offset, what },
            Storage::Locked { path, pid } => Self::Locked { path, pid },
            Storage::ReadOnly => Self::ReadOnly,
            Storage::WriterBusy { collection } => Self::WriterBusy { collection },
            Storage::Exists { what: "collection", name } => Self::Exists { name },
            Storage::NotFound { what: "collection", name } => Self::NotFound { name },
            Storage::Poisoned { reason } => Self::Poisoned { reason },
            Storage::Canceled => Self::Canceled,
            Storage::Encoder { source } => match source.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(source) => Self::Storage(Storage::Encoder { source }),
            },
            other => Self::Storage(other),
        }
    }
}
