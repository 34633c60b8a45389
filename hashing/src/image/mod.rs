//! Pictures: decoding them, and computing their features.

mod architecture;
mod decode;
mod depthwise;
mod encoder;
mod picture;
mod pointwise;
mod weights;

pub use decode::DecodeLimits;
pub use encoder::ImageEncoder;
pub use picture::Picture;
pub(crate) use pointwise::{Activation, Pointwise};
