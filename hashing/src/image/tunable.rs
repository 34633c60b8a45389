//! A ResNet or a VGG whose weights can change: a tape over torchvision's names. Evaluation elsewhere folds
//! batch norm away; training needs it.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor, Var};
use rayon::prelude::*;
use safetensors::tensor::{Dtype, TensorView, serialize};

use super::backbone;
use super::batch_norm::Statistics;
use super::encoder::read_weights;
use super::preparation::Preparation;
use super::tape::{Parameters, Place, Tape, Value};
use super::weights::{Weights, invalid};
use crate::Error;
use crate::dropout::Dropout;
use crate::in_place::read;
use crate::real::Real;

/// Share of the batch's statistics in the running ones, PyTorch's default.
const MOMENTUM: f64 = 0.1;
/// Probability that a number of the classifier's hidden layer is left out (VGG).
pub(crate) const CLASSIFIER_DROPOUT: f64 = 0.5;

/// Running means and variances by name.
pub(crate) type Running<T> = BTreeMap<String, Vec<T>>;

/// The network with its parameters and running statistics.
pub(crate) struct TunableBackbone<T> {
    /// Weights and biases by name.
    parameters: Parameters,
    /// Running means and variances by name.
    statistics: Running<T>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    ResNet,
    Vgg,
}

/// How the network runs.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    /// Running statistics, nothing left out: what the encoder computes faster, to compare the two.
    #[cfg(test)]
    Evaluation,
    /// The batch's statistics; VGG's classifier leaves out what this says.
    Training(Option<Dropout>),
}

/// What a forward pass leaves.
pub(crate) struct Forward<'a, T> {
    tape: Tape<'a, T>,
    /// Running statistics after this batch.
    statistics: Running<T>,
}

impl<T: Real> Forward<'_, T> {
    /// (batch, width), row-major.
    pub(crate) fn features(&self) -> &[T] {
        &self.tape.output().numbers
    }

    /// Running statistics after this batch.
    pub(crate) fn into_statistics(self) -> Running<T> {
        self.statistics
    }
}

/// The ResNet or VGG of a folder as one file: the folder's own, or one that stands for its several files.
pub(crate) fn tunable_file(folder: &Path) -> Result<Vec<u8>, Error> {
    let mut files = read_weights(folder)?;
    match files.len() {
        1 => Ok(files.remove(0)),
        _ => TunableBackbone::<f32>::from_weights(&Weights::of_files(&files)?)?.to_bytes(),
    }
}

