//! A convolution that candle can differentiate fast: windows laid out as columns, then one matrix
//! product. (Candle's own differentiates by convolving with kernels as large as the picture.)

use std::marker::PhantomData;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::windows::Windows;
use crate::real::Real;

/// `values` (inputs, batch, side, side) convolved with `weight` (outputs, inputs of a group, kernel,
/// kernel), padded so that windows lie symmetrically about their middle pixel: (outputs, batch, side
/// of the output, the same).
pub(super) fn convolution<T: Real>(values: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    let (inputs, batch, side, _) = values.dims4()?;
    let (outputs, share, kernel, _) = weight.dims4()?;
    let unfold = Unfold::<T> { batch, side, kernel, stride, of: PhantomData };
    let smaller = unfold.windows().count();
    let columns = match (kernel, stride) {
        (1, 1) => values.clone(),
        _ => values.contiguous()?.apply_op1(unfold)?,
    };
    let groups = inputs / share;
    let columns = columns.reshape((groups, share * kernel * kernel, batch * smaller * smaller))?;
    let weight = weight.reshape((groups, outputs / groups, share * kernel * kernel))?;
    weight.matmul(&columns)?.reshape((outputs, batch, smaller, smaller))
}

/// (channels, batch, side, side) to (channels, kernel * kernel, batch, pixels of the output), zeros
/// where windows hang over the edge.
#[derive(Clone, Copy)]
struct Unfold<T> {
    batch: usize,
    side: usize,
    kernel: usize,
    stride: usize,
    of: PhantomData<T>,
}

/// Its transpose: adds what came from a pixel.
struct Fold<T>(Unfold<T>);

impl<T: Real> Unfold<T> {
    fn windows(&self) -> Windows {
        Windows::padded(self.side, self.kernel, self.stride, self.kernel / 2)
    }

    /// Numbers of a channel's pictures, and of its columns.
    fn lengths(&self) -> [usize; 2] {
        let count = self.windows().count();
        [self.batch * self.side * self.side, self.kernel * self.kernel * self.batch * count * count]
    }

    /// Calls `copy` for each run of places among the columns of a channel with the first place, the
    /// first of the pixels they are copies of, and how many there are; pixels are a stride apart.
    fn runs(&self, mut copy: impl FnMut(usize, usize, usize)) {
        let count = self.windows().count();
        for (line, column) in (0..self.kernel * self.kernel).map(|tap| (tap / self.kernel, tap % self.kernel))
        {
            let (first_y, end_y) = self.inside(line, count);
            let (first_x, end_x) = self.inside(column, count);
            if first_x >= end_x {
                continue;
            }
            let pixel = |window: usize, tap: usize| window * self.stride + tap - self.kernel / 2;
            for picture in 0..self.batch {
                let rows = ((line * self.kernel + column) * self.batch + picture) * count;
                for y in first_y..end_y {
                    let from = (picture * self.side + pixel(y, line)) * self.side + pixel(first_x, column);
                    copy((rows + y) * count + first_x, from, end_x - first_x);
                }
            }
        }
    }

    /// The windows, of `count`, whose tap lies on the picture: the first, and the one after the last.
    fn inside(&self, tap: usize, count: usize) -> (usize, usize) {
        let padding = self.kernel / 2;
        let first = padding.saturating_sub(tap).div_ceil(self.stride);
        (first, (self.side + padding - tap).div_ceil(self.stride).min(count))
    }
}

/// The numbers of a contiguous tensor.
fn numbers<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<T>()?[start..end]),
        None => candle_core::bail!("unfolding needs a contiguous tensor"),
    }
}

impl<T: Real> CustomOp1 for Unfold<T> {
    fn name(&self) -> &'static str {
        "unfold"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let pixels = numbers::<T>(storage, layout)?;
        let [from, to] = self.lengths();
        let channels = pixels.len() / from;
        let mut columns = vec![T::zero(); channels * to];
        columns.par_chunks_exact_mut(to).zip(pixels.par_chunks_exact(from)).for_each(|(columns, pixels)| {
            self.runs(|place, pixel, count| {
                let from = pixels[pixel..].iter().step_by(self.stride);
                columns[place..][..count].iter_mut().zip(from).for_each(|(place, &pixel)| *place = pixel);
            });
        });
        let shape = (channels, self.kernel * self.kernel, to / self.kernel / self.kernel);
        Ok((T::to_cpu_storage_owned(columns), shape.into()))
    }

    fn bwd(&self, _input: &Tensor, _columns: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(gradient.contiguous()?.apply_op1(Fold(*self))?))
    }
}

impl<T: Real> CustomOp1 for Fold<T> {
    fn name(&self) -> &'static str {
        "fold"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Self(unfold) = self;
        let columns = numbers::<T>(storage, layout)?;
        let [to, from] = unfold.lengths();
        let channels = columns.len() / from;
        let mut pixels = vec![T::zero(); channels * to];
        pixels.par_chunks_exact_mut(to).zip(columns.par_chunks_exact(from)).for_each(|(pixels, columns)| {
            unfold.runs(|place, pixel, count| {
                let to = pixels[pixel..].iter_mut().step_by(unfold.stride);
                to.zip(&columns[place..][..count]).for_each(|(pixel, &place)| *pixel += place);
            });
        });
        let shape = (channels, unfold.batch, unfold.side, unfold.side);
        Ok((T::to_cpu_storage_owned(pixels), shape.into()))
    }
}
