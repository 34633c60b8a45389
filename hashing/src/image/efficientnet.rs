//! EfficientNet-Lite0 without its classifier, pooled to 1280 numbers.

use super::architecture::{BLOCKS, Block, FEATURES, INPUT_SIDE, STEM_CHANNELS, STEM_KERNEL};
use super::backbone::Backbone;
use super::depthwise::Depthwise;
use super::picture::Picture;
use super::pointwise::{Activation, Pointwise};
use super::scratch::{Scratches, sized};
use super::weights::Weights;
use super::windows::Windows;
use crate::Error;

/// Part of the id: raised when decoding, resizing or the forward pass changes its results.
const REVISION: u32 = 1;

/// The layers with their weights.
pub(super) struct EfficientNet {
    stem: Pointwise,
    blocks: Vec<Layers>,
    head: Pointwise,
    scratches: Scratches<Scratch>,
}

/// One block's weights.
struct Layers {
    expand: Option<Pointwise>,
    depthwise: Depthwise,
    project: Pointwise,
    is_residual: bool,
}

impl Layers {
    fn new(name: &str, block: &Block, weights: &Weights) -> Result<Self, Error> {
        let pointwise = |part: &str, inputs, outputs| {
            let (weights, bias) = weights.layer(&format!("{name}.{part}"), [outputs, inputs, 1, 1])?;
            Ok::<_, Error>(Pointwise::new(inputs, outputs, &weights, &bias))
        };
        let shape = [block.hidden, 1, block.kernel, block.kernel];
        let (kernels, bias) = weights.layer(&format!("{name}.depthwise"), shape)?;
        Ok(Self {
            expand: block.expands().then(|| pointwise("expand", block.input, block.hidden)).transpose()?,
            depthwise: Depthwise::new(block.kernel, block.stride, &kernels, &bias),
            project: pointwise("project", block.hidden, block.output)?,
            is_residual: block.is_residual(),
        })
    }
}

/// Activations of one picture.
#[derive(Default)]
struct Scratch {
    /// Input and output of the block at hand; the stem's input.
    narrow: Vec<f32>,
    /// Output of an expansion; the head's.
    wide: Vec<f32>,
    /// Output of a depthwise convolution.
    filtered: Vec<f32>,
}

impl Backbone for EfficientNet {
    fn name(&self) -> String {
        format!("efficientnet-lite0-r{REVISION}")
    }

    fn width(&self) -> usize {
        FEATURES
    }

    fn features(&self, pictures: &[Picture], features: &mut [f32]) {
        for (picture, row) in pictures.iter().zip(features.chunks_exact_mut(FEATURES)) {
            let square = picture.square(INPUT_SIDE as u32);
            self.scratches.lend(|scratch| self.picture(&square, scratch, row));
        }
    }
}

impl EfficientNet {
    /// Takes the weights out of a file; see [`ImageEncoder::from_safetensors`](super::ImageEncoder::from_safetensors).
    pub(super) fn new(weights: &Weights) -> Result<Self, Error> {
        let (stem, bias) = weights.layer("stem", [STEM_CHANNELS, 3, STEM_KERNEL, STEM_KERNEL])?;
        let stem = Pointwise::new(stem.len() / STEM_CHANNELS, STEM_CHANNELS, &stem_by_pixel(&stem), &bias);
        let blocks = BLOCKS.iter().enumerate();
        let blocks = blocks.map(|(at, block)| Layers::new(&format!("block{at}"), block, weights));
        let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        let inputs = BLOCKS[BLOCKS.len() - 1].output;
        let (head, bias) = weights.layer("head", [FEATURES, inputs, 1, 1])?;
        let head = Pointwise::new(inputs, FEATURES, &head, &bias);
        Ok(Self { stem, blocks, head, scratches: Scratches::default() })
    }

