//! What the unit tests share with the scorecard in `tests/`.

#![allow(dead_code, unreachable_pub, reason = "these files serve several packages")]

#[path = "../../tests/support/mutate.rs"]
pub(crate) mod mutate;
#[path = "../../tests/support/row.rs"]
pub(crate) mod row;