impl<T: Real> TunableBackbone<T> {
    /// The network of a file, as a folder holds it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_weights(&Weights::new(bytes)?)
    }

    fn from_weights(weights: &Weights) -> Result<Self, Error> {
        let kind = if weights.has("layer1.0.conv1.weight") {
            Kind::ResNet
        } else if weights.has("features.0.weight") {
            Kind::Vgg
        } else {
            return Err(invalid(
                "only ResNets and VGGs can be tuned, and its tensors are not named like theirs".into(),
            ));
        };
        // Checks names and shapes.
        backbone::recognize(weights, &[], Preparation::TORCHVISION)?;
        let (mut parameters, mut statistics) = (BTreeMap::new(), BTreeMap::new());
        for (name, shape) in weights.names() {
            let values = |name| -> Result<Vec<T>, Error> {
                Ok(weights.read(name, &shape)?.iter().map(|&value| T::from_f64(f64::from(value))).collect())
            };
            if name.ends_with(".running_mean") || name.ends_with(".running_var") {
                statistics.insert(name.clone(), values(&name)?);
            } else if kind.has_parameter(&name) {
                let tensor = Tensor::from_vec(values(&name)?, &shape[..], &Device::Cpu)?;
                parameters.insert(name, Var::from_tensor(&tensor)?);
            }
        }
        Ok(Self { parameters, statistics, kind })
    }

    /// The weights as a file of safetensors, float32, with the names they came under.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let bytes = |values: &[T]| -> Vec<u8> {
            values.iter().flat_map(|value| (value.to_f64() as f32).to_le_bytes()).collect()
        };
        let mut tensors = Vec::new();
        for (name, parameter) in &self.parameters {
            tensors.push((name, parameter.dims().to_vec(), read(parameter, bytes)?));
        }
        for (name, values) in &self.statistics {
            tensors.push((name, vec![values.len()], bytes(values)));
        }
        let failed = |error: safetensors::SafeTensorError| Error::Tensor(Box::new(error));
        let views = tensors.iter().map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view))
        });
        serialize(views.collect::<Result<Vec<_>, _>>().map_err(failed)?, None).map_err(failed)
    }

    /// The parameters in the order of a gradient.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &Tensor> {
        self.parameters.values().map(Var::as_tensor)
    }

    /// Passes squares of `side` pixels, 3 bytes a pixel, through the network.
    pub(crate) fn forward(&self, colors: &[u8], side: usize, mode: Mode) -> Result<Forward<'_, T>, Error> {
        let input = Value { channels: 3, side, numbers: normalized(colors, side * side) };
        let tape = Tape::new(&self.parameters, input);
        let mut pass = Pass { backbone: self, mode, tape, statistics: Running::new() };
        match self.kind {
            Kind::ResNet => pass.resnet()?,
            Kind::Vgg => pass.vgg()?,
        };
        Ok(Forward { tape: pass.tape, statistics: pass.statistics })
    }

    /// Gradients of the parameters, in their order, from that of the features, row-major.
    pub(crate) fn backward(&self, forward: &Forward<'_, T>, gradient: Vec<T>) -> Result<Vec<Tensor>, Error> {
        let mut gradients = forward.tape.backward(gradient)?;
        let of = |(name, parameter): (&String, &Var)| match gradients.remove(name) {
            Some(gradient) => Ok(Tensor::from_vec(gradient, parameter.shape(), &Device::Cpu)?),
            None => Ok(parameter.zeros_like()?),
        };
        self.parameters.iter().map(of).collect()
    }

    /// Takes over the running statistics after a batch.
    pub(crate) fn keep_statistics(&mut self, statistics: Running<T>) {
        self.statistics.extend(statistics);
    }

    fn has(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }
}

/// Pictures as torchvision's networks take them: (pictures, colors, pixels).
fn normalized<T: Real>(colors: &[u8], pixels: usize) -> Vec<T> {
    let mut numbers = vec![T::zero(); colors.len()];
    let pictures = numbers.par_chunks_mut(3 * pixels).zip(colors.par_chunks(3 * pixels));
    pictures.for_each(|(planes, colors)| {
        let mut by_pixel = vec![0.0; colors.len()];
        Preparation::TORCHVISION.normalize(colors, &mut by_pixel);
        for (color, plane) in planes.chunks_exact_mut(pixels).enumerate() {
            let values = by_pixel.iter().skip(color).step_by(3);
            plane.iter_mut().zip(values).for_each(|(place, &value)| *place = T::from_f64(f64::from(value)));
        }
    });
    numbers
}

impl Kind {
    /// Whether the features depend on this tensor.
    fn has_parameter(self, name: &str) -> bool {
        let prefixes: &[&str] = match self {
            Self::ResNet => &["conv1.", "bn1.", "layer"],
            Self::Vgg => &["features.", "classifier.0.", "classifier.3."],
        };
        let is_number = name.ends_with(".weight") || name.ends_with(".bias");
        is_number && prefixes.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// A forward pass under way.
struct Pass<'a, T> {
    backbone: &'a TunableBackbone<T>,
    mode: Mode,
    tape: Tape<'a, T>,
    statistics: Running<T>,
}

impl<T: Real> Pass<'_, T> {
    fn resnet(&mut self) -> Result<Place, Error> {
        let stem = self.convolution("conv1", 0, 2)?;
        let stem = self.norm("bn1", stem, true)?;
        let mut place = self.tape.maximum(stem, 3);
        for stage in 1..=4 {
            for at in 0.. {
                let name = format!("layer{stage}.{at}");
                if !self.backbone.has(&format!("{name}.conv1.weight")) {
                    break;
                }
                place = self.block(&name, place, if stage > 1 && at == 0 { 2 } else { 1 })?;
            }
        }
        Ok(self.tape.mean(place))
    }

