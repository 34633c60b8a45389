//! VGG networks with torchvision's names, up to the second ReLU of the classifier.
//!
//! Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR
//! 2015, with or without batch norm. Which layers there are, and how wide, the tensors tell: a number
//! that is missing from their names is a layer without weights.

use super::backbone::{Backbone, SquareBackbone};
use super::convolution::Convolution;
use super::picture::Picture;
use super::pointwise::{Activation, Pointwise};
use super::pooling::max_pool;
use super::preparation::Preparation;
use super::scratch::{Scratches, sized};
use super::weights::{Weights, invalid};
use super::windows::Windows;
use crate::Error;

/// Part of the id: raised when the forward pass or the preparation changes its results.
const REVISION: u32 = 1;
/// Side of what the classifier takes.
const POOLED_SIDE: usize = 7;
/// Side of the prepared picture halved until it is that.
const POOLINGS: usize = 5;
/// Pictures that go through the classifier at once: as many rows as its product takes at once. It has
/// nine tenths of the weights.
const TOGETHER: usize = 7;

/// The layers with their weights.
pub(super) struct Vgg {
    name: String,
    preparation: Preparation,
    layers: Vec<Layer>,
    classifier: [Pointwise; 2],
    scratches: Scratches<Scratch>,
}

/// A layer before the classifier.
enum Layer {
    /// With its ReLU.
    Convolution(Convolution),
    /// The greatest of 2x2 pixels.
    Pooling,
}

/// Activations.
#[derive(Default)]
struct Scratch {
    /// Input and output of the layer at hand, of one picture.
    pixels: Vec<f32>,
    other: Vec<f32>,
    /// Windows laid out as rows.
    rows: Vec<f32>,
    /// The classifier's input and hidden layer, for all pictures.
    flat: Vec<f32>,
    hidden: Vec<f32>,
}

impl Vgg {
    /// Takes the weights out of a file of torchvision's.
    pub(super) fn new(weights: &Weights, preparation: Preparation) -> Result<Self, Error> {
        let (layers, channels, has_norm) = layers(weights)?;
        let poolings = layers.iter().filter(|layer| matches!(layer, Layer::Pooling)).count();
        if poolings != POOLINGS {
            let reason =
                format!("its features.* tensors leave room for {poolings} poolings, expected {POOLINGS}");
            return Err(invalid(reason));
        }
        let first = linear(weights, "classifier.0", POOLED_SIDE * POOLED_SIDE * channels, |values| {
            by_pixel(values, channels);
        })?;
        let second = linear(weights, "classifier.3", first.outputs(), |_| {})?;
        // The classifier has three layers with weights.
        let depth = layers.len() - poolings + 3;
        let name = format!("vgg{depth}{}", if has_norm { "-bn" } else { "" });
        Ok(Self { name, preparation, layers, classifier: [first, second], scratches: Scratches::default() })
    }

    /// The last pooling's output for one square.
    fn pooled(&self, colors: &[u8], mut side: usize, scratch: &mut Scratch, pooled: &mut [f32]) {
        let Scratch { pixels, other, rows, .. } = scratch;
        let mut channels = 3;
        self.preparation.normalize(colors, sized(pixels, side * side * channels));
        for layer in &self.layers {
            match layer {
                Layer::Convolution(convolution) => {
                    channels = convolution.outputs();
                    let output = sized(other, side * side * channels);
                    convolution.apply(side, pixels, rows, output, Activation::Relu);
                }
                Layer::Pooling => {
                    let windows = Windows::padded(side, 2, 2, 0);
                    let output = sized(other, windows.count() * windows.count() * channels);
                    max_pool(side, channels, windows, pixels, output);
                    side = windows.count();
                }
            }
            std::mem::swap(pixels, other);
        }
        pooled.copy_from_slice(pixels);
    }
}

impl Backbone for Vgg {
    fn name(&self) -> String {
        format!("{}-{}-r{REVISION}", self.name, self.preparation.name())
    }

    fn width(&self) -> usize {
        self.classifier[1].outputs()
    }

    fn together(&self) -> usize {
        TOGETHER
    }

    fn features(&self, pictures: &[Picture], features: &mut [f32]) {
        let preparation = &self.preparation;
        let squares: Vec<u8> = pictures.iter().flat_map(|picture| preparation.square(picture)).collect();
        self.square_features(&squares, preparation.side, features);
    }

    fn of_squares(&self) -> Option<&dyn SquareBackbone> {
        Some(self)
    }
}

impl SquareBackbone for Vgg {
    /// `side` must be the one that the classifier was made for.
    fn square_features(&self, colors: &[u8], side: usize, features: &mut [f32]) {
        let [first, second] = &self.classifier;
        let squares = colors.chunks_exact(side * side * 3);
        self.scratches.lend(|scratch| {
            let mut flat = std::mem::take(&mut scratch.flat);
            let rows = sized(&mut flat, squares.len() * first.inputs());
            for (square, row) in squares.zip(rows.chunks_exact_mut(first.inputs())) {
                self.pooled(square, side, scratch, row);
            }
            let hidden = sized(&mut scratch.hidden, rows.len() / first.inputs() * first.outputs());
            first.apply(rows, hidden, Activation::Relu);
            second.apply(hidden, features, Activation::Relu);
            scratch.flat = flat;
        });
    }
}

/// The layers before the classifier, the channels of the last one, and whether there is batch norm.
fn layers(weights: &Weights) -> Result<(Vec<Layer>, usize, bool), Error> {
    let mut layers = Vec::new();
    let (mut at, mut channels, mut has_norm) = (0, 3, false);
    loop {
        // A layer half of which is missing is told, not left out.
        let has =
            |at: usize| ["weight", "bias"].iter().any(|part| weights.has(&format!("features.{at}.{part}")));
        if layers.is_empty() || has(at) {
            let norm = format!("features.{}", at + 1);
            let norm = weights.has(&format!("{norm}.running_mean")).then_some(norm);
            let name = format!("features.{at}");
            let convolution = Convolution::read(weights, &name, norm.as_deref(), channels, 1)?;
            channels = convolution.outputs();
            has_norm |= norm.is_some();
            layers.push(Layer::Convolution(convolution));
            // Itself, its batch norm, its ReLU.
            at += 2 + usize::from(norm.is_some());
        } else {
            layers.push(Layer::Pooling);
            at += 1;
            if !has(at) {
                return Ok((layers, channels, has_norm));
            }
        }
    }
}

/// Tensors `name.weight` (outputs, inputs), after `change`, and `name.bias`.
fn linear(
    weights: &Weights,
    name: &str,
    inputs: usize,
    change: impl FnOnce(&mut [f32]),
) -> Result<Pointwise, Error> {
    let tensor = format!("{name}.weight");
    let [outputs, _] = weights.sizes(&tensor)?;
    let mut values = weights.read(&tensor, &[outputs, inputs])?;
    change(&mut values);
    let bias = weights.read(&format!("{name}.bias"), &[outputs])?;
    Ok(Pointwise::new(inputs, outputs, &values, &bias))
}

/// Brings the columns of each row of `weights` from a plane a channel to channels side by side.
fn by_pixel(weights: &mut [f32], channels: usize) {
    let pixels = POOLED_SIDE * POOLED_SIDE;
    let mut planes = vec![0.0; pixels * channels];
    for row in weights.chunks_exact_mut(pixels * channels) {
        planes.copy_from_slice(row);
        for (pixel, place) in row.chunks_exact_mut(channels).enumerate() {
            for (place, value) in place.iter_mut().zip(planes.iter().skip(pixel).step_by(pixels)) {
                *place = *value;
            }
        }
    }
}
