//! The settings of a run as the card's kernels take them.

use twinbit_kernels::cuda::train::{
    KeySource as CardKeys, Optimizer as CardOptimizer, Precision, RankingInput as CardInput,
    RankingLoss as CardLoss, StepSettings,
};

use crate::config::{KeySource, Optimizer, RankingInput, RankingLoss, TrainConfig};

/// The settings of a step on a card.
pub(crate) fn settings(config: &TrainConfig, precision: Precision) -> StepSettings {
    let (margin, shift) = (config.margin as f32, config.shift as f32);
    StepSettings {
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
            RankingLoss::Global => {
                CardLoss::Global { margin, shift, temperature: config.ranking_temperature }
            }
            RankingLoss::MaxMargin => CardLoss::MaxMargin { margin },
        },
        ranking_input: match config.ranking_input {
            RankingInput::Outputs => CardInput::Outputs,
            RankingInput::Signs => CardInput::Signs,
            RankingInput::Both => CardInput::Both,
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
    }
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
    fn the_recipe_for_captions_keeps_its_ranking() {
        let config = TrainConfig { margin: 0.25, ..TrainConfig::default().plus_for_captions() };
        let step = settings(&config, Precision::Tf32);
        assert_eq!(step.ranking_input, CardInput::Both);
        assert_eq!(step.ranking, CardLoss::Global { margin: 0.25, shift: 0.0, temperature: 0.1 });
        let other = TrainConfig { ranking_input: RankingInput::Signs, optimizer: Optimizer::Sgd, ..config };
        let step = settings(&other, Precision::Tf32);
        assert_eq!((step.ranking_input, step.optimizer), (CardInput::Signs, CardOptimizer::Sgd));
    }
}
