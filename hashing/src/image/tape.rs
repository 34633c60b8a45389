//! A forward pass written down, so that gradients can be had by going over it backwards.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use rayon::prelude::*;

use super::batch_norm::{Statistics, planes, sum};
use super::differentiated_convolution::DifferentiatedConvolution;
use super::maximum::Maximum;
use crate::Error;
use crate::in_place::read;
use crate::real::Real;

/// Numbers a thread takes at once.
const CHUNK: usize = 1 << 15;

/// Weights by name.
pub(super) type Parameters = BTreeMap<String, Var>;

/// Pictures (pictures, channels, side, side), or rows where the side is 1.
pub(super) struct Value<T> {
    pub(super) channels: usize,
    pub(super) side: usize,
    pub(super) numbers: Vec<T>,
}

/// The place of a value on the tape.
pub(super) type Place = usize;

/// The values of a forward pass, and how each came about.
pub(super) struct Tape<'a, T> {
    parameters: &'a Parameters,
    values: Vec<Value<T>>,
    steps: Vec<Step<T>>,
}

/// How a value came about: the step at place i made the value after it. The first value is the input.
enum Step<T> {
    /// With `weight`.
    Convolution {
        from: Place,
        weight: String,
        shape: DifferentiatedConvolution,
    },
    /// A bias a channel.
    Bias {
        from: Place,
        bias: String,
    },
    /// With `name.weight` and `name.bias`, then the ReLU where asked for.
    Norm {
        from: Place,
        name: String,
        statistics: Statistics,
        relu: bool,
    },
    /// What of a value is positive.
    Relu {
        from: Place,
    },
    /// What of the sum of two is positive.
    SumRelu {
        from: [Place; 2],
    },
    Maximum {
        from: Place,
        shape: Maximum,
    },
    /// The mean of each channel.
    Mean {
        from: Place,
    },
    /// Rows times the transposed `weight`.
    Linear {
        from: Place,
        weight: String,
    },
    /// Each number times one of these.
    Mask {
        from: Place,
        mask: Vec<T>,
    },
}

impl<T> Value<T> {
    fn pixels(&self) -> usize {
        self.side * self.side
    }

    /// Pictures of the batch.
    fn batch(&self) -> usize {
        self.numbers.len() / (self.channels * self.pixels())
    }
}

impl<'a, T: Real> Tape<'a, T> {
    /// A tape with its input, at place 0.
    pub(super) fn new(parameters: &'a Parameters, input: Value<T>) -> Self {
        Self { parameters, values: vec![input], steps: Vec::new() }
    }

    /// The value at a place.
    pub(super) fn value(&self, place: Place) -> &Value<T> {
        &self.values[place]
    }

    /// The last value.
    pub(super) fn output(&self) -> &Value<T> {
        &self.values[self.steps.len()]
    }

    fn push(&mut self, step: Step<T>, channels: usize, side: usize, numbers: Vec<T>) -> Place {
        self.steps.push(step);
        self.values.push(Value { channels, side, numbers });
        self.steps.len()
    }

    /// The convolution of a value with the parameter `weight`.
    pub(super) fn convolve(&mut self, from: Place, weight: &str, stride: usize) -> Result<Place, Error> {
        let value = &self.values[from];
        let parameter = parameter(self.parameters, weight)?;
        let (outputs, share, kernel, _) = parameter.dims4()?;
        let (inputs, side) = (value.channels, value.side);
        let groups = inputs / share;
        let shape = DifferentiatedConvolution { inputs, outputs, groups, side, kernel, stride };
        let numbers = read(parameter, |weight| shape.forward(&value.numbers, weight))??;
        let step = Step::Convolution { from, weight: weight.to_owned(), shape };
        Ok(self.push(step, outputs, shape.output_side(), numbers))
    }

    /// A value plus the parameter `bias`, a number a channel.
    pub(super) fn add_bias(&mut self, from: Place, bias: &str) -> Result<Place, Error> {
        let value = &self.values[from];
        let (channels, side) = (value.channels, value.side);
        let mut numbers = value.numbers.clone();
        read(parameter(self.parameters, bias)?, |bias: &[T]| {
            let planes = numbers.par_chunks_mut(side * side).enumerate();
            planes.for_each(|(plane, values)| {
                values.iter_mut().for_each(|value| *value += bias[plane % channels]);
            });
        })?;
        Ok(self.push(Step::Bias { from, bias: bias.to_owned() }, channels, side, numbers))
    }

