//! Which of several things an error is about.

use std::fmt;

use crate::RecordId;

/// Which of the things handed in an error is about.
///
/// ```
/// use twinbit::Place;
///
/// assert_eq!(Place::Record(7.into()).to_string(), "record 7");
/// assert_eq!(Place::Query(0).to_string(), "query 0");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The record of this id.
    Record(RecordId),
    /// A record without an id: its position, from 0, among the records handed in.
    Position(u64),
    /// The query at this position, from 0.
    Query(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(id) => write!(f, "record {id}"),
            Self::Position(position) => write!(f, "the record at position {position}"),
            Self::Query(position) => write!(f, "query {position}"),
        }
    }
}
