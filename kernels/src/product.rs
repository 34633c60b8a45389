//! Products of matrices by one thread, for work that is spread over threads otherwise.

use gemm::Parallelism;

use crate::Error;

mod sealed {
    /// What a product needs of a number; closed, so that it may grow.
    pub trait Number: Copy + Send + Sync + 'static {
        const ZERO: Self;
        const ONE: Self;
    }

    impl Number for f32 {
        const ZERO: Self = 0.0;
        const ONE: Self = 1.0;
    }

    impl Number for f64 {
        const ZERO: Self = 0.0;
        const ONE: Self = 1.0;
    }
}

/// `f32` or `f64`: the numbers of a [`Matrix`].
pub trait Factor: sealed::Number {}

impl Factor for f32 {}
impl Factor for f64 {}

/// A matrix in memory, read as it lies there or transposed.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    /// Values from a row to the next, and from a column to the next.
    steps: [usize; 2],
}

impl<'a, T: Factor> Matrix<'a, T> {
    /// As many whole rows of this width as there are, one after the other.
    pub fn new(values: &'a [T], columns: usize) -> Self {
        Self { values, rows: values.len() / columns.max(1), columns, steps: [columns, 1] }
    }

    /// The same with rows for columns.
    #[must_use]
    pub fn transposed(self) -> Self {
        let [row, column] = self.steps;
        Self { rows: self.columns, columns: self.rows, steps: [column, row], ..self }
    }

    /// Writes `self` times `right` to `out`, row after row, or adds it to what is there. The same numbers
    /// come out whatever other threads do.
    ///
    /// # Errors
    /// [`Error::Shape`] when `right` has other rows than `self` has columns, or `out` another length.
    pub fn multiply(self, right: Matrix<'_, T>, adds: bool, out: &mut [T]) -> Result<(), Error> {
        let shape = |what, expected, got| match expected == got {
            true => Ok(()),
            false => Err(Error::Shape { what, expected, got }),
        };
        shape("rows of the right factor", self.columns, right.rows)?;
        shape("numbers of the product", self.rows.saturating_mul(right.columns), out.len())?;
        let [left_row, left_column] = self.steps.map(|step| step as isize);
        let [right_row, right_column] = right.steps.map(|step| step as isize);
        // SAFETY: a matrix holds rows times columns values by construction, whose places are below its length
        // whether it is read transposed or not; `out` was just compared, and is borrowed by nobody else.
        unsafe {
            gemm::gemm(
                self.rows,
                right.columns,
                self.columns,
                out.as_mut_ptr(),
                1,
                right.columns as isize,
                adds,
                self.values.as_ptr(),
                left_column,
                left_row,
                right.values.as_ptr(),
                right_column,
                right_row,
                if adds { T::ONE } else { T::ZERO },
                T::ONE,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f64> {
        (0..count).map(|at| ((at * 7919 + seed * 104_729) % 97) as f64 / 97.0 - 0.5).collect()
    }

    #[test]
    fn equals_the_plain_sums_as_it_lies_and_transposed() {
        for [rows, depth, columns] in [[1, 1, 1], [3, 5, 2], [17, 33, 70], [64, 9, 1]] {
            let (left, right) = (numbers(rows * depth, 1), numbers(depth * columns, 2));
            let turned: Vec<f64> = (0..depth * rows).map(|at| left[at % rows * depth + at / rows]).collect();
            let before = numbers(rows * columns, 3);
            for adds in [false, true] {
                let factors = [Matrix::new(&left, depth), Matrix::new(&turned, rows).transposed()];
                for left_factor in factors {
                    let mut out = before.clone();
                    left_factor.multiply(Matrix::new(&right, columns), adds, &mut out).unwrap();
                    for (at, got) in out.iter().enumerate() {
                        let (row, column) = (at / columns, at % columns);
                        let sum: f64 = (0..depth)
                            .map(|inner| left[row * depth + inner] * right[inner * columns + column])
                            .sum();
                        let expected = sum + if adds { before[at] } else { 0.0 };
                        assert!((got - expected).abs() < 1e-12, "{got} is not {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let values = [1.0_f32; 12];
        let [wide, narrow] = [4, 3].map(|columns| Matrix::new(&values, columns));
        let mut out = [0.0; 12];
        assert!(matches!(wide.multiply(wide, false, &mut out), Err(Error::Shape { .. })));
        assert!(matches!(wide.multiply(narrow, false, &mut out), Err(Error::Shape { .. })));
        narrow.transposed().multiply(wide.transposed(), false, &mut []).unwrap_err();
        wide.multiply(narrow, false, &mut out[..9]).unwrap();
        assert_eq!(out[..9], [4.0; 9]);
    }
}
