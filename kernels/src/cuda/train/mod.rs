//! Encoding and training on an NVIDIA card: the hash networks forward and backward, the losses of UCCH,
//! the optimizer and the memory bank, all in the memory of a machine.
//!
//! [`Encoder`] turns features into codes. [`TrainingStep`] owns everything that training changes; it
//! starts from a [`TrainingState`] of plain numbers and gives one back, so that training can go on
//! elsewhere. Matrix products are the machine's ([`Multiply`]): cuBLAS on a card, opened when it is
//! needed, a plain loop in the tests. Everything else is kernels of ours, run in one order and without
//! atomic sums, so that the same state, batches and seed give the same numbers on the same machine. All steps
//! are the same work on batches that the machine takes from a list, so that it can capture that work and
//! repeat it at once.
//!
//! None of this has been run on a card yet: the tests run the same kernels on the CPU.

mod activations;
mod arguments;
mod array;
mod encoder;
mod feature_type;
mod features;
mod launch;
mod launch_keys;
mod launch_losses;
mod launch_optimizer;
mod layer;
mod placement;
mod product;
mod records;
mod schedule;
mod sequence;
mod settings;
mod state;
mod step;

pub use arguments::ARGUMENT_BYTES;
pub use encoder::Encoder;
pub use feature_type::FeatureType;
pub use features::DeviceFeatures;
pub use layer::Layer;
pub use product::{Multiply, Operand, Precision, Product};
pub use records::StepLosses;
pub use settings::{BatchKeys, KeySource, Optimizer, RankingInput, RankingLoss, StepSettings};
pub use state::TrainingState;
pub use step::{Pairs, TrainingStep};
