//! What can be wrong with a filter, and where.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::FieldType;

/// A place in the text of a filter: the text and the bytes meant.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) text: Arc<str>,
    pub(super) bytes: Range<usize>,
}

/// A filter that cannot be read, or does not fit the collection it is used on.
///
/// `Display` is one sentence; [`FilterError::render`] adds the line of the filter with carets under
/// the place.
///
/// ```
/// use twinbit::{Filter, FilterError};
///
/// let error: FilterError = Filter::parse("year > 2000 and").unwrap_err();
/// assert!(error.position().is_some());
/// // The text with a caret under the place, and a sentence.
/// println!("{}", error.render());
/// ```
#[derive(Debug, Clone)]
pub struct FilterError {
    problem: FilterProblem,
    place: Option<Place>,
}

/// What is wrong with a filter.
///
/// ```
/// use twinbit::{Filter, FilterProblem};
///
/// let error = Filter::parse("lang = 'en").unwrap_err();
/// assert!(matches!(error.problem(), FilterProblem::UnclosedQuote));
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterProblem {
    /// The text is longer than the language allows.
    #[error("the filter has {bytes} bytes, more than the {limit} allowed")]
    TooLong {
        /// Length of the text.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The filter nests too deeply.
    #[error("the filter nests deeper than {limit} levels: write it flatter")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A character the language does not know.
    #[error("unexpected character {character:?}{hint}")]
    Character {
        /// The character.
        character: char,
        /// What to write instead, when that can be guessed.
        hint: &'static str,
    },
    /// A quote that is never closed.
    #[error("this quote is never closed")]
    UnclosedQuote,
    /// An unknown escape in text.
    #[error("unknown escape: the language knows \\\" \\' \\\\ \\n \\r \\t \\0 and \\u{{...}}")]
    Escape,
    /// A number that cannot be read.
    #[error("{text} is no number the filter language can hold")]
    Number {
        /// The number as written.
        text: String,
    },
    /// Something else was expected here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What could stand here.
        expected: &'static str,
        /// What stands here.
        found: String,
    },
    /// The collection has no such field.
    #[error("unknown field {name:?}: {}", known_fields(.known))]
    UnknownField {
        /// The name as written.
        name: String,
        /// The collection's fields.
        known: Vec<String>,
    },
    /// The value has another type than the field.
    #[error("field {field:?} holds {expected} values, this is {found}")]
    FieldType {
        /// The field.
        field: String,
        /// Its type.
        expected: FieldType,
        /// The type of the value, in words.
        found: &'static str,
    },
    /// The number is outside the range of the field's type.
    #[error("{value} is out of range for field {field:?} of type {expected}")]
    Range {
        /// The field.
        field: String,
        /// Its type.
        expected: FieldType,
        /// The number.
        value: String,
    },
    /// Text that is compared with a timestamp and is no time.
    #[error(
        "field {field:?} holds timestamps, and {value} is no RFC 3339 time like \"2024-05-01T12:00:00Z\""
    )]
    Timestamp {
        /// The field.
        field: String,
        /// The text.
        value: String,
    },
}

/// "the collection has a, b" in words.
fn known_fields(known: &[String]) -> String {
    if known.is_empty() {
        return "the collection declares no fields".to_owned();
    }
    format!("the collection has {}", known.join(", "))
}

impl FilterError {
    pub(super) fn new(problem: FilterProblem, place: Option<Place>) -> Self {
        FilterError { problem, place }
    }

    /// An error at `bytes` of `text`.
    pub(super) fn at(problem: FilterProblem, text: &Arc<str>, bytes: Range<usize>) -> Self {
        FilterError::new(problem, Some(Place { text: Arc::clone(text), bytes }))
    }

    /// What is wrong.
    pub fn problem(&self) -> &FilterProblem {
        &self.problem
    }

    /// The byte of the filter's text where the problem is; `None` for a filter built in Rust.
    pub fn position(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.bytes.start)
    }

    /// The sentence, then the line of the filter and carets under the place. Long lines are cut
    /// around it. Without a place it is the sentence alone.
    pub fn render(&self) -> String {
        let Some(place) = &self.place else {
            return self.problem.to_string();
        };
        let (line, column, width) = excerpt(&place.text, &place.bytes);
        format!("{}\n  {line}\n  {}{}", self.problem, " ".repeat(column), "^".repeat(width))
    }
}

/// Characters shown on each side of the place.
const EXCERPT_CHARACTERS: usize = 60;

/// The line of `text` around `bytes`, the column (in characters) of the place in it and its width.
fn excerpt(text: &str, bytes: &Range<usize>) -> (String, usize, usize) {
    let (before, rest) = text.split_at_checked(bytes.start).unwrap_or((text, ""));
    let length = bytes.end.saturating_sub(bytes.start);
    let (marked, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
    let before = before.rsplit('\n').next().unwrap_or("");
    let skipped = before.chars().count().saturating_sub(EXCERPT_CHARACTERS);
    let marked = marked.split('\n').next().unwrap_or("");
    let after = after.split('\n').next().unwrap_or("");
    // One column for a character: a control character or a tab would move the carets.
    let plain = |character: char| if character.is_control() { ' ' } else { character };
    let mut line: String = if skipped > 0 { "...".to_owned() } else { String::new() };
    line.extend(before.chars().skip(skipped).map(plain));
    let column = line.chars().count();
    line.extend(marked.chars().take(EXCERPT_CHARACTERS).map(plain));
    let width = (line.chars().count() - column).max(1);
    line.extend(after.chars().take(EXCERPT_CHARACTERS).map(plain));
    if after.chars().nth(EXCERPT_CHARACTERS).is_some() {
        line.push_str("...");
    }
    (line, column, width)
}

impl fmt::Display for FilterError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position() {
            Some(position) => write!(out, "{} (at byte {position} of the filter)", self.problem),
            None => write!(out, "{}", self.problem),
        }
    }
}

impl std::error::Error for FilterError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, bytes: Range<usize>) -> Vec<String> {
        let error = FilterError::at(FilterProblem::UnclosedQuote, &Arc::from(text), bytes);
        error.render().lines().map(str::to_owned).collect()
    }

    #[test]
    fn carets_stand_under_the_place() {
        assert_eq!(rendered("year = \"x", 7..9)[1..], ["  year = \"x", "         ^^"]);
        assert_eq!(rendered("a =", 3..3)[1..], ["  a =", "     ^"]);
    }

    #[test]
    fn only_the_line_of_the_place_is_shown_and_columns_count_characters() {
        let text = "a = 1 and\nü\t= 'ä' or\nb = 2";
        let at = text.find("'ä'").expect("there");
        assert_eq!(rendered(text, at..at + 4)[1..], ["  ü = 'ä' or", "      ^^^"]);
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let text = format!("{}@{}", "x".repeat(5_000), "y".repeat(5_000));
        let lines = rendered(&text, 5_000..5_001);
        assert!(lines[1].len() < 200, "{}", lines[1].len());
        assert_eq!(lines[2].find('^'), lines[1].find('@'));
    }
}
