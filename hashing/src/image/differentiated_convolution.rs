//! A convolution and its gradients: windows laid out as columns, some pictures at a time, and matrix products.
//!
//! Columns are laid out again for the gradients: kept, they would take nine times the memory of the
//! activations, and fetching them takes as long as laying them out.

use rayon::prelude::*;
use twinbit_kernels::Matrix;

use super::windows::Windows;
use crate::Error;
use crate::real::Real;

/// Parts that a batch is divided into, at most, whatever the number of threads: each part sums up a
/// gradient of the weights of its own, in the same order on every machine.
const PARTS: usize = 16;
/// Pixels of the output, about, that a product is worth its packing of the weights for.
const PIXELS_TOGETHER: usize = 256;

/// The shape of a convolution over square pictures, (pictures, channels, side, side); windows lie
/// symmetrically about their middle pixel.
#[derive(Clone, Copy, Debug)]
pub(super) struct DifferentiatedConvolution {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Inputs and outputs fall into so many parts that do not see each other.
    pub(super) groups: usize,
    pub(super) side: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
}

/// Memory of one thread.
struct Scratch<T> {
    /// (inputs, taps, pictures, pixels of the output).
    columns: Vec<T>,
    /// (outputs, pictures, pixels).
    product: Vec<T>,
}

impl<T> Default for Scratch<T> {
    fn default() -> Self {
        Self { columns: Vec::new(), product: Vec::new() }
    }
}

impl DifferentiatedConvolution {
    /// Side of the output.
    pub(super) fn output_side(&self) -> usize {
        Windows::padded(self.side, self.kernel, self.stride, self.kernel / 2).count()
    }

    fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    /// Pixels of an output.
    fn pixels(&self) -> usize {
        self.output_side() * self.output_side()
    }

    /// Numbers of an input picture, and of an output picture.
    fn lengths(&self) -> [usize; 2] {
        [self.inputs * self.side * self.side, self.outputs * self.pixels()]
    }

    /// Pictures of a product, and of a part of `batch`.
    fn together(&self, batch: usize) -> [usize; 2] {
        let together = PIXELS_TOGETHER.div_ceil(self.pixels()).min(batch).max(1);
        [together, batch.div_ceil(PARTS).next_multiple_of(together)]
    }

    /// Whether the columns are the input itself.
    fn is_product(&self) -> bool {
        self.kernel == 1 && self.stride == 1
    }

    /// The convolution of `input` with `weight` (outputs, inputs of a group, kernel, kernel).
    pub(super) fn forward<T: Real>(&self, input: &[T], weight: &[T]) -> Result<Vec<T>, Error> {
        let [from, to] = self.lengths();
        let [together, part] = self.together(input.len() / from);
        let mut output = vec![T::zero(); input.len() / from * to];
        let parts = output.par_chunks_mut(part * to).zip(input.par_chunks(part * from));
        parts.try_for_each_init(Scratch::default, |scratch, (output, input)| {
            let products = output.chunks_mut(together * to).zip(input.chunks(together * from));
            for (output, input) in products {
                let Scratch { columns, product } = scratch;
                let count = output.len() / to;
                let columns = self.columns(input, columns);
                if count == 1 {
                    self.groups_of(weight, columns, output)?;
                } else {
                    product.resize(output.len(), T::zero());
                    self.groups_of(weight, columns, product)?;
                    self.by_picture(product, output);
                }
            }
            Ok::<_, Error>(())
        })?;
        Ok(output)
    }