    /// Batch norm of a value by statistics, with the parameters of `name`.
    pub(super) fn norm(
        &mut self,
        from: Place,
        name: &str,
        statistics: Statistics,
        relu: bool,
    ) -> Result<Place, Error> {
        let Value { channels, side, numbers } = &self.values[from];
        let (channels, side) = (*channels, *side);
        let [weight, bias] = self.scale(name)?;
        let numbers = read(weight, |weight| {
            read(bias, |bias| statistics.forward(numbers, side * side, [weight, bias], relu))
        })??;
        Ok(self.push(Step::Norm { from, name: name.to_owned(), statistics, relu }, channels, side, numbers))
    }

    fn scale(&self, name: &str) -> Result<[&'a Tensor; 2], Error> {
        let part = |part: &str| parameter(self.parameters, &format!("{name}.{part}"));
        Ok([part("weight")?, part("bias")?])
    }

    /// What of a value is positive.
    pub(super) fn relu(&mut self, from: Place) -> Place {
        let Value { channels, side, numbers } = &self.values[from];
        let (channels, side) = (*channels, *side);
        let numbers = numbers.par_iter().with_min_len(CHUNK).map(|&value| positive(value)).collect();
        self.push(Step::Relu { from }, channels, side, numbers)
    }

    /// What of the sum of two values is positive.
    pub(super) fn sum_relu(&mut self, from: [Place; 2]) -> Place {
        let [left, right] = from.map(|place| &self.values[place]);
        let (channels, side) = (left.channels, left.side);
        let pairs = left.numbers.par_iter().zip(&right.numbers).with_min_len(CHUNK);
        let numbers = pairs.map(|(&left, &right)| positive(left + right)).collect();
        self.push(Step::SumRelu { from }, channels, side, numbers)
    }

    /// The greatest of each window of `kernel` by `kernel` pixels, two apart.
    pub(super) fn maximum(&mut self, from: Place, kernel: usize) -> Place {
        let Value { channels, side, numbers } = &self.values[from];
        let shape = Maximum { side: *side, kernel };
        let (channels, numbers) = (*channels, shape.forward(numbers));
        self.push(Step::Maximum { from, shape }, channels, shape.output_side(), numbers)
    }

    /// The mean of each channel.
    pub(super) fn mean(&mut self, from: Place) -> Place {
        let value = &self.values[from];
        let (channels, count) = (value.channels, value.pixels() as f64);
        let planes = value.numbers.par_chunks(value.pixels());
        let mean = |plane| T::from_f64(sum(std::iter::once(plane), |value| value) / count);
        let numbers = planes.map(mean).collect();
        self.push(Step::Mean { from }, channels, 1, numbers)
    }

    /// Each picture as a row, times the transposed parameter `weight`.
    pub(super) fn linear(&mut self, from: Place, weight: &str) -> Result<Place, Error> {
        let parameter = parameter(self.parameters, weight)?;
        let product = rows(&self.values[from])?.matmul(&parameter.t()?)?;
        let (_, channels) = product.dims2()?;
        let step = Step::Linear { from, weight: weight.to_owned() };
        Ok(self.push(step, channels, 1, numbers(&product)?))
    }

    /// Each number times that of a mask.
    pub(super) fn mask(&mut self, from: Place, mask: Vec<T>) -> Place {
        let Value { channels, side, numbers } = &self.values[from];
        let (channels, side) = (*channels, *side);
        let numbers = numbers.iter().zip(&mask).map(|(&value, &factor)| value * factor).collect();
        self.push(Step::Mask { from, mask }, channels, side, numbers)
    }

    /// Gradients of the parameters from that of the last value, by the parameters' names. Parameters that
    /// nothing was computed with have none.
    pub(super) fn backward(&self, gradient: Vec<T>) -> Result<BTreeMap<String, Vec<T>>, Error> {
        let mut gradients: Vec<Option<Vec<T>>> = self.values.iter().map(|_| None).collect();
        gradients[self.steps.len()] = Some(gradient);
        let mut of_parameters: BTreeMap<String, Vec<T>> = BTreeMap::new();
        for (at, step) in self.steps.iter().enumerate().rev() {
            let Some(gradient) = gradients[at + 1].take() else { continue };
            self.step_back(step, &self.values[at + 1], gradient, &mut gradients, &mut of_parameters)?;
        }
        Ok(of_parameters)
    }

