//! A network at work on a batch: what its layers give, forward and backward.

use super::super::CudaError;
use super::array::{Array, Matrix};
use super::launch::{self, Dropout, Head, Weighted};
use super::launch_optimizer::Weights;
use super::placement::Placement;
use super::product::{Multiply, Operand, Precision, multiply};

/// The numbers of a batch in a network.
#[derive(Debug)]
pub(crate) struct Activations<M: Multiply> {
    rows: usize,
    bits: usize,
    /// Input of every layer, (rows, inputs).
    inputs: Vec<Array<M, f32>>,
    /// Gradients with respect to the product of every layer, (rows, outputs).
    flows: Vec<Array<M, f32>>,
    product: Array<M, f32>,
    squashed: Array<M, f32>,
    outputs: Array<M, f32>,
    norms: Array<M, f32>,
}

impl<M: Multiply> Activations<M> {
    /// Room for a batch.
    pub(crate) fn new(machine: &M, placement: &Placement, rows: usize) -> Result<Self, CudaError> {
        let bits = placement.bits();
        let array = |width: usize| Array::new(machine, rows * width);
        Ok(Self {
            rows,
            bits,
            inputs: placement.places.iter().map(|place| array(place.inputs)).collect::<Result<_, _>>()?,
            flows: placement.places.iter().map(|place| array(place.outputs)).collect::<Result<_, _>>()?,
            product: array(bits)?,
            squashed: array(bits)?,
            outputs: array(bits)?,
            norms: array(1)?,
        })
    }

    /// The place for the features.
    pub(crate) fn features(&self) -> Matrix<'_> {
        self.inputs[0].as_matrix(self.rows, self.inputs[0].len() / self.rows)
    }

    /// The outputs: rows of unit norm.
    pub(crate) fn outputs(&self) -> Matrix<'_> {
        self.outputs.as_matrix(self.rows, self.bits)
    }

    /// A copy of the outputs.
    pub(crate) fn read_outputs(&self, machine: &M) -> Result<Vec<f32>, CudaError> {
        self.outputs.read(machine, 0, self.outputs.len())
    }

    fn head(&self) -> Head<'_> {
        Head {
            product: self.product.as_matrix(self.rows, self.bits),
            squashed: self.squashed.as_matrix(self.rows, self.bits),
            outputs: self.outputs(),
            norms: self.norms.as_matrix(self.rows, 1),
        }
    }

    /// Run the features through the network.
    pub(crate) fn forward(
        &self,
        machine: &M,
        placement: &Placement,
        parameters: &Array<M, f32>,
        precision: Precision,
        dropout: &Dropout<'_, M>,
        undirected: &Array<M, u32>,
    ) -> Result<(), CudaError> {
        launch::drop_out(machine, self.features(), 0, dropout)?;
        for (layer, place) in placement.places.iter().enumerate() {
            let input = self.inputs[layer].as_matrix(self.rows, place.inputs);
            let last = layer + 1 == placement.places.len();
            let into = if last { &self.product } else { &self.inputs[layer + 1] };
            let into = into.as_matrix(self.rows, place.outputs);
            let weight = Operand::transposed(place.weight(parameters));
            multiply(machine, Operand::plain(input), weight, into, false, precision)?;
            let bias = place.bias(parameters);
            if last {
                launch::head(machine, self.head(), bias, undirected, dropout.side as usize)?;
            } else {
                launch::add_bias(machine, into, bias)?;
                launch::drop_out(machine, into, layer + 1, dropout)?;
            }
        }
        Ok(())
    }

    /// Gradients of the parameters from those of the losses with respect to the outputs.
    pub(crate) fn backward(
        &self,
        machine: &M,
        placement: &Placement,
        weights: &Weights<M>,
        losses: [Weighted<'_>; 2],
        precision: Precision,
        scale: f32,
    ) -> Result<(), CudaError> {
        let flow = |layer: usize| self.flows[layer].as_matrix(self.rows, placement.places[layer].outputs);
        launch::head_gradient(machine, self.head(), losses, flow(placement.places.len() - 1))?;
        for (layer, place) in placement.places.iter().enumerate().rev() {
            let input = self.inputs[layer].as_matrix(self.rows, place.inputs);
            let delta = flow(layer);
            launch::column_sums(machine, delta, place.bias(&weights.gradients))?;
            let weight = place.weight(&weights.gradients);
            multiply(machine, Operand::transposed(delta), Operand::plain(input), weight, false, precision)?;
            // Nobody reads the gradient of the features.
            if layer > 0 {
                let weight = Operand::plain(place.weight(&weights.parameters));
                let below = flow(layer - 1);
                multiply(machine, Operand::plain(delta), weight, below, false, precision)?;
                launch::rectify_gradient(machine, below, input, scale)?;
            }
        }
        Ok(())
    }
}
