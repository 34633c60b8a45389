//! The cross-modal ranking loss L_r (eq. 8 and 14).
//!
//! With S = h^x (h^y)^T and S'_ij = S_ij where S_ij >= S_ii - margin, S_ij - shift elsewhere (hard
//! negatives stay, easy ones are pushed down; the mask carries no gradient), the row term is the
//! mean over i of -S'_ii + log sum_j exp(S'_ij) + margin, and the column term the same of S^T.
//! kappa is 1, as in the public code. The gradient of a row is softmax(S'_i) - [j = i], over B.

use candle_core::{D, Device, Tensor};
use rayon::prelude::*;

use super::Differentiated;
use crate::Error;
use crate::real::Real;

/// The loss and its gradient; `outputs` are row-major (samples, bits).
pub(crate) fn fused<T: Real>(
    outputs: [&[T]; 2],
    bits: usize,
    margin: f64,
    shift: f64,
) -> Result<Differentiated<T>, Error> {
    let samples = outputs[0].len() / bits;
    let image = Tensor::from_slice(outputs[0], (samples, bits), &Device::Cpu)?;
    let text = Tensor::from_slice(outputs[1], (samples, bits), &Device::Cpu)?;
    let rows: Vec<T> = image.matmul(&text.t()?)?.flatten_all()?.to_vec1()?;
    let columns: Vec<T> = text.matmul(&image.t()?)?.flatten_all()?.to_vec1()?;
    let (row_loss, mut gradient) = direction(rows, samples, margin, shift);
    let (column_loss, transposed) = direction(columns, samples, margin, shift);
    for (i, row) in gradient.chunks_exact_mut(samples).enumerate() {
        for (j, value) in row.iter_mut().enumerate() {
            *value += transposed[j * samples + i];
        }
    }
    let gradient = Tensor::from_vec(gradient, (samples, samples), &Device::Cpu)?;
    let image_gradient = gradient.matmul(&text)?.flatten_all()?.to_vec1()?;
    let text_gradient = gradient.t()?.matmul(&image)?.flatten_all()?.to_vec1()?;
    Ok(Differentiated { loss: row_loss + column_loss, gradients: [image_gradient, text_gradient] })
}

/// The term of the rows of `similarities` (samples, samples), and its gradient in their place.
fn direction<T: Real>(mut similarities: Vec<T>, samples: usize, margin: f64, shift: f64) -> (f64, Vec<T>) {
    let (margin_value, shift) = (T::from_f64(margin), T::from_f64(shift));
    let share = T::from_f64(1.0 / samples as f64);
    let losses: Vec<f64> = similarities
        .par_chunks_exact_mut(samples)
        .enumerate()
        .with_min_len(16)
        .map(|(own, row)| {
            let bound = row[own] - margin_value;
            let mut largest = T::zero() - T::one() - T::one();
            for value in &mut *row {
                if *value < bound {
                    *value -= shift;
                }
                if *value > largest {
                    largest = *value;
                }
            }
            let own_value = row[own];
            let mut total = T::zero();
            for value in &mut *row {
                *value = (*value - largest).exp();
                total += *value;
            }
            for value in &mut *row {
                *value = *value / total * share;
            }
            row[own] -= share;
            total.ln().to_f64() + (largest - own_value).to_f64() + margin
        })
        .collect();
    (losses.iter().sum::<f64>() / samples as f64, similarities)
}

/// The loss in candle operations; `outputs` are (samples, bits).
pub(crate) fn autodiff(outputs: [&Tensor; 2], margin: f64, shift: f64) -> candle_core::Result<Tensor> {
    let similarities = outputs[0].matmul(&outputs[1].t()?)?;
    let direction = |rows: &Tensor| -> candle_core::Result<Tensor> {
        let samples = rows.dims()[0];
        let diagonal = Tensor::eye(samples, rows.dtype(), rows.device())?;
        let own = (rows * diagonal)?.sum_keepdim(1)?;
        let bound = (own.detach() - margin)?;
        let easy = rows.detach().broadcast_lt(&bound)?.to_dtype(rows.dtype())?;
        let shifted = (rows - (easy * shift)?)?;
        ((shifted.log_sum_exp(D::Minus1)? - own.squeeze(1)?)? + margin)?.mean_all()
    };
    direction(&similarities)? + direction(&similarities.t()?.contiguous()?)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similarity_exactly_on_the_margin_is_not_shifted() {
        // Own similarity 1, the other exactly 1 - 0.5: a shift would change the softmax.
        let (loss, gradient) = direction(vec![1.0f64, 0.5, 0.0, 1.0], 2, 0.5, 0.25);
        let first = (1.0 + (-0.5f64).exp()).ln() + 0.5;
        let second = (1.0 + (-1.25f64).exp()).ln() + 0.5;
        assert!((loss - (first + second) / 2.0).abs() < 1e-15);
        let p = (-0.5f64).exp() / (1.0 + (-0.5f64).exp());
        assert!((gradient[1] - p / 2.0).abs() < 1e-15);
        assert!((gradient[0] + p / 2.0).abs() < 1e-15);
    }
}