    fn step_back(
        &self,
        step: &Step<T>,
        output: &Value<T>,
        mut gradient: Vec<T>,
        gradients: &mut [Option<Vec<T>>],
        of_parameters: &mut BTreeMap<String, Vec<T>>,
    ) -> Result<(), Error> {
        let input = |from: &Place| &self.values[*from];
        match step {
            Step::Convolution { from, weight, shape } => {
                let numbers = &input(from).numbers;
                // Nobody asks for the gradient of the pictures.
                let (of_weight, of_input) = read(parameter(self.parameters, weight)?, |weight| {
                    shape.backward(numbers, weight, &gradient, *from > 0)
                })??;
                of_parameters.insert(weight.clone(), of_weight);
                if let Some(of_input) = of_input {
                    add(&mut gradients[*from], of_input);
                }
            }
            Step::Bias { from, bias } => {
                let channels = output.channels;
                let channel =
                    |channel| sum(planes(&gradient, channel, channels, output.pixels()), |value| value);
                let of_bias = (0..channels).into_par_iter().map(|at| T::from_f64(channel(at))).collect();
                of_parameters.insert(bias.clone(), of_bias);
                add(&mut gradients[*from], gradient);
            }
            Step::Norm { from, name, statistics, relu } => {
                if *relu {
                    keep_positive(&mut gradient, &output.numbers);
                }
                let (numbers, pixels) = (&input(from).numbers, output.pixels());
                let [weight, _] = self.scale(name)?;
                let of_scale =
                    read(weight, |weight| statistics.backward(numbers, pixels, weight, &mut gradient))?;
                for (part, of_part) in ["weight", "bias"].into_iter().zip(of_scale) {
                    of_parameters.insert(format!("{name}.{part}"), of_part);
                }
                add(&mut gradients[*from], gradient);
            }
            Step::Relu { from } => {
                keep_positive(&mut gradient, &output.numbers);
                add(&mut gradients[*from], gradient);
            }
            Step::SumRelu { from: [left, right] } => {
                keep_positive(&mut gradient, &output.numbers);
                add(&mut gradients[*left], gradient.clone());
                add(&mut gradients[*right], gradient);
            }
            Step::Maximum { from, shape } => {
                add(&mut gradients[*from], shape.backward(&input(from).numbers, &gradient));
            }
            Step::Mean { from } => {
                let input = input(from);
                let share = T::from_f64(1.0 / input.pixels() as f64);
                let mut of_input = vec![T::zero(); input.numbers.len()];
                let planes = of_input.par_chunks_mut(input.pixels()).zip(&gradient);
                planes.for_each(|(plane, &gradient)| plane.fill(gradient * share));
                add(&mut gradients[*from], of_input);
            }
            Step::Linear { from, weight } => {
                let gradient = Tensor::from_vec(gradient, (output.batch(), output.channels), &Device::Cpu)?;
                let of_weight = gradient.t()?.matmul(&rows(input(from))?)?;
                of_parameters.insert(weight.clone(), numbers(&of_weight)?);
                let of_input = gradient.matmul(parameter(self.parameters, weight)?)?;
                add(&mut gradients[*from], numbers(&of_input)?);
            }
            Step::Mask { from, mask } => {
                gradient.iter_mut().zip(mask).for_each(|(value, &factor)| *value *= factor);
                add(&mut gradients[*from], gradient);
            }
        }
        Ok(())
    }
}

/// The parameter of this name.
pub(super) fn parameter<'a>(parameters: &'a Parameters, name: &str) -> Result<&'a Tensor, Error> {
    match parameters.get(name) {
        Some(parameter) => Ok(parameter.as_tensor()),
        None => Err(candle_core::Error::Msg(format!("the backbone has no parameter {name}")).into()),
    }
}

/// Pictures as rows of a matrix.
fn rows<T: Real>(value: &Value<T>) -> Result<Tensor, Error> {
    let width = value.channels * value.pixels();
    Ok(Tensor::from_slice(&value.numbers, (value.numbers.len() / width, width), &Device::Cpu)?)
}

fn numbers<T: Real>(tensor: &Tensor) -> Result<Vec<T>, Error> {
    read(&tensor.contiguous()?, <[T]>::to_vec)
}

fn positive<T: Real>(value: T) -> T {
    // A NaN stays one, so that it is noticed.
    if value < T::zero() { T::zero() } else { value }
}

/// Zeroes gradients where the output of a ReLU is zero.
fn keep_positive<T: Real>(gradient: &mut [T], output: &[T]) {
    let pairs = gradient.par_iter_mut().zip(output).with_min_len(CHUNK);
    pairs.for_each(|(gradient, &output)| *gradient = if output > T::zero() { *gradient } else { T::zero() });
}

/// Adds a gradient to those that came from elsewhere.
fn add<T: Real>(sum: &mut Option<Vec<T>>, gradient: Vec<T>) {
    match sum {
        None => *sum = Some(gradient),
        Some(sum) => {
            let pairs = sum.par_iter_mut().zip(&gradient).with_min_len(CHUNK);
            pairs.for_each(|(sum, &gradient)| *sum += gradient);
        }
    }
}
