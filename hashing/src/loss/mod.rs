//! The two losses of UCCH, each twice: fused, with its gradient written out, and in candle
//! operations for automatic differentiation.
//!
//! The fused ones are what training runs: the candle form of the contrastive loss gathers
//! batch x (negatives + 1) x bits numbers (537 MB at 256, 4096 and 128), the fused one reads packed
//! signs. The candle form says what is meant; tests hold the two together.

pub(crate) mod contrastive;
pub(crate) mod dense;
pub(crate) mod ranking;

/// A loss and its gradients with respect to the outputs of the image and the text network.
pub(crate) struct Differentiated<T> {
    pub(crate) loss: f64,
    pub(crate) gradients: [Vec<T>; 2],
}
