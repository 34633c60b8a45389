//! A place between two items of a source.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A place between two items of a source; the default is its start. What the numbers mean is the
/// source's own affair.
///
/// ```
/// use twinbit::Position;
///
/// let position: Position = "3:512".parse()?;
/// assert_eq!((position.part, position.offset, position.to_string().as_str()), (3, 512, "3:512"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// A file among several, or a line.
    pub part: u64,
    /// A row, or a byte.
    pub offset: u64,
}

impl Position {
    /// The parts from here on: the number of each, the offset at which it begins, and the part.
    pub(crate) fn rest_of<T>(self, parts: &[T]) -> impl Iterator<Item = (u64, u64, &T)> {
        let skipped = usize::try_from(self.part).unwrap_or(usize::MAX);
        (0..).zip(parts).skip(skipped).map(move |(number, part)| {
            let offset = if number == self.part { self.offset } else { 0 };
            (number, offset, part)
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.part, self.offset)
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Position {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (part, offset) = text.split_once(':').unwrap_or(("", text));
        Ok(Position { part: part.parse()?, offset: offset.parse()? })
    }
}

/// What a collection remembers of a source: its fingerprint and how far it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) fingerprint: u64,
    /// `None` when it was read to its end.
    pub(crate) next: Option<Position>,
}

impl fmt::Display for Progress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.next {
            Some(next) => write!(out, "{:016x} {next}", self.fingerprint),
            None => write!(out, "{:016x} end", self.fingerprint),
        }
    }
}

impl Progress {
    /// Reads what [`Display`](fmt::Display) wrote; anything else is no progress.
    pub(crate) fn parse(text: &str) -> Option<Progress> {
        let (fingerprint, next) = text.split_once(' ')?;
        let fingerprint = u64::from_str_radix(fingerprint, 16).ok()?;
        let next = if next == "end" { None } else { Some(next.parse().ok()?) };
        Some(Progress { fingerprint, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_back_as_written() {
        for next in [None, Some(Position::default()), Some(Position { part: 3, offset: u64::MAX })] {
            let progress = Progress { fingerprint: 0xabc, next };
            assert_eq!(Progress::parse(&progress.to_string()), Some(progress));
        }
        for text in ["", "end", "0", "0 ", "0 1", "0 a:b", "x 1:1", "0 1:1:1"] {
            assert_eq!(Progress::parse(text), None, "{text}");
        }
    }
}
