//! A record on its way in: an id, an image, a text, and fields.

use std::path::Path;

use crate::source::read_picture;
use crate::{Modality, Picture, RecordId, Result, Value};

/// What stands for one modality of a record or of a query.
///
/// Which of them a collection takes is told by its [`Schema`](crate::Schema).
///
/// ```
/// use twinbit::Input;
///
/// assert_eq!(Input::from("a cat"), Input::text("a cat"));
/// assert_eq!(Input::from([0.5, 1.0]), Input::features(vec![0.5, 1.0]));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Input {
    /// Features made elsewhere, one value a column.
    Features(Vec<f32>),
    /// An encoded picture: the bytes of a JPEG, PNG or WebP file.
    Picture(Vec<u8>),
    /// A decoded picture.
    Pixels(Picture),
    /// Text, as it is.
    Text(String),
    /// A ready code: `bits / 8` bytes, the first bit in the most significant bit of byte 0
    /// (the order of `numpy.packbits`).
    Code(Vec<u8>),
}

impl Input {
    /// Features made elsewhere.
    pub fn features(values: impl Into<Vec<f32>>) -> Self {
        Self::Features(values.into())
    }

    /// The bytes of a JPEG, PNG or WebP file.
    pub fn picture(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Picture(bytes.into())
    }

    /// A decoded picture, or pixels from elsewhere.
    pub fn pixels(picture: Picture) -> Self {
        Self::Pixels(picture)
    }

    /// The picture in a JPEG, PNG or WebP file of at most 64 MiB; decoding it comes later.
    ///
    /// # Errors
    /// [`Error::Source`](crate::Error::Source) when the file cannot be read or is larger.
    pub fn picture_file(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::Picture(read_picture(path.as_ref())?))
    }

    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A ready code of `bits / 8` bytes, first bit most significant.
    pub fn code(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Code(bytes.into())
    }

    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Self::Features(_) => "features",
            Self::Picture(_) | Self::Pixels(_) => "a picture",
            Self::Text(_) => "text",
            Self::Code(_) => "a code",
        }
    }

    /// Bytes this input holds, for bounding how much waits in memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Features(values) => values.len().saturating_mul(4),
            Self::Picture(bytes) | Self::Code(bytes) => bytes.len(),
            Self::Pixels(picture) => picture.rgb().len(),
            Self::Text(text) => text.len(),
        }
    }
}

impl From<Vec<f32>> for Input {
    fn from(values: Vec<f32>) -> Self {
        Self::Features(values)
    }
}

impl From<&Vec<f32>> for Input {
    fn from(values: &Vec<f32>) -> Self {
        Self::Features(values.clone())
    }
}

impl From<&[f32]> for Input {
    fn from(values: &[f32]) -> Self {
        Self::Features(values.to_vec())
    }
}

impl<const N: usize> From<[f32; N]> for Input {
    fn from(values: [f32; N]) -> Self {
        Self::Features(values.to_vec())
    }
}

impl<const N: usize> From<&[f32; N]> for Input {
    fn from(values: &[f32; N]) -> Self {
        Self::Features(values.to_vec())
    }
}

impl From<&str> for Input {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Input {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Input {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

/// A record to be written: built field by field, checked when it is put.
///
/// ```
/// use twinbit::Record;
///
/// let record = Record::new("kitten.jpg").text("a kitten in a basket").set("year", 2021);
/// let caption = Record::new("kitten.jpg#2").text("sleepy cat").of("kitten.jpg");
/// # assert_ne!(record, caption);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub(crate) id: Option<RecordId>,
    pub(crate) inputs: [Option<Input>; 2],
    pub(crate) codes: [Option<Vec<u8>>; 2],
    pub(crate) of: Option<RecordId>,
    pub(crate) fields: Vec<(String, Value)>,
}

impl Record {
    /// A record of this id. Putting it replaces the record of the same id, if there is one.
    pub fn new(id: impl Into<RecordId>) -> Self {
        Self { id: Some(id.into()), ..Self::auto() }
    }

    /// A record that the collection numbers by itself; only where ids are
    /// [`IdKind::Auto`](crate::IdKind::Auto).
    pub fn auto() -> Self {
        Self { id: None, inputs: [None, None], codes: [None, None], of: None, fields: Vec::new() }
    }

    /// The image: features, a picture, or a code.
    pub fn image(self, input: impl Into<Input>) -> Self {
        self.input(Modality::Image, input)
    }

    /// The text: text, features, or a code.
    pub fn text(self, input: impl Into<Input>) -> Self {
        self.input(Modality::Text, input)
    }

    /// The input of one modality; an [`Input::Code`] may stand beside another input.
    pub fn input(mut self, modality: Modality, input: impl Into<Input>) -> Self {
        match input.into() {
            Input::Code(code) => self.code(modality, code),
            input => {
                match modality {
                    Modality::Image => self.inputs[0] = Some(input),
                    Modality::Text => self.inputs[1] = Some(input),
                }
                self
            }
        }
    }

    /// A ready code of one modality (`bits / 8` bytes, first bit most significant), for collections
    /// with [external codes](crate::Schema::external_codes).
    pub fn code(mut self, modality: Modality, code: impl Into<Vec<u8>>) -> Self {
        match modality {
            Modality::Image => self.codes[0] = Some(code.into()),
            Modality::Text => self.codes[1] = Some(code.into()),
        }
        self
    }

    /// Marks this as a further caption of the record `id`.
    ///
    /// Training draws one caption an image and epoch; recall counts the image as the right answer of
    /// each of its captions.
    pub fn of(mut self, id: impl Into<RecordId>) -> Self {
        self.of = Some(id.into());
        self
    }

    /// Sets a field that the schema declares. Integers are taken for any numeric field they fit, and
    /// text of the form 2021-05-03T10:00:00Z (RFC 3339) for a timestamp.
    pub fn set(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.push((field.into(), value.into()));
        self
    }

    /// The id given.
    pub fn id(&self) -> Option<&RecordId> {
        self.id.as_ref()
    }

    /// Bytes the record holds, for bounding how much waits in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.inputs.iter().flatten().map(Input::bytes).sum::<usize>()
            + self.codes.iter().flatten().map(Vec::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_stands_beside_the_input_of_its_modality() {
        let record = Record::new(7).text("a cat").text(Input::code([1, 2]));
        assert_eq!(record.inputs, [None, Some(Input::Text("a cat".into()))]);
        assert_eq!(record.codes, [None, Some(vec![1, 2])]);
        assert_eq!(record.bytes(), 7);
    }

    #[test]
    fn inputs_come_from_the_types_at_hand() {
        assert_eq!(Input::from(&[1.0_f32, 2.0][..]), Input::features([1.0, 2.0]));
        assert_eq!(Input::from(&vec![1.0_f32, 2.0]), Input::from([1.0_f32, 2.0]));
        assert_eq!(Input::from("a"), Input::from(String::from("a")));
    }
}
