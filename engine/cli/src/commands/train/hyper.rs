//! Hyper-parameters on the command line, in our spelling and in that of the reference code.

use clap::{Args, ValueEnum};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use twinbit::{CodeBits, KeySource, Optimizer, RankingInput, RankingLoss, Schedule, TrainConfig};

use crate::failure::{Failure, Result};

/// Pictures of a batch unless the command says otherwise: their activations take much memory.
const PICTURES_A_BATCH: usize = 32;

/// Hyper-parameters; what is not given keeps the preset's value. The hidden aliases are the option
/// names of the authors' code, so that its published commands can be pasted. Files of `experiment` have
/// the same names.
#[derive(Args, Clone, Default, Deserialize)]
#[command(next_help_heading = "Hyper-parameters")]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hyper {
    /// Settings to start from [default: default]
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// Changes the preset to this method's settings [default: ucch]
    #[arg(long, value_enum)]
    method: Option<Method>,
    /// Bits of a code, as the collection has them
    #[arg(long, alias = "bit", value_name = "N")]
    #[serde(skip)]
    bits: Option<usize>,
    /// Width of the hidden layers
    #[arg(long, value_name = "N")]
    hidden: Option<usize>,
    /// Linear layers of the image network and of the text network
    #[arg(long, aliases = ["num_hiden_layers", "num_hidden_layers"], num_args = 2, value_names = ["IMAGE", "TEXT"])]
    #[serde(deserialize_with = "of_both_networks")]
    layers: Option<Vec<usize>>,
    /// Weight of the contrastive loss; the ranking loss gets the rest
    #[arg(long, value_name = "0..1", allow_negative_numbers = true)]
    alpha: Option<f64>,
    /// What the contrastive loss compares with
    #[arg(long, value_enum)]
    keys: Option<KeysName>,
    /// The ranking loss
    #[arg(long, value_enum)]
    ranking: Option<RankingName>,
    /// What the ranking loss compares
    #[arg(long, value_enum)]
    ranking_input: Option<RankingInputName>,
    /// Temperature of the ranking loss
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    ranking_temperature: Option<f64>,
    /// Margin of the ranking loss
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    margin: Option<f64>,
    /// How far easy negatives are pushed down in the ranking loss
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    shift: Option<f64>,
    /// Temperature of the contrastive loss
    #[arg(long, alias = "T", value_name = "X", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Momentum of the memory bank
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    momentum: Option<f64>,
    /// Negatives drawn for each pair
    #[arg(long, alias = "K", value_name = "N")]
    negatives: Option<usize>,
    /// Neighbors of each pair that count as positives
    #[arg(long, value_name = "N")]
    neighbors: Option<usize>,
    /// What the neighbors together weigh
    #[arg(long, value_name = "0..1", allow_negative_numbers = true)]
    neighbor_share: Option<f64>,
    /// Probability with which training leaves a feature or an activation out
    #[arg(long, value_name = "0..1", allow_negative_numbers = true)]
    dropout: Option<f64>,
    /// Epochs at the start whose keys come from the batch
    #[arg(long, alias = "warmup_epoch", value_name = "N")]
    warmup: Option<u32>,
    /// Epochs in all
    #[arg(long, alias = "max_epochs", value_name = "N")]
    epochs: Option<u32>,
    /// Stops early after N epochs in a row without a better validation score
    #[arg(long, value_name = "N")]
    patience: Option<u32>,
    /// Pairs of a batch
    #[arg(long, alias = "train_batch_size", value_name = "N")]
    batch: Option<usize>,
    /// Learning rate
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Weight decay
    #[arg(long, alias = "wd", value_name = "X", allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Largest norm of all gradients together
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    clip: Option<f64>,
    /// How gradients change the weights
    #[arg(long, value_enum, ignore_case = true)]
    optimizer: Option<OptimizerName>,
    /// How the learning rate changes over the epochs
    #[arg(long, alias = "ls", value_enum, ignore_case = true)]
    schedule: Option<ScheduleName>,
    /// Decides every random draw
    #[arg(long, value_name = "N")]
    #[serde(skip)]
    seed: Option<u64>,
    /// Options of the authors' code that say how it spreads its work and names its files: accepted so
    /// that its commands can be pasted, they change no result
    #[arg(long = "eval_batch_size", aliases = ["num_workers", "log_interval", "log_name"], hide = true)]
    #[serde(skip)]
    _ignored: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Preset {
    /// The published settings, but a hidden width of 1024
    Default,
    /// The published settings: hidden width 8192
    Paper,
    /// For photos with captions
    Captions,
}

#[derive(Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Method {
    /// The published method
    Ucch,
    /// Beyond it: neighbors as positives, dropout, a higher learning rate, fewer epochs; with the preset
    /// for captions the ranking loss alone, on signs, too
    UcchPlus,
}

