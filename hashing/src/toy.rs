//! Training pairs for tests: few, seeded, and easy to learn.

use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::labels::Labels;
use crate::random::{Purpose, stream, unit};
use crate::source::Features;

/// Pairs of 8 kinds: noisy copies of one image and one text pattern each.
pub(crate) struct Toy {
    image: Vec<f32>,
    text: Vec<f32>,
    pub(crate) labels: Labels,
}

pub(crate) const KINDS: usize = 8;

pub(crate) fn toy(pairs: usize) -> Toy {
    let mut generator = stream(77, Purpose::Bank, 0);
    let mut draw =
        |count: usize| -> Vec<f32> { (0..count).map(|_| unit(&mut generator) as f32 - 0.5).collect() };
    let (images, texts) = (draw(KINDS * 20), draw(KINDS * 12));
    let noisy = |patterns: &[f32], width: usize, noise: Vec<f32>| -> Vec<f32> {
        let pattern = |i: usize| patterns[i / width % KINDS * width + i % width];
        noise.iter().enumerate().map(|(i, noise)| pattern(i) + 0.6 * noise).collect()
    };
    Toy {
        image: noisy(&images, 20, draw(pairs * 20)),
        text: noisy(&texts, 12, draw(pairs * 12)),
        labels: Labels::from_sets((0..pairs).map(|pair| [(pair % KINDS) as u32])).unwrap(),
    }
}

impl Toy {
    /// The same but for one number of one image.
    pub(crate) fn changed_in(mut self, pair: usize) -> Self {
        self.image[pair * 20] += 1.0;
        self
    }

    pub(crate) fn features(&self) -> Features<'_> {
        Features::new(&self.image, 20, &self.text, 12).unwrap()
    }
}

/// A small ResNet's file: four stages of one basic block, 16 features.
pub(crate) fn toy_backbone() -> Vec<u8> {
    const WIDTHS: [usize; 4] = [8, 8, 12, 16];
    let mut file = Draft::default();
    file.convolution("conv1", "bn1", [8, 3, 7]);
    let mut inputs = 8;
    for (stage, outputs) in WIDTHS.into_iter().enumerate() {
        let name = format!("layer{}.0", stage + 1);
        file.convolution(&format!("{name}.conv1"), &format!("{name}.bn1"), [outputs, inputs, 3]);
        file.convolution(&format!("{name}.conv2"), &format!("{name}.bn2"), [outputs, outputs, 3]);
        if stage > 0 {
            let shortcut = format!("{name}.downsample");
            file.convolution(&format!("{shortcut}.0"), &format!("{shortcut}.1"), [outputs, inputs, 1]);
        }
        inputs = outputs;
    }
    file.write()
}

/// A small VGG's file: five convolutions, each with batch norm and a pooling, and 6 features.
pub(crate) fn toy_vgg() -> Vec<u8> {
    let mut file = Draft::default();
    for (layer, (inputs, outputs)) in [(3, 2), (2, 2), (2, 3), (3, 3), (3, 4)].into_iter().enumerate() {
        // Convolution, batch norm, ReLU, pooling.
        let (name, norm) = (format!("features.{}", 4 * layer), format!("features.{}", 4 * layer + 1));
        file.convolution(&name, &norm, [outputs, inputs, 3]);
    }
    for (layer, inputs, outputs) in [(0, 4 * 49, 10), (3, 10, 6)] {
        file.tensor(format!("classifier.{layer}.weight"), &[outputs, inputs]);
        file.tensor(format!("classifier.{layer}.bias"), &[outputs]);
    }
    file.write()
}

/// A safetensors file in the making.
#[derive(Default)]
struct Draft(Vec<(String, Vec<usize>, Vec<u8>)>);

impl Draft {
    /// Scales are near 1, weights smaller the more numbers a sum has.
    fn tensor(&mut self, name: String, shape: &[usize]) {
        let mut generator = stream(5, Purpose::ImageWeights, self.0.len() as u64);
        let bound = (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
        let is_scale = shape.len() == 1 && !name.ends_with("bias") && !name.ends_with("mean");
        let values = (0..shape.iter().product()).map(|_| {
            let drawn = 2.0 * unit(&mut generator) - 1.0;
            let value = if shape.len() > 1 { drawn * bound } else { 0.1 * drawn };
            (value + f64::from(u8::from(is_scale))) as f32
        });
        let bytes = values.flat_map(f32::to_le_bytes).collect();
        self.0.push((name, shape.to_vec(), bytes));
    }

    fn convolution(&mut self, name: &str, norm: &str, [outputs, inputs, kernel]: [usize; 3]) {
        self.tensor(format!("{name}.weight"), &[outputs, inputs, kernel, kernel]);
        for part in ["weight", "bias", "running_mean", "running_var"] {
            self.tensor(format!("{norm}.{part}"), &[outputs]);
        }
    }

    fn write(self) -> Vec<u8> {
        let views = self
            .0
            .iter()
            .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        serialize(views, None).unwrap()
    }
}
