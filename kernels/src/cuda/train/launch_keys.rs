//! One safe function for each kernel of the contrastive keys and the memory bank, as in [`super::launch`].

use super::super::{CudaError, Kernel, Launch, Machine};
use super::arguments::{
    BankArgument, DrawArgument, MeansArgument, SignRowsArgument, SignsArgument, StepNumbers,
};
use super::array::{Array, Matrix};
use super::launch::blocks_for;

/// Two matrices, the image's and the text's.
pub(crate) type Sides<'a> = [Matrix<'a>; 2];

pub(crate) fn same_shapes(sides: &[Matrix<'_>]) -> [usize; 2] {
    let shape = [sides[0].rows, sides[0].columns];
    assert!(sides.iter().all(|side| [side.rows, side.columns] == shape), "matrices of one shape");
    shape
}

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
#[derive(Debug)]
pub(crate) struct Draw<'a, M: Machine> {
    pub(crate) seed: u64,
    /// The present step's numbers.
    pub(crate) now: &'a Array<M, StepNumbers>,
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
    draw: &Draw<'_, M>,
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
        now: draw.now.address(0),
        samples: draw.samples as u32,
        width: draw.width as u32,
        neighbor_count: draw.neighbors as u32,
        rows: draw.rows as u32,
    };
    let kernel = Kernel::DrawKeys;
    let groups = draw.width.div_ceil(4).div_ceil(kernel.threads() as usize) as u32;
    let launch = Launch { kernel, blocks: [groups, draw.samples as u32] };
    // SAFETY: the structure is the kernel's, a column of blocks a sample; pairs are below `rows`, which
    // `TrainingStep::load` checks before it writes them, and lengths were checked above.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// The means of two matrices' rows, divided by their norms.
pub(crate) fn mean_keys<M: Machine>(
    machine: &M,
    outputs: Sides<'_>,
    means: Matrix<'_>,
) -> Result<(), CudaError> {
    let [samples, bits] = same_shapes(&[outputs[0], outputs[1], means]);
    let argument = MeansArgument {
        image: outputs[0].address,
        text: outputs[1].address,
        means: means.address,
        samples: samples as u32,
        bits: bits as u32,
    };
    let launch = Launch { kernel: Kernel::MeanKeys, blocks: [samples as u32, 1] };
    // SAFETY: the structure is the kernel's, a block a row, and shapes were checked.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}

/// The signs of rows, divided by the root of their number, so that each row has unit norm.
pub(crate) fn sign_rows<M: Machine>(
    machine: &M,
    values: Matrix<'_>,
    signs: Matrix<'_>,
) -> Result<(), CudaError> {
    let [samples, bits] = same_shapes(&[values, signs]);
    let count = samples * bits;
    let size = (1.0 / (bits as f64).sqrt()) as f32;
    let argument = SignRowsArgument {
        values: values.address,
        signs: signs.address,
        count: count as u64,
        size,
        unused: 0,
    };
    let kernel = Kernel::SignRows;
    let launch = Launch { kernel, blocks: blocks_for(machine, kernel, count) };
    // SAFETY: the structure is the kernel's, and shapes were checked.
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
    // two of them the same, which `TrainingStep::load` checks before it writes them.
    unsafe { machine.launch(launch, bytemuck::bytes_of(&argument)) }
}
