//! The hyper-parameters of a training step.

use super::Precision;
use crate::Error;

/// The loss that ranks the pairs of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RankingLoss {
    /// L_r (eq. 8 and 14).
    Global {
        /// Less similar by more than this than the right one is an easy negative.
        margin: f32,
        /// What is taken off an easy negative's similarity.
        shift: f32,
        /// Similarities and the margin are divided by it: 1 in the paper.
        temperature: f64,
    },
    /// L'_r (eq. 6 and 7).
    MaxMargin {
        /// The margin.
        margin: f32,
    },
}

/// What the ranking loss compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RankingInput {
    /// The outputs: the method.
    #[default]
    Outputs,
    /// Their signs, as rows of unit norm; a gradient with respect to them is taken for the outputs'
    /// (Bengio, Leonard, Courville, arXiv:1308.3432).
    Signs,
    /// Both: the mean of the two losses.
    Both,
}

impl RankingInput {
    /// How many losses the ranking loss is the mean of.
    pub(crate) const fn losses(self) -> usize {
        match self {
            Self::Outputs | Self::Signs => 1,
            Self::Both => 2,
        }
    }

    pub(crate) const fn has_outputs(self) -> bool {
        matches!(self, Self::Outputs | Self::Both)
    }

    pub(crate) const fn has_signs(self) -> bool {
        matches!(self, Self::Signs | Self::Both)
    }
}

/// What the contrastive loss compares a pair's outputs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeySource {
    /// The signs of the memory bank's rows: the method.
    #[default]
    Binary,
    /// The rows themselves: contrastive learning without the binary bank (Figure 12).
    Continuous,
    /// No bank at all: in every step the signs of the batch's own means.
    Batch,
}

/// How gradients change the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Optimizer {
    /// Adam, betas 0.9 and 0.999, with weight decay added to the gradient.
    #[default]
    Adam,
    /// Stochastic gradient descent with momentum 0.9.
    Sgd,
}

/// The hyper-parameters of a step, with the sizes that its memory depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSettings {
    /// Pairs of a batch.
    pub batch: usize,
    /// Rows of the bank drawn for each pair.
    pub negatives: usize,
    /// Weight of the contrastive loss; the ranking loss has the rest.
    pub alpha: f64,
    /// Temperature of the contrastive loss.
    pub temperature: f64,
    /// Keys of the contrastive loss.
    pub keys: KeySource,
    /// The ranking loss.
    pub ranking: RankingLoss,
    /// What the ranking loss compares.
    pub ranking_input: RankingInput,
    /// Momentum of the memory bank; 0 makes the batch's own keys those of every step.
    pub momentum: f64,
    /// Largest norm of all gradients together.
    pub clip_norm: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Of a pair's bank keys, how many after its own are its neighbors'.
    pub neighbors: usize,
    /// What the neighbors together weigh in the contrastive loss.
    pub neighbor_share: f64,
    /// Probability with which a feature or a hidden activation is left out, rounded to a 256th.
    pub dropout: f64,
    /// Decides, with the number of updates, what is drawn.
    pub seed: u64,
    /// What matrix products of the networks round to.
    pub precision: Precision,
}

/// The most pairs of a batch: as many as one launch has columns of blocks.
const MOST_PAIRS: usize = 65_535;

impl StepSettings {
    /// Whether the bank's rows are never keys.
    pub(crate) fn without_bank(&self) -> bool {
        self.momentum == 0.0 || self.keys == KeySource::Batch
    }

    /// Keys of a pair that come from the bank: its own, its neighbors', the drawn ones.
    pub(crate) const fn bank_keys(&self) -> usize {
        1 + self.neighbors + self.negatives
    }

    /// Keys of a pair, whatever their source.
    pub(crate) fn most_keys(&self) -> usize {
        self.bank_keys().max(self.batch)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let at_most = |what, most: usize, got: usize| {
            if got > most { Err(Error::Shape { what, expected: most, got }) } else { Ok(()) }
        };
        if self.batch == 0 {
            return Err(Error::Shape { what: "pairs of a batch", expected: 1, got: 0 });
        }
        at_most("pairs of a batch, at most", MOST_PAIRS, self.batch)?;
        at_most("neighbors of a pair, at most", 1 << 20, self.neighbors)?;
        at_most("negatives of a pair, at most", 1 << 20, self.negatives)
    }

    /// How many of 256 values of a random byte leave a number out.
    pub(crate) fn dropped_bytes(&self) -> u32 {
        (self.dropout * 256.0).round().clamp(0.0, 255.0) as u32
    }
}

/// Where a step's contrastive keys come from.
#[derive(Debug, Clone, Copy)]
pub enum BatchKeys<'a> {
    /// Warm-up: the means of the batch's own outputs, of which [`KeySource`] says what counts.
    Own,
    /// The bank's: each pair's own row, its neighbors', and rows drawn on the machine.
    Drawn,
    /// Rows of the bank, row-major (batch, keys), each pair's own row first, then its neighbors'.
    Given(&'a [u32]),
}