#[derive(Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KeysName {
    /// The signs of the memory bank
    Binary,
    /// The memory bank as it is: the ablation without the binary bank
    Continuous,
    /// The batch's own signs in every epoch: no bank at all
    Batch,
}

#[derive(Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RankingName {
    /// Over all negatives
    Global,
    /// Over the negatives within the margin: the ablation
    MaxMargin,
}

#[derive(Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RankingInputName {
    /// The networks' outputs
    Outputs,
    /// Their signs, as a search does
    Signs,
    /// The mean of both losses
    Both,
}

#[derive(Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OptimizerName {
    Adam,
    Sgd,
}

#[derive(Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ScheduleName {
    /// A tenth from epochs 31, 61, 91 and 121 on
    #[value(alias = "linear")]
    Step,
    /// Half a cosine down to zero
    #[value(alias = "cos")]
    Cosine,
}

impl Hyper {
    /// The configuration for pictures, whose batch is 32 unless something else is given; codes have 128
    /// bits by default.
    pub fn of_pictures(&self) -> Result<TrainConfig> {
        let bits = self.bits.map_or(Ok(CodeBits::B128), CodeBits::new).map_err(twinbit::Error::from)?;
        let batch = Some(self.batch.unwrap_or(PICTURES_A_BATCH));
        Self { batch, ..self.clone() }.config(bits)
    }

    /// The configuration for a collection of this code length.
    pub fn config(&self, bits: CodeBits) -> Result<TrainConfig> {
        if let Some(given) = self.bits.filter(|given| *given != bits.bits()) {
            return Err(Failure::new(format!(
                "--bits {given}: the collection's codes have {} bits, and a model must have the same",
                bits.bits()
            )));
        }
        let mut config = TrainConfig { bits, ..TrainConfig::default() };
        self.change(&Self::default(), &mut config);
        config.validate().map_err(twinbit::Error::from)?;
        Ok(config)
    }

    /// Sets what is given and leaves the rest; a preset sets everything but bits and
    /// seed first, then the method what it changes. `before` are the options that made `config`: their
    /// preset, where there is none here, decides what the method means.
    pub fn change(&self, before: &Self, config: &mut TrainConfig) {
        let (bits, seed) = (config.bits, config.seed);
        match self.preset {
            None => {}
            Some(Preset::Default) => *config = TrainConfig { bits, seed, ..TrainConfig::default() },
            Some(Preset::Paper) => *config = TrainConfig { seed, ..TrainConfig::paper(bits) },
            Some(Preset::Captions) => *config = TrainConfig { seed, ..TrainConfig::captions(bits) },
        }
        match (self.method, self.preset.or(before.preset)) {
            (None | Some(Method::Ucch), _) => {}
            (Some(Method::UcchPlus), Some(Preset::Captions)) => *config = config.clone().plus_for_captions(),
            (Some(Method::UcchPlus), _) => *config = config.clone().plus(),
        }
        put(&mut config.hidden, self.hidden);
        if let Some(&[image, text]) = self.layers.as_deref() {
            (config.image_layers, config.text_layers) = (image, text);
        }
        put(&mut config.alpha, self.alpha);
        put(&mut config.ranking_temperature, self.ranking_temperature);
        put(&mut config.margin, self.margin);
        put(&mut config.shift, self.shift);
        put(&mut config.temperature, self.temperature);
        put(&mut config.momentum, self.momentum);
        put(&mut config.negatives, self.negatives);
        put(&mut config.neighbors, self.neighbors);
        put(&mut config.neighbor_share, self.neighbor_share);
        put(&mut config.dropout, self.dropout);
        put(&mut config.warmup_epochs, self.warmup);
        put(&mut config.epochs, self.epochs);
        put(&mut config.patience, self.patience.map(Some));
        put(&mut config.batch, self.batch);
        put(&mut config.learning_rate, self.lr);
        put(&mut config.weight_decay, self.weight_decay);
        put(&mut config.clip_norm, self.clip);
        put(&mut config.seed, self.seed);
        let keys = |name| match name {
            KeysName::Binary => KeySource::Binary,
            KeysName::Continuous => KeySource::Continuous,
            KeysName::Batch => KeySource::Batch,
        };
        put(&mut config.keys, self.keys.map(keys));
        let ranking = |name| match name {
            RankingName::Global => RankingLoss::Global,
            RankingName::MaxMargin => RankingLoss::MaxMargin,
        };
        put(&mut config.ranking, self.ranking.map(ranking));
        let input = |name| match name {
            RankingInputName::Outputs => RankingInput::Outputs,
            RankingInputName::Signs => RankingInput::Signs,
            RankingInputName::Both => RankingInput::Both,
        };
        put(&mut config.ranking_input, self.ranking_input.map(input));
        let optimizer = |name| match name {
            OptimizerName::Adam => Optimizer::Adam,
            OptimizerName::Sgd => Optimizer::Sgd,
        };
        put(&mut config.optimizer, self.optimizer.map(optimizer));
        let schedule = |name| match name {
            ScheduleName::Step => Schedule::Step,
            ScheduleName::Cosine => Schedule::Cosine,
        };
        put(&mut config.schedule, self.schedule.map(schedule));
    }
}

