//! What a step is given, and what it gives.

use candle_core::Tensor;
use twinbit_kernels::Modality;

use crate::Error;
use crate::net::Layer;
use crate::real::Real;

/// Where a step's contrastive keys come from.
#[derive(Clone, Copy, Debug)]
pub enum Keys<'a> {
    /// Warm-up: the signs of the means of the batch's own outputs.
    Batch,
    /// Rows of the memory bank, row-major (batch, keys), each pair's own row first, then its neighbors'.
    Bank(&'a [u32]),
}

/// What a step is given.
#[derive(Clone, Debug)]
pub struct Batch<'a, T> {
    /// Row of each pair in the memory bank.
    pub pairs: &'a [u32],
    /// Image features, row-major.
    pub image: Vec<T>,
    /// Text features, row-major.
    pub text: Vec<T>,
    /// The contrastive keys.
    pub keys: Keys<'a>,
}

/// The losses of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    /// L_c (eq. 3 and 4), both sides added; 0 where its weight is 0, as it is not computed then.
    pub contrastive: f64,
    /// L_r (eq. 8 and 14) or L'_r (eq. 6 and 7); 0 where its weight is 0.
    pub ranking: f64,
    /// alpha L_c + (1 - alpha) L_r.
    pub total: f64,
}

/// What differentiating a batch gave.
pub struct Pass<T> {
    /// The batch's losses, before any change.
    pub losses: Losses,
    /// l2 norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    pub(super) outputs: [Vec<T>; 2],
    /// For each network: weight, bias, layer by layer.
    pub(super) gradients: [Vec<Tensor>; 2],
    pub(super) pairs: Vec<u32>,
    pub(super) warm_up: bool,
}

impl<T: Real> Pass<T> {
    /// Outputs of that side's network, row-major (batch, bits), rows of unit norm.
    pub fn outputs(&self, modality: Modality) -> &[T] {
        &self.outputs[modality.index()]
    }

    /// Gradients of that side's parameters before clipping, in the shape of its layers.
    ///
    /// # Errors
    /// [`Error::Tensor`] when memory runs out.
    pub fn gradients(&self, modality: Modality) -> Result<Vec<Layer<T>>, Error> {
        self.gradients[modality.index()]
            .chunks_exact(2)
            .map(|pair| {
                let (outputs, inputs) = pair[0].dims2()?;
                Ok(Layer {
                    inputs,
                    outputs,
                    weight: pair[0].flatten_all()?.to_vec1()?,
                    bias: pair[1].to_vec1()?,
                })
            })
            .collect()
    }
}
