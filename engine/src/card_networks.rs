//! The networks of the model in use in the memory of a card.

use twinbit_hashing::CardEncoder;
use twinbit_kernels::CodesBuf;
use twinbit_kernels::cuda::AnyMachine;

use crate::{Modality, Model, ModelId};

/// Networks on a card, of one model at a time: batches of one model follow each other.
#[derive(Debug, Default)]
pub(crate) struct CardNetworks {
    model: Option<ModelId>,
    encoders: [Option<CardEncoder>; 2],
}

impl CardNetworks {
    /// The codes of feature rows under a model, whose network is copied to the card when it is not there.
    /// `None` where the model itself has to say what a row's code is.
    ///
    /// Nothing here waits for other threads' work, so that it may be locked meanwhile.
    pub(crate) fn encode(
        &mut self,
        machine: &AnyMachine,
        model: &Model,
        modality: Modality,
        rows: &[f32],
    ) -> Result<Option<CodesBuf>, twinbit_hashing::Error> {
        if self.model != Some(model.id()) {
            *self = Self { model: Some(model.id()), ..Self::default() };
        }
        let [image, text] = &mut self.encoders;
        let place = match modality {
            Modality::Image => image,
            Modality::Text => text,
        };
        let encoder = match place {
            Some(encoder) => encoder,
            None => place.insert(CardEncoder::new(machine, model, modality)?),
        };
        encoder.encode(rows)
    }

    /// Frees what they take.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
