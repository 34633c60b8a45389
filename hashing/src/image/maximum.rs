//! Max pooling over planes and its gradient.

use rayon::prelude::*;

use super::windows::Windows;
use crate::real::Real;

/// Windows of two or three pixels a side, two apart, the latter over a padding of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maximum {
    /// Side of the input.
    pub(super) side: usize,
    pub(super) kernel: usize,
}

impl Maximum {
    fn windows(&self) -> Windows {
        Windows::padded(self.side, self.kernel, 2, (self.kernel - 1) / 2)
    }

    /// Side of the output.
    pub(super) fn output_side(&self) -> usize {
        self.windows().count()
    }

    /// The greatest number of each window of each plane.
    pub(super) fn forward<T: Real>(&self, planes: &[T]) -> Vec<T> {
        let [from, to] = self.lengths();
        let mut output = vec![T::zero(); planes.len() / from * to];
        output.par_chunks_mut(to).zip(planes.par_chunks(from)).for_each(|(output, plane)| {
            self.greatest(plane, |window, pixel| output[window] = plane[pixel]);
        });
        output
    }

    /// Hands the gradient of each window to its greatest number; of several to the first.
    pub(super) fn backward<T: Real>(&self, planes: &[T], gradient: &[T]) -> Vec<T> {
        let [from, to] = self.lengths();
        let mut of_input = vec![T::zero(); planes.len()];
        let all = of_input.par_chunks_mut(from).zip(planes.par_chunks(from)).zip(gradient.par_chunks(to));
        all.for_each(|((of_input, plane), gradient)| {
            self.greatest(plane, |window, pixel| of_input[pixel] += gradient[window]);
        });
        of_input
    }

    /// Numbers of an input plane, and of an output plane.
    fn lengths(&self) -> [usize; 2] {
        [self.side, self.output_side()].map(|side| side * side)
    }

    /// Tells of each window the pixel with the greatest number.
    fn greatest<T: Real>(&self, plane: &[T], mut tell: impl FnMut(usize, usize)) {
        let windows = self.windows();
        let count = windows.count();
        for y in 0..count {
            let (_, top, down) = windows.span(y);
            for x in 0..count {
                let (_, left, across) = windows.span(x);
                let mut greatest = top * self.side + left;
                for row in top..top + down {
                    for pixel in row * self.side + left..row * self.side + left + across {
                        if plane[pixel] > plane[greatest] {
                            greatest = pixel;
                        }
                    }
                }
                tell(y * count + x, greatest);
            }
        }
    }
}
