//! The settings of a run as the card's kernels take them.

use twinbit_kernels::cuda::train::{
    KeySource as CardKeys, Optimizer as CardOptimizer, Precision, RankingLoss as CardLoss, StepSettings,
};

use crate::Error;
use crate::config::{KeySource, Optimizer, RankingInput, RankingLoss, TrainConfig};

/// The settings of a step on a card.
pub(crate) fn settings(config: &TrainConfig, precision: Precision) -> Result<StepSettings, Error> {
    let refused = |setting, value: String| Err(Error::NotOnCard { setting, value });
    match config.ranking_input {
        RankingInput::Outputs => {}
        RankingInput::Signs => return refused("ranking_input", "signs".to_owned()),
        RankingInput::Both => return refused("ranking_input", "both".to_owned()),
    }
    if config.ranking_temperature != 1.0 {
        return refused("ranking_temperature", config.ranking_temperature.to_string());
    }
    let (margin, shift) = (config.margin as f32, config.shift as f32);
    Ok(StepSettings {
        batch: config.batch,
        negatives: config.negatives,
        alpha: config.alpha,
        temperature: config.temperature,
        keys: match config.keys {
            KeySource::Binary => CardKeys::Binary,
            KeySource::Continuous => CardKeys::Continuous,
            KeySource::Batch => CardKeys::Batch,
        },
        ranking: match config.ranking {
            RankingLoss::Global => CardLoss::Global { margin, shift },
            RankingLoss::MaxMargin => CardLoss::MaxMargin { margin },
        },
        momentum: config.momentum,
        clip_norm: config.clip_norm,
        weight_decay: config.weight_decay,
        optimizer: optimizer(config.optimizer),
        neighbors: config.neighbors,
        neighbor_share: config.neighbor_share,
        dropout: config.dropout,
        seed: config.seed,
        precision,
    })
}

/// The optimizer as the card's kernels take it.
fn optimizer(optimizer: Optimizer) -> CardOptimizer {
    match optimizer {
        Optimizer::Adam => CardOptimizer::Adam,
        Optimizer::Sgd => CardOptimizer::Sgd,
    }
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
        let signs = TrainConfig { ranking_input: RankingInput::Signs, ..with() };
        assert_eq!(refused(signs), ("ranking_input", "signs".to_owned()));
        let cold = TrainConfig { ranking_temperature: 0.5, ..with() };
        assert_eq!(refused(cold), ("ranking_temperature", "0.5".to_owned()));
        assert!(settings(&with().plus(), Precision::Tf32).is_ok());
        let other = TrainConfig { optimizer: Optimizer::Sgd, keys: KeySource::Continuous, ..with() };
        assert_eq!(settings(&other, Precision::Tf32).unwrap().optimizer, CardOptimizer::Sgd);
    }
}
