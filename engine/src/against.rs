//! Which side of the records is searched.

use crate::Modality;

/// Which codes of the records a query is compared with.
///
/// ```
/// use twinbit::{Against, Modality};
///
/// assert_eq!(Against::from(Modality::Image).name(), "image");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Against {
    /// Those of the images.
    Image,
    /// Those of the texts.
    Text,
    /// Both; a record counts once, at its smaller distance.
    Both,
}

impl Against {
    /// The modalities whose codes they are.
    pub(crate) fn modalities(self) -> &'static [Modality] {
        match self {
            Self::Image => &[Modality::Image],
            Self::Text => &[Modality::Text],
            Self::Both => &Modality::ALL,
        }
    }

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Text => "text",
            Self::Both => "both",
        }
    }
}

impl From<Modality> for Against {
    fn from(modality: Modality) -> Self {
        match modality {
            Modality::Image => Self::Image,
            Modality::Text => Self::Text,
        }
    }
}