    fn block(&mut self, name: &str, input: Place, stride: usize) -> Result<Place, Error> {
        let is_bottleneck = self.backbone.has(&format!("{name}.conv3.weight"));
        let last = if is_bottleneck { 3 } else { 2 };
        let stride_at = if is_bottleneck { 2 } else { 1 };
        let mut place = input;
        for at in 1..=last {
            let stride = if at == stride_at { stride } else { 1 };
            place = self.convolution(&format!("{name}.conv{at}"), place, stride)?;
            place = self.norm(&format!("{name}.bn{at}"), place, at < last)?;
        }
        let shortcut = format!("{name}.downsample.0");
        let input = if self.backbone.has(&format!("{shortcut}.weight")) {
            let shortcut = self.convolution(&shortcut, input, stride)?;
            self.norm(&format!("{name}.downsample.1"), shortcut, false)?
        } else {
            input
        };
        Ok(self.tape.sum_relu([place, input]))
    }

    fn vgg(&mut self) -> Result<Place, Error> {
        let (mut place, mut at) = (0, 0);
        loop {
            if self.backbone.has(&format!("features.{at}.weight")) {
                place = self.convolution(&format!("features.{at}"), place, 1)?;
                let norm = format!("features.{}", at + 1);
                let has_norm = self.backbone.statistics.contains_key(&format!("{norm}.running_mean"));
                place = if has_norm { self.norm(&norm, place, true)? } else { self.tape.relu(place) };
                at += 2 + usize::from(has_norm);
            } else {
                place = self.tape.maximum(place, 2);
                at += 1;
                if !self.backbone.has(&format!("features.{at}.weight")) {
                    break;
                }
            }
        }
        place = self.linear("classifier.0", place)?;
        if let Mode::Training(Some(dropout)) = self.mode {
            let mut mask = vec![T::one(); self.tape.value(place).numbers.len()];
            dropout.apply(0, &mut mask);
            place = self.tape.mask(place, mask);
        }
        self.linear("classifier.3", place)
    }

    /// A layer with its ReLU.
    fn linear(&mut self, name: &str, from: Place) -> Result<Place, Error> {
        let product = self.tape.linear(from, &format!("{name}.weight"))?;
        let sum = self.tape.add_bias(product, &format!("{name}.bias"))?;
        Ok(self.tape.relu(sum))
    }

    fn convolution(&mut self, name: &str, from: Place, stride: usize) -> Result<Place, Error> {
        let place = self.tape.convolve(from, &format!("{name}.weight"), stride)?;
        let bias = format!("{name}.bias");
        if self.backbone.has(&bias) { self.tape.add_bias(place, &bias) } else { Ok(place) }
    }

