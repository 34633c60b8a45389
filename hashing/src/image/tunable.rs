//! A ResNet or a VGG whose weights can change: candle's automatic differentiation over torchvision's
//! names. Evaluation elsewhere folds batch norm away; training needs it.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use safetensors::tensor::{Dtype, TensorView, serialize};

use super::ImageEncoder;
use super::preparation::Preparation;
use super::unfold::convolution;
use super::weights::{Weights, invalid};
use crate::Error;
use crate::dropout::Dropout;
use crate::in_place::read;
use crate::real::Real;

/// Share of the batch's statistics in the running ones, PyTorch's default.
const MOMENTUM: f64 = 0.1;
/// Added to a variance.
const EPSILON: f64 = 1e-5;
/// Probability that a number of the classifier's hidden layer is left out (VGG).
pub(crate) const CLASSIFIER_DROPOUT: f64 = 0.5;

/// The network with its parameters and running statistics.
pub(crate) struct TunableBackbone<T> {
    /// Weights and biases by name.
    parameters: BTreeMap<String, Var>,
    /// Running means and variances by name.
    statistics: BTreeMap<String, Tensor>,
    kind: Kind,
    of: std::marker::PhantomData<T>,
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

/// What a forward pass in training leaves.
pub(crate) struct Forward {
    /// (batch, width), row-major.
    pub(crate) features: Tensor,
    /// Running statistics after this batch.
    statistics: BTreeMap<String, Tensor>,
}

impl<T: Real> TunableBackbone<T> {
    /// The network of a file, as a folder holds it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let weights = Weights::new(bytes)?;
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
        ImageEncoder::from_files(bytes, &[])?;
        let (mut parameters, mut statistics) = (BTreeMap::new(), BTreeMap::new());
        for (name, shape) in weights.names() {
            let values = |name| -> Result<Tensor, Error> {
                let values: Vec<T> =
                    weights.read(name, &shape)?.iter().map(|&value| T::from_f64(f64::from(value))).collect();
                Ok(Tensor::from_vec(values, &shape[..], &Device::Cpu)?)
            };
            if name.ends_with(".running_mean") || name.ends_with(".running_var") {
                statistics.insert(name.clone(), values(&name)?);
            } else if kind.has_parameter(&name) {
                parameters.insert(name.clone(), Var::from_tensor(&values(&name)?)?);
            }
        }
        Ok(Self { parameters, statistics, kind, of: std::marker::PhantomData })
    }