    /// Gradients of the weights, and of the input where `of_input`, from that of the output.
    pub(super) fn backward<T: Real>(
        &self,
        input: &[T],
        weight: &[T],
        gradient: &[T],
        of_input: bool,
    ) -> Result<(Vec<T>, Option<Vec<T>>), Error> {
        let [from, to] = self.lengths();
        let [together, part] = self.together(input.len() / from);
        let mut input_gradient = vec![T::zero(); if of_input { input.len() } else { 0 }];
        // Without a gradient of the input there is nothing to be written in any part.
        let mut nothing: Vec<[T; 0]> = vec![[]; input.len().div_ceil(part * from)];
        let places: Vec<&mut [T]> = match of_input {
            true => input_gradient.chunks_mut(part * from).collect(),
            false => nothing.iter_mut().map(|place| place.as_mut_slice()).collect(),
        };
        let parts = gradient.par_chunks(part * to).zip(input.par_chunks(part * from)).zip(places);
        let weight_gradients: Vec<Vec<T>> = parts
            .map_init(Scratch::default, |scratch, ((gradient, input), place)| {
                let mut weight_gradient = vec![T::zero(); weight.len()];
                let products = gradient.chunks(together * to).zip(input.chunks(together * from));
                for (at, (gradient, input)) in products.enumerate() {
                    let Scratch { columns, product } = scratch;
                    let gradient = match gradient.len() / to {
                        1 => gradient,
                        _ => {
                            product.resize(gradient.len(), T::zero());
                            self.by_channel(gradient, product);
                            product
                        }
                    };
                    self.weight_gradient(self.columns(input, columns), gradient, &mut weight_gradient)?;
                    if of_input {
                        let place = &mut place[at * together * from..][..input.len()];
                        if self.is_product() && input.len() == from {
                            self.column_gradient(weight, gradient, place)?;
                        } else {
                            columns.resize(
                                input.len() / from * self.inputs * self.taps() * self.pixels(),
                                T::zero(),
                            );
                            self.column_gradient(weight, gradient, columns)?;
                            self.fold(columns, place);
                        }
                    }
                }
                Ok::<_, Error>(weight_gradient)
            })
            .collect::<Result<_, _>>()?;
        let mut sums = weight_gradients.into_iter();
        let mut sum = sums.next().unwrap_or_default();
        for next in sums {
            sum.par_iter_mut().zip(next).for_each(|(sum, value)| *sum += value);
        }
        Ok((sum, of_input.then_some(input_gradient)))
    }

    /// `output` (outputs, pixels) = `weight` times `columns`, group by group.
    fn groups_of<T: Real>(&self, weight: &[T], columns: &[T], output: &mut [T]) -> Result<(), Error> {
        let [rows, depth] = self.group();
        let width = columns.len() / (self.inputs * self.taps());
        let groups = weight.chunks_exact(rows * depth).zip(columns.chunks_exact(depth * width));
        for ((weight, columns), output) in groups.zip(output.chunks_exact_mut(rows * width)) {
            Matrix::new(weight, depth).multiply(Matrix::new(columns, width), false, output)?;
        }
        Ok(())
    }

    /// Adds the gradient of the weights.
    fn weight_gradient<T: Real>(&self, columns: &[T], gradient: &[T], sum: &mut [T]) -> Result<(), Error> {
        let [rows, depth] = self.group();
        let width = columns.len() / (self.inputs * self.taps());
        let groups = gradient.chunks_exact(rows * width).zip(columns.chunks_exact(depth * width));
        for ((gradient, columns), sum) in groups.zip(sum.chunks_exact_mut(rows * depth)) {
            let columns = Matrix::new(columns, width).transposed();
            Matrix::new(gradient, width).multiply(columns, true, sum)?;
        }
        Ok(())
    }

    /// Writes the gradient of the columns.
    fn column_gradient<T: Real>(&self, weight: &[T], gradient: &[T], columns: &mut [T]) -> Result<(), Error> {
        let [rows, depth] = self.group();
        let width = columns.len() / (self.inputs * self.taps());
        let groups = weight.chunks_exact(rows * depth).zip(gradient.chunks_exact(rows * width));
        for ((weight, gradient), columns) in groups.zip(columns.chunks_exact_mut(depth * width)) {
            let weight = Matrix::new(weight, depth).transposed();
            weight.multiply(Matrix::new(gradient, width), false, columns)?;
        }
        Ok(())
    }

    /// Outputs of a group, and what each sums up.
    fn group(&self) -> [usize; 2] {
        [self.outputs / self.groups, self.inputs / self.groups * self.taps()]
    }

