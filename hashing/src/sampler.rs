//! Which pairs make up a batch, and which bank rows are their negatives.

use rayon::prelude::*;

use crate::neighbors::Neighbors;
use crate::random::{Purpose, below, shuffle, stream};

/// Deals the training pairs into batches and draws their keys.
pub(crate) struct Sampler {
    seed: u64,
    pairs: usize,
    batch: usize,
    negatives: usize,
}

impl Sampler {
    pub(crate) fn new(seed: u64, pairs: usize, batch: usize, negatives: usize) -> Self {
        Self { seed, pairs, batch, negatives }
    }

    /// Steps of an epoch: the last incomplete batch is dropped.
    pub(crate) fn steps(&self) -> usize {
        self.pairs / self.batch
    }

    /// The pairs of an epoch in the order they are seen, whole batches only.
    pub(crate) fn order(&self, epoch: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.pairs as u32).collect();
        shuffle(&mut stream(self.seed, Purpose::Shuffle, u64::from(epoch)), &mut order);
        order.truncate(self.steps() * self.batch);
        order
    }

    /// Keys of a batch, row-major (batch, 1 + neighbors + negatives): the pair's own row first, then
    /// its neighbors', then rows drawn uniformly with replacement, none excluded. `step` counts from the
    /// start of training.
    pub(crate) fn keys(&self, pairs: &[u32], step: u64, neighbors: &Neighbors, keys: &mut Vec<u32>) {
        let drawn = 1 + neighbors.count();
        let width = drawn + self.negatives;
        keys.resize(pairs.len() * width, 0);
        keys.par_chunks_exact_mut(width).zip(pairs).enumerate().for_each(|(sample, (keys, &own))| {
            let counter = step * self.batch as u64 + sample as u64;
            let mut generator = stream(self.seed, Purpose::Negatives, counter);
            keys[0] = own;
            keys[1..drawn].copy_from_slice(neighbors.of(own));
            keys[drawn..].fill_with(|| below(&mut generator, self.pairs as u32));
        });
    }
}

/// Splits `pairs` into training pairs and `count` held-out ones, drawn by the seed; both ascending.
pub(crate) fn hold_out(seed: u64, pairs: usize, count: usize) -> (Vec<u32>, Vec<u32>) {
    let mut order: Vec<u32> = (0..pairs as u32).collect();
    shuffle(&mut stream(seed, Purpose::HeldOut, 0), &mut order);
    let mut training = order.split_off(count.min(pairs));
    training.sort_unstable();
    order.sort_unstable();
    (training, order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_each_pair_at_most_once() {
        let sampler = Sampler::new(3, 70, 16, 4);
        let mut order = sampler.order(0);
        assert_eq!(order.len(), 64);
        assert_ne!(order, sampler.order(1));
        order.sort_unstable();
        order.dedup();
        assert_eq!(order.len(), 64);
    }

    #[test]
    fn the_own_key_comes_first_and_negatives_cover_the_bank() {
        let sampler = Sampler::new(3, 50, 8, 400);
        let mut keys = Vec::new();
        sampler.keys(&[7, 9], 0, &Neighbors::none(), &mut keys);
        assert_eq!((keys[0], keys[401]), (7, 9));
        assert!((0..50).all(|row| keys.contains(&row)));
        let mut later = Vec::new();
        sampler.keys(&[7, 9], 1, &Neighbors::none(), &mut later);
        assert_ne!(keys, later);
    }

    #[test]
    fn held_out_pairs_leave_the_training_set() {
        let (training, held_out) = hold_out(1, 100, 30);
        assert_eq!((training.len(), held_out.len()), (70, 30));
        assert!(held_out.iter().all(|pair| !training.contains(pair)));
    }
}
