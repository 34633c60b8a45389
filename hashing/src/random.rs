//! Random numbers of training: one seed, one independent stream for each purpose.
//!
//! Streams make every draw a function of (seed, purpose, counter), so that work may be spread over
//! threads, and one purpose may draw more, without moving any other draw. The arithmetic on top of
//! the generator is written out here because its results are part of what a seed means: a
//! dependency must not change them.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What a stream of random numbers is for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    ImageWeights = 1,
    TextWeights = 2,
    Bank = 3,
    Shuffle = 4,
    Negatives = 5,
    HeldOut = 6,
    Dropout = 7,
    Neighbors = 8,
    Augmentation = 9,
}

/// The stream of one purpose; `counter` (below 2^56) tells uses of the same purpose apart.
pub(crate) fn stream(seed: u64, purpose: Purpose, counter: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(((purpose as u64) << 56) | counter);
    generator
}

/// Uniform in `0..bound` by multiplication and shift; its bias, `bound / 2^32`, is negligible here.
pub(crate) fn below(generator: &mut ChaCha8Rng, bound: u32) -> u32 {
    ((u64::from(generator.next_u32()) * u64::from(bound)) >> 32) as u32
}

/// Uniform in `[0, 1)` with 53 random bits.
pub(crate) fn unit(generator: &mut ChaCha8Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A uniformly drawn order of `items` (Fisher and Yates).
pub(crate) fn shuffle(generator: &mut ChaCha8Rng, items: &mut [u32]) {
    for last in (1..items.len()).rev() {
        let other = below(generator, last as u32 + 1) as usize;
        items.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_counters_give_different_streams() {
        let draws = [(Purpose::Bank, 0), (Purpose::Bank, 1), (Purpose::Shuffle, 0)]
            .map(|(purpose, counter)| stream(7, purpose, counter).next_u64());
        assert_ne!(draws[0], draws[1]);
        assert_ne!(draws[0], draws[2]);
        assert_eq!(draws[0], stream(7, Purpose::Bank, 0).next_u64());
    }

    #[test]
    fn a_shuffle_keeps_every_item_and_moves_most() {
        let mut items: Vec<u32> = (0..1000).collect();
        shuffle(&mut stream(1, Purpose::Shuffle, 0), &mut items);
        let fixed = items.iter().enumerate().filter(|&(i, &item)| i as u32 == item).count();
        assert!(fixed < 10, "{fixed} items stayed");
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn bounded_draws_are_uniform() {
        let mut counts = [0usize; 7];
        let mut generator = stream(3, Purpose::Negatives, 0);
        for _ in 0..70_000 {
            counts[below(&mut generator, 7) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
    }
}
