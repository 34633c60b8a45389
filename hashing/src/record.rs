//! How a model came about: kept inside it, so that it can be told of a file that is all one has.

use serde::{Deserialize, Serialize};

use crate::config::TrainConfig;
use crate::machine::TrainingMachine;
use crate::report::{EpochReport, Scores};

/// What the validation scores of a training are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Measure {
    /// Mean average precision over all ranks, by labels of the training pairs.
    #[serde(rename = "map")]
    MeanAveragePrecision,
    /// Share of held-out pairs whose counterpart is among the first ten.
    #[serde(rename = "recall@10")]
    RecallAt10,
}

/// One epoch of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EpochRecord {
    /// Mean loss of its steps.
    pub loss: f64,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Scores on the validation set, where there was one.
    pub validation: Option<Scores>,
}

/// The training that a model is from: its data, settings and course.
///
/// Times are not in it: the same seed and data give the same model on the same kind of machine, byte for byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TrainingRecord {
    /// The hyper-parameters.
    pub config: TrainConfig,
    /// What computed it; the processor where a model file names none.
    #[serde(default, skip_serializing_if = "TrainingMachine::is_processor")]
    pub machine: TrainingMachine,
    /// Pairs that were trained on; held-out pairs are not among them.
    pub training_pairs: usize,
    /// Pairs held out for validation.
    pub held_out_pairs: usize,
    /// What the validation scores are; `None` without validation.
    pub measure: Option<Measure>,
    /// The epoch that the model is from, counted from 1.
    pub best_epoch: u32,
    /// The epochs, in their order.
    pub epochs: Vec<EpochRecord>,
}

impl From<&EpochReport> for EpochRecord {
    fn from(report: &EpochReport) -> Self {
        Self { loss: report.loss, learning_rate: report.learning_rate, validation: report.validation }
    }
}
