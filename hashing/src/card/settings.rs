//! The settings of a run as the card's kernels take them.

use twinbit_kernels::cuda::train::{Precision, RankingLoss as CardLoss, StepSettings};

use crate::Error;
use crate::config::{KeySource, Optimizer, RankingLoss, TrainConfig};

/// The settings of a step on a card.
pub(crate) fn settings(config: &TrainConfig, precision: Precision) -> Result<StepSettings, Error> {
    let refused = |setting, value| Err(Error::NotOnCard { setting, value });
    match config.optimizer {
        Optimizer::Adam => {}
        Optimizer::Sgd => return refused("optimizer", "sgd"),
    }
    match config.keys {
        // Without a bank every step has the batch's own keys, which is what the steps are told.
        KeySource::Binary | KeySource::Batch => {}
        KeySource::Continuous => return refused("keys", "continuous"),
    }
    let (margin, shift) = (config.margin as f32, config.shift as f32);
    Ok(StepSettings {
        batch: config.batch,
        negatives: config.negatives,
        alpha: config.alpha,
        temperature: config.temperature,
        ranking: match config.ranking {
            RankingLoss::Global => CardLoss::Global { margin, shift },
            RankingLoss::MaxMargin => CardLoss::MaxMargin { margin },
        },
        momentum: config.momentum,
        clip_norm: config.clip_norm,
        weight_decay: config.weight_decay,
        neighbors: config.neighbors,
        neighbor_share: config.neighbor_share,
        dropout: config.dropout,
        seed: config.seed,
        precision,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernels_cannot_do_is_named() {
        let refused = |config: TrainConfig| match settings(&config, Precision::Tf32) {
            Err(Error::NotOnCard { setting, value }) => (setting, value),
            other => panic!("{other:?}"),
        };
        let with = TrainConfig::default;
        assert_eq!(refused(TrainConfig { optimizer: Optimizer::Sgd, ..with() }), ("optimizer", "sgd"));
        assert_eq!(refused(TrainConfig { keys: KeySource::Continuous, ..with() }), ("keys", "continuous"));
        assert!(settings(&with().plus(), Precision::Tf32).is_ok());
    }
}
