//! One transformer layer: attention, then a feed-forward network.

use std::ops::Range;

use super::activation::Gate;
use super::attention::{Head, Mask, attend};
use super::norm::LayerNorm;
use crate::image::{Activation, Pointwise, sized};

/// Where a layer normalizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NormPlace {
    /// What goes into attention and feed-forward network, as CLIP does.
    Before,
    /// The sum with what comes out of them, as BERT does.
    After,
}

/// A layer's weights.
pub(crate) struct Layer {
    pub(crate) heads: usize,
    pub(crate) gate: Gate,
    pub(crate) place: NormPlace,
    /// Of attention, and of the feed-forward network.
    pub(crate) norms: [LayerNorm; 2],
    /// Queries, keys and values: three times the width.
    pub(crate) project: Pointwise,
    pub(crate) join: Pointwise,
    pub(crate) widen: Pointwise,
    pub(crate) narrow: Pointwise,
}

/// Activations, overwritten by every layer.
#[derive(Default)]
pub(crate) struct Scratch {
    normalized: Vec<f32>,
    /// Queries, keys and values, then what the feed-forward network computes between: one room for both, as
    /// it is the largest and should stay in cache.
    wide: Vec<f32>,
    mixed: Vec<f32>,
    head: Head,
}

impl Layer {
    /// Changes the states of tokens, (tokens, width), where they lie. Each range of `sequences` is tokens
    /// that see each other.
    pub(crate) fn apply(
        &self,
        states: &mut [f32],
        sequences: &[Range<usize>],
        mask: Mask,
        scratch: &mut Scratch,
    ) {
        let Scratch { normalized, wide, mixed, head } = scratch;
        let width = self.join.outputs();
        let tokens = states.len() / width;
        let [attention, forward] = &self.norms;
        let projected = sized(wide, tokens * 3 * width);
        self.project.apply(self.input(attention, states, normalized), projected, Activation::None);
        let mixed = sized(mixed, tokens * width);
        for sequence in sequences {
            let projected = &projected[sequence.start * 3 * width..sequence.end * 3 * width];
            let mixed = &mut mixed[sequence.start * width..sequence.end * width];
            attend(self.heads, mask, projected, head, mixed, width);
        }
        self.join.apply(mixed, states, Activation::Residual);
        self.after(attention, states);
        let widened = sized(wide, tokens * self.widen.outputs());
        self.widen.apply(self.input(forward, states, normalized), widened, Activation::None);
        self.gate.apply(widened);
        self.narrow.apply(widened, states, Activation::Residual);
        self.after(forward, states);
    }

    /// What a part of the layer reads.
    fn input<'a>(&self, norm: &LayerNorm, states: &'a [f32], normalized: &'a mut Vec<f32>) -> &'a [f32] {
        match self.place {
            NormPlace::After => states,
            NormPlace::Before => {
                let normalized = sized(normalized, states.len());
                let width = self.join.outputs();
                // Row by row, so that a copied row is still in the nearest cache.
                for (row, state) in normalized.chunks_exact_mut(width).zip(states.chunks_exact(width)) {
                    row.copy_from_slice(state);
                    norm.apply(row);
                }
                normalized
            }
        }
    }

    fn after(&self, norm: &LayerNorm, states: &mut [f32]) {
        if self.place == NormPlace::After {
            norm.apply(states);
        }
    }
}