    fn norm(&mut self, name: &str, from: Place, relu: bool) -> Result<Place, Error> {
        let names = ["running_mean", "running_var"].map(|part| format!("{name}.{part}"));
        let running = |name: &String| match self.backbone.statistics.get(name) {
            Some(values) => Ok(values),
            None => Err(invalid(format!("tensor {name} is missing"))),
        };
        let [mean, variance] = [running(&names[0])?, running(&names[1])?];
        let statistics = match self.mode {
            #[cfg(test)]
            Mode::Evaluation => {
                let values = |values: &[T]| values.iter().map(|value| value.to_f64()).collect();
                Statistics { mean: values(mean), variance: values(variance) }
            }
            Mode::Training(_) => {
                let Value { channels, side, numbers } = self.tape.value(from);
                let statistics = Statistics::of(numbers, *channels, side * side);
                let count = (numbers.len() / channels) as f64;
                // The running variance is that of a sample.
                let correction = count / (count - 1.0).max(1.0);
                let moved = |running: &[T], batch: &[f64], factor: f64| {
                    let moved = |(running, batch): (&T, &f64)| {
                        T::from_f64(running.to_f64() * (1.0 - MOMENTUM) + batch * factor * MOMENTUM)
                    };
                    running.iter().zip(batch).map(moved).collect()
                };
                let both =
                    [moved(mean, &statistics.mean, 1.0), moved(variance, &statistics.variance, correction)];
                self.statistics.extend(names.into_iter().zip(both));
                statistics
            }
        };
        self.tape.norm(from, name, statistics, relu)
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::super::ImageEncoder;
    use super::*;
    use crate::image::Picture;
    use crate::random::{Purpose, stream, unit};
    use crate::toy::{toy_backbone, toy_vgg};
    use twinbit_kernels::Modality;

    fn colors(count: usize, side: usize) -> Vec<u8> {
        let mut generator = stream(3, Purpose::Augmentation, 1);
        let mut draw = || (unit(&mut generator) * 256.0) as u8;
        (0..count * side * side * 3).map(|_| draw()).collect()
    }

    #[test]
    fn a_network_in_several_files_becomes_one_and_a_whole_file_stays_as_it_is() {
        let whole = toy_backbone();
        let tensors = SafeTensors::deserialize(&whole).unwrap();
        let mut names = tensors.names();
        names.sort_unstable();
        let folder = tempfile::tempdir().unwrap();
        let mut list = BTreeMap::new();
        for (file, names) in ["a.safetensors", "b.safetensors"].iter().zip(names.chunks(names.len() / 2 + 1))
        {
            let part = names.iter().map(|name| (name, tensors.tensor(name).unwrap()));
            std::fs::write(folder.path().join(file), serialize(part, None).unwrap()).unwrap();
            list.extend(names.iter().map(|name| (*name, *file)));
        }
        let index = serde_json::json!({ "weight_map": list });
        std::fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
        let picture = [Picture::from_rgb(256, 256, vec![90; 256 * 256 * 3]).unwrap()];
        let features = |bytes: &[u8]| ImageEncoder::from_weights(bytes).unwrap().encode(&picture).unwrap();
        assert_eq!(features(&tunable_file(folder.path()).unwrap()), features(&whole));
        std::fs::write(folder.path().join("model.safetensors"), &whole).unwrap();
        assert_eq!(tunable_file(folder.path()).unwrap(), whole);
    }

    #[test]
    fn in_evaluation_it_equals_the_encoder() {
        let side = 224;
        // A picture that resizing to 256 leaves alone but for its edge.
        let whole = colors(1, 256);
        let rows = whole.chunks_exact(256 * 3).skip(16).take(side);
        let middle: Vec<u8> = rows.flat_map(|row| &row[16 * 3..][..side * 3]).copied().collect();
        let picture = Picture::from_rgb(256, 256, whole).unwrap();
        for bytes in [toy_backbone(), toy_vgg()] {
            let backbone = TunableBackbone::<f32>::from_bytes(&bytes).unwrap();
            let forward = backbone.forward(&middle, side, Mode::Evaluation).unwrap();
            let features = forward.features();
            let encoder = ImageEncoder::from_weights(&bytes).unwrap();
            let expected = encoder.encode(std::slice::from_ref(&picture)).unwrap();
            assert_eq!(features.len(), expected.len());
            assert!(expected.iter().any(|&value| value > 0.1));
            for (got, expected) in features.iter().zip(&expected) {
                assert!((got - expected).abs() < 1e-4, "{got} is not {expected}");
            }
            // What it writes is what it read.
            let again = ImageEncoder::from_weights(&backbone.to_bytes().unwrap()).unwrap();
            assert_eq!(again.encode(std::slice::from_ref(&picture)).unwrap(), expected);
        }
    }

    /// Gradients in training against differences of <features, directions>, some of each parameter.
    fn gradients_equal_differences(bytes: &[u8], side: usize, dropout: Option<Dropout>) {
        let backbone = TunableBackbone::<f64>::from_bytes(bytes).unwrap();
        let colors = colors(3, side);
        let forward = backbone.forward(&colors, side, Mode::Training(dropout)).unwrap();
        let mut generator = stream(9, Purpose::Bank, 0);
        let direction: Vec<f64> = (0..forward.features().len()).map(|_| unit(&mut generator) - 0.5).collect();
        let gradients = backbone.backward(&forward, direction.clone()).unwrap();
        let value = |backbone: &TunableBackbone<f64>| -> f64 {
            let forward = backbone.forward(&colors, side, Mode::Training(dropout)).unwrap();
            forward.features().iter().zip(&direction).map(|(feature, direction)| feature * direction).sum()
        };
        for ((name, parameter), gradient) in backbone.parameters.iter().zip(&gradients) {
            let gradient: Vec<f64> = gradient.flatten_all().unwrap().to_vec1().unwrap();
            let largest = gradient.iter().fold(0f64, |largest, value| largest.max(value.abs()));
            let at = gradient.iter().position(|value| value.abs() == largest).unwrap();
            let numbers: Vec<f64> = parameter.flatten_all().unwrap().to_vec1().unwrap();
            let with = |change: f64| {
                let mut numbers = numbers.clone();
                numbers[at] += change;
                parameter.set(&Tensor::from_vec(numbers, parameter.shape(), &Device::Cpu).unwrap()).unwrap();
                value(&backbone)
            };
            let difference = (with(1e-6) - with(-1e-6)) / 2e-6;
            let _restored = with(0.0);
            assert!(
                (largest.copysign(gradient[at]) - difference).abs() < 1e-3 * largest.max(1e-3),
                "{name}: {} is not {difference}",
                gradient[at]
            );
        }
    }

    #[test]
    fn a_resnet_s_gradients_equal_differences() {
        gradients_equal_differences(&toy_backbone(), 64, None);
    }

    #[test]
    fn a_vgg_s_gradients_equal_differences_under_dropout() {
        gradients_equal_differences(&toy_vgg(), 224, Dropout::new(0.5, 7, 1, Modality::Image));
    }

    #[test]
    fn running_statistics_move_a_tenth_towards_the_batch() {
        let mut backbone = TunableBackbone::<f64>::from_bytes(&toy_backbone()).unwrap();
        let colors = colors(12, 64);
        let before = backbone.statistics.clone();
        let first = backbone.forward(&colors, 64, Mode::Training(None)).unwrap().into_statistics();
        backbone.keep_statistics(first);
        let evaluated = |backbone: &TunableBackbone<f64>, mode| -> Vec<f64> {
            backbone.forward(&colors, 64, mode).unwrap().features().to_vec()
        };
        assert_eq!(before.len(), backbone.statistics.len());
        for _ in 0..60 {
            let statistics = backbone.forward(&colors, 64, Mode::Training(None)).unwrap().into_statistics();
            backbone.keep_statistics(statistics);
        }
        // They have become those of the batch, but for the variance of a sample.
        let trained = evaluated(&backbone, Mode::Training(None));
        for (got, expected) in evaluated(&backbone, Mode::Evaluation).iter().zip(trained) {
            assert!((got - expected).abs() < 0.2 * expected.abs().max(0.5), "{got} is not {expected}");
        }
    }

    #[test]
    fn other_networks_are_refused() {
        for bytes in [&b"no file"[..], include_bytes!("../../weights/efficientnet_lite0_f16.safetensors")] {
            let backbone = TunableBackbone::<f32>::from_bytes(bytes);
            assert!(matches!(backbone, Err(Error::ImageWeights { .. })));
        }
    }
}