    /// Features of one picture of the input size.
    fn picture(&self, picture: &Picture, scratch: &mut Scratch, features: &mut [f32]) {
        let Scratch { narrow, wide, filtered } = scratch;
        let windows = Windows::same(INPUT_SIDE, STEM_KERNEL, 2);
        let mut side = windows.count();
        let gathered = sized(filtered, side * side * STEM_KERNEL * STEM_KERNEL * 3);
        gather(picture, windows, gathered);
        self.stem.apply(gathered, sized(narrow, side * side * STEM_CHANNELS), Activation::Relu6);
        for layers in &self.blocks {
            let expanded: &[f32] = match &layers.expand {
                Some(expand) => {
                    let output = sized(wide, side * side * expand.outputs());
                    expand.apply(narrow, output, Activation::Relu6);
                    output
                }
                None => narrow,
            };
            let smaller = layers.depthwise.output_side(side);
            let output = sized(filtered, smaller * smaller * layers.depthwise.channels());
            layers.depthwise.apply(side, expanded, output);
            side = smaller;
            // A residual block's output is as large as its input and is added to it in place.
            let sum = sized(narrow, side * side * layers.project.outputs());
            let after = if layers.is_residual { Activation::Residual } else { Activation::None };
            layers.project.apply(output, sum, after);
        }
        let pixels = side * side;
        let output = sized(wide, pixels * FEATURES);
        self.head.apply(narrow, output, Activation::Relu6);
        features.fill(0.0);
        for pixel in output.chunks_exact(FEATURES) {
            for (feature, value) in features.iter_mut().zip(pixel) {
                *feature += value;
            }
        }
        for feature in features {
            *feature /= pixels as f32;
        }
    }
}

/// The stem's weights (outputs, colors, rows, columns) in the order that `gather` lays pixels out:
/// (outputs, rows, columns, colors).
fn stem_by_pixel(weights: &[f32]) -> Vec<f32> {
    let taps = STEM_KERNEL * STEM_KERNEL;
    let filters = weights.chunks_exact(taps * 3);
    filters.flat_map(|filter| (0..taps * 3).map(move |at| filter[at % 3 * taps + at / 3])).collect()
}

