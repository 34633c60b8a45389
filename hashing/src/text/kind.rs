//! What a text featurizer counts.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// What a [`TextFeaturizer`](crate::TextFeaturizer) counts in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TextKind {
    /// Words, and runs of three characters, so that a misspelled or inflected word still says
    /// something.
    Ngram,
    /// Words alone.
    Bow,
}

impl TextKind {
    /// Every kind.
    pub const ALL: [TextKind; 2] = [TextKind::Ngram, TextKind::Bow];

    /// The name that users type: `ngram` or `bow`.
    pub fn name(self) -> &'static str {
        match self {
            TextKind::Ngram => "ngram",
            TextKind::Bow => "bow",
        }
    }
}

impl fmt::Display for TextKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for TextKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == text);
        kind.ok_or_else(|| Error::TextKind { name: text.to_owned() })
    }
}
