//! Replays training runs of the public UCCH code, step by step.
//!
//! A fixture holds initial weights, features, and for each step the batch, the keys, and everything
//! that came out: outputs, losses, gradients before clipping, weights after Adam, the memory bank.
//! Errors are relative to the largest entry of each tensor. Fixtures come from the folder `ucch` of
//! `TWINBIT_FIXTURES`, or from those kept here.

#![expect(clippy::print_stdout, reason = "tells how far inside the tolerance the run is")]

use safetensors::SafeTensors;
use serde_json::Value;
use twinbit_hashing::{
    Batch, Differentiation, KeySource, Keys, Layer, MemoryBank, Network, Optimizer, Pass, RankingInput,
    RankingLoss, Real, StepSettings, TrainingState,
};
use twinbit_kernels::{CodeBits, Modality};
use twinbit_tests::fixtures;

/// Largest relative error in float64 and in float32.
const FLOAT64: f64 = 1e-9;
const FLOAT32: f64 = 1e-4;

#[test]
fn float64_steps_equal_the_public_code() {
    replay_all::<f64>(Differentiation::Fused, FLOAT64);
}

#[test]
fn float32_steps_equal_the_public_code() {
    replay_all::<f32>(Differentiation::Fused, FLOAT32);
}

#[test]
fn automatic_differentiation_equals_the_public_code() {
    replay_all::<f64>(Differentiation::Autodiff, FLOAT64);
}

/// A number type that fixtures convert to and from.
trait Number: Real {
    fn narrow(value: f64) -> Self;
    fn widen(self) -> f64;
}

impl Number for f64 {
    fn narrow(value: f64) -> Self {
        value
    }
    fn widen(self) -> f64 {
        self
    }
}

impl Number for f32 {
    fn narrow(value: f64) -> Self {
        value as f32
    }
    fn widen(self) -> f64 {
        f64::from(self)
    }
}

fn replay_all<T: Number>(differentiation: Differentiation, tolerance: f64) {
    for fixture in fixtures("ucch") {
        let mut replay = Replay {
            tensors: SafeTensors::deserialize(&fixture.tensors).expect("readable tensors"),
            values: &fixture.values,
            tolerance,
            worst: (0.0, String::new()),
        };
        replay.run::<T>(differentiation);
        let (error, name) = replay.worst;
        println!("{}: largest relative error {error:.1e} ({name})", fixture.name);
    }
}

struct Replay<'a> {
    tensors: SafeTensors<'a>,
    values: &'a Value,
    tolerance: f64,
    worst: (f64, String),
}

