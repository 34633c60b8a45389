//! Where the parameters of networks lie in one array.
//!
//! Weights, gradients and moments of both networks are one array each, so that the norm of all
//! gradients and the optimizer are one sweep. Every tensor starts at a multiple of 256 bytes; the
//! numbers between are zeros and stay zeros.

use super::super::{CudaError, Machine};
use super::array::{Array, Matrix};
use super::layer::Layer;

/// Numbers between the starts of tensors are a multiple of this.
const ALIGNMENT: usize = 64;

/// The place of one layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    weight: usize,
    bias: usize,
}

impl Place {
    /// The weights, (outputs, inputs).
    pub(crate) fn weight<M: Machine>(self, parameters: &Array<M, f32>) -> Matrix<'_> {
        parameters.matrix(self.weight, self.outputs, self.inputs)
    }

    /// The bias, (1, outputs).
    pub(crate) fn bias<M: Machine>(self, parameters: &Array<M, f32>) -> Matrix<'_> {
        parameters.matrix(self.bias, 1, self.outputs)
    }
}

/// The places of a network's layers.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    pub(crate) places: Vec<Place>,
    /// The first number after them.
    pub(crate) end: usize,
}

impl Placement {
    /// Places for layers, from `start` on.
    pub(crate) fn of(layers: &[Layer], start: usize) -> Self {
        let mut end = start;
        let mut take = |count: usize| {
            let at = end;
            end = (end + count).next_multiple_of(ALIGNMENT);
            at
        };
        let place = |layer: &Layer| Place {
            inputs: layer.inputs,
            outputs: layer.outputs,
            weight: take(layer.weight.len()),
            bias: take(layer.bias.len()),
        };
        let places = layers.iter().map(place).collect();
        Self { places, end }
    }

    /// Values of an output row.
    pub(crate) fn bits(&self) -> usize {
        self.places.last().map_or(0, |place| place.outputs)
    }

    /// Values of an input row.
    pub(crate) fn inputs(&self) -> usize {
        self.places.first().map_or(0, |place| place.inputs)
    }

    /// Copy layers of these shapes to their places.
    pub(crate) fn write<M: Machine>(
        &self,
        machine: &M,
        layers: &[Layer],
        parameters: &mut Array<M, f32>,
    ) -> Result<(), CudaError> {
        for (place, layer) in self.places.iter().zip(layers) {
            parameters.write(machine, place.weight, &layer.weight)?;
            parameters.write(machine, place.bias, &layer.bias)?;
        }
        Ok(())
    }

    /// Copy the layers from their places.
    pub(crate) fn read<M: Machine>(
        &self,
        machine: &M,
        parameters: &Array<M, f32>,
    ) -> Result<Vec<Layer>, CudaError> {
        let layer = |&Place { inputs, outputs, weight, bias }: &Place| {
            Ok(Layer {
                inputs,
                outputs,
                weight: parameters.read(machine, weight, inputs * outputs)?,
                bias: parameters.read(machine, bias, outputs)?,
            })
        };
        self.places.iter().map(layer).collect()
    }
}

/// An array of zeros, in pieces that the host need not hold at once.
pub(crate) fn zeros<M: Machine>(machine: &M, len: usize) -> Result<Array<M, f32>, CudaError> {
    const PIECE: usize = 1 << 20;
    let mut array = Array::new(machine, len)?;
    let piece = vec![0.0; len.min(PIECE)];
    for at in (0..len).step_by(PIECE) {
        array.write(machine, at, &piece[..PIECE.min(len - at)])?;
    }
    Ok(array)
}
