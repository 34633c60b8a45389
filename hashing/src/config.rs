//! The hyper-parameters of training.

use serde::{Deserialize, Serialize};
use twinbit_kernels::CodeBits;

use crate::Error;
use crate::spec::{MAX_HIDDEN, MAX_LAYERS, serde_bits};

const BELOW_ONE: &str = "0 up to, not including, 1";

/// How gradients change the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Adam, betas 0.9 and 0.999, with weight decay added to the gradient.
    Adam,
    /// Stochastic gradient descent with momentum 0.9.
    Sgd,
}

/// How the learning rate changes over the epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// A tenth from epochs 31, 61, 91 and 121 on, counted from 0.
    Step,
    /// Half a cosine down to zero.
    Cosine,
}

/// What the contrastive loss compares a pair's outputs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeySource {
    /// The signs of the memory bank's rows: the method.
    Binary,
    /// The rows themselves: contrastive learning without the binary bank (Figure 12).
    Continuous,
    /// No bank at all: in every epoch the signs of the batch's own means, as in the warm-up.
    Batch,
}

/// The loss that ranks a pair among the others of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RankingLoss {
    /// L_r, over all negatives (eq. 8 and 14): the method.
    Global,
    /// L'_r, over the negatives within the margin (eq. 6 and 7): the ablation.
    MaxMargin,
}

/// What the ranking loss compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RankingInput {
    /// The networks' outputs: the method.
    #[default]
    Outputs,
    /// Their signs, as a search does; gradients pass straight through.
    Signs,
    /// Both: the mean of the two losses.
    Both,
}

/// Everything that training can be told. [`Default`] is what twinbit recommends,
/// [`TrainConfig::paper`] what the paper used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// Bits of a code.
    #[serde(with = "serde_bits")]
    pub bits: CodeBits,
    /// Width of the hidden layers.
    pub hidden: usize,
    /// Linear layers of the image network.
    pub image_layers: usize,
    /// Linear layers of the text network.
    pub text_layers: usize,
    /// Weight of the contrastive loss; the ranking loss gets the rest (beta in the paper). At 1 and
    /// at 0 the other loss is not computed.
    pub alpha: f64,
    /// Keys of the contrastive loss.
    pub keys: KeySource,
    /// The ranking loss.
    pub ranking: RankingLoss,
    /// What the ranking loss compares.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ranking_input: RankingInput,
    /// Temperature of the global ranking loss (kappa in the paper, which gives no value); 1 in the public
    /// code.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub ranking_temperature: f64,
    /// Margin of the ranking loss.
    pub margin: f64,
    /// How far the ranking loss pushes easy negatives down (xi in the paper).
    pub shift: f64,
    /// Temperature tau of the contrastive loss.
    pub temperature: f64,
    /// Momentum delta of the memory bank; 0 takes the keys from the batch in every epoch.
    pub momentum: f64,
    /// Negatives of each pair, K.
    pub negatives: usize,
    /// Neighbors of each pair, by the similarity of the features, that count as positives beside the pair
    /// itself; 0, the paper, takes them for negatives like all others.
    pub neighbors: usize,
    /// What the neighbors together weigh in the contrastive loss; the pair itself gets the rest.
    pub neighbor_share: f64,
    /// Probability with which training leaves a feature or a hidden activation out; 0 in the paper.
    pub dropout: f64,
    /// Epochs at the start whose keys come from the batch instead of the bank.
    pub warmup_epochs: u32,
    /// Epochs in all.
    pub epochs: u32,
    /// Stops early, after this many epochs in a row without a better validation score. Needs
    /// something to validate on.
    pub patience: Option<u32>,
    /// Pairs of a batch.
    pub batch: usize,
    /// Learning rate.
    pub learning_rate: f64,
    /// Weight decay, added to the gradient after clipping.
    pub weight_decay: f64,
    /// Largest norm of all gradients together.
    pub clip_norm: f64,
    /// Decides every random draw: the same seed gives the same weights, bit for bit, whatever the
    /// number of threads. (Another kind of CPU may round its matrix products differently.)
    pub seed: u64,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The learning rate's course.
    pub schedule: Schedule,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            bits: CodeBits::B128,
            hidden: 1024,
            image_layers: 3,
            text_layers: 2,
            alpha: 0.7,
            keys: KeySource::Binary,
            ranking: RankingLoss::Global,
            ranking_input: RankingInput::Outputs,
            ranking_temperature: 1.0,
            margin: 0.2,
            shift: 0.1,
            temperature: 0.9,
            momentum: 0.4,
            negatives: 4096,
            neighbors: 0,
            neighbor_share: 0.75,
            dropout: 0.0,
            warmup_epochs: 1,
            epochs: 20,
            patience: None,
            batch: 256,
            learning_rate: 1e-4,
            weight_decay: 1e-6,
            clip_norm: 1.0,
            seed: 0,
            optimizer: Optimizer::Adam,
            schedule: Schedule::Step,
        }
    }
}

impl TrainConfig {
    /// The published settings (those of the MIRFLICKR-25K command): hidden width 8192.
    pub fn paper(bits: CodeBits) -> Self {
        Self { bits, hidden: 8192, ..Self::default() }
    }

    /// Settings for photos with captions, chosen on Flickr8k (see `docs/results.md`): a shallower
    /// image network, a cooler softmax, a larger shift, a higher learning rate.
    pub fn captions(bits: CodeBits) -> Self {
        Self {
            bits,
            image_layers: 2,
            alpha: 0.5,
            shift: 2.0,
            temperature: 0.3,
            learning_rate: 3e-4,
            ..Self::default()
        }
    }

