//! The networks: multi-layer perceptrons whose outputs are rows of unit norm (eq. 1 of the paper
//! takes the sign of them).
//!
//! Parameters are candle tensors and the matrix products are candle's. The backward pass is written
//! out: candle's automatic differentiation also multiplies out the gradient with respect to the
//! network's input, which nobody reads (a third of the first layer's work), and keeps every
//! intermediate tensor. [`Differentiation::Autodiff`](crate::Differentiation) runs the automatic one on the same
//! parameters; the tests `parity` hold both to the same numbers.

use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use twinbit_kernels::Modality;

use crate::Error;
use crate::dropout::Dropout;
use crate::in_place::{read, sweep};
use crate::random::unit;
use crate::real::Real;
use crate::sparse::{SparseRows, TRAINING_SHARE};

/// The parameters of one linear layer, as plain numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer<T> {
    /// Values that come in.
    pub inputs: usize,
    /// Values that go out.
    pub outputs: usize,
    /// Row-major (outputs, inputs).
    pub weight: Vec<T>,
    /// One for each output.
    pub bias: Vec<T>,
}

#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
}

/// One network: linear layers with ReLU between them, then tanh, then rows divided by their norm.
#[derive(Clone, Debug)]
pub struct Network<T> {
    pub(crate) layers: Vec<Linear>,
    of: std::marker::PhantomData<T>,
}

/// What a layer is given.
enum Input<T> {
    /// (rows, inputs).
    Dense(Tensor),
    /// The first layer's, where the features are almost all zeros.
    Sparse(SparseRows<T>),
}

impl<T: Real> Input<T> {
    fn new(rows: Vec<T>, width: usize) -> Result<Self, Error> {
        Ok(match SparseRows::new(&rows, width, TRAINING_SHARE) {
            Some(sparse) => Self::Sparse(sparse),
            None => Self::Dense(Tensor::from_vec(rows, ((), width), &Device::Cpu)?),
        })
    }

    /// The rows times the transposed weight: (rows, outputs).
    fn product(&self, weight: &Tensor) -> Result<Tensor, Error> {
        Ok(match self {
            Self::Dense(rows) => rows.matmul(&weight.t()?)?,
            Self::Sparse(rows) => {
                let outputs = weight.dims()[0];
                let product = read(weight, |weight: &[T]| rows.product(weight, outputs))?;
                Tensor::from_vec(product, (rows.count(), outputs), &Device::Cpu)?
            }
        })
    }

    /// The gradient of the weight, from that of the product: (outputs, inputs).
    fn weight_gradient(&self, delta: &Tensor) -> Result<Tensor, Error> {
        Ok(match self {
            Self::Dense(rows) => delta.t()?.matmul(rows)?,
            Self::Sparse(rows) => {
                let outputs = delta.dims()[1];
                let gradient = read(delta, |delta: &[T]| rows.gradient(delta, outputs))?;
                Tensor::from_vec(gradient, (outputs, ()), &Device::Cpu)?
            }
        })
    }
}

/// What a forward pass leaves for the backward pass.
pub(crate) struct Activations<T> {
    /// Input of every layer.
    inputs: Vec<Input<T>>,
    /// What dropout multiplied the activations that it left by.
    scale: T,
    /// tanh of the last layer, row-major (rows, bits).
    squashed: Vec<T>,
    /// l2 norm of each of those rows.
    norms: Vec<T>,
    /// The output h: rows of unit norm, zero where the norm is zero.
    pub(crate) outputs: Vec<T>,
}

impl<T> Activations<T> {
    /// The first row whose output has no direction.
    pub(crate) fn zero_row(&self) -> Option<usize>
    where
        T: Real,
    {
        self.norms.iter().position(|norm| *norm == T::zero())
    }
}

