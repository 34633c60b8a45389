//! Training and encoding on an NVIDIA card.
//!
//! The steps are those of [`twinbit_kernels::cuda::train`]; here features and state go to the card and back.
//! None of this has been run on a card yet: the tests run the card's kernels on the processor.

mod encoder;
mod features;
mod learner;
mod settings;
mod state;

use twinbit_kernels::cuda::AnyMachine;
use twinbit_kernels::cuda::train::Precision;

pub use encoder::CardEncoder;
pub(crate) use features::CardFeatures;
pub(crate) use learner::OnCard;

/// A card to train on.
#[derive(Clone, Debug)]
pub(crate) struct TrainingCard {
    pub(crate) machine: AnyMachine,
    pub(crate) precision: Precision,
}

/// A failure of the kernels in training.
pub(crate) fn failed(error: twinbit_kernels::Error) -> crate::Error {
    crate::Error::Card(error)
}