/// The layers in a file: of the image network and of the text network, no more and no fewer.
fn of_both_networks<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<Vec<usize>>, D::Error> {
    let layers = Vec::<usize>::deserialize(from)?;
    match layers.len() {
        2 => Ok(Some(layers)),
        count => {
            Err(D::Error::invalid_length(count, &"the layers of the image network and of the text network"))
        }
    }
}

fn put<T>(place: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        hyper: Hyper,
    }

    fn config(line: &str) -> Result<TrainConfig> {
        Line::try_parse_from(std::iter::once("train").chain(line.split_whitespace()))
            .unwrap()
            .hyper
            .config(CodeBits::B128)
    }

    #[test]
    fn the_published_command_is_understood() {
        let reference = config(
            "--bit 128 --alpha 0.7 --num_hiden_layers 3 2 --margin 0.2 --max_epochs 20 --train_batch_size 256 \
             --shift 0.1 --lr 0.0001 --optimizer Adam --warmup_epoch 1 --K 4096 --T 0.9 --wd 1e-6 --ls linear --momentum 0.4 \
             --eval_batch_size 256 --num_workers 5 --log_interval 40 --log_name UCCH",
        );
        assert_eq!(reference.unwrap(), TrainConfig { bits: CodeBits::B128, ..TrainConfig::default() });
    }

    #[test]
    fn both_spellings_mean_the_same() {
        let ours = "--layers 2 1 --epochs 3 --batch 64 --warmup 2 --negatives 100 --temperature 0.5 --weight-decay 0.1 \
                    --schedule cosine --optimizer sgd";
        let theirs = "--num_hiden_layers 2 1 --max_epochs 3 --train_batch_size 64 --warmup_epoch 2 --K 100 --T 0.5 --wd 0.1 \
                      --ls cos --optimizer SGD";
        assert_eq!(config(ours).unwrap(), config(theirs).unwrap());
    }

    #[test]
    fn ablations_can_be_asked_for() {
        let ablated =
            config("--alpha 0 --ranking max-margin --margin 0.5 --keys continuous --patience 3").unwrap();
        assert_eq!((ablated.ranking, ablated.keys), (RankingLoss::MaxMargin, KeySource::Continuous));
        assert_eq!((ablated.margin, ablated.patience), (0.5, Some(3)));
    }

    #[test]
    fn a_method_changes_the_preset_and_options_change_the_method() {
        let plus = config("--preset captions --method ucch-plus --dropout 0.1").unwrap();
        let expected = TrainConfig::captions(CodeBits::B128).plus_for_captions();
        assert_eq!(plus, TrainConfig { dropout: 0.1, ..expected });
        let plain = config("--method ucch").unwrap();
        assert_eq!(plain, TrainConfig { bits: CodeBits::B128, ..TrainConfig::default() });
    }

    #[test]
    fn a_method_means_what_the_preset_before_it_says() {
        let [before, after] = ["--preset captions --hidden 64", "--method ucch-plus"].map(|line| {
            Line::try_parse_from(std::iter::once("train").chain(line.split_whitespace())).unwrap().hyper
        });
        let mut config = TrainConfig { bits: CodeBits::B128, ..TrainConfig::default() };
        before.change(&Hyper::default(), &mut config);
        after.change(&before, &mut config);
        let expected = TrainConfig::captions(CodeBits::B128).plus_for_captions();
        assert_eq!(config, TrainConfig { hidden: 64, ..expected });
    }

    #[test]
    fn the_paper_is_a_start_that_can_be_changed() {
        let paper = config("--preset paper --epochs 5").unwrap();
        assert_eq!((paper.hidden, paper.epochs), (8192, 5));
    }

    #[test]
    fn pictures_come_in_small_batches_unless_told() {
        let of = |line: &str| {
            let line = std::iter::once("tune").chain(line.split_whitespace());
            Line::try_parse_from(line).unwrap().hyper.of_pictures().unwrap()
        };
        assert_eq!((of("").bits, of("").batch), (CodeBits::B128, 32));
        assert_eq!((of("--bits 64 --batch 8").bits, of("--bits 64 --batch 8").batch), (CodeBits::B64, 8));
    }

    #[test]
    fn other_bits_and_values_out_of_range_are_refused() {
        assert!(config("--bits 64").unwrap_err().to_string().contains("128 bits"));
        assert!(matches!(config("--alpha 1.5"), Err(Failure::Failed(_))));
        assert!(matches!(config("--alpha -1"), Err(Failure::Failed(_))));
    }
}
