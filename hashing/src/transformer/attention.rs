//! Attention within one sequence (Vaswani et al., "Attention Is All You Need", 2017).

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::activation::exp;
use super::norm::sum;
use crate::image::{Activation, Pointwise, sized};

/// Which tokens a token looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mask {
    /// All of its sequence.
    Whole,
    /// Itself and those before it.
    Causal,
}

/// What one head computes for one sequence, overwritten by the next.
#[derive(Default)]
pub(super) struct Head {
    /// (tokens, size of the head), as are keys and the mixed values.
    queries: Vec<f32>,
    keys: Vec<f32>,
    /// (size of the head, tokens).
    values: Vec<f32>,
    /// (tokens, tokens).
    scores: Vec<f32>,
    mixed: Vec<f32>,
}

/// Mixes the values of a sequence's tokens: `mixed` (tokens, width) from `projected`, which has a token's
/// query, key and value one after the other, (tokens, 3 width).
pub(super) fn attend(
    heads: usize,
    mask: Mask,
    projected: &[f32],
    head: &mut Head,
    mixed: &mut [f32],
    width: usize,
) {
    let size = width / heads;
    for first in (0..width).step_by(size) {
        let columns = first..first + size;
        head.read(projected, width, columns.clone());
        head.mix(mask, size);
        for (mixed, row) in mixed.chunks_exact_mut(width).zip(head.mixed.chunks_exact(size)) {
            mixed[columns.clone()].copy_from_slice(row);
        }
    }
}

impl Head {
    /// Takes the head's columns out of (tokens, 3 width).
    fn read(&mut self, projected: &[f32], width: usize, columns: Range<usize>) {
        let Self { queries, keys, values, .. } = self;
        let tokens = projected.len() / (3 * width);
        let scale = 1.0 / (columns.len() as f32).sqrt();
        let values = sized(values, columns.len() * tokens);
        queries.clear();
        keys.clear();
        for (token, row) in projected.chunks_exact(3 * width).enumerate() {
            queries.extend(row[columns.clone()].iter().map(|query| query * scale));
            keys.extend_from_slice(&row[width..][columns.clone()]);
            let places = values.iter_mut().skip(token).step_by(tokens);
            for (place, value) in places.zip(&row[2 * width..][columns.clone()]) {
                *place = *value;
            }
        }
    }

    /// Weighs the values by the scores of queries and keys.
    fn mix(&mut self, mask: Mask, size: usize) {
        let Self { queries, keys, values, scores, mixed } = self;
        let tokens = keys.len() / size;
        let scores = sized(scores, tokens * tokens);
        Pointwise::new(size, tokens, keys, &vec![0.0; tokens]).apply(queries, scores, Activation::None);
        Arch::new().dispatch(Softmax { scores, tokens, mask });
        let mixed = sized(mixed, tokens * size);
        Pointwise::new(tokens, size, values, &vec![0.0; size]).apply(scores, mixed, Activation::None);
    }
}

/// Makes the scores of each token, (tokens, tokens), into weights of sum 1: 0 for tokens that it does not see.
struct Softmax<'a> {
    scores: &'a mut [f32],
    tokens: usize,
    mask: Mask,
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for (token, row) in self.scores.chunks_exact_mut(self.tokens).enumerate() {
            let seen = match self.mask {
                Mask::Whole => self.tokens,
                Mask::Causal => token + 1,
            };
            let (row, unseen) = row.split_at_mut(seen);
            unseen.fill(0.0);
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|score| *score = exp(*score - largest));
            let scale = 1.0 / sum(row, |weight| weight);
            row.iter_mut().for_each(|weight| *weight *= scale);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Query, key and value of width 2 for each token.
    const TOKENS: [[f32; 6]; 3] = [
        [1.0, 0.0, 2.0, 0.0, 1.0, 10.0],
        [0.0, 0.0, 0.0, 5.0, 2.0, 20.0],
        [9.0, 9.0, -90.0, 90.0, 3.0, 60.0],
    ];

    fn attended(heads: usize, mask: Mask, tokens: &[[f32; 6]]) -> Vec<f32> {
        let mut mixed = vec![f32::NAN; tokens.len() * 2];
        attend(heads, mask, tokens.as_flattened(), &mut Head::default(), &mut mixed, 2);
        mixed
    }

    fn assert_near(got: &[f32], expected: &[f32]) {
        assert_eq!(got.len(), expected.len());
        for (one, other) in got.iter().zip(expected) {
            assert!((one - other).abs() <= 1e-6 * other.abs(), "{got:?} for {expected:?}");
        }
    }

    #[test]
    fn equal_scores_give_the_mean_of_what_is_seen() {
        let mixed = attended(1, Mask::Whole, &TOKENS);
        assert_near(&mixed[2..4], &[2.0, 30.0]);
        let mixed = attended(1, Mask::Causal, &TOKENS);
        assert_near(&mixed[..4], &[1.0, 10.0, 1.5, 15.0]);
    }

    #[test]
    fn a_score_weighs_by_its_exponential() {
        let weight = (2.0 / f32::sqrt(2.0)).exp();
        let expected = (weight * 10.0 + 20.0) / (weight + 1.0);
        let mixed = attended(1, Mask::Whole, &TOKENS[..2]);
        assert!((mixed[1] - expected).abs() < 1e-5, "{mixed:?}");
    }

    #[test]
    fn heads_look_for_themselves() {
        // The second column of the last token scores 81 x 10 for itself: it sees itself alone.
        let mixed = attended(2, Mask::Whole, &TOKENS);
        assert_eq!(mixed[5], 60.0);
        assert!((mixed[4] - 1.0).abs() < 1e-3, "the first column sees the first token: {mixed:?}");
    }

    #[test]
    fn a_head_s_room_serves_sequences_of_all_lengths() {
        let mut head = Head::default();
        for count in [3, 1, 2] {
            let tokens = &TOKENS[..count];
            let mut mixed = vec![f32::NAN; count * 2];
            attend(1, Mask::Causal, tokens.as_flattened(), &mut head, &mut mixed, 2);
            assert_eq!(mixed, attended(1, Mask::Causal, tokens));
        }
    }
}