impl<T: Real> Network<T> {
    /// A network of the given layers.
    ///
    /// # Errors
    /// [`Error::Shape`] when a layer's numbers do not fill its shape, or a layer does not take as
    /// many values as the one before gives, or there is no layer.
    pub fn new(layers: Vec<Layer<T>>) -> Result<Self, Error> {
        let mut width = layers.first().map(|layer| layer.inputs).ok_or(Error::Shape {
            what: "layers of a network",
            expected: 1,
            got: 0,
        })?;
        let mut tensors = Vec::with_capacity(layers.len());
        for Layer { inputs, outputs, weight, bias } in layers {
            let wrong = |what, expected, got| Err(Error::Shape { what, expected, got });
            if inputs != width {
                return wrong("inputs of a layer", width, inputs);
            }
            if inputs.checked_mul(outputs) != Some(weight.len()) {
                return wrong("weights of a layer", inputs.saturating_mul(outputs), weight.len());
            }
            if bias.len() != outputs {
                return wrong("biases of a layer", outputs, bias.len());
            }
            tensors.push(Linear {
                weight: Tensor::from_vec(weight, (outputs, inputs), &Device::Cpu)?,
                bias: Tensor::from_vec(bias, outputs, &Device::Cpu)?,
            });
            width = outputs;
        }
        Ok(Self { layers: tensors, of: std::marker::PhantomData })
    }

    /// Layers of the shapes `(outputs, inputs)`, weights and biases uniform in +-1/sqrt(inputs)
    /// (the default of PyTorch's `nn.Linear`).
    pub(crate) fn initialize(shapes: &[(usize, usize)], generator: &mut ChaCha8Rng) -> Result<Self, Error> {
        let layers = shapes.iter().map(|&(outputs, inputs)| {
            let bound = 1.0 / (inputs as f64).sqrt();
            let mut draw = |count| -> Vec<T> {
                (0..count).map(|_| T::from_f64((2.0 * unit(generator) - 1.0) * bound)).collect()
            };
            Layer { inputs, outputs, weight: draw(inputs * outputs), bias: draw(outputs) }
        });
        Self::new(layers.collect())
    }

    /// Copies of the parameters, layer by layer.
    ///
    /// # Errors
    /// [`Error::Tensor`] when memory runs out.
    pub fn layers(&self) -> Result<Vec<Layer<T>>, Error> {
        self.layers
            .iter()
            .map(|layer| {
                let (outputs, inputs) = layer.weight.dims2()?;
                Ok(Layer {
                    inputs,
                    outputs,
                    weight: read(&layer.weight, <[T]>::to_vec)?,
                    bias: read(&layer.bias, <[T]>::to_vec)?,
                })
            })
            .collect()
    }

