//! An embedded database for image-text pairs.
//!
//! An application opens a folder, puts image-text pairs into a collection, trains a pair of hash
//! networks on them (UCCH), and asks for the nearest records across modalities: a text finds
//! images, an image finds texts. Every record becomes a short binary code a modality; answers are
//! exact in Hamming distance.
//!
//! ```
//! use twinbit::{CodeBits, Database, Field, IdKind, Modality, Record, Schema, TextEncoding, field};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path();
//! let database = Database::open(path)?;
//! let schema = Schema::new(CodeBits::B32)
//!     .ids(IdKind::Str)
//!     .image_features(3)
//!     .text_encoder(TextEncoding::Ngram)
//!     .field("year", Field::u64().indexed());
//! let photos = database.create_collection("photos", schema)?;
//!
//! let mut writer = photos.writer()?;
//! for number in 0..64_u16 {
//!     let (name, color) = [("red", [1.0, 0.0, 0.0]), ("blue", [0.0, 0.0, 1.0])][usize::from(number % 2)];
//!     writer.put(
//!         Record::new(format!("{name}-{number}"))
//!             .image(color)
//!             .text(format!("a {name} thing"))
//!             .set("year", 2000 + i64::from(number)),
//!     )?;
//! }
//! writer.commit()?;
//!
//! let outcome = photos.trainer().hidden(16).batch(32).epochs(5).fit(&photos.snapshot()?)?;
//! photos.install(&outcome.model)?;
//!
//! let hits = photos
//!     .snapshot()?
//!     .query(Modality::Text, "something red")
//!     .filter(field("year").ge(2010))
//!     .limit(5)
//!     .run()?;
//! assert_eq!(hits.len(), 5);
//! for hit in &hits {
//!     println!("{} at distance {}", hit.id(), hit.distance());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//! - [`Database`] opens the folder, [`Schema`] says what a collection holds, [`Record`] and
//!   [`Input`] are what goes in.
//! - [`Collection::put`] commits by itself; [`Collection::writer`] is the transaction for many
//!   changes; [`Snapshot`] is a view that never changes, and [`Query`] asks it.
//! - [`Collection::trainer`] trains, [`Collection::install`] switches to the new model. [`Tuner`] tunes an
//!   image encoder before there is a collection.
//!
//! # Limits
//! Codes have 8 to 4096 bits in multiples of 8. One process writes to a database, any number read.
//! The interface is synchronous; handles are cheap to clone and may be used from any thread.
//! Queries are answered by an exact scan of all codes, or where a segment has an index of its codes and
//! that is cheaper, by the index; or on a CUDA device ([`Device`]). The answers are the same.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod accelerator;
mod against;
mod arrays;
mod bounds;
mod card_networks;
mod card_recall;
mod card_search;
mod card_work;
mod code_rows;
mod code_statistics;
mod collection;
mod database;
mod database_snapshot;
mod device;
mod device_costs;
mod device_pass;
mod drawn_text;
mod encode;
mod encoder_error;
mod encoder_folder;
mod encoding;
mod entry;
mod error;
mod evaluate;
mod featurizers;
mod field;
mod filter;
mod indexer;
mod ingest;
mod install;
mod judged;
mod ledger;
mod options;
mod pairs;
mod plan;
mod query;
mod record;
mod rerank;
mod residency;
mod rows;
mod schema;
mod snapshot;
mod source;
mod stats;
mod text_encoder;
mod text_rows;
mod train;
mod training_checkpoint;
mod training_run;
mod tune;
mod turn;
mod value;
mod vocabulary;
mod writer;

pub use against::Against;
pub use arrays::{
    Array, ArrayError, ArrayPairs, CheckedPart, ElementType, ImageArray, LabelMatrix, PictureArray,
    PublishedData, Split, SplitPairs,
};
pub use code_rows::CodeRows;
pub use code_statistics::CodeStatistics;
pub use collection::Collection;
pub use database::Database;
pub use database_snapshot::DatabaseSnapshot;
pub use device::{CardInfo, Device, DeviceStatus, Hardware};
pub use device_costs::DeviceCosts;
pub use encoder_error::EncoderError;
pub use encoding::{ImageEncoding, TextEncoding};
pub use entry::{Entry, Fields, Hit};
pub use error::{Error, Mismatch, Place, Result};
pub use evaluate::{DirectionScores, Evaluation, Queries, Recall};
pub use field::Field;
pub use filter::{FieldName, Filter, FilterError, FilterProblem, field};
pub use ingest::{Ingest, IngestObserver, IngestOutcome, IngestProgress, IngestReport, OnError};
pub use options::Builder;
pub use plan::{Explanation, PartPlan, Plan};
pub use query::Query;
pub use record::{Input, Record};
pub use schema::{ImageKind, Schema, TextKind};
pub use snapshot::Snapshot;
pub use source::{
    ArraySource, ClipRetrievalSource, CocoSource, CodeBlock, CodeSource, Columns, Content, FolderSource,
    Item, PairsSource, ParquetSource, Position, Source, SourceError, WebDatasetSource, expand_pattern,
};
pub use stats::{Bytes, Stats};
pub use train::Trainer;
pub use tune::{Tuned, Tuner};
pub use twinbit_hashing::{
    DecodeLimits, EpochRecord, EpochReport, Features, HashModel as Model, KeySource, LookupPoint, Measure,
    ModelId, ModelSpec, Observer, Optimizer, Outcome, PairSource, Picture, Progress as TrainingProgress,
    RankingInput, RankingLoss, RankingPoint, RetrievalScores, Schedule, Scores, TextFeaturizer,
    TrainingMachine, TrainingRecord, mean_average_precision,
};
pub use twinbit_kernels::cuda::CudaError;
pub use twinbit_kernels::cuda::train::Precision;
pub use twinbit_kernels::{CodeBits, Codes};
pub use twinbit_storage::{
    Compacted, Compaction, Copied, FieldType, IdKind, Indexed, Indexing, Problem, ReadMode, RepairReport,
    Value, VerifyReport,
};
pub use value::format_timestamp;
pub use vocabulary::{CodesBuf, Durability, Labels, Method, Modality, RecordId, TrainConfig};
pub use writer::Writer;
