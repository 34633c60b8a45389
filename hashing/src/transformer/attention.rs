//! Attention within one sequence (Vaswani et al., "Attention Is All You Need", 2017).

use pulp::Arch;

use super::activation::exp;
use super::norm::{dot, sum};

/// Which tokens a token looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mask {
    /// All of its sequence.
    Whole,
    /// Itself and those before it.
    Causal,
}

/// Mixes the values of a sequence's tokens: `mixed` (tokens, width) from `projected`, which has a token's
/// query, key and value one after the other, (tokens, 3 width). `scores` is room for one number a token.
pub(super) fn attend(
    heads: usize,
    mask: Mask,
    projected: &[f32],
    scores: &mut Vec<f32>,
    mixed: &mut [f32],
    width: usize,
) {
    let size = width / heads;
    let scale = 1.0 / (size as f32).sqrt();
    let tokens = projected.len() / (3 * width);
    scores.resize(tokens, 0.0);
    Arch::new().dispatch(|| {
        for (token, mixed) in mixed.chunks_exact_mut(width).enumerate() {
            let seen = match mask {
                Mask::Whole => tokens,
                Mask::Causal => token + 1,
            };
            let others = &projected[..seen * 3 * width];
            let queries = &projected[token * 3 * width..][..width];
            for (head, (query, mixed)) in
                queries.chunks_exact(size).zip(mixed.chunks_exact_mut(size)).enumerate()
            {
                let scores = &mut scores[..seen];
                for (score, other) in scores.iter_mut().zip(others.chunks_exact(3 * width)) {
                    *score = scale * dot(query, &other[width + head * size..][..size]);
                }
                let total = softmax(scores);
                mixed.fill(0.0);
                for (score, other) in scores.iter().zip(others.chunks_exact(3 * width)) {
                    let share = score / total;
                    for (mixed, value) in mixed.iter_mut().zip(&other[2 * width + head * size..][..size]) {
                        *mixed += share * value;
                    }
                }
            }
        }
    });
}

/// Makes scores into weights, whose sum it gives.
#[inline(always)]
fn softmax(scores: &mut [f32]) -> f32 {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for score in scores.iter_mut() {
        *score = exp(*score - largest);
    }
    sum(scores, |score| score)
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
        attend(heads, mask, tokens.as_flattened(), &mut Vec::new(), &mut mixed, 2);
        mixed
    }

    #[test]
    fn equal_scores_give_the_mean_of_what_is_seen() {
        let mixed = attended(1, Mask::Whole, &TOKENS);
        assert_eq!(mixed[2..4], [2.0, 30.0]);
        let mixed = attended(1, Mask::Causal, &TOKENS);
        assert_eq!(mixed[..4], [1.0, 10.0, 1.5, 15.0]);
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
}