impl Replay<'_> {
    fn run<T: Number>(&mut self, differentiation: Differentiation) {
        let bits = CodeBits::new(self.size("bits")).expect("a code length");
        let network = |modality| Network::new(self.layers::<T>("init", modality));
        let mut state = TrainingState::new(
            StepSettings {
                alpha: self.number("alpha"),
                keys: KeySource::Binary,
                ranking: RankingLoss::Global,
                ranking_input: RankingInput::Outputs,
                ranking_temperature: 1.0,
                margin: self.number("margin"),
                shift: self.number("shift"),
                temperature: self.number("temperature"),
                neighbors: 0,
                neighbor_share: 0.0,
                dropout: 0.0,
                seed: 0,
                momentum: self.number("momentum"),
                clip_norm: self.number("clip_norm"),
                weight_decay: self.number("weight_decay"),
                optimizer: self.optimizer(),
                differentiation,
            },
            network(Modality::Image).expect("image layers"),
            network(Modality::Text).expect("text layers"),
            MemoryBank::new(bits, self.narrowed("memory.init")).expect("a bank"),
        )
        .expect("a state");
        let rate = self.number("lr");
        let steps = self.values["steps"].as_array().expect("steps").clone();
        assert!(!steps.is_empty(), "the fixture has no steps");
        for (step, expected) in steps.iter().enumerate() {
            let pass = self.differentiate(&state, step, expected);
            self.check_pass(&pass, step, expected);
            state.apply(&pass, rate).expect("an update");
            for modality in Modality::ALL {
                let layers = state.network(modality).layers().expect("layers");
                self.check_layers(&format!("step{step}"), modality, &layers);
            }
            self.check(&format!("step{step}.memory"), state.bank().values());
        }
    }

    fn differentiate<T: Number>(&self, state: &TrainingState<T>, step: usize, expected: &Value) -> Pass<T> {
        let pairs = self.indices(&format!("step{step}.batch"));
        let keys = self.indices(&format!("step{step}.keys"));
        let features = |name, width| -> Vec<T> {
            let all = self.narrowed(name);
            let rows = pairs.iter().map(|&pair| pair as usize * width);
            rows.flat_map(|at| all[at..at + width].to_vec()).collect()
        };
        let warm_up = expected["warmup"].as_bool().expect("warmup");
        let batch = Batch {
            pairs: &pairs,
            image: features("image_features", self.size("image_dim")),
            text: features("text_features", self.size("text_dim")),
            keys: if warm_up { Keys::Batch } else { Keys::Bank(&keys) },
        };
        state.differentiate(batch).expect("a pass")
    }

    fn check_pass<T: Number>(&mut self, pass: &Pass<T>, step: usize, expected: &Value) {
        self.check(&format!("step{step}.image_output"), pass.outputs(Modality::Image));
        self.check(&format!("step{step}.text_output"), pass.outputs(Modality::Text));
        for (name, got) in [
            ("contrastive_loss", pass.losses.contrastive),
            ("ranking_loss", pass.losses.ranking),
            ("loss", pass.losses.total),
            ("grad_norm_before_clip", pass.gradient_norm),
        ] {
            let expected = expected[name].as_f64().expect(name);
            self.judge(&format!("step{step} {name}"), &[expected], &[got]);
        }
        for modality in Modality::ALL {
            let gradients = pass.gradients(modality).expect("gradients");
            self.check_layers(&format!("step{step}.grad"), modality, &gradients);
        }
    }

    fn check_layers<T: Number>(&mut self, prefix: &str, modality: Modality, layers: &[Layer<T>]) {
        for (index, layer) in layers.iter().enumerate() {
            let name = format!("{prefix}.{modality}.layers.{index}");
            self.check(&format!("{name}.weight"), &layer.weight);
            self.check(&format!("{name}.bias"), &layer.bias);
        }
    }

    fn check<T: Number>(&mut self, name: &str, got: &[T]) {
        let expected: Vec<f64> = self.narrowed(name);
        let got: Vec<f64> = got.iter().map(|value| value.widen()).collect();
        self.judge(name, &expected, &got);
    }

    fn judge(&mut self, name: &str, expected: &[f64], got: &[f64]) {
        assert_eq!(expected.len(), got.len(), "{name}");
        let largest = expected.iter().fold(f64::MIN_POSITIVE, |largest, v| largest.max(v.abs()));
        for (expected, got) in expected.iter().zip(got) {
            let error = (expected - got).abs() / largest;
            assert!(error < self.tolerance, "{name}: {got} is not {expected}, error {error:.1e}");
            if error > self.worst.0 {
                self.worst = (error, name.to_owned());
            }
        }
    }

    fn layers<T: Number>(&self, prefix: &str, modality: Modality) -> Vec<Layer<T>> {
        let index = modality.index();
        let count = self.values["layers"][index].as_u64().expect("layers") as usize;
        (0..count)
            .map(|layer| {
                let name = format!("{prefix}.{modality}.layers.{layer}");
                let weight = self.tensors.tensor(&format!("{name}.weight")).expect("a weight");
                let &[outputs, inputs] = weight.shape() else { panic!("{name} is not a matrix") };
                Layer {
                    inputs,
                    outputs,
                    weight: self.narrowed(&format!("{name}.weight")),
                    bias: self.narrowed(&format!("{name}.bias")),
                }
            })
            .collect()
    }

    fn narrowed<T: Number>(&self, name: &str) -> Vec<T> {
        let data = self.tensors.tensor(name).expect(name).data();
        data.as_chunks::<8>().0.iter().map(|bytes| T::narrow(f64::from_le_bytes(*bytes))).collect()
    }

    fn indices(&self, name: &str) -> Vec<u32> {
        let data = self.tensors.tensor(name).expect(name).data();
        data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as u32).collect()
    }

    /// Adam, unless the fixture says otherwise.
    fn optimizer(&self) -> Optimizer {
        match self.values["optimizer"].as_str() {
            None | Some("Adam" | "adam") => Optimizer::Adam,
            Some("SGD" | "sgd") => Optimizer::Sgd,
            Some(other) => panic!("no optimizer is called {other}"),
        }
    }

    fn number(&self, name: &str) -> f64 {
        self.values[name].as_f64().expect(name)
    }

    fn size(&self, name: &str) -> usize {
        self.values[name].as_u64().expect(name) as usize
    }
}
