//! One safe function for each kernel of the end of a step, as in [`super::launch`].

use super::super::{CudaError, Kernel, Launch, Machine};
use super::arguments::{
    AdamArgument, DescendArgument, RecordArgument, SquaresArgument, StepNumbers, StepRecord,
};
use super::array::Array;
use super::launch::blocks_for;
use super::settings::Optimizer;

/// The sum of squares of numbers, a multiple of 4, in as many parts as `sums` has.
pub(crate) fn sum_squares<M: Machine>(
    machine: &M,
    values: &Array<M, f32>,
    sums: &Array<M, f64>,
) -> Result<(), CudaError> {
    assert!(values.len().is_multiple_of(4), "numbers in groups of 4");
    let argument = SquaresArgument {
        values: values.address(0),
        sums: sums.address(0),
        count: (values.len() / 4) as u64,
    };
    let launch = Launch { kernel: Kernel::SumSquares, blocks: [sums.len() as u32, 1] };
    // SAFETY: the structure is the kernel's, a block a sum, and the numbers are whole groups, at an address
    // that the machine aligned.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// Losses of which a record holds the sum, times a share; none where a loss is left out.
pub(crate) type Summed<'a, M> = Option<(&'a Array<M, f32>, f32)>;

/// What a step leaves behind.
#[derive(Debug)]
pub(crate) struct Recorded<'a, M: Machine> {
    pub(crate) contrastive: Summed<'a, M>,
    pub(crate) ranking: Summed<'a, M>,
    pub(crate) squares: &'a Array<M, f64>,
    pub(crate) undirected: &'a Array<M, u32>,
    /// The present step's numbers.
    pub(crate) now: &'a Array<M, StepNumbers>,
    pub(crate) clip: &'a Array<M, f32>,
    pub(crate) clip_norm: f64,
}

/// Write the record of a step to its place and the factor that clips the gradients to `clip`.
pub(crate) fn record_step<M: Machine>(
    machine: &M,
    recorded: &Recorded<'_, M>,
    records: &Array<M, StepRecord>,
) -> Result<(), CudaError> {
    assert!(!records.is_empty() && recorded.undirected.len() == 2, "room for the record");
    assert!(!recorded.clip.is_empty() && !recorded.now.is_empty(), "room for the factor");
    let parts = |losses: &Summed<'_, M>| {
        losses.map_or((0, 0, 0.0), |(losses, share)| (losses.address(0), losses.len() as u32, share))
    };
    let (contrastive, contrastive_count, contrastive_share) = parts(&recorded.contrastive);
    let (ranking, ranking_count, ranking_share) = parts(&recorded.ranking);
    let argument = RecordArgument {
        contrastive,
        ranking,
        squares: recorded.squares.address(0),
        undirected: recorded.undirected.address(0),
        now: recorded.now.address(0),
        clip: recorded.clip.address(0),
        records: records.address(0),
        contrastive_count,
        ranking_count,
        squares_count: recorded.squares.len() as u32,
        contrastive_share,
        ranking_share,
        clip_norm: recorded.clip_norm as f32,
        places: records.len() as u32,
        unused: 0,
    };
    let launch = Launch { kernel: Kernel::RecordStep, blocks: [1, 1] };
    // SAFETY: the structure is the kernel's, which runs as one block; a loss left out has no numbers.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// Decay rates of Adam's moments and the number under its fraction.
const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;
/// Momentum of stochastic gradient descent.
const SGD_MOMENTUM: f32 = 0.9;

impl StepNumbers {
    /// Those of the step after `step` others.
    pub(crate) fn new(optimizer: Optimizer, learning_rate: f64, step: u32) -> Self {
        let power = |beta: f64| beta.powi(step.saturating_add(1).min(i32::MAX as u32) as i32);
        let (rate, correction) = match optimizer {
            Optimizer::Adam => (learning_rate / (1.0 - power(BETAS[0])), (1.0 - power(BETAS[1])).sqrt()),
            Optimizer::Sgd => (learning_rate, 1.0),
        };
        Self { step: u64::from(step), rate: rate as f32, correction: correction as f32 }
    }
}

/// Parameters with their gradients and the optimizer's moments, all of one length, a multiple of 4;
/// stochastic gradient descent has no second moment.
#[derive(Debug)]
pub(crate) struct Weights<M: Machine> {
    pub(crate) parameters: Array<M, f32>,
    pub(crate) gradients: Array<M, f32>,
    pub(crate) moments: [Array<M, f32>; 2],
}

/// Clip the gradients and update the parameters.
pub(crate) fn update<M: Machine>(
    machine: &M,
    optimizer: Optimizer,
    weights: &Weights<M>,
    clip: &Array<M, f32>,
    now: &Array<M, StepNumbers>,
    weight_decay: f64,
) -> Result<(), CudaError> {
    let count = weights.parameters.len();
    let [first, second] = &weights.moments;
    let moments = match optimizer {
        Optimizer::Adam => second.len(),
        Optimizer::Sgd => count,
    };
    let lens = [weights.gradients.len(), first.len(), moments];
    assert!(lens == [count; 3] && count.is_multiple_of(4), "a gradient and moments for each parameter");
    assert!(!clip.is_empty() && !now.is_empty(), "the numbers of the step");
    let adam = AdamArgument {
        parameters: weights.parameters.address(0),
        gradients: weights.gradients.address(0),
        first: first.address(0),
        second: second.address(0),
        clip: clip.address(0),
        now: now.address(0),
        count: (count / 4) as u64,
        decay: weight_decay as f32,
        epsilon: EPSILON,
        first_keep: BETAS[0] as f32,
        first_take: (1.0 - BETAS[0]) as f32,
        second_keep: BETAS[1] as f32,
        second_take: (1.0 - BETAS[1]) as f32,
    };
    let descend = DescendArgument {
        parameters: adam.parameters,
        gradients: adam.gradients,
        velocity: adam.first,
        clip: adam.clip,
        now: adam.now,
        count: adam.count,
        decay: adam.decay,
        keep: SGD_MOMENTUM,
    };
    let (kernel, argument) = match optimizer {
        Optimizer::Adam => (Kernel::Adam, bytemuck::bytes_of(&adam)),
        Optimizer::Sgd => (Kernel::Descend, bytemuck::bytes_of(&descend)),
    };
    let launch = Launch { kernel, blocks: blocks_for(machine, kernel, count / 4) };
    // SAFETY: the structure is the kernel's, and lengths were checked.
    unsafe { machine.launch(launch, argument) }
}
