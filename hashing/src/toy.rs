//! Training pairs for tests: few, seeded, and easy to learn.

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
