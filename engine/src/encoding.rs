//! How raw pictures and texts become features.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Width of the features that EfficientNet-Lite0 makes.
const EFFICIENTNET_LITE0_WIDTH: usize = 1280;

/// How pictures become features.
///
/// ```
/// use twinbit::{CodeBits, ImageEncoding, ImageKind, Schema, TextEncoding};
///
/// let photos = ImageEncoding::EfficientNetLite0;
/// assert_eq!((&*photos.name(), photos.width()), ("efficientnet-lite0", Some(1280)));
/// let schema = Schema::new(CodeBits::B64).image_encoder(photos.clone()).text_encoder(TextEncoding::Ngram);
/// assert_eq!(*schema.image_kind(), ImageKind::Pictures(photos));
/// // CLIP for both sides, from one folder.
/// let clip = "models/clip-vit-base-patch32";
/// let schema = Schema::new(CodeBits::B64)
///     .image_encoder(ImageEncoding::Folder(clip.into()))
///     .text_encoder(TextEncoding::Folder(clip.into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ImageEncoding {
    /// The embedded EfficientNet-Lite0 without its classifier: 1280 values. Needs the cargo feature
    /// `efficientnet-lite0`.
    #[serde(rename = "efficientnet-lite0")]
    EfficientNetLite0,
    /// A network from a folder, which stays where it is: a ResNet, a VGG or CLIP's image side. It is read
    /// when the first picture is encoded.
    Folder(PathBuf),
}

impl ImageEncoding {
    /// The name used on the command line: of a folder, its path.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::EfficientNetLite0 => "efficientnet-lite0".into(),
            Self::Folder(path) => path.to_string_lossy(),
        }
    }

    /// Values a picture becomes; `None` where only the folder tells.
    pub fn width(&self) -> Option<usize> {
        match self {
            Self::EfficientNetLite0 => Some(EFFICIENTNET_LITE0_WIDTH),
            Self::Folder(_) => None,
        }
    }

    /// The folder that the network is read from.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::EfficientNetLite0 => None,
            Self::Folder(path) => Some(path),
        }
    }
}

/// How text becomes features.
///
/// ```
/// use twinbit::{CodeBits, Schema, TextEncoding, TextKind};
///
/// let schema = Schema::new(CodeBits::B64).image_features(512).text_encoder("ngram".parse::<TextEncoding>()?);
/// assert_eq!(*schema.text_kind(), TextKind::Text(TextEncoding::Ngram));
/// # Ok::<(), twinbit::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TextEncoding {
    /// Hashed n-grams of words and characters: forgiving about spelling and endings.
    Ngram,
    /// Bag of words with TF-IDF weights over a vocabulary fitted in training.
    Bow,
    /// A network from a folder, which stays where it is: a BERT-like sentence encoder such as MiniLM, or
    /// CLIP's text side. It is read when the first text is encoded.
    Folder(PathBuf),
}

impl TextEncoding {
    /// The name used on the command line: of a folder, its path.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Ngram => "ngram".into(),
            Self::Bow => "bow".into(),
            Self::Folder(path) => path.to_string_lossy(),
        }
    }

    /// The folder that the network is read from.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Ngram | Self::Bow => None,
            Self::Folder(path) => Some(path),
        }
    }
}

impl FromStr for ImageEncoding {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "efficientnet-lite0" => Ok(Self::EfficientNetLite0),
            _ => Err(Error::UnknownEncoding {
                name: name.to_owned(),
                known: "efficientnet-lite0, or the path of a folder",
            }),
        }
    }
}

impl FromStr for TextEncoding {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "ngram" => Ok(Self::Ngram),
            "bow" => Ok(Self::Bow),
            _ => Err(Error::UnknownEncoding {
                name: name.to_owned(),
                known: "ngram, bow, or the path of a folder",
            }),
        }
    }
}
