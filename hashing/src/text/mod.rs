//! Texts: turning them into features without a pretrained network.

mod featuriser;
mod file;
mod kind;
mod vocabulary;
mod words;

pub use featuriser::TextFeaturiser;
pub use kind::TextKind;
