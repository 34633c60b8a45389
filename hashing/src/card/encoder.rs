//! A model's network in the memory of a card.

use half::f16;
use self_cell::self_cell;
use twinbit_kernels::cuda::AnyMachine;
use twinbit_kernels::cuda::train::{Encoder, Layer as CardLayer};
use twinbit_kernels::{CodesBuf, Modality};

use super::failed;
use crate::Error;
use crate::model::HashModel;
use crate::source::rows as rows_of;

type OnMachine<'a> = Encoder<'a, AnyMachine>;

self_cell! {
    struct Resident {
        owner: AnyMachine,
        #[covariant]
        dependent: OnMachine,
    }
}

/// Encodes on a card what a model encodes on the processor, with the same codes to the bit: the card
/// computes every number by the same fused multiply-adds in the same order.
///
/// (A processor without fused multiply-adds, which on x86 is one from before 2013, rounds otherwise than all others.)
pub struct CardEncoder {
    modality: Modality,
    resident: Resident,
}

impl std::fmt::Debug for CardEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CardEncoder").field("modality", &self.modality).finish_non_exhaustive()
    }
}

impl CardEncoder {
    /// Copies one network of a model to a card.
    ///
    /// # Errors
    /// [`Error::Card`] when the card has too little memory or fails.
    pub fn new(machine: &AnyMachine, model: &HashModel, modality: Modality) -> Result<Self, Error> {
        let widen = |values: &[f16]| values.iter().map(|value| value.to_f32()).collect();
        let layers: Vec<CardLayer> = model
            .network(modality)
            .iter()
            .map(|layer| CardLayer {
                inputs: layer.inputs,
                outputs: layer.outputs,
                weight: widen(&layer.weight),
                bias: widen(&layer.bias),
            })
            .collect();
        let resident =
            Resident::try_new(machine.clone(), |machine| OnMachine::exact(machine, &layers, OnMachine::ROWS));
        Ok(Self { modality, resident: resident.map_err(failed)? })
    }

    /// The codes of feature rows, as [`HashModel::encode`] gives them.
    ///
    /// `None` when the outputs of a row are all zeros or no numbers: what that means is for the model to say.
    ///
    /// # Errors
    /// [`Error::Width`] and [`Error::NotFinite`] as [`HashModel::encode`]; [`Error::Card`] when the card fails.
    pub fn encode(&mut self, rows: &[f32]) -> Result<Option<CodesBuf>, Error> {
        let width = self.resident.borrow_dependent().inputs();
        rows_of(self.modality, rows, width)?;
        match self.resident.with_dependent_mut(|_, encoder| encoder.encode(rows)) {
            Ok(codes) => Ok(Some(codes)),
            Err(twinbit_kernels::Error::NoDirection { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}
