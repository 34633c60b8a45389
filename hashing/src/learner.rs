//! What a training run changes, wherever it is.

use std::ops::Deref;

use twinbit_kernels::{CodesBuf, Modality};

use crate::Error;
use crate::epoch::Epoch;
use crate::net::Network;
use crate::step::TrainingState;

/// Networks, memory bank and optimizer in some memory, and the steps that change them there.
pub(crate) trait Learner {
    /// Runs the steps of an epoch and tells each to the epoch.
    fn steps(&mut self, epoch: &mut Epoch<'_>) -> Result<(), Error>;

    /// What encodes features by one of the networks as it is now.
    fn encoder(&self, modality: Modality) -> Result<Encode<'_>, Error>;

    /// Both networks as they are now.
    fn networks(&self) -> Result<[Network<f32>; 2], Error>;

    /// Everything as it is now.
    fn state(&self) -> Result<Held<'_>, Error>;
}

/// Turns whole rows of features into codes.
pub(crate) type Encode<'a> = Box<dyn FnMut(Vec<f32>) -> Result<CodesBuf, Error> + 'a>;

/// A state in this memory, or a copy of one elsewhere.
pub(crate) enum Held<'a> {
    Here(&'a TrainingState<f32>),
    Copied(Box<TrainingState<f32>>),
}

impl Deref for Held<'_> {
    type Target = TrainingState<f32>;

    fn deref(&self) -> &TrainingState<f32> {
        match self {
            Self::Here(state) => state,
            Self::Copied(state) => state,
        }
    }
}