    /// Values of an input row.
    pub fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.weight.dims()[1])
    }

    /// Values of an output row: the bits of a code.
    pub fn bits(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.weight.dims()[0])
    }

    /// The parameters in the order of a gradient: weight, bias, layer by layer.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &Tensor> {
        self.layers.iter().flat_map(|layer| [&layer.weight, &layer.bias])
    }

    /// Runs `rows`, row-major, through the network.
    pub(crate) fn forward(&self, rows: Vec<T>) -> Result<Activations<T>, Error> {
        self.forward_with(rows, None)
    }

    /// The same with some features and activations left out, for training.
    pub(crate) fn forward_with(
        &self,
        mut rows: Vec<T>,
        dropout: Option<Dropout>,
    ) -> Result<Activations<T>, Error> {
        if let Some(dropout) = dropout {
            dropout.apply(0, &mut rows);
        }
        let mut input = Input::new(rows, self.inputs())?;
        let mut inputs = Vec::with_capacity(self.layers.len());
        let mut squashed = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let product = input.product(&layer.weight)?;
            let rectify = index + 1 < self.layers.len();
            sweep(&product, &layer.bias, |product: &mut [T], bias| {
                add_bias(product, bias, rectify);
                if let (Some(dropout), true) = (dropout, rectify) {
                    dropout.apply(index + 1, product);
                }
            })?;
            if !rectify {
                squashed = read(&product, |last: &[T]| {
                    last.par_iter().with_min_len(4096).map(|value| value.tanh()).collect()
                })?;
            }
            inputs.push(std::mem::replace(&mut input, Input::Dense(product)));
        }
        let bits = self.bits();
        let norms: Vec<T> = squashed.chunks_exact(bits).map(norm).collect();
        let mut outputs = squashed.clone();
        for (row, &norm) in outputs.chunks_exact_mut(bits).zip(&norms) {
            if norm > T::zero() {
                row.iter_mut().for_each(|value| *value /= norm);
            }
        }
        let scale = dropout.map_or(T::one(), |dropout| dropout.scale());
        Ok(Activations { inputs, scale, squashed, norms, outputs })
    }

    /// Gradients of the parameters, in the order of [`parameters`](Self::parameters), from the
    /// gradient of the loss with respect to the outputs.
    pub(crate) fn backward(
        &self,
        activations: &Activations<T>,
        gradient: &[T],
    ) -> Result<Vec<Tensor>, Error> {
        Ok(self.backward_to_first(activations, gradient)?.0)
    }

    /// The same, and the gradient of the first layer's input.
    pub(crate) fn backward_to_input(
        &self,
        activations: &Activations<T>,
        gradient: &[T],
    ) -> Result<(Vec<Tensor>, Tensor), Error> {
        let (gradients, delta) = self.backward_to_first(activations, gradient)?;
        match self.layers.first() {
            Some(first) => Ok((gradients, delta.matmul(&first.weight)?)),
            None => Ok((gradients, delta)),
        }
    }

    /// Gradients of the parameters, and that of the first layer's product.
    fn backward_to_first(
        &self,
        activations: &Activations<T>,
        gradient: &[T],
    ) -> Result<(Vec<Tensor>, Tensor), Error> {
        let bits = self.bits();
        let flow = head_gradient(activations, gradient, bits);
        let mut delta = Tensor::from_vec(flow, ((), bits), &Device::Cpu)?;
        let mut gradients = Vec::with_capacity(2 * self.layers.len());
        for (layer, input) in self.layers.iter().zip(&activations.inputs).rev() {
            let outputs = layer.bias.dims()[0];
            let bias = read(&delta, |delta: &[T]| column_sums(delta, outputs))?;
            gradients.push(Tensor::from_vec(bias, outputs, &Device::Cpu)?);
            gradients.push(input.weight_gradient(&delta)?);
            // Hardly anybody reads the gradient of the features.
            if let (Input::Dense(activation), true) = (input, gradients.len() < 2 * self.layers.len()) {
                let below = delta.matmul(&layer.weight)?;
                sweep(&below, activation, |below: &mut [T], activation| {
                    rectify_gradient(below, activation, activations.scale);
                })?;
                delta = below;
            }
        }
        gradients.reverse();
        Ok((gradients, delta))
    }
}

/// Adds the bias to each row, and cuts negative values off where ReLU follows.
fn add_bias<T: Real>(rows: &mut [T], bias: &[T], rectify: bool) {
    rows.par_chunks_mut(bias.len().max(1)).with_min_len(16).for_each(|row| {
        for (value, &bias) in row.iter_mut().zip(bias) {
            *value += bias;
            if rectify && *value <= T::zero() {
                *value = T::zero();
            }
        }
    });
}

/// ReLU's derivative, 0 at 0: no gradient flows where the activation was cut off, or left out by dropout,
/// which scaled the others.
fn rectify_gradient<T: Real>(gradient: &mut [T], activation: &[T], scale: T) {
    gradient.par_chunks_mut(1 << 14).zip(activation.par_chunks(1 << 14)).for_each(
        |(gradient, activation)| {
            for (gradient, &activation) in gradient.iter_mut().zip(activation) {
                *gradient = if activation > T::zero() { *gradient * scale } else { T::zero() };
            }
        },
    );
}

