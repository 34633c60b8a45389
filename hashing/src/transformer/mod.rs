//! Transformer layers on the CPU, whose numbers for one sequence depend on that sequence alone.
//!
//! Matrix products are those of the image encoder (one chain of fused multiply-adds a number). All else is
//! plain float32 arithmetic without any function of the platform's mathematical library, in a fixed order:
//! vector units make it faster and change no bit.

mod activation;
mod attention;
mod layer;
mod norm;
mod weights;

pub(crate) use activation::Gate;
pub(crate) use attention::Mask;
pub(crate) use layer::{Layer, NormPlace, Scratch};
pub(crate) use norm::LayerNorm;
pub(crate) use weights::{BERT, CLIP, LayerPlan, TensorSource, layer_norm};