/// Writes the window of each output pixel of the stem as one row: its pixels' colors, brought to
/// about -1..1; zeros where the window hangs over the edge.
fn gather(picture: &Picture, windows: Windows, rows: &mut [f32]) {
    let pixels = picture.rgb();
    rows.fill(0.0);
    let positions = (0..windows.count()).flat_map(|y| (0..windows.count()).map(move |x| (y, x)));
    for (row, (y, x)) in rows.chunks_exact_mut(STEM_KERNEL * STEM_KERNEL * 3).zip(positions) {
        for (line, y) in windows.taps(y) {
            for (column, x) in windows.taps(x) {
                let pixel = &pixels[(y * INPUT_SIDE + x) * 3..][..3];
                let place = &mut row[(line * STEM_KERNEL + column) * 3..][..3];
                for (place, color) in place.iter_mut().zip(pixel) {
                    *place = (f32::from(*color) - 127.0) / 128.0;
                }
            }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "efficientnet-lite0")]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::ImageEncoder;

    /// The folder with the float32 weights and what they are expected to give, when there is one.
    fn data() -> Option<PathBuf> {
        match std::env::var_os("TWINBIT_DATA") {
            Some(folder) => Some(PathBuf::from(folder).join("models/efficientnet_lite0")),
            None if std::env::var_os("TWINBIT_REQUIRE_DATA").is_some_and(|value| value == "1") => {
                panic!("TWINBIT_REQUIRE_DATA is set, but TWINBIT_DATA is not")
            }
            None => {
                println!("skipped: no data");
                None
            }
        }
    }

    /// What follows the header of a `.npy` file.
    fn array(path: PathBuf) -> Vec<u8> {
        let bytes = std::fs::read(path).unwrap();
        let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        bytes[10 + header..].to_vec()
    }

    fn check_pictures(folder: &std::path::Path) -> (Vec<Picture>, Vec<f32>) {
        let pixels = array(folder.join("check_input_nhwc_u8.npy"));
        let pictures = pixels.chunks_exact(224 * 224 * 3);
        let pictures = pictures.map(|rgb| Picture::from_rgb(224, 224, rgb.to_vec()).unwrap());
        let features = array(folder.join("check_features_f32.npy"));
        let features = features.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        (pictures.collect(), features.collect())
    }

    fn cosine(a: &[f32], b: &[f32]) -> f64 {
        let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum() };
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    /// A picture of smooth waves, `shift` of which differ.
    fn waves(width: u32, height: u32, shift: u32) -> Picture {
        let color = |x: u32, y: u32, c: u32| {
            (((x * (c + 1) + y * 2 + shift * 31) % 256) as i32 - 128).unsigned_abs() as u8
        };
        let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| color(x, y, c))));
        Picture::from_rgb(width, height, rgb.collect()).unwrap()
    }

    #[test]
    fn float32_weights_give_the_expected_features() {
        let Some(folder) = data() else { return };
        let encoder =
            ImageEncoder::from_safetensors(&std::fs::read(folder.join("model_f32.safetensors")).unwrap())
                .unwrap();
        let (pictures, expected) = check_pictures(&folder);
        let features = encoder.encode(&pictures).unwrap();
        assert_eq!(features.len(), expected.len());
        for (at, (got, expected)) in features.iter().zip(&expected).enumerate() {
            assert!((got - expected).abs() <= 1e-4, "{at}: {got} for {expected}");
        }
    }

    #[test]
    fn embedded_weights_point_the_same_way() {
        let Some(folder) = data() else { return };
        let (pictures, expected) = check_pictures(&folder);
        let features = ImageEncoder::efficientnet_lite0().unwrap().encode(&pictures).unwrap();
        for (got, expected) in features.chunks_exact(FEATURES).zip(expected.chunks_exact(FEATURES)) {
            assert!(cosine(got, expected) >= 0.9999);
        }
    }

    #[test]
    fn embedded_weights_give_the_features_they_gave_when_this_was_written() {
        let encoder = ImageEncoder::efficientnet_lite0().unwrap();
        assert_eq!(encoder.id(), "efficientnet-lite0-r1-3857e6f46ced2dd7");
        let features = encoder.encode(&[waves(224, 224, 0)]).unwrap();
        for (at, expected) in [(113, 5.705_851), (897, 5.225_782), (512, 3.729_441), (425, 3.674_521)] {
            assert!((features[at] - expected).abs() < 1e-3, "{at}: {} for {expected}", features[at]);
        }
        let sum: f32 = features.iter().sum();
        assert!((sum - 180.163_85).abs() < 0.01, "{sum}");
    }

    #[test]
    fn features_do_not_depend_on_neighbors_or_threads() {
        let encoder = ImageEncoder::efficientnet_lite0().unwrap();
        let pictures: Vec<Picture> = (0..5).map(|shift| waves(100 + 40 * shift, 90, shift)).collect();
        let together = encoder.encode(&pictures).unwrap();
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        for (picture, expected) in pictures.iter().zip(together.chunks_exact(FEATURES)).rev() {
            let alone = one_thread.install(|| encoder.encode(std::slice::from_ref(picture))).unwrap();
            assert_eq!(alone, expected);
        }
        assert!(encoder.encode(&[]).unwrap().is_empty());
    }

    #[test]
    fn weights_that_are_not_the_network_s_are_refused() {
        let good = include_bytes!("../../weights/efficientnet_lite0_f16.safetensors");
        let refused =
            |bytes: &[u8]| matches!(ImageEncoder::from_safetensors(bytes), Err(Error::ImageWeights { .. }));
        assert!(refused(b""));
        assert!(refused(&good[..good.len() - 2]));
        let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
        let mut not_finite = good.to_vec();
        not_finite[header..header + 2].copy_from_slice(&[0x00, 0x7e]);
        assert!(refused(&not_finite));
        let at = good.windows(9).position(|window| window == b"stem.bias").unwrap();
        let mut renamed = good.to_vec();
        renamed[at..at + 9].copy_from_slice(b"stem.bios");
        assert!(refused(&renamed));
    }
}
