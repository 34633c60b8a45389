//! One safe function for each kernel of the networks; as in [`super::super::launch`] it checks what its
//! launch relies on, and addresses come from arrays that its parameters borrow.

use super::super::{CudaError, Kernel, Launch, Machine};
use super::arguments::{
    BiasArgument, ChainArgument, ColumnSumsArgument, DropArgument, GatherArgument, HeadArgument,
    HeadGradientArgument, PackArgument, RectifyArgument, StepNumbers,
};
use super::array::{Array, Matrix};
use super::feature_type::FeatureType;
use super::features::DeviceFeatures;
use crate::{CodeBits, Codes};

/// Enough blocks for one thread a number, but no more than keep the machine busy.
pub(crate) fn blocks_for<M: Machine>(machine: &M, kernel: Kernel, numbers: usize) -> [u32; 2] {
    let blocks = numbers.div_ceil(kernel.threads() as usize).max(1);
    [blocks.min(machine.busy_blocks() as usize) as u32, 1]
}

/// Blocks for a kernel whose blocks take a row at a time.
fn blocks_of_rows<M: Machine>(machine: &M, rows: usize) -> [u32; 2] {
    [rows.clamp(1, machine.busy_blocks() as usize) as u32, 1]
}

/// Copy rows of features; `rows` names as many as `to` has.
pub(crate) fn gather<M: Machine>(
    machine: &M,
    from: &DeviceFeatures<M>,
    rows: &Array<M, u32>,
    to: Matrix<'_>,
) -> Result<(), CudaError> {
    assert_eq!(from.width(), to.columns, "values of a row");
    assert!(rows.len() >= to.rows, "a row for each place");
    let argument = GatherArgument {
        from: from.address(),
        rows: rows.address(0),
        to: to.address,
        count: to.rows as u32,
        width: to.columns as u32,
    };
    let kernel = match from.stored() {
        FeatureType::Byte => Kernel::GatherBytes,
        FeatureType::Float16 => Kernel::GatherHalf,
        FeatureType::Float32 => Kernel::Gather,
    };
    let launch = Launch { kernel, blocks: blocks_of_rows(machine, to.rows) };
    // SAFETY: the structure is the kernel's; shapes were checked, and `TrainingStep::load` refuses
    // pairs beyond those of the features before they can come to `rows`.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// What one pass leaves out.
#[derive(Debug)]
pub(crate) struct Dropout<'a, M: Machine> {
    pub(crate) seed: u64,
    /// The present step's numbers.
    pub(crate) now: &'a Array<M, StepNumbers>,
    /// The network: 0 or 1.
    pub(crate) side: u32,
    /// Of 256 values of a byte, how many leave a number out; 0 leaves out none.
    pub(crate) out: u32,
}

impl<M: Machine> Dropout<'_, M> {
    /// What the numbers that stay are multiplied by.
    pub(crate) fn scale(&self) -> f32 {
        256.0 / (256 - self.out) as f32
    }
}

