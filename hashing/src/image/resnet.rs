//! Residual networks with torchvision's names, pooled to the width of their last stage.
//!
//! He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016; Xie and others,
//! "Aggregated Residual Transformations for Deep Neural Networks", CVPR 2017 (ResNeXt); Zagoruyko and
//! Komodakis, "Wide Residual Networks", BMVC 2016. Numbers of blocks, widths and groups are those of
//! the tensors. The stride of a bottleneck is at its 3x3 convolution, as in torchvision.

use super::backbone::{Backbone, SquareBackbone};
use super::convolution::Convolution;
use super::picture::Picture;
use super::pointwise::Activation;
use super::pooling::{average, max_pool};
use super::preparation::Preparation;
use super::scratch::{Scratches, sized};
use super::weights::{Weights, invalid};
use super::windows::Windows;
use crate::Error;

/// Part of the id: raised when the forward pass or the preparation changes its results.
const REVISION: u32 = 1;
/// Stages of blocks; all but the first halve the side.
const STAGES: usize = 4;

/// The layers with their weights.
pub(super) struct ResNet {
    name: String,
    preparation: Preparation,
    stem: Convolution,
    stages: Vec<Vec<Block>>,
    width: usize,
    scratches: Scratches<Scratch>,
}

/// A residual block: two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1.
struct Block {
    first: Convolution,
    /// A bottleneck's 3x3.
    middle: Option<Convolution>,
    last: Convolution,
    /// Brings the block's input to the shape of its output.
    shortcut: Option<Convolution>,
}

/// Activations of one picture.
#[derive(Default)]
struct Scratch {
    /// Input and output of the block at hand.
    pixels: Vec<f32>,
    /// Outputs within a block.
    inner: Vec<f32>,
    /// A bottleneck's second one; the shortcut's; the prepared picture.
    other: Vec<f32>,
    /// Windows laid out as rows.
    rows: Vec<f32>,
}

/// What tells the published networks apart: blocks of the stages, groups of the 3x3 convolutions
/// where blocks are bottlenecks, and the inner width of the first block.
type Form = ([usize; STAGES], Option<usize>, usize);

const PUBLISHED: [(&str, Form); 9] = [
    ("resnet18", ([2, 2, 2, 2], None, 64)),
    ("resnet34", ([3, 4, 6, 3], None, 64)),
    ("resnet50", ([3, 4, 6, 3], Some(1), 64)),
    ("resnet101", ([3, 4, 23, 3], Some(1), 64)),
    ("resnet152", ([3, 8, 36, 3], Some(1), 64)),
    ("resnext50-32x4d", ([3, 4, 6, 3], Some(32), 128)),
    ("resnext101-32x8d", ([3, 4, 23, 3], Some(32), 256)),
    ("wide-resnet50-2", ([3, 4, 6, 3], Some(1), 128)),
    ("wide-resnet101-2", ([3, 4, 23, 3], Some(1), 128)),
];

impl ResNet {
    /// Takes the weights out of a file of torchvision's.
    pub(super) fn new(weights: &Weights, preparation: Preparation) -> Result<Self, Error> {
        let stem = Convolution::read(weights, "conv1", Some("bn1"), 3, 2)?;
        let is_bottleneck = weights.has("layer1.0.conv3.weight");
        let groups = if is_bottleneck { Some(groups(weights)?) } else { None };
        let mut channels = stem.outputs();
        let mut counts = [0; STAGES];
        let mut stages = Vec::with_capacity(STAGES);
        for (stage, count) in counts.iter_mut().enumerate() {
            let name = |at: usize| format!("layer{}.{at}", stage + 1);
            let mut blocks = Vec::new();
            // A block part of which is missing is told, not left out; so is a stage's first.
            let has = |at: usize| {
                ["conv1", "conv2"].iter().any(|part| weights.has(&format!("{}.{part}.weight", name(at))))
            };
            while blocks.is_empty() || has(blocks.len()) {
                let stride = if stage > 0 && blocks.is_empty() { 2 } else { 1 };
                let block = Block::read(weights, &name(blocks.len()), channels, stride, groups)?;
                channels = block.last.outputs();
                blocks.push(block);
            }
            *count = blocks.len();
            stages.push(blocks);
        }
        let [inner, ..] = weights.sizes::<4>("layer1.0.conv1.weight")?;
        let name = name((counts, groups, inner));
        Ok(Self { name, preparation, stem, stages, width: channels, scratches: Scratches::default() })
    }

    /// Features of one square.
    fn square(&self, colors: &[u8], side: usize, scratch: &mut Scratch, features: &mut [f32]) {
        let prepared = sized(&mut scratch.other, side * side * 3);
        self.preparation.normalize(colors, prepared);
        let channels = self.stem.outputs();
        let smaller = self.stem.output_side(side);
        let output = sized(&mut scratch.inner, smaller * smaller * channels);
        self.stem.apply(side, prepared, &mut scratch.rows, output, Activation::Relu);
        let windows = Windows::padded(smaller, 3, 2, 1);
        let mut side = windows.count();
        let pooled = sized(&mut scratch.pixels, side * side * channels);
        max_pool(smaller, channels, windows, output, pooled);
        for block in self.stages.iter().flatten() {
            side = block.apply(side, scratch);
        }
        average(&scratch.pixels, features);
    }
}

