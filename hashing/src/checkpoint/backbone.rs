//! The part of a checkpoint that only runs have which train a backbone along.

use candle_core::Tensor;
use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use super::malformed;
use crate::Error;
use crate::config::Optimizer;
use crate::optimizer::OptimizerState;

/// What the header says of the backbone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackboneHeader {
    /// Whether the backbone stays as it is in all epochs.
    pub(crate) is_frozen: bool,
    /// Updates that its optimizer has made.
    pub(crate) updates: i32,
    /// Bytes of its file of weights.
    pub(super) bytes: usize,
    /// Numbers of its parameters together.
    pub(super) numbers: usize,
    /// Bytes of the file of the best epoch so far.
    pub(super) best_bytes: Option<usize>,
}

/// A backbone under training, to be written down.
#[derive(Clone, Copy)]
pub(crate) struct BackboneProgress<'a> {
    pub(crate) is_frozen: bool,
    /// Its file of weights as it is now, running statistics included.
    pub(crate) file: &'a [u8],
    pub(crate) optimizer: &'a OptimizerState<f32>,
    /// The file of the best epoch so far.
    pub(crate) best: Option<&'a [u8]>,
}

/// The same read back.
pub(crate) struct SavedBackbone {
    pub(crate) header: BackboneHeader,
    pub(crate) file: Vec<u8>,
    /// First moments, and Adam's second ones, parameter after parameter.
    pub(super) moments: [Vec<f32>; 2],
    pub(crate) best: Option<Vec<u8>>,
}

impl BackboneHeader {
    pub(super) fn new(progress: &BackboneProgress<'_>) -> Self {
        Self {
            is_frozen: progress.is_frozen,
            updates: progress.optimizer.updates(),
            bytes: progress.file.len(),
            numbers: progress.optimizer.moments().iter().map(|[first, _]| first.len()).sum(),
            best_bytes: progress.best.map(<[u8]>::len),
        }
    }

    /// Its tensors, in their order.
    pub(super) fn layout(&self, optimizer: Optimizer) -> Vec<(String, Dtype, Vec<usize>)> {
        let moments = ["backbone.first_moment", "backbone.second_moment"].into_iter();
        let mut layout = vec![("backbone".to_owned(), Dtype::U8, vec![self.bytes])];
        let moments = moments.take(orders(optimizer));
        layout.extend(moments.map(|name| (name.to_owned(), Dtype::F32, vec![self.numbers])));
        layout.extend(self.best_bytes.map(|bytes| ("best_backbone".to_owned(), Dtype::U8, vec![bytes])));
        layout
    }
}

impl SavedBackbone {
    /// The optimizer of these parameters.
    pub(crate) fn optimizer<'a>(
        &self,
        kind: Optimizer,
        parameters: impl Iterator<Item = &'a Tensor>,
    ) -> Result<OptimizerState<f32>, Error> {
        let mut start = 0;
        let moments: Vec<[Vec<f32>; 2]> = parameters
            .map(|parameter| {
                let range = start..start + parameter.elem_count();
                start = range.end;
                // Stochastic gradient descent has no second moments.
                let part = |all: &Vec<f32>| all.get(range.clone()).map(<[f32]>::to_vec).unwrap_or_default();
                self.moments.each_ref().map(part)
            })
            .collect();
        if start != self.header.numbers {
            return Err(malformed("its backbone has another number of parameters than moments"));
        }
        Ok(OptimizerState::restored(kind, self.header.updates, moments))
    }
}

/// How many moments an optimizer keeps of a parameter.
pub(super) fn orders(optimizer: Optimizer) -> usize {
    match optimizer {
        Optimizer::Adam => 2,
        Optimizer::Sgd => 1,
    }
}
