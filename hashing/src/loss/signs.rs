//! Signs in place of outputs: what a loss sees when it is to rank codes and not the numbers they are
//! made of.
//!
//! sgn(h) / sqrt(L) has unit norm, as h has, and no gradient of its own. The gradient with respect to it
//! is taken for that of h: the straight-through estimator (Bengio, Leonard, Courville, arXiv:1308.3432).

use candle_core::Tensor;

use crate::real::Real;

/// sgn(h) / sqrt(L) of rows of `bits` values, with sgn(0) = +1.
pub(crate) fn signs<T: Real>(outputs: &[T], bits: usize) -> Vec<T> {
    let size = T::from_f64(1.0 / (bits as f64).sqrt());
    outputs.iter().map(|&value| if value >= T::zero() { size } else { T::zero() - size }).collect()
}

/// The same of a tensor (samples, bits), for automatic differentiation.
pub(crate) fn straight_through(outputs: &Tensor) -> candle_core::Result<Tensor> {
    let values = outputs.detach();
    let bits = values.dims2()?.1;
    let positive = values.ge(&values.zeros_like()?)?.to_dtype(values.dtype())?;
    let signs = (positive.affine(2.0, -1.0)? / (bits as f64).sqrt())?;
    outputs + (signs - values)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_have_unit_norm_and_zero_is_positive() {
        assert_eq!(signs(&[0.9f64, -0.1, 0.0, -0.4], 4), [0.5, -0.5, 0.5, -0.5]);
    }
}
