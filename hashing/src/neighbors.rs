//! For every training pair the pairs most like it, by the features themselves.
//!
//! The contrastive loss of the paper takes every other pair for a negative, also one that shows the same
//! thing. Pairs whose images and texts are alike are such false negatives, and here become positives; the
//! features' own similarity as supervision is the idea of JDSH (Liu, Qian, Guan, Zhan, Ye, SIGIR 2020) and
//! DGCPN (Yu, Zhou, Zhan, Tao, AAAI 2021). The similarity of two pairs is the sum of the cosines of their
//! image features and of their text features, each with its mean taken off.

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use twinbit_kernels::Modality;

use crate::Error;
use crate::bank::normalize;
use crate::epoch::read;
use crate::random::{Purpose, shuffle, stream};
use crate::source::PairSource;

/// Pairs that are compared with each other. More of them are dealt into blocks at random, so that time
/// grows with their number and not with its square.
const BLOCK: usize = 1 << 14;
/// Rows of similarities in memory at once.
const ROWS: usize = 256;

/// The nearest pairs of every training pair.
pub(crate) struct Neighbors {
    count: usize,
    /// Row-major (pairs, count).
    rows: Vec<u32>,
}

impl Neighbors {
    /// No neighbors, for any number of pairs.
    pub(crate) fn none() -> Self {
        Self { count: 0, rows: Vec::new() }
    }

    /// Finds the `count` nearest of the pairs `training` of the source; rows are positions in `training`.
    ///
    /// Holds the features of one block, at most 16,384 pairs, in memory.
    pub(crate) fn find(
        source: &dyn PairSource,
        training: &[u32],
        count: usize,
        seed: u64,
    ) -> Result<Self, Error> {
        if count == 0 {
            return Ok(Self::none());
        }
        let mut order: Vec<u32> = (0..training.len() as u32).collect();
        shuffle(&mut stream(seed, Purpose::Neighbors, 0), &mut order);
        let blocks = training.len().div_ceil(BLOCK).max(1);
        let mut rows = vec![0; training.len() * count];
        for block in order.chunks(training.len().div_ceil(blocks).max(1)) {
            let pairs: Vec<u32> = block.iter().map(|&row| training[row as usize]).collect();
            let features = directions(source, &pairs)?;
            let transposed = features.t()?;
            for start in (0..block.len()).step_by(ROWS) {
                let length = ROWS.min(block.len() - start);
                let similarities: Vec<Vec<f32>> =
                    features.narrow(0, start, length)?.matmul(&transposed)?.to_vec2()?;
                let nearest: Vec<Vec<u32>> = similarities
                    .par_iter()
                    .enumerate()
                    .map(|(row, similarities)| nearest(similarities, start + row, count))
                    .collect();
                for (&row, nearest) in block[start..].iter().zip(nearest) {
                    let places = &mut rows[row as usize * count..][..count];
                    for (place, near) in places.iter_mut().zip(nearest.iter().cycle()) {
                        *place = block[*near as usize];
                    }
                }
            }
        }
        Ok(Self { count, rows })
    }

    /// Neighbors of each pair.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Those of all pairs, row-major.
    pub(crate) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The neighbors of one pair, nearest first.
    pub(crate) fn of(&self, row: u32) -> &[u32] {
        &self.rows[row as usize * self.count..][..self.count]
    }
}

/// The `count` greatest similarities but its own, greatest first, equal ones in row order; itself when
/// there is no other.
fn nearest(similarities: &[f32], own: usize, count: usize) -> Vec<u32> {
    let mut others: Vec<u32> =
        (0..similarities.len() as u32).filter(|&other| other as usize != own).collect();
    if others.is_empty() {
        return vec![own as u32];
    }
    let order = |one: &u32, other: &u32| {
        let [first, second] = [one, other].map(|&at| similarities[at as usize]);
        second.total_cmp(&first).then(one.cmp(other))
    };
    if count < others.len() {
        others.select_nth_unstable_by(count, order);
        others.truncate(count);
    }
    others.sort_unstable_by(order);
    others
}

/// Rows of both sides' features next to each other, each side without its mean and of unit norm.
fn directions(source: &dyn PairSource, pairs: &[u32]) -> Result<Tensor, Error> {
    let mut sides = Vec::with_capacity(2);
    for modality in Modality::ALL {
        let width = source.width(modality);
        let mut values = Vec::with_capacity(pairs.len() * width);
        for pairs in pairs.chunks(ROWS) {
            values.extend(read(source, modality, pairs, 0)?);
        }
        let mut means = vec![0f64; width];
        for row in values.chunks_exact(width) {
            for (mean, &value) in means.iter_mut().zip(row) {
                *mean += f64::from(value);
            }
        }
        let means: Vec<f32> = means.iter().map(|sum| (sum / pairs.len() as f64) as f32).collect();
        values.par_chunks_exact_mut(width).for_each(|row| {
            for (value, mean) in row.iter_mut().zip(&means) {
                *value -= mean;
            }
            // A row that equals the mean stays zero: like nothing.
            normalize(row);
        });
        sides.push(Tensor::from_vec(values, (pairs.len(), width), &Device::Cpu)?);
    }
    Ok(Tensor::cat(&sides, 1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Features;

    #[test]
    fn pairs_of_a_kind_are_neighbors() {
        // Two kinds of image that alternate; the text tells the four pairs of a kind apart in twos.
        let image: Vec<f32> = (0..8).flat_map(|pair| [(pair % 2) as f32, 1.0]).collect();
        let text: Vec<f32> = (0..8).flat_map(|pair| [(pair / 4) as f32, 1.0, 0.5]).collect();
        let source = Features::new(&image, 2, &text, 3).unwrap();
        let all: Vec<u32> = (0..8).collect();
        let neighbors = Neighbors::find(&source, &all, 1, 5).unwrap();
        let nearest: Vec<u32> = all.iter().map(|&row| neighbors.of(row)[0]).collect();
        assert_eq!(nearest, [2, 3, 0, 1, 6, 7, 4, 5]);
    }

    #[test]
    fn rows_are_positions_among_the_training_pairs() {
        let image = [0.0, 9.0, 0.1, 9.1, 4.0f32];
        let source = Features::new(&image, 1, &[1.0; 5], 1).unwrap();
        let neighbors = Neighbors::find(&source, &[1, 2, 3], 1, 5).unwrap();
        assert_eq!([neighbors.of(0), neighbors.of(2)], [[2], [0]]);
    }

    #[test]
    fn too_few_pairs_repeat() {
        assert_eq!(nearest(&[1.0, 0.2, 0.4], 0, 5), [2, 1]);
        assert_eq!(nearest(&[1.0], 0, 5), [0]);
        let source = Features::new(&[1.0, 2.0, 4.0], 1, &[1.0; 3], 1).unwrap();
        let neighbors = Neighbors::find(&source, &[0, 1, 2], 4, 5).unwrap();
        assert_eq!(neighbors.of(2).len(), 4);
    }
}