    /// These settings made into `ucch-plus`, which goes beyond the paper: the pairs most alike by their own
    /// features count as positives, dropout, and a higher learning rate that falls over half the epochs.
    /// Chosen on MIRFLICKR-25K, on training pairs held out; it finds pairs of a kind better and single pairs
    /// worse, for which there is [`plus_for_captions`](Self::plus_for_captions).
    pub fn plus(self) -> Self {
        Self {
            neighbors: 20,
            neighbor_share: 0.75,
            dropout: 0.3,
            learning_rate: 1e-3,
            schedule: Schedule::Cosine,
            epochs: 10,
            ..self
        }
    }

    /// These settings made into `ucch-plus` for pairs that are to find each other and not their kind, such as
    /// photos with captions: the ranking loss alone, half of it on the signs that a search compares, at a low
    /// temperature, and a higher learning rate that falls. Chosen on Flickr8k's dev part (see
    /// `docs/results.md`).
    pub fn plus_for_captions(self) -> Self {
        Self {
            alpha: 0.0,
            ranking_input: RankingInput::Both,
            ranking_temperature: 0.1,
            shift: 0.0,
            learning_rate: 1e-3,
            schedule: Schedule::Cosine,
            ..self
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] names the first field outside its range.
    pub fn validate(&self) -> Result<(), Error> {
        let whole = |field, value: usize, accepted: bool, expected| {
            check(field, value.to_string(), accepted, expected)
        };
        let real = |field, value: f64, accepted: bool, expected| {
            check(field, value.to_string(), accepted && value.is_finite(), expected)
        };
        let layers = 1..=MAX_LAYERS;
        whole("hidden", self.hidden, (1..=MAX_HIDDEN).contains(&self.hidden), "1 to 65536")?;
        whole("image_layers", self.image_layers, layers.contains(&self.image_layers), "1 to 16")?;
        whole("text_layers", self.text_layers, layers.contains(&self.text_layers), "1 to 16")?;
        real("alpha", self.alpha, (0.0..=1.0).contains(&self.alpha), "0 to 1")?;
        real("ranking_temperature", self.ranking_temperature, self.ranking_temperature > 0.0, "above 0")?;
        real("margin", self.margin, self.margin >= 0.0, "0 or more")?;
        real("shift", self.shift, self.shift >= 0.0, "0 or more")?;
        real("temperature", self.temperature, self.temperature > 0.0, "above 0")?;
        real("momentum", self.momentum, (0.0..1.0).contains(&self.momentum), BELOW_ONE)?;
        whole("negatives", self.negatives, (1..=1 << 20).contains(&self.negatives), "1 to 1048576")?;
        whole("neighbors", self.neighbors, self.neighbors <= 1024, "0 to 1024")?;
        real("neighbor_share", self.neighbor_share, (0.0..1.0).contains(&self.neighbor_share), BELOW_ONE)?;
        real("dropout", self.dropout, (0.0..=0.9).contains(&self.dropout), "0 to 0.9")?;
        whole("epochs", self.epochs as usize, self.epochs > 0, "1 or more")?;
        whole("patience", self.patience.unwrap_or(1) as usize, self.patience != Some(0), "1 or more")?;
        whole("batch", self.batch, (2..=1 << 16).contains(&self.batch), "2 to 65536")?;
        real("learning_rate", self.learning_rate, self.learning_rate > 0.0, "above 0")?;
        real("weight_decay", self.weight_decay, self.weight_decay >= 0.0, "0 or more")?;
        real("clip_norm", self.clip_norm, self.clip_norm > 0.0, "above 0")
    }
}

/// What is as in the paper is left out of a model's record, as it was before it could be chosen.
fn is_default(input: &RankingInput) -> bool {
    *input == RankingInput::default()
}

fn is_one(value: &f64) -> bool {
    *value == one()
}

fn one() -> f64 {
    1.0
}

fn check(field: &'static str, value: String, accepted: bool, expected: &'static str) -> Result<(), Error> {
    if accepted { Ok(()) } else { Err(Error::Config { field, value, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_are_valid() {
        TrainConfig::default().validate().unwrap();
        TrainConfig::paper(CodeBits::B64).validate().unwrap();
        TrainConfig::captions(CodeBits::B64).validate().unwrap();
        TrainConfig::default().plus().validate().unwrap();
        TrainConfig::captions(CodeBits::B64).plus_for_captions().validate().unwrap();
    }

    #[test]
    fn values_out_of_range_are_named() {
        let refused = |config: TrainConfig| match config.validate() {
            Err(Error::Config { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        let with = TrainConfig::default;
        assert_eq!(refused(TrainConfig { alpha: 1.5, ..with() }), "alpha");
        assert_eq!(refused(TrainConfig { temperature: 0.0, ..with() }), "temperature");
        assert_eq!(refused(TrainConfig { ranking_temperature: 0.0, ..with() }), "ranking_temperature");
        assert_eq!(refused(TrainConfig { momentum: f64::NAN, ..with() }), "momentum");
        assert_eq!(refused(TrainConfig { neighbor_share: 1.0, ..with() }), "neighbor_share");
        assert_eq!(refused(TrainConfig { dropout: -0.1, ..with() }), "dropout");
        assert_eq!(refused(TrainConfig { epochs: 0, ..with() }), "epochs");
        assert_eq!(refused(TrainConfig { patience: Some(0), ..with() }), "patience");
        assert_eq!(refused(TrainConfig { learning_rate: f64::INFINITY, ..with() }), "learning_rate");
    }

    #[test]
    fn a_config_survives_json() {
        let config = TrainConfig { optimizer: Optimizer::Sgd, ..TrainConfig::default() };
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<TrainConfig>(&json).unwrap(), config);
    }
}