/// Through h = t / |t| and t = tanh(z): dz = (1 - t^2) (dh - h <h, dh>) / |t|.
fn head_gradient<T: Real>(activations: &Activations<T>, gradient: &[T], bits: usize) -> Vec<T> {
    let mut flow = gradient.to_vec();
    let rows = flow
        .chunks_exact_mut(bits)
        .zip(activations.outputs.chunks_exact(bits))
        .zip(activations.squashed.chunks_exact(bits))
        .zip(&activations.norms);
    for (((flow, output), squashed), &norm) in rows {
        let along: T = flow.iter().zip(output).map(|(&flow, &output)| flow * output).sum();
        for ((flow, &output), &squashed) in flow.iter_mut().zip(output).zip(squashed) {
            *flow = (T::one() - squashed * squashed) * (*flow - output * along) / norm;
        }
    }
    flow
}

/// Sums over the rows, top to bottom.
fn column_sums<T: Real>(rows: &[T], width: usize) -> Vec<T> {
    let mut sums = vec![T::zero(); width];
    for row in rows.chunks_exact(width.max(1)) {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
    sums
}

/// l2 norm of a row.
pub(crate) fn norm<T: Real>(row: &[T]) -> T {
    row.iter().map(|&value| value * value).sum::<T>().sqrt()
}

/// The layer shapes `(outputs, inputs)` of a network.
pub(crate) fn layer_shapes(inputs: usize, hidden: usize, layers: usize, bits: usize) -> Vec<(usize, usize)> {
    (0..layers)
        .map(|layer| {
            let from = if layer == 0 { inputs } else { hidden };
            let to = if layer + 1 == layers { bits } else { hidden };
            (to, from)
        })
        .collect()
}

/// The name of a parameter in model files and fixtures, such as `image.layers.0.weight`.
pub(crate) fn parameter_name(modality: Modality, index: usize) -> String {
    let part = if index.is_multiple_of(2) { "weight" } else { "bias" };
    format!("{}.layers.{}.{part}", modality.name(), index / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    #[test]
    fn shapes_follow_the_number_of_layers() {
        assert_eq!(layer_shapes(5, 9, 1, 8), [(8, 5)]);
        assert_eq!(layer_shapes(5, 9, 3, 8), [(9, 5), (9, 9), (8, 9)]);
    }

    #[test]
    fn layers_that_do_not_fit_are_refused() {
        let layer = |inputs, outputs, weights: usize| Layer {
            inputs,
            outputs,
            weight: vec![0f32; weights],
            bias: vec![0f32; outputs],
        };
        assert!(matches!(Network::<f32>::new(vec![]), Err(Error::Shape { .. })));
        assert!(matches!(Network::new(vec![layer(2, 3, 5)]), Err(Error::Shape { .. })));
        assert!(matches!(
            Network::new(vec![layer(2, 3, 6), layer(4, 8, 32)]),
            Err(Error::Shape { what: "inputs of a layer", .. })
        ));
    }

    #[test]
    fn no_gradient_passes_a_rectifier_at_zero() {
        let mut gradient = [1f32, 1.0, 1.0];
        rectify_gradient(&mut gradient, &[0.0, 0.5, 0.0], 1.5);
        assert_eq!(gradient, [0.0, 1.5, 0.0]);
    }

    #[test]
    fn a_zero_output_is_told_and_not_divided() {
        let layer = Layer { inputs: 2, outputs: 8, weight: vec![0f64; 16], bias: vec![0f64; 8] };
        let activations = Network::new(vec![layer]).unwrap().forward(vec![1.0, 2.0]).unwrap();
        assert_eq!(activations.zero_row(), Some(0));
        assert!(activations.outputs.iter().all(|&value| value == 0.0));
    }

    #[test]
    fn initial_weights_stay_within_their_bound() {
        let mut generator = stream(5, Purpose::ImageWeights, 0);
        let network = Network::<f32>::initialize(&[(64, 25)], &mut generator).unwrap();
        let layer = &network.layers().unwrap()[0];
        let largest = layer.weight.iter().chain(&layer.bias).fold(0f32, |m, v| m.max(v.abs()));
        assert!(largest <= 0.2 && largest > 0.19, "{largest}");
    }
}
