//! The argument structures of encoding and training, field by field as in `cu/training.cuh`, which says
//! what they hold. Addresses are `u64`, as in [`super::super::arguments`].

use bytemuck::{Pod, Zeroable};

use super::super::arguments::plain;

/// The sizes of the structures below in their order, which the tests compare with those of the
/// compiled kernels.
pub const ARGUMENT_BYTES: [usize; 23] = [
    size_of::<StepNumbers>(),
    size_of::<BeginArgument>(),
    size_of::<GatherArgument>(),
    size_of::<DropArgument>(),
    size_of::<BiasArgument>(),
    size_of::<RectifyArgument>(),
    size_of::<ColumnSumsArgument>(),
    size_of::<HeadArgument>(),
    size_of::<HeadGradientArgument>(),
    size_of::<PackArgument>(),
    size_of::<SignsArgument>(),
    size_of::<MeansArgument>(),
    size_of::<SignRowsArgument>(),
    size_of::<DrawArgument>(),
    size_of::<ContrastiveArgument>(),
    size_of::<RankingArgument>(),
    size_of::<BankArgument>(),
    size_of::<SquaresArgument>(),
    size_of::<StepRecord>(),
    size_of::<RecordArgument>(),
    size_of::<AdamArgument>(),
    size_of::<DescendArgument>(),
    size_of::<ChainArgument>(),
];

/// What a step takes that the one before did not, beside its pairs.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct StepNumbers {
    pub(crate) step: u64,
    pub(crate) rate: f32,
    pub(crate) correction: f32,
}

/// The argument of `begin_step`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct BeginArgument {
    pub(crate) order: u64,
    pub(crate) numbers: u64,
    pub(crate) next: u64,
    pub(crate) pairs: u64,
    pub(crate) now: u64,
    pub(crate) samples: u32,
    pub(crate) unused: u32,
}

/// The argument of `gather`, `gather_half` and `gather_bytes`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct GatherArgument {
    pub(crate) from: u64,
    pub(crate) rows: u64,
    pub(crate) to: u64,
    pub(crate) count: u32,
    pub(crate) width: u32,
}

/// The argument of `drop_out`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct DropArgument {
    pub(crate) values: u64,
    pub(crate) count: u64,
    pub(crate) seed: u64,
    pub(crate) now: u64,
    pub(crate) pass: u32,
    pub(crate) out: u32,
    pub(crate) scale: f32,
    pub(crate) unused: u32,
}

/// The argument of `add_bias`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct BiasArgument {
    pub(crate) values: u64,
    pub(crate) bias: u64,
    pub(crate) count: u32,
    pub(crate) width: u32,
    pub(crate) rectify: u32,
    pub(crate) unused: u32,
}

/// The argument of `rectify_gradient`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct RectifyArgument {
    pub(crate) gradient: u64,
    pub(crate) activation: u64,
    pub(crate) count: u64,
    pub(crate) scale: f32,
    pub(crate) unused: u32,
}

/// The argument of `column_sums`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct ColumnSumsArgument {
    pub(crate) values: u64,
    pub(crate) sums: u64,
    pub(crate) count: u32,
    pub(crate) width: u32,
}

/// The argument of `head`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct HeadArgument {
    pub(crate) product: u64,
    pub(crate) bias: u64,
    pub(crate) squashed: u64,
    pub(crate) norms: u64,
    pub(crate) outputs: u64,
    pub(crate) undirected: u64,
    pub(crate) count: u32,
    pub(crate) bits: u32,
}

/// The argument of `head_gradient`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct HeadGradientArgument {
    pub(crate) contrastive: u64,
    pub(crate) ranking: u64,
    pub(crate) squashed: u64,
    pub(crate) norms: u64,
    pub(crate) outputs: u64,
    pub(crate) flow: u64,
    pub(crate) count: u32,
    pub(crate) bits: u32,
    pub(crate) contrastive_share: f32,
    pub(crate) ranking_share: f32,
}

/// The argument of `pack`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct PackArgument {
    pub(crate) product: u64,
    pub(crate) bias: u64,
    pub(crate) codes: u64,
    pub(crate) undirected: u64,
    pub(crate) count: u32,
    pub(crate) stored: u32,
    pub(crate) bits: u32,
    pub(crate) unused: u32,
}

/// The argument of `sign_words`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct SignsArgument {
    pub(crate) first: u64,
    pub(crate) second: u64,
    pub(crate) signs: u64,
    pub(crate) rows: u32,
    pub(crate) bits: u32,
}

/// The argument of `mean_keys`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct MeansArgument {
    pub(crate) image: u64,
    pub(crate) text: u64,
    pub(crate) means: u64,
    pub(crate) samples: u32,
    pub(crate) bits: u32,
}

/// The argument of `sign_rows`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct SignRowsArgument {
    pub(crate) values: u64,
    pub(crate) signs: u64,
    pub(crate) count: u64,
    pub(crate) size: f32,
    pub(crate) unused: u32,
}

/// The argument of `draw_keys`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct DrawArgument {
    pub(crate) pairs: u64,
    pub(crate) neighbors: u64,
    pub(crate) keys: u64,
    pub(crate) seed: u64,
    pub(crate) now: u64,
    pub(crate) samples: u32,
    pub(crate) width: u32,
    pub(crate) neighbor_count: u32,
    pub(crate) rows: u32,
}