    /// The weights as a file of safetensors, float32, with the names they came under.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut tensors = Vec::new();
        let all = self.parameters.iter().map(|(name, parameter)| (name, parameter.as_tensor()));
        for (name, tensor) in all.chain(&self.statistics) {
            let bytes: Vec<u8> = read(tensor, |values: &[T]| {
                values.iter().flat_map(|value| (value.to_f64() as f32).to_le_bytes()).collect()
            })?;
            tensors.push((name, tensor.dims().to_vec(), bytes));
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

    /// Features of `colors`, squares of `side` pixels, 3 bytes a pixel.
    pub(crate) fn forward(&self, colors: &[u8], side: usize, mode: Mode) -> Result<Forward, Error> {
        let mut numbers = vec![0.0; colors.len()];
        Preparation::TORCHVISION.normalize(colors, &mut numbers);
        let numbers: Vec<T> = numbers.into_iter().map(|value| T::from_f64(f64::from(value))).collect();
        let pixels = Tensor::from_vec(numbers, ((), side, side, 3), &Device::Cpu)?;
        let pixels = pixels.permute((3, 0, 1, 2))?.contiguous()?;
        let mut pass = Pass { backbone: self, mode, statistics: BTreeMap::new() };
        let features = match self.kind {
            Kind::ResNet => pass.resnet(pixels)?,
            Kind::Vgg => pass.vgg(pixels)?,
        };
        Ok(Forward { features, statistics: pass.statistics })
    }

    /// Gradients of the parameters from that of the features, row-major.
    pub(crate) fn backward(&self, forward: &Forward, gradient: Vec<T>) -> Result<Vec<Tensor>, Error> {
        let gradient = Tensor::from_vec(gradient, forward.features.shape(), &Device::Cpu)?;
        let store = (&forward.features * gradient)?.sum_all()?.backward()?;
        let gradients = self.parameters.values().map(|parameter| match store.get(parameter) {
            Some(gradient) => Ok(gradient.contiguous()?),
            None => Ok(parameter.zeros_like()?),
        });
        gradients.collect()
    }

    /// Takes over the running statistics after a batch.
    pub(crate) fn keep_statistics(&mut self, forward: Forward) {
        self.statistics.extend(forward.statistics);
    }

    fn has(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    fn parameter(&self, name: &str) -> candle_core::Result<&Tensor> {
        match self.parameters.get(name) {
            Some(parameter) => Ok(parameter.as_tensor()),
            None => candle_core::bail!("the backbone has no parameter {name}"),
        }
    }
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

/// A forward pass under way. Pixels are (channels, batch, side, side), so that a convolution is one
/// product.
struct Pass<'a, T> {
    backbone: &'a TunableBackbone<T>,
    mode: Mode,
    statistics: BTreeMap<String, Tensor>,
}

impl<T: Real> Pass<'_, T> {
    fn resnet(&mut self, pixels: Tensor) -> candle_core::Result<Tensor> {
        let mut values = self.convolution("conv1", Some("bn1"), &pixels, 2)?.relu()?;
        values = halved(&halved(&values, 2, 3)?, 3, 3)?;
        for stage in 1..=4 {
            for at in 0.. {
                let name = format!("layer{stage}.{at}");
                if !self.backbone.has(&format!("{name}.conv1.weight")) {
                    break;
                }
                values = self.block(&name, values, if stage > 1 && at == 0 { 2 } else { 1 })?;
            }
        }
        values.mean((2, 3))?.t()?.contiguous()
    }

    fn block(&mut self, name: &str, input: Tensor, stride: usize) -> candle_core::Result<Tensor> {
        let part = |at: usize| [format!("{name}.conv{at}"), format!("{name}.bn{at}")];
        let is_bottleneck = self.backbone.has(&format!("{name}.conv3.weight"));
        let last = if is_bottleneck { 3 } else { 2 };
        let mut values = input.clone();
        for at in 1..=last {
            // A bottleneck's stride is at its 3x3 convolution.
            let stride = if at == last - 1 { stride } else { 1 };
            let [convolution, norm] = part(at);
            values = self.convolution(&convolution, Some(&norm), &values, stride)?;
            if at < last {
                values = values.relu()?;
            }
        }
        let shortcut = format!("{name}.downsample.0");
        let input = if self.backbone.has(&format!("{shortcut}.weight")) {
            self.convolution(&shortcut, Some(&format!("{name}.downsample.1")), &input, stride)?
        } else {
            input
        };
        (values + input)?.relu()
    }

    fn vgg(&mut self, pixels: Tensor) -> candle_core::Result<Tensor> {
        let mut values = pixels;
        let mut at = 0;
        loop {
            if self.backbone.has(&format!("features.{at}.weight")) {
                let norm = format!("features.{}", at + 1);
                let norm =
                    self.backbone.statistics.contains_key(&format!("{norm}.running_mean")).then_some(norm);
                values = self.convolution(&format!("features.{at}"), norm.as_deref(), &values, 1)?.relu()?;
                at += 2 + usize::from(norm.is_some());
            } else {
                values = halved(&halved(&values, 2, 2)?, 3, 2)?;
                at += 1;
                if !self.backbone.has(&format!("features.{at}.weight")) {
                    break;
                }
            }
        }
        let flat = values.transpose(0, 1)?.contiguous()?.flatten_from(1)?;
        values = self.linear("classifier.0", &flat)?.relu()?;
        if let Mode::Training(Some(dropout)) = self.mode {
            let mut mask = vec![T::one(); values.elem_count()];
            dropout.apply(0, &mut mask);
            values = (&values * Tensor::from_vec(mask, values.shape(), &Device::Cpu)?)?;
        }
        self.linear("classifier.3", &values)?.relu()
    }

    fn linear(&self, name: &str, values: &Tensor) -> candle_core::Result<Tensor> {
        let weight = self.backbone.parameter(&format!("{name}.weight"))?;
        values.matmul(&weight.t()?)?.broadcast_add(self.backbone.parameter(&format!("{name}.bias"))?)
    }

    fn convolution(
        &mut self,
        name: &str,
        norm: Option<&str>,
        values: &Tensor,
        stride: usize,
    ) -> candle_core::Result<Tensor> {
        let weight = self.backbone.parameter(&format!("{name}.weight"))?;
        let mut values = convolution::<T>(values, weight, stride)?;
        let bias = format!("{name}.bias");
        if self.backbone.has(&bias) {
            values = values.broadcast_add(&by_channel(self.backbone.parameter(&bias)?)?)?;
        }
        match norm {
            Some(norm) => self.norm(norm, &values),
            None => Ok(values),
        }
    }

    fn norm(&mut self, name: &str, values: &Tensor) -> candle_core::Result<Tensor> {
        let [mean_name, variance_name] = ["running_mean", "running_var"].map(|part| format!("{name}.{part}"));
        let statistic = |name: &str| match self.backbone.statistics.get(name) {
            Some(statistic) => Ok(statistic),
            None => candle_core::bail!("the backbone has no statistic {name}"),
        };
        let (mean, variance) = (statistic(&mean_name)?, statistic(&variance_name)?);
        let (centered, variance) = match self.mode {
            #[cfg(test)]
            Mode::Evaluation => (values.broadcast_sub(&by_channel(mean)?)?, by_channel(variance)?),
            Mode::Training(_) => {
                let count = values.elem_count() / values.dim(0)?;
                let batch_mean = values.mean_keepdim((1, 2, 3))?;
                let centered = values.broadcast_sub(&batch_mean)?;
                let batch_variance = centered.sqr()?.mean_keepdim((1, 2, 3))?;
                // The running one is that of a sample.
                let correction = count as f64 / (count as f64 - 1.0).max(1.0);
                let sample = (batch_variance.detach().flatten_all()? * correction)?;
                let moved = [
                    (mean_name, mean, batch_mean.detach().flatten_all()?),
                    (variance_name, variance, sample),
                ];
                for (name, running, batch) in moved {
                    let running = ((running * (1.0 - MOMENTUM))? + (batch * MOMENTUM)?)?;
                    self.statistics.insert(name, running);
                }
                (centered, batch_variance)
            }
        };
        let scaled = centered.broadcast_div(&(variance + EPSILON)?.sqrt()?)?;
        let weight = by_channel(self.backbone.parameter(&format!("{name}.weight"))?)?;
        let bias = by_channel(self.backbone.parameter(&format!("{name}.bias"))?)?;
        scaled.broadcast_mul(&weight)?.broadcast_add(&bias)
    }
}

/// (channels) as (channels, 1, 1, 1).
fn by_channel(values: &Tensor) -> candle_core::Result<Tensor> {
    values.reshape(((), 1, 1, 1))
}

/// The greatest of each `kernel` numbers along dimension `dim`, every other one: of two, or of three
/// with padding of one, where no number may be negative. (Candle 0.11 does not differentiate pooling
/// over windows that overlap, and divides the gradient of others by their size.)
fn halved(values: &Tensor, dim: usize, kernel: usize) -> candle_core::Result<Tensor> {
    let padding = (kernel - 1) / 2;
    let length = values.dim(dim)?;
    let count = (length + 2 * padding - kernel) / 2 + 1;
    // Zeros are never greater. There must be pairs for the last window, too.
    let padded =
        values.pad_with_zeros(dim, padding, (2 * count + kernel).saturating_sub(length + padding))?;
    let every_other = |first: usize| {
        let part = padded.narrow(dim, first, 2 * count)?;
        let mut shape = part.dims().to_vec();
        shape[dim] = count;
        shape.insert(dim + 1, 2);
        part.contiguous()?.reshape(shape)?.narrow(dim + 1, 0, 1)?.squeeze(dim + 1)
    };
    let mut greatest = every_other(0)?;
    for first in 1..kernel {
        greatest = greatest.maximum(&every_other(first)?)?;
    }
    Ok(greatest)
}

#[cfg(test)]
mod tests {
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
            let features: Vec<f32> = forward.features.flatten_all().unwrap().to_vec1().unwrap();
            let encoder = ImageEncoder::from_files(&bytes, &[]).unwrap();
            let expected = encoder.encode(std::slice::from_ref(&picture)).unwrap();
            assert_eq!(features.len(), expected.len());
            assert!(expected.iter().any(|&value| value > 0.1));
            for (got, expected) in features.iter().zip(&expected) {
                assert!((got - expected).abs() < 1e-4, "{got} is not {expected}");
            }
            // What it writes is what it read.
            let again = ImageEncoder::from_files(&backbone.to_bytes().unwrap(), &[]).unwrap();
            assert_eq!(again.encode(std::slice::from_ref(&picture)).unwrap(), expected);
        }
    }

    /// Gradients in training against differences of <features, directions>, some of each parameter.
    fn gradients_equal_differences(bytes: &[u8], side: usize, dropout: Option<Dropout>) {
        let backbone = TunableBackbone::<f64>::from_bytes(bytes).unwrap();
        let colors = colors(3, side);
        let run = |backbone: &TunableBackbone<f64>| {
            backbone.forward(&colors, side, Mode::Training(dropout)).unwrap()
        };
        let forward = run(&backbone);
        let mut generator = stream(9, Purpose::Bank, 0);
        let direction: Vec<f64> =
            (0..forward.features.elem_count()).map(|_| unit(&mut generator) - 0.5).collect();
        let gradients = backbone.backward(&forward, direction.clone()).unwrap();
        let value = |backbone: &TunableBackbone<f64>| -> f64 {
            let features: Vec<f64> = run(backbone).features.flatten_all().unwrap().to_vec1().unwrap();
            features.iter().zip(&direction).map(|(feature, direction)| feature * direction).sum()
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
        let first = backbone.forward(&colors, 64, Mode::Training(None)).unwrap();
        backbone.keep_statistics(first);
        let evaluated = |backbone: &TunableBackbone<f64>, mode| -> Vec<f64> {
            backbone.forward(&colors, 64, mode).unwrap().features.flatten_all().unwrap().to_vec1().unwrap()
        };
        assert_eq!(before.len(), backbone.statistics.len());
        for _ in 0..60 {
            let forward = backbone.forward(&colors, 64, Mode::Training(None)).unwrap();
            backbone.keep_statistics(forward);
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
