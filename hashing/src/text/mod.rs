//! Texts: turning them into features, by counting words or by a pretrained network.

mod featurizer;
mod file;
mod kind;
mod tower;
mod vocabulary;
mod words;

pub use featurizer::TextFeaturizer;
pub use kind::TextKind;
pub use tower::TextTower;