/// The argument of `contrastive` and `contrastive_dense`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct ContrastiveArgument {
    pub(crate) image: u64,
    pub(crate) text: u64,
    pub(crate) image_gradient: u64,
    pub(crate) text_gradient: u64,
    pub(crate) signs: u64,
    pub(crate) values: u64,
    pub(crate) keys: u64,
    pub(crate) weights: u64,
    pub(crate) losses: u64,
    pub(crate) samples: u32,
    pub(crate) bits: u32,
    pub(crate) count: u32,
    pub(crate) neighbors: u32,
    pub(crate) scale: f32,
    pub(crate) share: f32,
    pub(crate) own_target: f32,
    pub(crate) neighbor_target: f32,
}

/// The argument of `ranking`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct RankingArgument {
    pub(crate) similarities: u64,
    pub(crate) gradients: u64,
    pub(crate) losses: u64,
    pub(crate) samples: u32,
    pub(crate) hinges: u32,
    pub(crate) margin: f32,
    pub(crate) shift: f32,
    pub(crate) scale: f32,
    pub(crate) share: f32,
}

/// The argument of `update_bank`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct BankArgument {
    pub(crate) image: u64,
    pub(crate) text: u64,
    pub(crate) pairs: u64,
    pub(crate) values: u64,
    pub(crate) signs: u64,
    pub(crate) samples: u32,
    pub(crate) bits: u32,
    pub(crate) keep: f32,
    pub(crate) take: f32,
}

/// The argument of `sum_squares`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct SquaresArgument {
    pub(crate) values: u64,
    pub(crate) sums: u64,
    pub(crate) count: u64,
}

/// What a step leaves for the host.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct StepRecord {
    pub(crate) contrastive: f32,
    pub(crate) ranking: f32,
    pub(crate) gradient_norm: f32,
    pub(crate) clip: f32,
    pub(crate) undirected: [u32; 2],
}

/// The argument of `record_step`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct RecordArgument {
    pub(crate) contrastive: u64,
    pub(crate) ranking: u64,
    pub(crate) squares: u64,
    pub(crate) undirected: u64,
    pub(crate) now: u64,
    pub(crate) clip: u64,
    pub(crate) records: u64,
    pub(crate) contrastive_count: u32,
    pub(crate) ranking_count: u32,
    pub(crate) squares_count: u32,
    pub(crate) contrastive_share: f32,
    pub(crate) ranking_share: f32,
    pub(crate) clip_norm: f32,
    pub(crate) places: u32,
    pub(crate) unused: u32,
}

/// The argument of `adam`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct AdamArgument {
    pub(crate) parameters: u64,
    pub(crate) gradients: u64,
    pub(crate) first: u64,
    pub(crate) second: u64,
    pub(crate) clip: u64,
    pub(crate) now: u64,
    pub(crate) count: u64,
    pub(crate) decay: f32,
    pub(crate) epsilon: f32,
    pub(crate) first_keep: f32,
    pub(crate) first_take: f32,
    pub(crate) second_keep: f32,
    pub(crate) second_take: f32,
}

/// The argument of `descend`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct DescendArgument {
    pub(crate) parameters: u64,
    pub(crate) gradients: u64,
    pub(crate) velocity: u64,
    pub(crate) clip: u64,
    pub(crate) now: u64,
    pub(crate) count: u64,
    pub(crate) decay: f32,
    pub(crate) keep: f32,
}

/// The argument of `chain`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct ChainArgument {
    pub(crate) rows: u64,
    pub(crate) weights: u64,
    pub(crate) bias: u64,
    pub(crate) to: u64,
    pub(crate) count: u32,
    pub(crate) inputs: u32,
    pub(crate) outputs: u32,
    pub(crate) rectify: u32,
}

plain! {
    StepNumbers: 8 + 2 * 4,
    BeginArgument: 5 * 8 + 2 * 4,
    GatherArgument: 3 * 8 + 2 * 4,
    DropArgument: 4 * 8 + 4 * 4,
    BiasArgument: 2 * 8 + 4 * 4,
    RectifyArgument: 3 * 8 + 2 * 4,
    ColumnSumsArgument: 2 * 8 + 2 * 4,
    HeadArgument: 6 * 8 + 2 * 4,
    HeadGradientArgument: 6 * 8 + 4 * 4,
    PackArgument: 4 * 8 + 4 * 4,
    SignsArgument: 3 * 8 + 2 * 4,
    MeansArgument: 3 * 8 + 2 * 4,
    SignRowsArgument: 3 * 8 + 2 * 4,
    DrawArgument: 5 * 8 + 4 * 4,
    ContrastiveArgument: 9 * 8 + 8 * 4,
    RankingArgument: 3 * 8 + 6 * 4,
    BankArgument: 5 * 8 + 4 * 4,
    SquaresArgument: 3 * 8,
    StepRecord: 6 * 4,
    RecordArgument: 7 * 8 + 8 * 4,
    AdamArgument: 7 * 8 + 6 * 4,
    DescendArgument: 6 * 8 + 2 * 4,
    ChainArgument: 4 * 8 + 4 * 4,
}
