//! What a step computes and how.

use super::Keys;
use crate::config::{KeySource, Optimizer, RankingInput, RankingLoss, TrainConfig};
use crate::loss::ranking::Ranking;
use crate::real::Real;

/// How gradients are computed. Both give the same numbers up to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differentiation {
    /// Fused losses on packed signs and a backward pass written out.
    Fused,
    /// Candle's automatic differentiation of the losses as the paper writes them: slow, and needs
    /// memory for batch x keys x bits numbers. The reference.
    Autodiff,
}

/// The hyper-parameters of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSettings {
    /// Weight of the contrastive loss.
    pub alpha: f64,
    /// Keys of the contrastive loss.
    pub keys: KeySource,
    /// The ranking loss.
    pub ranking: RankingLoss,
    /// What the ranking loss compares.
    pub ranking_input: RankingInput,
    /// Temperature of the global ranking loss.
    pub ranking_temperature: f64,
    /// Margin of the ranking loss.
    pub margin: f64,
    /// Shift of the ranking loss.
    pub shift: f64,
    /// Temperature of the contrastive loss.
    pub temperature: f64,
    /// Of a pair's bank keys, how many after its own are its neighbors'.
    pub neighbors: usize,
    /// What the neighbors together weigh in the contrastive loss.
    pub neighbor_share: f64,
    /// Probability with which a feature or a hidden activation is left out.
    pub dropout: f64,
    /// Decides, with the number of updates so far, which ones.
    pub seed: u64,
    /// Momentum of the memory bank; 0 makes every step a warm-up step.
    pub momentum: f64,
    /// Largest norm of all gradients together.
    pub clip_norm: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// How gradients are computed.
    pub differentiation: Differentiation,
}

impl From<&TrainConfig> for StepSettings {
    fn from(config: &TrainConfig) -> Self {
        Self {
            alpha: config.alpha,
            keys: config.keys,
            ranking: config.ranking,
            ranking_input: config.ranking_input,
            ranking_temperature: config.ranking_temperature,
            margin: config.margin,
            shift: config.shift,
            temperature: config.temperature,
            neighbors: config.neighbors,
            neighbor_share: config.neighbor_share,
            dropout: config.dropout,
            seed: config.seed,
            momentum: config.momentum,
            clip_norm: config.clip_norm,
            weight_decay: config.weight_decay,
            optimizer: config.optimizer,
            differentiation: Differentiation::Fused,
        }
    }
}

impl StepSettings {
    /// Whether the bank's rows are never keys.
    pub(super) fn without_bank(&self) -> bool {
        self.momentum == 0.0 || self.keys == KeySource::Batch
    }

    /// How much each of a pair's first keys counts as a positive: its own, then its neighbors'.
    pub(super) fn targets<T: Real>(&self, keys: Keys<'_>) -> Vec<T> {
        let mut targets = vec![T::one()];
        if let (Keys::Bank(_), 1..) = (keys, self.neighbors) {
            let each = self.neighbor_share / self.neighbors as f64;
            targets[0] = T::from_f64(1.0 - self.neighbor_share);
            targets.resize(1 + self.neighbors, T::from_f64(each));
        }
        targets
    }

    pub(super) fn ranking(&self) -> Ranking {
        let Self { margin, shift, ranking_temperature: temperature, .. } = *self;
        match self.ranking {
            RankingLoss::Global => Ranking::Global { margin, shift, temperature },
            RankingLoss::MaxMargin => Ranking::MaxMargin { margin },
        }
    }
}
