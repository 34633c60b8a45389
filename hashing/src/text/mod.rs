//! Texts: turning them into features without a pretrained network.

mod featurizer;
mod file;
mod kind;
mod vocabulary;
mod words;

pub use featurizer::TextFeaturizer;
pub use kind::TextKind;
