//! One safe function for each kernel of the losses, as in [`super::launch`].

use super::super::{CudaError, Kernel, Launch, Machine};
use super::arguments::{ContrastiveArgument, RankingArgument};
use super::array::{Array, Matrix};
use super::launch_keys::{Sides, same_shapes, words_of};
use super::settings::{RankingInput, RankingLoss};

/// Rows of keys.
#[derive(Debug)]
pub(crate) enum KeyRows<'a, M: Machine> {
    /// Packed signs, as [`super::launch_keys::sign_words`] gives.
    Signs(&'a Array<M, u32>),
    /// Numbers.
    Dense(Matrix<'a>),
}

impl<M: Machine> KeyRows<'_, M> {
    /// How many rows there are.
    fn len(&self, bits: usize) -> usize {
        match self {
            Self::Signs(signs) => signs.len() / words_of(bits),
            Self::Dense(values) => values.len() / bits,
        }
    }
}

/// The contrastive loss's keys and numbers.
#[derive(Debug)]
pub(crate) struct ContrastiveKeys<'a, M: Machine> {
    pub(crate) rows: KeyRows<'a, M>,
    /// The rows that each sample's keys are, or all of the batch's.
    pub(crate) keys: Option<&'a Array<M, u32>>,
    /// Keys of a sample.
    pub(crate) count: usize,
    /// Neighbors after the own key, with their targets.
    pub(crate) neighbors: usize,
    pub(crate) own_target: f32,
    pub(crate) neighbor_target: f32,
    pub(crate) temperature: f64,
}

/// The contrastive loss of each sample and its gradients; `weights` is room for two numbers a key.
pub(crate) fn contrastive<M: Machine>(
    machine: &M,
    outputs: Sides<'_>,
    keys: &ContrastiveKeys<'_, M>,
    weights: &Array<M, f32>,
    gradients: Sides<'_>,
    losses: &Array<M, f32>,
) -> Result<(), CudaError> {
    let [samples, bits] = same_shapes(&[outputs[0], outputs[1], gradients[0], gradients[1]]);
    assert!(keys.neighbors < keys.count, "keys of a sample");
    let (kernel, signs, values, scale) = match &keys.rows {
        KeyRows::Signs(signs) => {
            (Kernel::Contrastive, signs.address(0), 0, 1.0 / ((bits as f64).sqrt() * keys.temperature))
        }
        KeyRows::Dense(values) => (Kernel::ContrastiveDense, 0, values.address, 1.0 / keys.temperature),
    };
    match keys.keys {
        Some(rows) => assert!(rows.len() >= samples * keys.count, "keys of all samples"),
        None => assert!(keys.count == samples && keys.rows.len(bits) >= samples, "a key a sample"),
    }
    assert!(
        weights.len() >= 2 * samples * keys.count && losses.len() >= samples,
        "room for weights and losses"
    );
    let argument = ContrastiveArgument {
        image: outputs[0].address,
        text: outputs[1].address,
        image_gradient: gradients[0].address,
        text_gradient: gradients[1].address,
        signs,
        values,
        keys: keys.keys.map_or(0, |keys| keys.address(0)),
        weights: weights.address(0),
        losses: losses.address(0),
        samples: samples as u32,
        bits: bits as u32,
        count: keys.count as u32,
        neighbors: keys.neighbors as u32,
        scale: scale as f32,
        share: (1.0 / samples as f64) as f32,
        own_target: keys.own_target,
        neighbor_target: keys.neighbor_target,
    };
    let launch = Launch { kernel, blocks: [samples as u32, 1] };
    // SAFETY: the structure is the kernel's, a block a sample; a code has at most 4096 bits, for which
    // the kernel has room; given keys are rows of the bank, which `TrainingStep::next_step` checks, and
    // drawn ones come from `draw_keys`; the batch's own keys need no list. Rows are given in the one form
    // that the kernel takes. Lengths were checked above.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// How the losses of [`ranking`] add up: what each is multiplied by.
pub(crate) fn ranking_share(samples: usize, loss: RankingLoss, input: RankingInput) -> f32 {
    let terms = match loss {
        RankingLoss::Global { .. } => samples,
        RankingLoss::MaxMargin { .. } => (samples * (samples - 1)).max(1),
    };
    (1.0 / (terms * input.losses()) as f64) as f32
}

/// The ranking loss of each row and each column, and its gradients with respect to the similarities:
/// those of the rows, then those of the columns transposed; `share` is [`ranking_share`].
pub(crate) fn ranking<M: Machine>(
    machine: &M,
    similarities: Matrix<'_>,
    loss: RankingLoss,
    share: f32,
    gradients: &Array<M, f32>,
    losses: Matrix<'_>,
) -> Result<(), CudaError> {
    let samples = similarities.rows;
    assert_eq!(similarities.columns, samples, "a square of similarities");
    assert!(gradients.len() >= 2 * samples * samples && losses.len() >= 2 * samples, "room for gradients");
    let (hinges, margin, shift, scale) = match loss {
        RankingLoss::Global { margin, shift, temperature } => (0, margin, shift, 1.0 / temperature),
        RankingLoss::MaxMargin { margin } => (1, margin, 0.0, 1.0),
    };
    let argument = RankingArgument {
        similarities: similarities.address,
        gradients: gradients.address(0),
        losses: losses.address,
        samples: samples as u32,
        hinges,
        margin,
        shift,
        scale: scale as f32,
        share: (f64::from(share) * scale) as f32,
    };
    let launch = Launch { kernel: Kernel::Ranking, blocks: [samples as u32, 2] };
    // SAFETY: the structure is the kernel's, a block a row and one a column; lengths were checked.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}
