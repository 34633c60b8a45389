//! Parts of a transformer, read by the names of their tensors.

use super::activation::Gate;
use super::layer::{Layer, NormPlace};
use super::norm::LayerNorm;
use crate::Error;
use crate::image::Pointwise;

/// A file of tensors.
pub(crate) trait TensorSource {
    fn has(&self, name: &str) -> bool;

    /// The numbers of tensor `name`, which must have the given shape and be finite.
    fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error>;
}

/// What the parts of a layer are called, behind the layer's own name.
pub(crate) struct LayerNames {
    /// Queries, keys and values.
    project: [&'static str; 3],
    join: &'static str,
    widen: &'static str,
    narrow: &'static str,
    /// Of attention, and of the feed-forward network.
    norms: [&'static str; 2],
}

/// Names in BERT, as Hugging Face has them.
pub(crate) const BERT: LayerNames = LayerNames {
    project: ["attention.self.query", "attention.self.key", "attention.self.value"],
    join: "attention.output.dense",
    widen: "intermediate.dense",
    narrow: "output.dense",
    norms: ["attention.output.LayerNorm", "output.LayerNorm"],
};

/// Names in both towers of CLIP, as Hugging Face has them.
pub(crate) const CLIP: LayerNames = LayerNames {
    project: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    join: "self_attn.out_proj",
    widen: "mlp.fc1",
    narrow: "mlp.fc2",
    norms: ["layer_norm1", "layer_norm2"],
};

/// What all layers of a network have in common.
pub(crate) struct LayerPlan {
    pub(crate) names: LayerNames,
    pub(crate) place: NormPlace,
    pub(crate) gate: Gate,
    pub(crate) heads: usize,
    pub(crate) width: usize,
    /// Width of the feed-forward network.
    pub(crate) hidden: usize,
    pub(crate) epsilon: f32,
}

impl LayerPlan {
    /// Reads the layer called `layer`.
    pub(crate) fn read(&self, source: &mut impl TensorSource, layer: &str) -> Result<Layer, Error> {
        let Self { ref names, place, gate, heads, width, hidden, epsilon } = *self;
        let name = |part: &str| format!("{layer}.{part}");
        let [attention, forward] = names.norms.map(name);
        Ok(Layer {
            heads,
            gate,
            place,
            project: linear(source, &names.project.map(name), width, width)?,
            join: linear(source, &[name(names.join)], width, width)?,
            widen: linear(source, &[name(names.widen)], width, hidden)?,
            narrow: linear(source, &[name(names.narrow)], hidden, width)?,
            norms: [
                layer_norm(source, &attention, width, epsilon)?,
                layer_norm(source, &forward, width, epsilon)?,
            ],
        })
    }
}

/// Linear layers of the same shape that read the same, as one: their outputs one after the other. Each has
/// `NAME.weight` (outputs, inputs) and `NAME.bias`.
fn linear(
    source: &mut impl TensorSource,
    names: &[String],
    inputs: usize,
    outputs: usize,
) -> Result<Pointwise, Error> {
    let (mut weights, mut bias) = (Vec::new(), Vec::new());
    for name in names {
        weights.append(&mut source.read(&format!("{name}.weight"), &[outputs, inputs])?);
        bias.append(&mut source.read(&format!("{name}.bias"), &[outputs])?);
    }
    Ok(Pointwise::new(inputs, outputs * names.len(), &weights, &bias))
}

/// A layer norm: `NAME.weight` and `NAME.bias`, which old files call `gamma` and `beta`.
pub(crate) fn layer_norm(
    source: &mut impl TensorSource,
    name: &str,
    width: usize,
    epsilon: f32,
) -> Result<LayerNorm, Error> {
    let is_old = source.has(&format!("{name}.gamma"));
    let (weight, bias) = if is_old { ("gamma", "beta") } else { ("weight", "bias") };
    Ok(LayerNorm {
        weight: source.read(&format!("{name}.{weight}"), &[width])?,
        bias: source.read(&format!("{name}.{bias}"), &[width])?,
        epsilon,
    })
}
