//! Training runs of the public UCCH code, replayed on a machine. The files are part of the program, so
//! that it can be carried to a card.

use safetensors::SafeTensors;
use serde_json::Value;
use twinbit_kernels::cuda::train::{
    BatchKeys, DeviceFeatures, KeySource, Layer, Multiply, Optimizer, Pairs, Precision, RankingInput,
    RankingLoss, StepSettings, TrainingState, TrainingStep,
};

use crate::training::{FLOAT32, close};

/// The largest error of a loss when products are rounded.
const ROUNDED: f64 = 2e-2;

/// A recorded run.
pub(crate) struct Fixture {
    values: Value,
    tensors: SafeTensors<'static>,
}

macro_rules! fixture {
    ($name:literal) => {
        Fixture::new(
            include_str!(concat!("../../../tests/fixtures/ucch/", $name, ".json")),
            include_bytes!(concat!("../../../tests/fixtures/ucch/", $name, ".safetensors")),
        )
    };
}

impl Fixture {
    pub(crate) fn all() -> [Self; 2] {
        [fixture!("three_two_layers_16bit"), fixture!("two_one_layers_128bit")]
    }

    fn new(values: &str, tensors: &'static [u8]) -> Self {
        Self {
            values: serde_json::from_str(values).unwrap(),
            tensors: SafeTensors::deserialize(tensors).unwrap(),
        }
    }

    fn number(&self, name: &str) -> f64 {
        self.values[name].as_f64().expect(name)
    }

    fn size(&self, name: &str) -> usize {
        self.values[name].as_u64().expect(name) as usize
    }

    fn tensor(&self, name: &str) -> Vec<f64> {
        let data = self.tensors.tensor(name).expect(name).data();
        data.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
    }

    fn narrowed(&self, name: &str) -> Vec<f32> {
        self.tensor(name).into_iter().map(|value| value as f32).collect()
    }

