//! The parameters of a network as plain numbers.

use crate::Error;

/// One linear layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Values that come in.
    pub inputs: usize,
    /// Values that go out.
    pub outputs: usize,
    /// Row-major (outputs, inputs).
    pub weight: Vec<f32>,
    /// One for each output.
    pub bias: Vec<f32>,
}

impl Layer {
    /// A layer of the same shape, all zeros.
    pub(crate) fn zeros(&self) -> Self {
        Self { weight: vec![0.0; self.weight.len()], bias: vec![0.0; self.bias.len()], ..*self }
    }
}

/// The most values that go into a layer or out of it: cuBLAS counts with signed 32 bits.
const MOST_VALUES: usize = i32::MAX as usize;

/// Check that layers make a network: each is full and takes what the one before gives.
pub(crate) fn check(layers: &[Layer]) -> Result<(), Error> {
    let same = |what, expected, got| {
        if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
    };
    let mut width = match layers.first() {
        Some(layer) => layer.inputs,
        None => return same("layers of a network", 1, 0),
    };
    for layer in layers {
        let Layer { inputs, outputs, .. } = *layer;
        same("inputs of a layer", width, inputs)?;
        for values in [inputs, outputs] {
            same("values of a layer, neither none nor too many", values.clamp(1, MOST_VALUES), values)?;
        }
        same("weights of a layer", inputs.saturating_mul(outputs), layer.weight.len())?;
        same("biases of a layer", outputs, layer.bias.len())?;
        width = outputs;
    }
    Ok(())
}
