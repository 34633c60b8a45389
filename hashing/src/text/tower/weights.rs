//! Parts of a network, read by the names of their tensors.

use super::tensors::Tensors;
use crate::Error;
use crate::image::Pointwise;
use crate::transformer::LayerNorm;

/// A linear layer: `NAME.weight` (outputs, inputs) and `NAME.bias`.
pub(super) fn linear(
    tensors: &mut Tensors,
    name: &str,
    inputs: usize,
    outputs: usize,
) -> Result<Pointwise, Error> {
    joined(tensors, &[name], inputs, outputs)
}

/// Linear layers of the same shape that read the same, as one: their outputs one after the other.
pub(super) fn joined(
    tensors: &mut Tensors,
    names: &[&str],
    inputs: usize,
    outputs: usize,
) -> Result<Pointwise, Error> {
    let (mut weights, mut bias) = (Vec::new(), Vec::new());
    for name in names {
        weights.append(&mut tensors.read(&format!("{name}.weight"), &[outputs, inputs])?);
        bias.append(&mut tensors.read(&format!("{name}.bias"), &[outputs])?);
    }
    Ok(Pointwise::new(inputs, outputs * names.len(), &weights, &bias))
}

/// A layer norm: `NAME.weight` and `NAME.bias`, which old files call `gamma` and `beta`.
pub(super) fn layer_norm(
    tensors: &mut Tensors,
    name: &str,
    width: usize,
    epsilon: f32,
) -> Result<LayerNorm, Error> {
    let is_old = tensors.has(&format!("{name}.gamma"));
    let (weight, bias) = if is_old { ("gamma", "beta") } else { ("weight", "bias") };
    Ok(LayerNorm {
        weight: tensors.read(&format!("{name}.{weight}"), &[width])?,
        bias: tensors.read(&format!("{name}.{bias}"), &[width])?,
        epsilon,
    })
}
