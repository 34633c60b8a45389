//! The two kinds of input.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Which side of an image-text pair something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Modality {
    /// A picture, or features of one.
    Image,
    /// A text, or features of one.
    Text,
}

impl Modality {
    /// Both modalities, in the order of their [`index`](Self::index).
    pub const ALL: [Self; 2] = [Self::Image, Self::Text];

    /// A dense number: 0 for images, 1 for texts.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Image => 0,
            Self::Text => 1,
        }
    }

    /// The name in lower case, as [`FromStr`] reads it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Text => "text",
        }
    }

    /// The opposite side of a pair.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Image => Self::Text,
            Self::Text => Self::Image,
        }
    }
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Modality {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|modality| modality.name() == name)
            .ok_or_else(|| Error::UnknownModality { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_go_both_ways() {
        for (index, modality) in Modality::ALL.into_iter().enumerate() {
            assert_eq!(modality.index(), index);
            assert_eq!(modality.to_string().parse::<Modality>().unwrap(), modality);
            assert_eq!(modality.other().other(), modality);
            assert_ne!(modality.other(), modality);
        }
        assert!(
            matches!("Image".parse::<Modality>(), Err(Error::UnknownModality { name }) if name == "Image")
        );
    }
}
