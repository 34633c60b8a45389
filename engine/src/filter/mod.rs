//! Filters: which records a query may answer with.
//!
//! A [`Filter`] is built in Rust (`field("year").ge(2015) & field("lang").eq("en")`) or parsed from
//! text (`year >= 2015 and lang = "en"`). Both forms are the same expression: it is checked against
//! a collection's fields only when it is used, becomes a predicate of the storage layer there, and
//! reaches the scan as one mask of rows.
//!
//! The language, from loose to tight: `or`, `and`, `not`, then a comparison of a field with a
//! value: `= != < <= > >=`, `in (a, b)`, `is null`, `is not null`. Words are case-insensitive,
//! parentheses group. Values are `"text"` or `'text'` (escapes `\" \' \\ \n \r \t \0 \u{1F600}`),
//! integers, floats, `true` and `false`; a timestamp is RFC 3339 text. A missing field makes every
//! comparison false, `!=` too.

mod error;
mod expression;
mod lexer;
mod parser;
mod resolve;

pub use error::{FilterError, FilterProblem};
pub use expression::{FieldName, Filter, field};

/// The longest text [`Filter::parse`] reads, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 65_536;

/// How deep a filter may nest: text is parsed, and expressions are evaluated, by recursion.
pub(crate) const MAX_DEPTH: usize = 64;
