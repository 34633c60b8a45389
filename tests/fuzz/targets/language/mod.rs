//! The filter language without what resolves it against a database.

#[path = "../../../../engine/src/filter/error.rs"]
mod error;
#[path = "../../../../engine/src/filter/expression.rs"]
mod expression;
#[path = "../../../../engine/src/filter/lexer.rs"]
mod lexer;
#[path = "../../../../engine/src/filter/parser.rs"]
mod parser;

pub use expression::Filter;

pub(crate) const MAX_TEXT_BYTES: usize = 65_536;
pub(crate) const MAX_DEPTH: usize = 64;
