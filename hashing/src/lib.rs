//! Cross-modal hashing: networks that turn image and text features into binary codes.
//!
//! The package holds the UCCH method (Hu, Zhu, Lin, Peng, Zhao, Peng, "Unsupervised Contrastive
//! Cross-modal Hashing", IEEE TPAMI 45(3), 2023): two multi-layer perceptrons, a contrastive and a
//! ranking loss, a memory bank, and the trainer that minimizes them; the model file; and the
//! retrieval metrics. It knows no database: features come in through [`PairSource`], models leave as bytes.
//! Only pretrained encoders are read from files, in a folder.
//!
//! ```
//! use twinbit_hashing::{Features, TrainConfig, Trainer};
//! use twinbit_kernels::{CodeBits, Modality};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let image: Vec<f32> = (0..64 * 4).map(|i| ((i * 37) % 11) as f32).collect();
//! let text: Vec<f32> = (0..64 * 3).map(|i| ((i * 23) % 7) as f32).collect();
//! let pairs = Features::new(&image, 4, &text, 3)?;
//! let config = TrainConfig { bits: CodeBits::B16, hidden: 8, batch: 32, epochs: 1, ..TrainConfig::default() };
//! let outcome = Trainer::new(config).fit(&pairs, &mut ())?;
//! let codes = outcome.model.encode(Modality::Image, &image)?;
//! assert_eq!(codes.rows(), 64);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod bank;
mod blob;
mod card;
mod checkpoint;
mod config;
mod dropout;
mod encoder;
mod epoch;
mod error;
mod floats;
mod id;
mod image;
mod in_place;
mod keys;
mod labels;
mod learner;
mod loss;
mod machine;
mod metrics;
mod model;
mod neighbors;
mod net;
mod optimizer;
mod picture_trainer;
mod processor;
mod random;
mod real;
mod record;
mod report;
mod run;
mod sampler;
mod schedule;
mod source;
mod sparse;
mod spec;
mod step;
mod text;
#[cfg(test)]
mod toy;
mod trainer;
mod transformer;
mod validation;
mod weight_files;

pub use bank::MemoryBank;
pub use card::CardEncoder;
pub use checkpoint::{Checkpoint, Progress};
pub use config::{KeySource, Optimizer, RankingInput, RankingLoss, Schedule, TrainConfig};
pub use error::Error;
pub use id::ModelId;
pub use image::{DecodeLimits, ImageEncoder, Picture};
pub use labels::Labels;
pub use machine::TrainingMachine;
pub use metrics::{LookupPoint, RankingPoint, RetrievalScores, evaluate, mean_average_precision, recall_at};
pub use model::HashModel;
pub use net::{Layer, Network};
pub use picture_trainer::{PictureOf, PictureOutcome, PictureTrainer};
pub use real::Real;
pub use record::{EpochRecord, Measure, TrainingRecord};
pub use report::{EpochReport, Observer, Outcome, Scores};
pub use source::{Features, PairSource};
pub use spec::ModelSpec;
pub use step::{Batch, Differentiation, Keys, Losses, Pass, StepSettings, TrainingState};
pub use text::{TextFeaturizer, TextKind, TextTower};
pub use trainer::Trainer;
