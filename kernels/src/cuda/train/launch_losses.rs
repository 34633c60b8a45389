//! One safe function for each kernel of the losses and of the end of a step, as in [`super::launch`].

use super::super::{CudaError, Kernel, Launch, Machine};
use super::arguments::{
    AdamArgument, BankArgument, ContrastiveArgument, DrawArgument, RankingArgument, RecordArgument,
    SignsArgument, SquaresArgument, StepRecord,
};
use super::array::{Array, Matrix};
use super::launch::blocks_for;
use super::settings::RankingLoss;

/// 32-bit words of a packed key.
pub(crate) const fn words_of(bits: usize) -> usize {
    bits.div_ceil(32)
}

/// Pack the signs of rows or, with a second matrix, of the means of both.
pub(crate) fn sign_words<M: Machine>(
    machine: &M,
    first: Matrix<'_>,
    second: Option<Matrix<'_>>,
    signs: &Array<M, u32>,
) -> Result<(), CudaError> {
    let words = first.rows * words_of(first.columns);
    assert!(second.is_none_or(|second| second.len() == first.len()), "two matrices of one shape");
    assert!(signs.len() >= words, "room for the signs");
    let argument = SignsArgument {
        first: first.address,
        second: second.map_or(0, |second| second.address),
        signs: signs.address(0),
        rows: first.rows as u32,
        bits: first.columns as u32,
    };
    let kernel = Kernel::SignWords;
    let launch = Launch { kernel, blocks: blocks_for(machine, kernel, words) };
    // SAFETY: the structure is the kernel's, shapes were checked, and the second matrix may be null.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// The memory bank and its packed signs.
#[derive(Debug)]
pub(crate) struct Bank<M: Machine> {
    pub(crate) rows: usize,
    pub(crate) bits: usize,
    pub(crate) values: Array<M, f32>,
    pub(crate) signs: Array<M, u32>,
}

impl<M: Machine> Bank<M> {
    pub(crate) fn upload(machine: &M, bits: usize, values: &[f32]) -> Result<Self, CudaError> {
        let rows = values.len() / bits;
        let bank = Self {
            rows,
            bits,
            values: Array::upload(machine, values)?,
            signs: Array::new(machine, rows * words_of(bits))?,
        };
        sign_words(machine, bank.values.as_matrix(rows, bits), None, &bank.signs)?;
        Ok(bank)
    }
}

/// How keys are drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw {
    pub(crate) seed: u64,
    pub(crate) step: u64,
    /// Pairs of the batch.
    pub(crate) samples: usize,
    /// Keys of each.
    pub(crate) width: usize,
    /// How many after the own one are neighbors.
    pub(crate) neighbors: usize,
    /// Rows of the bank.
    pub(crate) rows: usize,
}

/// Draw the keys of a batch.
pub(crate) fn draw_keys<M: Machine>(
    machine: &M,
    draw: Draw,
    pairs: &Array<M, u32>,
    neighbors: &Array<M, u32>,
    keys: &Array<M, u32>,
) -> Result<(), CudaError> {
    assert!(pairs.len() >= draw.samples, "a pair for each sample");
    assert!(neighbors.len() >= draw.rows * draw.neighbors, "neighbors of every row");
    assert!(keys.len() >= draw.samples * draw.width && draw.neighbors < draw.width, "room for the keys");
    let argument = DrawArgument {
        pairs: pairs.address(0),
        neighbors: neighbors.address(0),
        keys: keys.address(0),
        seed: draw.seed,
        step: draw.step,
        samples: draw.samples as u32,
        width: draw.width as u32,
        neighbor_count: draw.neighbors as u32,
        rows: draw.rows as u32,
    };
    let kernel = Kernel::DrawKeys;
    let groups = draw.width.div_ceil(4).div_ceil(kernel.threads() as usize) as u32;
    let launch = Launch { kernel, blocks: [groups, draw.samples as u32] };
    // SAFETY: the structure is the kernel's, a column of blocks a sample; pairs are below `rows`, which
    // `TrainingStep::step` checks before it writes them, and lengths were checked above.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// Two matrices, the image's and the text's.
pub(crate) type Sides<'a> = [Matrix<'a>; 2];

