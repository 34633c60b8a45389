//! What a model is made for: the specification inside every model file.

use serde::{Deserialize, Serialize};
use twinbit_kernels::{CodeBits, Modality};

use crate::net::layer_shapes;

/// Widest hidden layer.
pub(crate) const MAX_HIDDEN: usize = 1 << 16;
/// Most linear layers of a network.
pub(crate) const MAX_LAYERS: usize = 16;
/// Widest feature row.
pub(crate) const MAX_WIDTH: usize = 1 << 20;

/// Featurizer id of a side whose features come in ready.
pub(crate) const NO_FEATURIZER: &str = "none";

/// Shapes of the two networks and the featurizers whose outputs they take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Bits of a code.
    #[serde(with = "serde_bits")]
    pub bits: CodeBits,
    /// Values in a row of image features.
    pub image_width: usize,
    /// Values in a row of text features.
    pub text_width: usize,
    /// Width of the hidden layers.
    pub hidden: usize,
    /// Linear layers of the image network.
    pub image_layers: usize,
    /// Linear layers of the text network.
    pub text_layers: usize,
    /// Id of the image featurizer; `none` when features come in.
    pub image_featurizer: String,
    /// Id of the text featurizer; `none` when features come in.
    pub text_featurizer: String,
}

impl ModelSpec {
    /// Values in a row of that side's features.
    pub fn width(&self, modality: Modality) -> usize {
        match modality {
            Modality::Image => self.image_width,
            Modality::Text => self.text_width,
        }
    }

    /// Linear layers of that side's network.
    pub fn layers(&self, modality: Modality) -> usize {
        match modality {
            Modality::Image => self.image_layers,
            Modality::Text => self.text_layers,
        }
    }

    /// Id of that side's featurizer.
    pub fn featurizer(&self, modality: Modality) -> &str {
        match modality {
            Modality::Image => &self.image_featurizer,
            Modality::Text => &self.text_featurizer,
        }
    }

    /// Weights and biases of that side's network.
    pub fn weights(&self, modality: Modality) -> u64 {
        self.shapes(modality).into_iter().map(|(outputs, inputs)| outputs as u64 * (inputs as u64 + 1)).sum()
    }

    /// Shapes `(outputs, inputs)` of that side's layers.
    pub(crate) fn shapes(&self, modality: Modality) -> Vec<(usize, usize)> {
        layer_shapes(self.width(modality), self.hidden, self.layers(modality), self.bits.bits())
    }

    /// What is out of range, if anything; checked before any shape is computed.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let widths = 1..=MAX_WIDTH;
        let layers = 1..=MAX_LAYERS;
        if !widths.contains(&self.image_width) || !widths.contains(&self.text_width) {
            return Some("a feature width in its specification is not in 1..=1048576");
        }
        if !(1..=MAX_HIDDEN).contains(&self.hidden) {
            return Some("the hidden width in its specification is not in 1..=65536");
        }
        if !layers.contains(&self.image_layers) || !layers.contains(&self.text_layers) {
            return Some("a number of layers in its specification is not in 1..=16");
        }
        None
    }
}

/// Code lengths as plain numbers in JSON.
pub(crate) mod serde_bits {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use twinbit_kernels::CodeBits;

    pub(crate) fn serialize<S: Serializer>(bits: &CodeBits, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(bits.bits() as u64)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<CodeBits, D::Error> {
        CodeBits::new(usize::deserialize(from)?).map_err(de::Error::custom)
    }
}
