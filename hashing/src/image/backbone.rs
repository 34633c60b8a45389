//! What the networks have in common, and telling them apart.

use super::clip::Clip;
use super::efficientnet::EfficientNet;
use super::picture::Picture;
use super::preparation::Preparation;
use super::resnet::ResNet;
use super::vgg::Vgg;
use super::weights::Weights;
use crate::Error;

/// A network that turns pictures into features.
pub(super) trait Backbone: Send + Sync {
    /// Names the architecture, what is done to a picture, and the revision of both.
    fn name(&self) -> String;

    /// Numbers of one picture's features.
    fn width(&self) -> usize;

    /// As many pictures as are worth handing over at once: more than one where weights are so many
    /// that reading them takes long.
    fn together(&self) -> usize {
        1
    }

    /// Writes the features of each picture, row after row. No row may depend on other pictures.
    fn features(&self, pictures: &[Picture], features: &mut [f32]);

    /// The network over squares, where it takes them.
    fn of_squares(&self) -> Option<&dyn SquareBackbone> {
        None
    }
}

/// A network over squares that are prepared otherwise than a picture is, such as augmented ones.
pub(super) trait SquareBackbone: Sync {
    /// Writes the features of squares of `side` pixels, 3 bytes a pixel, row after row.
    fn square_features(&self, colors: &[u8], side: usize, features: &mut [f32]);
}

/// Whether the tensors are those of a network whose sizes a configuration tells.
pub(super) fn has_config(weights: &Weights) -> bool {
    weights.has("vision_model.embeddings.patch_embedding.weight")
}

/// The network that the names of the tensors tell. `config` is empty for those without one;
/// `preparation` is for torchvision's.
pub(super) fn recognize(
    weights: &Weights,
    config: &[u8],
    preparation: Preparation,
) -> Result<Box<dyn Backbone>, Error> {
    if has_config(weights) {
        Ok(Box::new(Clip::new(weights, config)?))
    } else if weights.has("layer1.0.conv1.weight") {
        Ok(Box::new(ResNet::new(weights, preparation)?))
    } else if weights.has("features.0.weight") {
        Ok(Box::new(Vgg::new(weights, preparation)?))
    } else if weights.has("block0.depthwise.weight") {
        Ok(Box::new(EfficientNet::new(weights)?))
    } else {
        let reason = "its tensors are named like those of no known network: a ResNet's layer1.0.conv1.weight, \
                      a VGG's features.0.weight, CLIP's vision_model.embeddings.patch_embedding.weight";
        Err(Error::ImageWeights { reason: reason.into() })
    }
}