    fn rows(&self, name: &str) -> Vec<u32> {
        let data = self.tensors.tensor(name).expect(name).data();
        data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as u32).collect()
    }

    fn networks(&self, prefix: &str) -> [Vec<Layer>; 2] {
        ["image", "text"].map(|side| {
            let layers = self.values["layers"][usize::from(side == "text")].as_u64().unwrap();
            let layer = |number| {
                let name = format!("{prefix}.{side}.layers.{number}");
                let weight = self.tensors.tensor(&format!("{name}.weight")).unwrap();
                let &[outputs, inputs] = weight.shape() else { panic!("{name} is not a matrix") };
                Layer {
                    inputs,
                    outputs,
                    weight: self.narrowed(&format!("{name}.weight")),
                    bias: self.narrowed(&format!("{name}.bias")),
                }
            };
            (0..layers).map(layer).collect()
        })
    }

    fn settings(&self, precision: Precision) -> StepSettings {
        let narrow = |name| self.number(name) as f32;
        StepSettings {
            batch: self.size("batch"),
            negatives: self.size("negatives"),
            alpha: self.number("alpha"),
            temperature: self.number("temperature"),
            keys: KeySource::Binary,
            ranking: RankingLoss::Global {
                margin: narrow("margin"),
                shift: narrow("shift"),
                temperature: 1.0,
            },
            ranking_input: RankingInput::Outputs,
            momentum: self.number("momentum"),
            clip_norm: self.number("clip_norm"),
            weight_decay: self.number("weight_decay"),
            optimizer: Optimizer::Adam,
            neighbors: 0,
            neighbor_share: 0.0,
            dropout: 0.0,
            seed: 0,
            precision,
        }
    }

    fn upload<M: Multiply>(&self, machine: &M) -> [DeviceFeatures<M>; 2] {
        [("image_features", "image_dim"), ("text_features", "text_dim")].map(|(name, width)| {
            DeviceFeatures::upload(machine, self.size(width), &self.narrowed(name)).unwrap()
        })
    }

    fn step<M: Multiply>(&self, training: &mut TrainingStep<'_, M>, step: usize) {
        let keys = self.rows(&format!("step{step}.keys"));
        let warm_up = self.values["steps"][step]["warmup"].as_bool().unwrap();
        let keys = if warm_up { BatchKeys::Own } else { BatchKeys::Given(&keys) };
        training.step(&self.rows(&format!("step{step}.batch")), keys, self.number("lr")).unwrap();
    }

    fn steps(&self) -> usize {
        self.values["steps"].as_array().unwrap().len()
    }

    /// The recorded losses of a step, compared.
    fn check_losses<M: Multiply>(&self, training: &mut TrainingStep<'_, M>, step: usize, tolerance: f64) {
        let losses = training.losses().unwrap();
        assert_eq!(losses.len(), 1, "losses of one step");
        let losses = losses[0];
        for (name, got) in [
            ("contrastive_loss", losses.contrastive),
            ("ranking_loss", losses.ranking),
            ("loss", losses.total),
        ] {
            let expected = self.values["steps"][step][name].as_f64().unwrap();
            close(&format!("step {step}, {name}"), &[got as f32], &[expected], tolerance);
        }
        if tolerance == FLOAT32 {
            let expected = self.values["steps"][step]["grad_norm_before_clip"].as_f64().unwrap();
            close(&format!("step {step}, norm"), &[losses.gradient_norm as f32], &[expected], tolerance);
        }
    }

    /// The whole run in float32: outputs, losses, gradients, parameters after Adam and the bank.
    pub(crate) fn replay<M: Multiply>(&self, machine: &M) {
        let features = self.upload(machine);
        let state = TrainingState::new(self.networks("init"), self.narrowed("memory.init"));
        let pairs = Pairs { features: features.each_ref(), neighbors: &[] };
        let mut training =
            TrainingStep::new(machine, self.settings(Precision::Float32), &state, pairs).unwrap();
        for step in 0..self.steps() {
            self.step(&mut training, step);
            self.check_losses(&mut training, step, FLOAT32);
            let outputs = training.last_outputs().unwrap();
            for (name, outputs) in ["image_output", "text_output"].into_iter().zip(&outputs) {
                let name = format!("step{step}.{name}");
                close(&name, outputs, &self.tensor(&name), FLOAT32);
            }
            self.check_layers(&format!("step{step}.grad"), &training.gradients().unwrap());
            let state = training.state().unwrap();
            self.check_layers(&format!("step{step}"), &state.networks);
            let name = format!("step{step}.memory");
            close(&name, &state.bank, &self.tensor(&name), FLOAT32);
        }
    }

    fn check_layers(&self, prefix: &str, networks: &[Vec<Layer>; 2]) {
        for (side, layers) in ["image", "text"].into_iter().zip(networks) {
            for (number, layer) in layers.iter().enumerate() {
                let name = format!("{prefix}.{side}.layers.{number}");
                close(&name, &layer.weight, &self.tensor(&format!("{name}.weight")), FLOAT32);
                close(&name, &layer.bias, &self.tensor(&format!("{name}.bias")), FLOAT32);
            }
        }
    }

    /// The losses of every step from its recorded start, with products of rounded factors.
    pub(crate) fn check_rounded_losses<M: Multiply>(&self, machine: &M, precision: Precision) {
        let features = self.upload(machine);
        for step in 0..self.steps() {
            let (networks, bank) = match step.checked_sub(1) {
                None => (self.networks("init"), self.narrowed("memory.init")),
                Some(before) => {
                    let prefix = format!("step{before}");
                    (self.networks(&prefix), self.narrowed(&format!("{prefix}.memory")))
                }
            };
            let state = TrainingState::new(networks, bank);
            let pairs = Pairs { features: features.each_ref(), neighbors: &[] };
            let mut training = TrainingStep::new(machine, self.settings(precision), &state, pairs).unwrap();
            self.step(&mut training, step);
            self.check_losses(&mut training, step, ROUNDED);
        }
    }
}