impl Backbone for ResNet {
    fn name(&self) -> String {
        format!("{}-{}-r{REVISION}", self.name, self.preparation.name())
    }

    fn width(&self) -> usize {
        self.width
    }

    fn features(&self, pictures: &[Picture], features: &mut [f32]) {
        for (picture, row) in pictures.iter().zip(features.chunks_exact_mut(self.width)) {
            self.square_features(&self.preparation.square(picture), self.preparation.side, row);
        }
    }

    fn of_squares(&self) -> Option<&dyn SquareBackbone> {
        Some(self)
    }
}

impl SquareBackbone for ResNet {
    fn square_features(&self, colors: &[u8], side: usize, features: &mut [f32]) {
        let squares = colors.chunks_exact(side * side * 3);
        for (square, row) in squares.zip(features.chunks_exact_mut(self.width)) {
            self.scratches.lend(|scratch| self.square(square, side, scratch, row));
        }
    }
}

impl Block {
    fn read(
        weights: &Weights,
        name: &str,
        inputs: usize,
        stride: usize,
        groups: Option<usize>,
    ) -> Result<Self, Error> {
        let part = |at: usize| [format!("{name}.conv{at}"), format!("{name}.bn{at}")];
        let plain = |at: usize, inputs, stride| {
            let [convolution, norm] = part(at);
            Convolution::read(weights, &convolution, Some(&norm), inputs, stride)
        };
        let (first, middle, last) = match groups {
            None => {
                let first = plain(1, inputs, stride)?;
                let last = plain(2, first.outputs(), 1)?;
                (first, None, last)
            }
            Some(groups) => {
                let first = plain(1, inputs, 1)?;
                let [convolution, norm] = part(2);
                let width = first.outputs();
                let middle =
                    Convolution::read_grouped(weights, &convolution, Some(&norm), width, stride, groups)?;
                let last = plain(3, middle.outputs(), 1)?;
                (first, Some(middle), last)
            }
        };
        let shortcut = if stride > 1 || inputs != last.outputs() {
            let name = format!("{name}.downsample");
            let norm = format!("{name}.1");
            let shortcut = Convolution::read(weights, &format!("{name}.0"), Some(&norm), inputs, stride)?;
            if shortcut.outputs() != last.outputs() {
                let (found, expected) = (shortcut.outputs(), last.outputs());
                let reason = format!("tensor {name}.0.weight has {found} outputs, expected {expected}");
                return Err(invalid(reason));
            }
            Some(shortcut)
        } else {
            None
        };
        Ok(Self { first, middle, last, shortcut })
    }

    /// Replaces `pixels`, and gives the side that they have now.
    fn apply(&self, side: usize, Scratch { pixels, inner, other, rows }: &mut Scratch) -> usize {
        let mut smaller = self.first.output_side(side);
        let output = sized(inner, smaller * smaller * self.first.outputs());
        self.first.apply(side, pixels, rows, output, Activation::Relu);
        if let Some(middle) = &self.middle {
            let before = smaller;
            smaller = middle.output_side(before);
            let output = sized(other, smaller * smaller * middle.outputs());
            middle.apply(before, inner, rows, output, Activation::Relu);
            std::mem::swap(inner, other);
        }
        if let Some(shortcut) = &self.shortcut {
            let output = sized(other, smaller * smaller * shortcut.outputs());
            shortcut.apply(side, pixels, rows, output, Activation::None);
            std::mem::swap(pixels, other);
        }
        self.last.apply(smaller, inner, rows, pixels, Activation::ResidualRelu);
        smaller
    }
}

/// Groups of the bottlenecks' 3x3 convolutions.
fn groups(weights: &Weights) -> Result<usize, Error> {
    let tensor = "layer1.0.conv2.weight";
    let [width, ..] = weights.sizes::<4>("layer1.0.conv1.weight")?;
    let [outputs, share, ..] = weights.sizes::<4>(tensor)?;
    let groups = width / share;
    if groups * share != width || !outputs.is_multiple_of(groups) {
        let reason = format!("tensor {tensor} takes {share} channels a group, which do not divide {width}");
        return Err(invalid(reason));
    }
    Ok(groups)
}

/// The published name of the network, or one that tells its form.
fn name(form: Form) -> String {
    if let Some((name, _)) = PUBLISHED.iter().find(|(_, published)| *published == form) {
        return (*name).into();
    }
    let (blocks, groups, width) = form;
    let blocks = blocks.map(|count| count.to_string()).join("-");
    match groups {
        None => format!("resnet-basic-{blocks}-width{width}"),
        Some(groups) => format!("resnet-bottleneck-{blocks}-groups{groups}-width{width}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_named_by_their_form() {
        assert_eq!(name(([3, 4, 6, 3], Some(1), 64)), "resnet50");
        assert_eq!(name(([3, 4, 6, 3], None, 64)), "resnet34");
        assert_eq!(name(([3, 4, 6, 3], Some(32), 128)), "resnext50-32x4d");
        assert_eq!(name(([1, 1, 1, 1], None, 8)), "resnet-basic-1-1-1-1-width8");
    }
}