    /// Pictures (count, outputs, pixels) from (outputs, count, pixels).
    fn by_picture<T: Real>(&self, product: &[T], pictures: &mut [T]) {
        let pixels = self.pixels();
        let count = pictures.len() / (self.outputs * pixels);
        for (at, place) in pictures.chunks_exact_mut(pixels).enumerate() {
            let (picture, output) = (at / self.outputs, at % self.outputs);
            place.copy_from_slice(&product[(output * count + picture) * pixels..][..pixels]);
        }
    }

    /// The way back.
    fn by_channel<T: Real>(&self, pictures: &[T], product: &mut [T]) {
        let pixels = self.pixels();
        let count = pictures.len() / (self.outputs * pixels);
        for (at, place) in pictures.chunks_exact(pixels).enumerate() {
            let (picture, output) = (at / self.outputs, at % self.outputs);
            product[(output * count + picture) * pixels..][..pixels].copy_from_slice(place);
        }
    }

    /// The windows of pictures as columns: (inputs, taps, pictures, pixels).
    fn columns<'a, T: Real>(&self, pictures: &'a [T], columns: &'a mut Vec<T>) -> &'a [T] {
        let [length, _] = self.lengths();
        let (count, plane, pixels) = (pictures.len() / length, self.side * self.side, self.pixels());
        if self.is_product() && count == 1 {
            return pictures;
        }
        columns.resize(count * self.inputs * self.taps() * pixels, T::zero());
        let smaller = self.output_side();
        for (at, row) in columns.chunks_exact_mut(pixels).enumerate() {
            let (picture, tap, input) = (at % count, at / count % self.taps(), at / count / self.taps());
            let plane = &pictures[(picture * self.inputs + input) * plane..][..plane];
            let (rows, across) = self.inside(tap, smaller);
            for (y, line) in row.chunks_exact_mut(smaller).enumerate() {
                if !rows.contains(&y) {
                    line.fill(T::zero());
                    continue;
                }
                let from = &plane[self.pixel(y, across.start, tap)..];
                line[..across.start].fill(T::zero());
                line[across.end..].fill(T::zero());
                let line = &mut line[across.clone()];
                match self.stride {
                    1 => line.copy_from_slice(&from[..line.len()]),
                    stride => {
                        line.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from)
                    }
                }
            }
        }
        columns
    }

    /// The transpose of [`columns`](Self::columns): adds up, into zeros, what came from a pixel.
    fn fold<T: Real>(&self, columns: &[T], pictures: &mut [T]) {
        let [length, _] = self.lengths();
        let (count, plane, pixels) = (pictures.len() / length, self.side * self.side, self.pixels());
        let smaller = self.output_side();
        for (at, row) in columns.chunks_exact(pixels).enumerate() {
            let (picture, tap, input) = (at % count, at / count % self.taps(), at / count / self.taps());
            let plane = &mut pictures[(picture * self.inputs + input) * plane..][..plane];
            let (rows, across) = self.inside(tap, smaller);
            for (y, line) in row.chunks_exact(smaller).enumerate() {
                if rows.contains(&y) && !across.is_empty() {
                    let to = &mut plane[self.pixel(y, across.start, tap)..];
                    let line = &line[across.clone()];
                    match self.stride {
                        1 => to.iter_mut().zip(line).for_each(|(to, from)| *to += *from),
                        stride => to.iter_mut().step_by(stride).zip(line).for_each(|(to, from)| *to += *from),
                    }
                }
            }
        }
    }

    /// The windows whose tap lies on the picture: rows of them, and places in a row.
    fn inside(&self, tap: usize, count: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let range = |tap: usize| {
            let padding = self.kernel / 2;
            let first = padding.saturating_sub(tap).div_ceil(self.stride).min(count);
            let end = (self.side + padding).saturating_sub(tap).div_ceil(self.stride).min(count);
            first..end.max(first)
        };
        (range(tap / self.kernel), range(tap % self.kernel))
    }

    /// The pixel under a tap of a window.
    fn pixel(&self, y: usize, x: usize, tap: usize) -> usize {
        let under = |window: usize, tap: usize| (window * self.stride + tap).saturating_sub(self.kernel / 2);
        (under(y, tap / self.kernel) * self.side + under(x, tap % self.kernel)).min(self.side * self.side)
    }
}
