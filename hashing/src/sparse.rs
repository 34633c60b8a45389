//! Rows that are almost all zeros, such as tag vectors, and the two products of a first layer with them.
//!
//! Of 1,386 tags a picture has five: a dense product would multiply by zero 99.7 % of the time. Sums run
//! over the entries of a row, and over the rows, in their order, whatever the number of threads.

use rayon::prelude::*;

use crate::real::Real;

/// Training takes rows for sparse when at most one value in this many is not zero; then its sparse products
/// are faster than the dense ones.
pub(crate) const TRAINING_SHARE: usize = 64;
/// Outputs worked on at once: one cache line of float32.
const BLOCK: usize = 16;
/// Rows a thread takes through all weights at once.
const ROWS_PER_TASK: usize = 64;

/// The values other than zero, row by row.
pub(crate) struct SparseRows<T> {
    width: usize,
    /// For each row (position, value), ascending.
    rows: Vec<Vec<(usize, T)>>,
}

impl<T: Real> SparseRows<T> {
    /// The rows of a matrix; nothing when more than one value in `share` is not zero.
    pub(crate) fn new(values: &[T], width: usize, share: usize) -> Option<Self> {
        let limit = values.len() / share;
        let mut entries = 0;
        let mut rows = Vec::with_capacity(values.len() / width);
        for row in values.chunks_exact(width) {
            let row: Vec<(usize, T)> =
                row.iter().copied().enumerate().filter(|(_, value)| *value != T::zero()).collect();
            entries += row.len();
            if entries > limit {
                return None;
            }
            rows.push(row);
        }
        Some(Self { width, rows })
    }

    /// Number of rows.
    pub(crate) fn count(&self) -> usize {
        self.rows.len()
    }

    /// The entries of each row.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &[(usize, T)]> {
        self.rows.iter().map(Vec::as_slice)
    }

    /// The rows times the transpose of `weight` (outputs, width): (rows, outputs).
    pub(crate) fn product(&self, weight: &[T], outputs: usize) -> Vec<T> {
        let mut product = vec![T::zero(); self.rows.len() * outputs];
        let tasks = product.par_chunks_mut(ROWS_PER_TASK * outputs).zip(self.rows.par_chunks(ROWS_PER_TASK));
        tasks.for_each(|(product, rows)| {
            for (block, weight) in weight.chunks(BLOCK * self.width).enumerate() {
                for (product, entries) in product.chunks_exact_mut(outputs).zip(rows) {
                    let sums = &mut product[block * BLOCK..];
                    for (sum, weight) in sums.iter_mut().zip(weight.chunks_exact(self.width)) {
                        *sum = entries.iter().map(|&(at, value)| weight[at] * value).sum();
                    }
                }
            }
        });
        product
    }

    /// The transpose of `delta` (rows, outputs) times the rows: (outputs, width).
    pub(crate) fn gradient(&self, delta: &[T], outputs: usize) -> Vec<T> {
        let mut gradient = vec![T::zero(); outputs * self.width];
        gradient.par_chunks_mut(BLOCK * self.width).enumerate().for_each(|(block, gradient)| {
            for (delta, entries) in delta.chunks_exact(outputs).zip(&self.rows) {
                let deltas = &delta[block * BLOCK..];
                for (gradient, &delta) in gradient.chunks_exact_mut(self.width).zip(deltas) {
                    for &(at, value) in entries {
                        gradient[at] += delta * value;
                    }
                }
            }
        });
        gradient
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_rows_are_no_sparse_rows() {
        assert!(SparseRows::new(&[1.0f32; 64], 64, 64).is_none());
        let mut one = [0.0f32; 64];
        one[9] = 2.0;
        assert_eq!(SparseRows::new(&one, 64, 64).unwrap().rows, [[(9, 2.0)]]);
    }

    #[test]
    fn products_are_those_of_the_dense_rows() {
        let (count, width, outputs) = (130, 70, 21);
        let value = |at: usize| if at.is_multiple_of(97) { (at % 7) as f64 - 2.5 } else { 0.0 };
        let dense: Vec<f64> = (0..count * width).map(value).collect();
        let sparse = SparseRows::new(&dense, width, 64).unwrap();
        let weight: Vec<f64> = (0..outputs * width).map(|at| ((at * 37) % 19) as f64 - 9.0).collect();
        let delta: Vec<f64> = (0..count * outputs).map(|at| ((at * 23) % 17) as f64 - 8.0).collect();
        let product = sparse.product(&weight, outputs);
        let gradient = sparse.gradient(&delta, outputs);
        for output in 0..outputs {
            for row in 0..count {
                let terms = (0..width).map(|at| dense[row * width + at] * weight[output * width + at]);
                assert_eq!(product[row * outputs + output], terms.sum::<f64>());
            }
            for at in 0..width {
                let terms = (0..count).map(|row| delta[row * outputs + output] * dense[row * width + at]);
                assert_eq!(gradient[output * width + at], terms.sum::<f64>());
            }
        }
    }
}
