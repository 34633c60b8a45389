//! How raw pictures and texts become features.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Width of the features that EfficientNet-Lite0 makes.
const EFFICIENTNET_LITE0_WIDTH: usize = 1280;

/// How pictures become features.
///
/// ```
/// use twinbit::ImageEncoding;
///
/// assert_eq!(ImageEncoding::EfficientNetLite0.width(), 1280);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ImageEncoding {
    /// The embedded EfficientNet-Lite0 without its classifier: 1280 values. Needs the cargo feature
    /// `efficientnet-lite0`.
    #[serde(rename = "efficientnet-lite0")]
    EfficientNetLite0,
}

impl ImageEncoding {
    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::EfficientNetLite0 => "efficientnet-lite0",
        }
    }

    /// Values a picture becomes.
    pub fn width(self) -> usize {
        match self {
            Self::EfficientNetLite0 => EFFICIENTNET_LITE0_WIDTH,
        }
    }
}

/// How text becomes features.
///
/// ```
/// use twinbit::TextEncoding;
///
/// assert_eq!(TextEncoding::Ngram.name(), "ngram");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TextEncoding {
    /// Hashed n-grams of words and characters: forgiving about spelling and endings.
    Ngram,
    /// Bag of words with TF-IDF weights over a vocabulary fitted in training.
    Bow,
}

impl TextEncoding {
    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ngram => "ngram",
            Self::Bow => "bow",
        }
    }
}

impl FromStr for ImageEncoding {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "efficientnet-lite0" => Ok(Self::EfficientNetLite0),
            _ => Err(Error::UnknownEncoding { name: name.to_owned(), known: "efficientnet-lite0" }),
        }
    }
}

impl FromStr for TextEncoding {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "ngram" => Ok(Self::Ngram),
            "bow" => Ok(Self::Bow),
            _ => Err(Error::UnknownEncoding { name: name.to_owned(), known: "ngram, bow" }),
        }
    }
}