/// Leave some of the inputs of a layer out.
pub(crate) fn drop_out<M: Machine>(
    machine: &M,
    values: Matrix<'_>,
    layer: usize,
    dropout: &Dropout<'_, M>,
) -> Result<(), CudaError> {
    if dropout.out == 0 {
        return Ok(());
    }
    let argument = DropArgument {
        values: values.address,
        count: values.len() as u64,
        seed: dropout.seed,
        now: dropout.now.address(0),
        pass: dropout.side + 2 * layer as u32,
        out: dropout.out,
        scale: dropout.scale(),
        unused: 0,
    };
    let kernel = Kernel::DropOut;
    let launch = Launch { kernel, blocks: blocks_for(machine, kernel, values.len().div_ceil(16)) };
    // SAFETY: the structure is the kernel's, with the matrix's own address and length, and the numbers
    // are those of a schedule, which has one place for them.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// Add a bias to each row, then ReLU.
pub(crate) fn add_bias<M: Machine>(
    machine: &M,
    values: Matrix<'_>,
    bias: Matrix<'_>,
) -> Result<(), CudaError> {
    assert_eq!(bias.len(), values.columns, "a bias for each column");
    let argument = BiasArgument {
        values: values.address,
        bias: bias.address,
        count: values.rows as u32,
        width: values.columns as u32,
        rectify: 1,
        unused: 0,
    };
    let launch = Launch { kernel: Kernel::AddBias, blocks: blocks_of_rows(machine, values.rows) };
    // SAFETY: the structure is the kernel's, and shapes were checked.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// Rows and outputs of a block of `chain`, as in `cu/chains.cu`.
const CHAIN_TILE: usize = 128;
/// The most rows of a launch of `chain`: as many as columns of blocks hold.
pub(crate) const MOST_CHAIN_ROWS: usize = 65_535 * CHAIN_TILE;

/// `into` = `rows` times the transposed weights plus bias, every number one chain of fused multiply-adds from
/// the bias on over the inputs in their order; then ReLU, where it follows.
pub(crate) fn chain<M: Machine>(
    machine: &M,
    rows: Matrix<'_>,
    weights: Matrix<'_>,
    bias: Matrix<'_>,
    into: Matrix<'_>,
    rectify: bool,
) -> Result<(), CudaError> {
    let shapes = [(into.rows, into.columns), (weights.rows, weights.columns), (bias.len(), rows.rows)];
    let expected = [(rows.rows, weights.rows), (into.columns, rows.columns), (into.columns, into.rows)];
    assert_eq!(shapes, expected, "shapes of a layer");
    assert!(rows.rows <= MOST_CHAIN_ROWS, "rows of a launch");
    let argument = ChainArgument {
        rows: rows.address,
        weights: weights.address,
        bias: bias.address,
        to: into.address,
        count: rows.rows as u32,
        inputs: rows.columns as u32,
        outputs: into.columns as u32,
        rectify: u32::from(rectify),
    };
    let blocks = [into.columns, into.rows].map(|numbers| numbers.div_ceil(CHAIN_TILE) as u32);
    // SAFETY: the structure is the kernel's, a block for each tile of the outputs, and shapes were checked.
    unsafe { machine.launch(Launch { kernel: Kernel::Chain, blocks }, bytemuck::bytes_of(&argument)) }
}

/// Through ReLU and dropout, in place.
pub(crate) fn rectify_gradient<M: Machine>(
    machine: &M,
    gradient: Matrix<'_>,
    activation: Matrix<'_>,
    scale: f32,
) -> Result<(), CudaError> {
    assert_eq!(gradient.len(), activation.len(), "a gradient for each activation");
    let argument = RectifyArgument {
        gradient: gradient.address,
        activation: activation.address,
        count: gradient.len() as u64,
        scale,
        unused: 0,
    };
    let kernel = Kernel::RectifyGradient;
    let launch = Launch { kernel, blocks: blocks_for(machine, kernel, gradient.len()) };
    // SAFETY: the structure is the kernel's, and shapes were checked.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// The sum of each column.
pub(crate) fn column_sums<M: Machine>(
    machine: &M,
    values: Matrix<'_>,
    sums: Matrix<'_>,
) -> Result<(), CudaError> {
    assert_eq!(sums.len(), values.columns, "a sum for each column");
    let argument = ColumnSumsArgument {
        values: values.address,
        sums: sums.address,
        count: values.rows as u32,
        width: values.columns as u32,
    };
    let blocks = [values.columns.div_ceil(32) as u32, 1];
    let launch = Launch { kernel: Kernel::ColumnSums, blocks };
    // SAFETY: the structure is the kernel's, 32 columns a block, and shapes were checked.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// The matrices of a network's head: all (rows, bits), norms one a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) product: Matrix<'a>,
    pub(crate) squashed: Matrix<'a>,
    pub(crate) outputs: Matrix<'a>,
    pub(crate) norms: Matrix<'a>,
}

impl Head<'_> {
    fn check(&self) -> [u32; 2] {
        let lens = [self.squashed.len(), self.outputs.len(), self.norms.len() * self.product.columns];
        assert_eq!(lens, [self.product.len(); 3], "numbers of a head");
        [self.product.rows as u32, self.product.columns as u32]
    }
}

/// tanh and rows of unit norm; `undirected` at `side` becomes the first row without direction.
pub(crate) fn head<M: Machine>(
    machine: &M,
    head: Head<'_>,
    bias: Matrix<'_>,
    undirected: &Array<M, u32>,
    side: usize,
) -> Result<(), CudaError> {
    let [count, bits] = head.check();
    assert_eq!(bias.len(), head.product.columns, "a bias for each column");
    assert!(side < undirected.len(), "a place for the row");
    let argument = HeadArgument {
        product: head.product.address,
        bias: bias.address,
        squashed: head.squashed.address,
        norms: head.norms.address,
        outputs: head.outputs.address,
        undirected: undirected.address(side),
        count,
        bits,
    };
    let launch = Launch { kernel: Kernel::Head, blocks: [count, 1] };
    // SAFETY: the structure is the kernel's, a block a row, and shapes were checked.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// A loss's gradient with respect to the outputs, and how much it weighs.
pub(crate) type Weighted<'a> = Option<(Matrix<'a>, f32)>;

/// The gradient with respect to the last layer, to `flow`.
pub(crate) fn head_gradient<M: Machine>(
    machine: &M,
    head: Head<'_>,
    [contrastive, ranking]: [Weighted<'_>; 2],
    flow: Matrix<'_>,
) -> Result<(), CudaError> {
    let [count, bits] = head.check();
    for matrix in [contrastive, ranking].into_iter().flatten().map(|(matrix, _)| matrix).chain([flow]) {
        assert_eq!(matrix.len(), head.outputs.len(), "numbers of a gradient");
    }
    let address = |loss: Weighted<'_>| loss.map_or(0, |(matrix, _)| matrix.address);
    let share = |loss: Weighted<'_>| loss.map_or(0.0, |(_, share)| share);
    let argument = HeadGradientArgument {
        contrastive: address(contrastive),
        ranking: address(ranking),
        squashed: head.squashed.address,
        norms: head.norms.address,
        outputs: head.outputs.address,
        flow: flow.address,
        count,
        bits,
        contrastive_share: share(contrastive),
        ranking_share: share(ranking),
    };
    let launch = Launch { kernel: Kernel::HeadGradient, blocks: [count, 1] };
    // SAFETY: the structure is the kernel's, a block a row, shapes were checked, and a loss that is
    // left out is null, which the kernel allows.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// The codes of a last layer's product, in the layout of [`Codes`].
pub(crate) fn pack<M: Machine>(
    machine: &M,
    product: Matrix<'_>,
    bias: Matrix<'_>,
    bits: CodeBits,
    codes: &Array<M, u8>,
    undirected: &Array<M, u32>,
) -> Result<(), CudaError> {
    assert_eq!((product.columns, bias.len()), (bits.bits(), bits.bits()), "bits of a code");
    assert!(codes.len() >= Codes::byte_len(bits, product.rows), "room for the codes");
    let stored = product.rows.next_multiple_of(bits.rows_per_block()) as u32;
    let argument = PackArgument {
        product: product.address,
        bias: bias.address,
        codes: codes.address(0),
        undirected: undirected.address(0),
        count: product.rows as u32,
        stored,
        bits: bits.bits() as u32,
        unused: 0,
    };
    assert!(!undirected.is_empty(), "a place for the row");
    let launch = Launch { kernel: Kernel::Pack, blocks: [stored.div_ceil(8), 1] };
    // SAFETY: the structure is the kernel's, a warp a row of whole blocks of the layout, for which
    // `codes` has room.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}
