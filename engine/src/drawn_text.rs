//! Which of a picture's texts stands for it in an epoch.

use std::ops::Range;

/// How many texts each picture of a list has, one of which is drawn for each epoch. Texts are told by their
/// places in a list of all of them, in the order of their pictures.
pub(crate) struct DrawnTexts {
    seed: u64,
    of: Vec<Range<usize>>,
}

impl DrawnTexts {
    /// Those of no pictures yet; the seed decides what is drawn.
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed, of: Vec::new() }
    }

    /// Adds a picture with this many texts.
    pub(crate) fn push(&mut self, texts: usize) {
        let start = self.of.last().map_or(0, |before| before.end);
        self.of.push(start..start.saturating_add(texts));
    }

    /// The text of a picture in an epoch; `None` where there is no such picture.
    pub(crate) fn draw(&self, picture: u32, epoch: u32) -> Option<usize> {
        let texts = self.of.get(picture as usize)?;
        let drawn = spread(self.seed, epoch, picture) % (texts.len() as u64).max(1);
        Some(texts.start.saturating_add(usize::try_from(drawn).ok()?))
    }

    /// Whether epochs differ: some picture has several texts.
    pub(crate) fn vary(&self) -> bool {
        self.of.iter().any(|texts| texts.len() > 1)
    }
}

/// A number that depends on all three, evenly spread (the finalizer of SplitMix64 by Steele, Lea and
/// Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
fn spread(seed: u64, epoch: u32, pair: u32) -> u64 {
    let key = (u64::from(epoch) << 32) | u64::from(pair);
    let mut z = seed.wrapping_add(key.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_caption_has_its_turn() {
        let mut drawn = [0; 5];
        for epoch in 0..40 {
            for pair in 0..100 {
                drawn[(spread(7, epoch, pair) % 5) as usize] += 1;
            }
        }
        assert!(drawn.iter().all(|&times| (700..900).contains(&times)), "{drawn:?}");
        assert_ne!(spread(7, 0, 1), spread(7, 1, 0));
        assert_eq!(spread(7, 3, 4), spread(7, 3, 4));
    }
}