fn same_shapes(sides: &[Matrix<'_>]) -> [usize; 2] {
    let shape = [sides[0].rows, sides[0].columns];
    assert!(sides.iter().all(|side| [side.rows, side.columns] == shape), "matrices of one shape");
    shape
}

/// The contrastive loss's keys and numbers.
#[derive(Debug)]
pub(crate) struct ContrastiveKeys<'a, M: Machine> {
    pub(crate) signs: &'a Array<M, u32>,
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
    match keys.keys {
        Some(rows) => assert!(rows.len() >= samples * keys.count, "keys of all samples"),
        None => {
            assert!(keys.count == samples && keys.signs.len() >= samples * words_of(bits), "a key a sample")
        }
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
        signs: keys.signs.address(0),
        keys: keys.keys.map_or(0, |keys| keys.address(0)),
        weights: weights.address(0),
        losses: losses.address(0),
        samples: samples as u32,
        bits: bits as u32,
        count: keys.count as u32,
        neighbors: keys.neighbors as u32,
        scale: (1.0 / ((bits as f64).sqrt() * keys.temperature)) as f32,
        share: (1.0 / samples as f64) as f32,
        own_target: keys.own_target,
        neighbor_target: keys.neighbor_target,
    };
    let launch = Launch { kernel: Kernel::Contrastive, blocks: [samples as u32, 1] };
    // SAFETY: the structure is the kernel's, a block a sample; a code has at most 4096 bits, for which
    // the kernel has room; given keys are rows of the bank, which `TrainingStep::step` checks, and
    // drawn ones come from `draw_keys`; the batch's own keys need no list. Lengths were checked above.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// How the losses of [`ranking`] add up: what each is multiplied by.
pub(crate) fn ranking_share(samples: usize, loss: RankingLoss) -> f32 {
    match loss {
        RankingLoss::Global { .. } => (1.0 / samples as f64) as f32,
        RankingLoss::MaxMargin { .. } => (1.0 / (samples * (samples - 1)).max(1) as f64) as f32,
    }
}

/// The ranking loss of each row and each column, and its gradients with respect to the similarities:
/// those of the rows, then those of the columns transposed.
pub(crate) fn ranking<M: Machine>(
    machine: &M,
    similarities: Matrix<'_>,
    loss: RankingLoss,
    gradients: &Array<M, f32>,
    losses: &Array<M, f32>,
) -> Result<(), CudaError> {
    let samples = similarities.rows;
    assert_eq!(similarities.columns, samples, "a square of similarities");
    assert!(gradients.len() >= 2 * samples * samples && losses.len() >= 2 * samples, "room for gradients");
    let (hinges, margin, shift) = match loss {
        RankingLoss::Global { margin, shift } => (0, margin, shift),
        RankingLoss::MaxMargin { margin } => (1, margin, 0.0),
    };
    let argument = RankingArgument {
        similarities: similarities.address,
        gradients: gradients.address(0),
        losses: losses.address(0),
        samples: samples as u32,
        hinges,
        margin,
        shift,
        share: ranking_share(samples, loss),
        unused: 0,
    };
    let launch = Launch { kernel: Kernel::Ranking, blocks: [samples as u32, 2] };
    // SAFETY: the structure is the kernel's, a block a row and one a column; lengths were checked.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// Move the bank's rows of the pairs towards the means of their outputs.
pub(crate) fn update_bank<M: Machine>(
    machine: &M,
    outputs: Sides<'_>,
    pairs: &Array<M, u32>,
    bank: &Bank<M>,
    momentum: f64,
) -> Result<(), CudaError> {
    let [samples, bits] = same_shapes(&outputs);
    assert_eq!(bits, bank.bits, "bits of the bank");
    assert!(pairs.len() >= samples, "a pair for each sample");
    let argument = BankArgument {
        image: outputs[0].address,
        text: outputs[1].address,
        pairs: pairs.address(0),
        values: bank.values.address(0),
        signs: bank.signs.address(0),
        samples: samples as u32,
        bits: bits as u32,
        keep: momentum as f32,
        take: (1.0 - momentum) as f32,
    };
    let launch = Launch { kernel: Kernel::UpdateBank, blocks: [samples as u32, 1] };
    // SAFETY: the structure is the kernel's, a block a pair; pairs are below the bank's rows and no
    // two of them the same, which `TrainingStep::step` checks before it writes them.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// The sum of squares of numbers, in as many parts as `sums` has.
pub(crate) fn sum_squares<M: Machine>(
    machine: &M,
    values: &Array<M, f32>,
    sums: &Array<M, f64>,
) -> Result<(), CudaError> {
    let argument =
        SquaresArgument { values: values.address(0), sums: sums.address(0), count: values.len() as u64 };
    let launch = Launch { kernel: Kernel::SumSquares, blocks: [sums.len() as u32, 1] };
    // SAFETY: the structure is the kernel's, a block a sum.
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
    pub(crate) clip: &'a Array<M, f32>,
    pub(crate) clip_norm: f64,
}

/// Write the record of a step to its place and the factor that clips the gradients to `clip`.
pub(crate) fn record_step<M: Machine>(
    machine: &M,
    recorded: &Recorded<'_, M>,
    records: &Array<M, StepRecord>,
    place: usize,
) -> Result<(), CudaError> {
    assert!(place < records.len() && recorded.undirected.len() == 2, "room for the record");
    assert!(!recorded.clip.is_empty(), "room for the factor");
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
        clip: recorded.clip.address(0),
        record: records.address(place),
        contrastive_count,
        ranking_count,
        squares_count: recorded.squares.len() as u32,
        contrastive_share,
        ranking_share,
        clip_norm: recorded.clip_norm as f32,
    };
    let launch = Launch { kernel: Kernel::RecordStep, blocks: [1, 1] };
    // SAFETY: the structure is the kernel's, which runs as one block; a loss left out has no numbers.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// Decay rates of Adam's moments and the number under its fraction.
const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;

/// Parameters with Adam's moments and their gradients, all of one length, a multiple of 4.
#[derive(Debug)]
pub(crate) struct Weights<M: Machine> {
    pub(crate) parameters: Array<M, f32>,
    pub(crate) gradients: Array<M, f32>,
    pub(crate) moments: [Array<M, f32>; 2],
}

/// Clip the gradients and update the parameters; `updates` counts this one, too.
pub(crate) fn adam<M: Machine>(
    machine: &M,
    weights: &Weights<M>,
    clip: &Array<M, f32>,
    learning_rate: f64,
    weight_decay: f64,
    updates: u32,
) -> Result<(), CudaError> {
    let count = weights.parameters.len();
    let lens = [weights.gradients.len(), weights.moments[0].len(), weights.moments[1].len()];
    assert!(lens == [count; 3] && count.is_multiple_of(4), "a gradient and two moments a parameter");
    let power = |beta: f64| beta.powi(updates.min(i32::MAX as u32) as i32);
    let argument = AdamArgument {
        parameters: weights.parameters.address(0),
        gradients: weights.gradients.address(0),
        first: weights.moments[0].address(0),
        second: weights.moments[1].address(0),
        clip: clip.address(0),
        count: (count / 4) as u64,
        decay: weight_decay as f32,
        rate: (learning_rate / (1.0 - power(BETAS[0]))) as f32,
        correction: (1.0 - power(BETAS[1])).sqrt() as f32,
        epsilon: EPSILON,
        first_keep: BETAS[0] as f32,
        first_take: (1.0 - BETAS[0]) as f32,
        second_keep: BETAS[1] as f32,
        second_take: (1.0 - BETAS[1]) as f32,
    };
    let kernel = Kernel::Adam;
    let launch = Launch { kernel, blocks: blocks_for(machine, kernel, count / 4) };
    // SAFETY: the structure is the kernel's, and lengths were checked.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}
