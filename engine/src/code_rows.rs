//! Ready codes of many records at once.

use crate::{Codes, Modality};

/// Ready codes of many records, for [`Writer::extend_codes`](crate::Writer::extend_codes): row i of the
/// one modality belongs to row i of the other.
///
/// [`CodesBuf::from_packed`](crate::CodesBuf::from_packed) makes the matrices from packed bytes.
///
/// ```
/// use twinbit::{CodeBits, CodeRows, CodesBuf, Database, Schema};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// let photos = database.create_collection("photos", Schema::new(CodeBits::B16).external_codes())?;
/// let codes = CodesBuf::from_packed(CodeBits::B16, &[0, 1, 0, 2, 0, 3])?;
/// let mut writer = photos.writer()?;
/// writer.extend_codes(CodeRows::new().images(codes.as_codes()))?;
/// writer.commit()?;
/// assert_eq!(photos.snapshot()?.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct CodeRows<'a> {
    columns: [Option<Codes<'a>>; 2],
}

impl<'a> CodeRows<'a> {
    /// No codes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The codes of one modality.
    pub fn codes(mut self, modality: Modality, codes: Codes<'a>) -> Self {
        let [image, text] = &mut self.columns;
        match modality {
            Modality::Image => *image = Some(codes),
            Modality::Text => *text = Some(codes),
        }
        self
    }

    /// The codes of images.
    pub fn images(self, codes: Codes<'a>) -> Self {
        self.codes(Modality::Image, codes)
    }

    /// The codes of texts.
    pub fn texts(self, codes: Codes<'a>) -> Self {
        self.codes(Modality::Text, codes)
    }

    pub(crate) fn columns(self) -> [Option<Codes<'a>>; 2] {
        self.columns
    }
}
