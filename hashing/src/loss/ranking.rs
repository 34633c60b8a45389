//! The cross-modal ranking loss L_r (eq. 8 and 14), and the max-margin loss L'_r (eq. 6 and 7) that the
//! paper compares it with.
//!
//! With S = h^x (h^y)^T and S'_ij = S_ij where S_ij >= S_ii - margin, S_ij - shift elsewhere (hard
//! negatives stay, easy ones are pushed down; the mask carries no gradient), the row term is the
//! mean over i of -S'_ii + log sum_j exp(S'_ij) + margin, and the column term the same of S^T.
//! S' and the margin are divided by a temperature kappa, which is 1 in the public code: the smaller, the
//! more the most similar negatives count. The gradient of a row is softmax(S'_i / kappa) - [j = i], over
//! kappa B.
//!
//! L'_r is the mean over i and j != i of max(0, margin + S_ij - S_ii), rows and columns added up; its
//! gradient is [margin + S_ij - S_ii > 0] over B (B - 1) at S_ij, and minus the sum of its row at S_ii.

use candle_core::{D, Device, Tensor};
use rayon::prelude::*;

use super::Differentiated;
use crate::Error;
use crate::real::Real;

/// Which ranking loss, with its parameters.
#[derive(Clone, Copy)]
pub(crate) enum Ranking {
    Global { margin: f64, shift: f64, temperature: f64 },
    MaxMargin { margin: f64 },
}

/// The loss and its gradient; `outputs` are row-major (samples, bits).
pub(crate) fn fused<T: Real>(
    outputs: [&[T]; 2],
    bits: usize,
    loss: Ranking,
) -> Result<Differentiated<T>, Error> {
    let samples = outputs[0].len() / bits;
    let image = Tensor::from_slice(outputs[0], (samples, bits), &Device::Cpu)?;
    let text = Tensor::from_slice(outputs[1], (samples, bits), &Device::Cpu)?;
    let rows: Vec<T> = image.matmul(&text.t()?)?.flatten_all()?.to_vec1()?;
    let columns: Vec<T> = text.matmul(&image.t()?)?.flatten_all()?.to_vec1()?;
    let direction = |similarities| match loss {
        Ranking::Global { margin, shift, temperature } => {
            global(similarities, samples, margin, shift, temperature)
        }
        Ranking::MaxMargin { margin } => max_margin(similarities, samples, margin),
    };
    let (row_loss, mut gradient) = direction(rows);
    let (column_loss, transposed) = direction(columns);
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

/// The term of L_r for the rows of `similarities` (samples, samples), and its gradient in their place.
fn global<T: Real>(
    mut similarities: Vec<T>,
    samples: usize,
    margin: f64,
    shift: f64,
    temperature: f64,
) -> (f64, Vec<T>) {
    let (margin_value, shift) = (T::from_f64(margin), T::from_f64(shift));
    let scale = T::from_f64(1.0 / temperature);
    let share = T::from_f64(1.0 / (temperature * samples as f64));
    let losses: Vec<f64> = similarities
        .par_chunks_exact_mut(samples)
        .enumerate()
        .with_min_len(16)
        .map(|(own, row)| {
            let bound = row[own] - margin_value;
            let mut largest = row[own] * scale;
            for value in &mut *row {
                if *value < bound {
                    *value -= shift;
                }
                *value *= scale;
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
            total.ln().to_f64() + (largest - own_value).to_f64() + margin / temperature
        })
        .collect();
    (losses.iter().sum::<f64>() / samples as f64, similarities)
}

/// The same of L'_r.
fn max_margin<T: Real>(mut similarities: Vec<T>, samples: usize, margin: f64) -> (f64, Vec<T>) {
    let terms = (samples * (samples - 1)).max(1) as f64;
    let (margin, share) = (T::from_f64(margin), T::from_f64(1.0 / terms));
    let losses: Vec<f64> = similarities
        .par_chunks_exact_mut(samples)
        .enumerate()
        .with_min_len(16)
        .map(|(own, row)| {
            let excess = margin - row[own];
            let (mut loss, mut gradient) = (0.0, T::zero());
            for (other, value) in row.iter_mut().enumerate() {
                let hinge = *value + excess;
                let active = other != own && hinge > T::zero();
                *value = if active { share } else { T::zero() };
                if active {
                    loss += hinge.to_f64();
                    gradient += share;
                }
            }
            row[own] = T::zero() - gradient;
            loss
        })
        .collect();
    (losses.iter().sum::<f64>() / terms, similarities)
}

/// The loss in candle operations; `outputs` are (samples, bits).
pub(crate) fn autodiff(outputs: [&Tensor; 2], loss: Ranking) -> candle_core::Result<Tensor> {
    let similarities = outputs[0].matmul(&outputs[1].t()?)?;
    let direction = |rows: &Tensor| -> candle_core::Result<Tensor> {
        let samples = rows.dims()[0];
        let diagonal = Tensor::eye(samples, rows.dtype(), rows.device())?;
        let own = (rows * &diagonal)?.sum_keepdim(1)?;
        match loss {
            Ranking::Global { margin, shift, temperature } => {
                let bound = (own.detach() - margin)?;
                let easy = rows.detach().broadcast_lt(&bound)?.to_dtype(rows.dtype())?;
                let shifted = ((rows - (easy * shift)?)? / temperature)?;
                let own = (own.squeeze(1)? / temperature)?;
                ((shifted.log_sum_exp(D::Minus1)? - own)? + margin / temperature)?.mean_all()
            }
            Ranking::MaxMargin { margin } => {
                let hinges = (rows.broadcast_sub(&own)? + margin)?.relu()?;
                let others = (diagonal.ones_like()? - diagonal)?;
                (hinges * others)?.sum_all()? / (samples * (samples - 1)).max(1) as f64
            }
        }
    };
    direction(&similarities)? + direction(&similarities.t()?.contiguous()?)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similarity_exactly_on_the_margin_is_not_shifted() {
        // Own similarity 1, the other exactly 1 - 0.5: a shift would change the softmax.
        let (loss, gradient) = global(vec![1.0f64, 0.5, 0.0, 1.0], 2, 0.5, 0.25, 1.0);
        let first = (1.0 + (-0.5f64).exp()).ln() + 0.5;
        let second = (1.0 + (-1.25f64).exp()).ln() + 0.5;
        assert!((loss - (first + second) / 2.0).abs() < 1e-15);
        let p = (-0.5f64).exp() / (1.0 + (-0.5f64).exp());
        assert!((gradient[1] - p / 2.0).abs() < 1e-15);
        assert!((gradient[0] + p / 2.0).abs() < 1e-15);
    }

    #[test]
    fn a_negative_exactly_on_the_margin_costs_nothing() {
        // Row 0: 0.5 + 0.5 - 1 is 0; row 1: 0.5 + 0.25 - 0.5 is a quarter.
        let (loss, gradient) = max_margin(vec![1.0f64, 0.5, 0.25, 0.5], 2, 0.5);
        assert_eq!(loss, 0.125);
        assert_eq!(gradient, [0.0, 0.0, 0.5, -0.5]);
    }
}
