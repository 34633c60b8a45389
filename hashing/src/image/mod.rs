//! Pictures: decoding them, and computing their features.

mod architecture;
mod augmentation;
mod backbone;
mod batch_norm;
mod clip;
mod convolution;
mod decode;
mod depthwise;
mod differentiated_convolution;
mod efficientnet;
mod encoder;
mod maximum;
mod picture;
mod pointwise;
mod pooling;
mod preparation;
mod resample;
mod resnet;
mod scratch;
mod tape;
mod tunable;
mod vgg;
mod weights;
mod windows;

pub(crate) use augmentation::augment;
pub use decode::DecodeLimits;
pub use encoder::ImageEncoder;
pub use picture::Picture;
pub(crate) use pointwise::{Activation, Pointwise};
pub(crate) use scratch::sized;
pub(crate) use tunable::{CLASSIFIER_DROPOUT, Mode, TunableBackbone, tunable_file};
