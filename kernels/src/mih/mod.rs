//! Multi-index hashing: an exact index over the codes of one matrix (Norouzi, Punjani, Fleet, "Fast
//! exact search in Hamming space with multi-index hashing", TPAMI 2014).
//!
//! The bits of a code are divided among m *substrings*, and for each the rows are listed by the value
//! of their substring. A row at distance d of a query differs in at most d / m bits of at least one
//! substring, so few lists hold all rows that are near. The lists of all values at distance r of the
//! query's value are a *shell*, of radius r. Let a search have taken the shells of radius 0 to
//! s(i) - 1 of substring i: a row that it has not met differs from the query in at least s(i) bits of
//! every substring i, so that **every row nearer than the sum of all s(i) has been met**. This holds
//! whichever substring is taken next, and the search takes the cheapest.
//!
//! | file | what it answers |
//! |---|---|
//! | `split.rs` | which bits go to which substring, how many there are |
//! | `key.rs` | the value of a substring, the values of a shell |
//! | `format.rs` | where everything lies in the index's bytes |
//! | `build.rs` | rows to lists, within a memory budget |
//! | `view.rs` | bytes to lists, checked |
//! | `walk.rs` | one query |
//! | `cost.rs` | what the next shells will cost |

mod build;
mod cost;
mod format;
mod key;
mod nearest;
mod split;
mod view;
mod walk;

pub use build::MultiIndexBuilder;
pub(crate) use cost::of_scan as scan_cost;
pub use view::MultiIndex;
pub(crate) use walk::{Outcome, Walk};
