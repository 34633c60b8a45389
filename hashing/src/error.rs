//! The one error type of the package.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use twinbit_kernels::Modality;

/// Anything that can go wrong while training, encoding, measuring or reading a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A hyper-parameter is outside its range.
    #[error("{field} is {value}, but must be {expected}; change it and train again")]
    Config {
        /// Name of the field of [`TrainConfig`](crate::TrainConfig).
        field: &'static str,
        /// The value given.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// There are fewer training pairs than one batch holds.
    #[error("{pairs} training pairs are fewer than one batch of {batch}; add pairs or lower the batch size")]
    TooFewPairs {
        /// Pairs left for training, after held-out pairs were set aside.
        pairs: usize,
        /// Pairs of one batch.
        batch: usize,
    },
    /// Rows of features do not have the width the network was made for.
    #[error(
        "{modality} features must fill rows of {expected} values, got {got} values; encode them with the featurizer the model was trained with"
    )]
    Width {
        /// Which side.
        modality: Modality,
        /// Values in a row.
        expected: usize,
        /// Values given in all.
        got: usize,
    },
    /// Two things that must have the same size do not.
    #[error("{what}: expected {expected}, got {got}; give matching sizes")]
    Shape {
        /// What was counted.
        what: &'static str,
        /// The size wanted.
        expected: usize,
        /// The size found.
        got: usize,
    },
    /// A feature is NaN or infinite.
    #[error("{modality} features of row {row} hold a NaN or an infinity; repair or leave out that row")]
    NotFinite {
        /// Which side.
        modality: Modality,
        /// Row within what was given.
        row: usize,
    },
    /// A network's output is the zero vector, which has no direction.
    #[error(
        "the {modality} network gave the zero vector for row {row} of the batch, which cannot be normalized; look at that row's features"
    )]
    ZeroNorm {
        /// Which side.
        modality: Modality,
        /// Row within the batch.
        row: usize,
    },
    /// The loss became NaN or infinite.
    #[error(
        "training diverged in epoch {epoch}, step {step}; lower the learning rate or scale the features down"
    )]
    Diverged {
        /// Epoch, counted from 1.
        epoch: u32,
        /// Step within the epoch, counted from 1.
        step: usize,
    },
    /// The observer asked to stop.
    #[error("training was canceled; nothing was kept")]
    Canceled,
    /// The source of the training pairs failed.
    #[error("reading {modality} features of the training pairs failed; see the cause")]
    Source {
        /// Which side was read.
        modality: Modality,
        /// What the source said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A weight is too large for the half precision that models are stored in.
    #[error("weight tensor {tensor} holds a value beyond the range of float16; lower the learning rate")]
    WeightOverflow {
        /// Name of the tensor in the model file.
        tensor: String,
    },
    /// A model file is damaged or was not written by twinbit.
    #[error("this is not a valid model: {reason}; save the model again")]
    Model {
        /// What is wrong with it.
        reason: String,
    },
    /// A model file was written by a newer version.
    #[error("the model has format version {found}, this program reads up to {supported}; update the program")]
    ModelVersion {
        /// Version in the file.
        found: u32,
        /// Newest version understood.
        supported: u32,
    },
    /// A checkpoint of training is damaged, cut off, or no checkpoint at all.
    #[error("this is no whole training checkpoint: {reason}; take another one or train from the start")]
    Checkpoint {
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint of training was written by a newer version.
    #[error(
        "the training checkpoint has format version {found}, this program reads up to {supported}; update the program"
    )]
    CheckpointVersion {
        /// Version in the file.
        found: u32,
        /// Newest version understood.
        supported: u32,
    },
    /// A checkpoint belongs to a run with other settings or other pairs.
    #[error(
        "the checkpoint belongs to another run: its {what} is {saved}, this run's is {given}; give the same or train from the start"
    )]
    CheckpointMismatch {
        /// What differs.
        what: String,
        /// Its value in the checkpoint.
        saved: String,
        /// Its value now.
        given: String,
    },
    /// A checkpoint could not be read or written.
    #[error("reading or writing a training checkpoint failed; see the cause")]
    CheckpointIo(#[source] io::Error),
    /// The observer could not keep a checkpoint.
    #[error("training stopped because its checkpoint could not be kept; see the cause")]
    CheckpointNotKept {
        /// What the observer said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Text that should be a model id is not.
    #[error("{text:?} is not a model id; an id is 32 hexadecimal digits")]
    ModelId {
        /// What was given.
        text: String,
    },
    /// Labels are not a 0/1 matrix, or name too many classes.
    #[error("label of row {row}: {value} is not accepted; {expected}")]
    Label {
        /// Row of the label.
        row: usize,
        /// The value found.
        value: u64,
        /// What would be accepted.
        expected: &'static str,
    },
    /// No query has anything relevant in the database, so that no mean exists.
    #[error(
        "no query shares a label with any database row, so the scores are undefined; check that both label files belong together"
    )]
    NothingRelevant,
    /// A cut-off of zero was asked for.
    #[error("k is 0; ask for at least one rank")]
    ZeroK,
    /// A row named as the right answer is not in the database.
    #[error(
        "query {query} names row {row} as its right answer, but the database has {rows} rows; check the order of the rows"
    )]
    RightRow {
        /// The query.
        query: usize,
        /// The row named.
        row: u32,
        /// Rows there are.
        rows: usize,
    },
    /// Bytes that should be an image encoder's weights are not.
    #[error("the image encoder's weights cannot be used: {reason}; get the file again")]
    ImageWeights {
        /// What is wrong with them.
        reason: String,
    },
    /// A file of an encoder's folder cannot be read.
    #[error("the encoder's file {} cannot be read; see the cause", path.display())]
    EncoderFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A picture is of no format that is read.
    #[error("the picture is not a JPEG, PNG or WebP file; convert it to one of these")]
    ImageFormat,
    /// A picture is larger than the limits allow.
    #[error("the picture is too large: {what}; shrink it or raise the limits")]
    ImageTooLarge {
        /// What was measured, and the limit.
        what: String,
    },
    /// A picture's bytes cannot be decoded.
    #[error("the picture is damaged; save or fetch it again")]
    ImageDamaged {
        /// What the decoder said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A text featurizer was asked for with a width outside its range.
    #[error("a text featurizer cannot be {width} numbers wide; choose a width from 1 to {most}")]
    TextWidth {
        /// The width asked for.
        width: usize,
        /// Largest width accepted.
        most: usize,
    },
    /// A kind of text featurizer that does not exist.
    #[error("{name:?} is no kind of text featurizer; choose ngram or bow")]
    TextKind {
        /// What was given.
        name: String,
    },
    /// No text to fit a text featurizer to holds a word.
    #[error("no text holds a word that a text featurizer could learn; give it the texts of the pairs")]
    NoWords,
    /// Bytes that should be a fitted text featurizer are not.
    #[error("this is not a text featurizer: {reason}; fit it again")]
    TextFeaturizer {
        /// What is wrong with them.
        reason: String,
    },
    /// A folder that should hold a text tower does not, or one that is not supported.
    #[error("the text encoder in {} cannot be used: {reason}", folder.display())]
    TextTower {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A trainer on a card was to train a backbone along.
    #[error("a backbone trains along on the processor only; make the trainer without a card")]
    BackboneOnCard,
    /// Training or encoding on a card failed.
    #[error("the card failed: {0}")]
    Card(#[source] twinbit_kernels::Error),
    /// The code kernels refused their input.
    #[error("the code kernels refused their input; see the cause")]
    Kernel(#[from] twinbit_kernels::Error),
    /// The tensor library failed, as it does when memory runs out.
    #[error("a tensor operation failed; see the cause")]
    Tensor(#[source] Box<dyn StdError + Send + Sync>),
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Error::Tensor(Box::new(error))
    }
}
