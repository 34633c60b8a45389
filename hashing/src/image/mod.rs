//! Pictures: decoding them, and computing their features.

mod architecture;
mod augmentation;
mod backbone;
mod clip;
mod convolution;
mod decode;
mod depthwise;
mod efficientnet;
mod encoder;
mod picture;
mod pointwise;
mod pooling;
mod preparation;
mod resample;
mod resnet;
mod scratch;
mod tunable;
mod unfold;
mod vgg;
mod weights;
mod windows;

pub(crate) use augmentation::augment;
pub use decode::DecodeLimits;
pub use encoder::ImageEncoder;
pub(crate) use encoder::read_weights;
pub use picture::Picture;
pub(crate) use pointwise::{Activation, Pointwise};
pub(crate) use scratch::sized;
pub(crate) use tunable::{CLASSIFIER_DROPOUT, Mode, TunableBackbone};
