//! Pairs of features that are easy to learn, and models trained on them.

use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use twinbit::{Builder, CodeBits, Collection, IdKind, Labels, Record, Schema, TrainConfig};

/// Kinds of things.
pub(crate) const KINDS: u64 = 8;
/// Widths of image and text features.
pub(crate) const WIDTHS: [usize; 2] = [20, 12];

/// Features of so many pairs: noisy copies of one image and one text pattern of each kind.
pub(crate) fn features(pairs: u64) -> Vec<[Vec<f32>; 2]> {
    let mut random = ChaCha8Rng::seed_from_u64(77);
    let mut draw =
        |width: usize| -> Vec<f32> { (0..width).map(|_| random.random_range(-0.5..0.5)).collect() };
    let patterns: Vec<[Vec<f32>; 2]> = (0..KINDS).map(|_| WIDTHS.map(&mut draw)).collect();
    let mut noisy = |pattern: &[f32]| -> Vec<f32> {
        let noise = draw(pattern.len());
        pattern.iter().zip(noise).map(|(value, noise)| value + 0.6 * noise).collect()
    };
    (0..pairs)
        .map(|pair| patterns[(pair % KINDS) as usize].each_ref().map(|pattern| noisy(pattern)))
        .collect()
}

/// The kinds of the pairs.
pub(crate) fn labels(pairs: u64) -> Labels {
    Labels::from_sets((0..pairs).map(|pair| [(pair % KINDS) as u32])).unwrap()
}

/// A new collection of pairs; every third image has a second text.
pub(crate) fn things(options: Builder, folder: &Path, pairs: u64, second_texts: bool) -> Collection {
    let database = options.open(folder).unwrap();
    let schema = Schema::new(CodeBits::B32).ids(IdKind::U64);
    let schema = schema.image_features(WIDTHS[0]).text_features(WIDTHS[1]);
    let things = database.create_collection("things", schema).unwrap();
    put(&things, pairs, second_texts);
    things
}

/// Writes pairs.
pub(crate) fn put(things: &Collection, pairs: u64, second_texts: bool) {
    let mut writer = things.writer().unwrap();
    for (id, [image, text]) in (0..).zip(features(pairs)) {
        if second_texts && id % 3 == 0 {
            let text: Vec<f32> = text.iter().map(|value| value * 1.5).collect();
            writer.put(Record::new(id + 1_000_000).text(text).of(id)).unwrap();
        }
        writer.put(Record::new(id).image(image).text(text)).unwrap();
    }
    writer.commit().unwrap();
}

/// Settings for a quick training.
pub(crate) fn quick() -> TrainConfig {
    TrainConfig {
        hidden: 48,
        image_layers: 2,
        negatives: 64,
        batch: 32,
        epochs: 4,
        learning_rate: 1e-3,
        ..TrainConfig::default()
    }
}
