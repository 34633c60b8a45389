//! What training tells while it runs, and what it leaves.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::checkpoint::Progress;
use crate::machine::TrainingMachine;
use crate::model::HashModel;

/// Validation scores of an epoch: MAP where there are labels, else recall@10.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Images as queries, texts as database.
    pub image_to_text: f64,
    /// Texts as queries, images as database.
    pub text_to_image: f64,
}

impl Scores {
    /// The mean of both directions, which picks the epoch.
    pub fn mean(&self) -> f64 {
        (self.image_to_text + self.text_to_image) / 2.0
    }
}

/// An epoch that has ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EpochReport {
    /// Epoch, counted from 1.
    pub epoch: u32,
    /// Mean loss of its steps.
    pub loss: f64,
    /// Wall time of the epoch, validation included, in seconds.
    pub seconds: f64,
    /// Median wall time of a step in milliseconds, reading its features included.
    pub step_ms: f64,
    /// Learning rate of the epoch.
    pub learning_rate: f64,
    /// Scores on the validation set, where there is one.
    pub validation: Option<Scores>,
}

/// Watches training, and may stop it: a `Break` ends it with
/// [`Error::Canceled`](crate::Error::Canceled) and nothing is kept but the checkpoints written.
pub trait Observer {
    /// After each step: `step` of `steps` in all epochs together, counted from 1, and its loss.
    fn on_step(&mut self, step: usize, steps: usize, loss: f64) -> ControlFlow<()> {
        let _ = (step, steps, loss);
        ControlFlow::Continue(())
    }

    /// After each epoch and before [`on_epoch`](Self::on_epoch): the place to write a checkpoint.
    ///
    /// # Errors
    /// Whatever keeps it from being written; training stops with it as the cause.
    fn on_checkpoint(
        &mut self,
        progress: &Progress<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let _ = progress;
        Ok(())
    }

    /// After each epoch.
    fn on_epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }
}

/// Watches nothing.
impl Observer for () {}

/// What training leaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The model of the best epoch.
    pub model: HashModel,
    /// The epoch the model is from, counted from 1: the first with the greatest mean score, or the
    /// last one when there was no validation set.
    pub best_epoch: u32,
    /// One report an epoch.
    pub epochs: Vec<EpochReport>,
    /// Pairs that were trained on; held-out pairs are not among them.
    pub training_pairs: usize,
    /// Pairs held out for validation.
    pub held_out_pairs: usize,
    /// What computed it.
    pub machine: TrainingMachine,
}
