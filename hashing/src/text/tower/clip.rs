//! The text side of CLIP (Radford et al., "Learning Transferable Visual Models From Natural Language
//! Supervision", ICML 2021).

use serde::Deserialize;

use super::Sizes;
use super::folder::Folder;
use super::network::{Network, Pooling};
use super::tensors::Tensors;
use crate::Error;
use crate::image::Pointwise;
use crate::transformer::{self, Gate, LayerPlan, Mask, NormPlace, TensorSource, layer_norm};

/// What `text_config` of `config.json` says; what it leaves out is as in CLIP ViT-B/32.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    hidden_act: String,
    layer_norm_eps: f32,
    eos_token_id: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: "quick_gelu".to_owned(),
            layer_norm_eps: 1e-5,
            eos_token_id: 49407,
        }
    }
}

/// In configurations written before the end token's number was set right, it is this; the end token is then
/// known by having the largest number.
const UNSET_END: u32 = 2;

impl Config {
    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            name: "clip-text",
            vocabulary: self.vocab_size,
            width: self.hidden_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            places: self.max_position_embeddings,
        }
    }

    /// The token that stands for the text.
    pub(super) fn pooling(&self) -> Pooling {
        match self.eos_token_id {
            UNSET_END => Pooling::Largest,
            end => Pooling::End(end),
        }
    }
}

/// Reads the weights.
pub(super) fn network(folder: &Folder<'_>, config: &Config, tensors: &mut Tensors) -> Result<Network, Error> {
    let Config {
        vocab_size,
        hidden_size: width,
        max_position_embeddings: places,
        layer_norm_eps: epsilon,
        ..
    } = *config;
    let Some(gate) = Gate::named(&config.hidden_act) else {
        return Err(folder.invalid(format!("the activation {:?} is not supported", config.hidden_act)));
    };
    let tokens = tensors.read("text_model.embeddings.token_embedding.weight", &[vocab_size, width])?;
    let places = tensors.read("text_model.embeddings.position_embedding.weight", &[places, width])?;
    let plan = LayerPlan {
        names: transformer::CLIP,
        place: NormPlace::Before,
        gate,
        heads: config.num_attention_heads,
        width,
        hidden: config.intermediate_size,
        epsilon,
    };
    let layers = (0..config.num_hidden_layers)
        .map(|number| plan.read(tensors, &format!("text_model.encoder.layers.{number}")))
        .collect::<Result<_, _>>()?;
    let last_norm = Some(layer_norm(tensors, "text_model.final_layer_norm", width, epsilon)?);
    const PROJECTION: &str = "text_projection.weight";
    let outputs = tensors.shape(PROJECTION)?.first().copied().unwrap_or(0);
    let projection = tensors.read(PROJECTION, &[outputs, width])?;
    Ok(Network {
        width,
        tokens,
        places,
        first_norm: None,
        layers,
        mask: Mask::Causal,
        pooling: config.pooling(),
        last_norm,
        projection: Some(Pointwise::new(width, outputs, &projection, &vec![0.0; outputs])),
        is_unit: false,
    })
}
