//! Records as they come in and as they are read back.

use half::f16;
use twinbit_kernels::Modality;

use crate::error::Error;
use crate::format::{MAX_FIELD_BYTES, MAX_TEXT_BYTES};
use crate::id::{ModelId, RecordId};
use crate::schema::{CollectionConfig, FieldId, IdKind, InputKind};
use crate::value::Value;

/// The text side of a record to be written.
#[derive(Clone, Copy, Debug)]
pub enum TextInput<'a> {
    /// The text itself.
    Text(&'a str),
    /// Its features.
    Features(&'a [f16]),
}

/// A record to be written.
///
/// A modality is present when its input or its code is given; at least one must be.
#[derive(Clone, Debug, Default)]
pub struct NewRecord<'a> {
    /// The id; `None` only where the database assigns ids.
    pub id: Option<RecordId>,
    /// Image features.
    pub image: Option<&'a [f16]>,
    /// Text or text features.
    pub text: Option<TextInput<'a>>,
    /// Packed codes of `bits / 8` bytes, image first.
    pub codes: [Option<&'a [u8]>; 2],
    /// Field values, in any order, each field at most once.
    pub fields: Vec<(FieldId, Value)>,
}

/// What became of a record that was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its id.
    pub id: RecordId,
    /// Its ordinal.
    pub ordinal: u64,
    /// Whether an older record with the id died.
    pub replaced: bool,
}

/// The text side of a record as stored.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredText {
    /// The text itself.
    Text(String),
    /// Its features.
    Features(Vec<f16>),
}

/// A record as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRecord {
    /// Its id.
    pub id: RecordId,
    /// Its ordinal.
    pub ordinal: u64,
    /// Image features, where kept.
    pub image: Option<Vec<f16>>,
    /// Text or text features, where kept.
    pub text: Option<StoredText>,
    /// Packed codes, image first, where there are any.
    pub codes: [Option<Vec<u8>>; 2],
    /// Which modalities the record has, image first.
    pub present: [bool; 2],
    /// Field values by ascending field.
    pub fields: Vec<(FieldId, Value)>,
}

impl NewRecord<'_> {
    /// Which modalities the record has.
    pub(crate) fn present(&self) -> [bool; 2] {
        let [image_code, text_code] = self.codes;
        [self.image.is_some() || image_code.is_some(), self.text.is_some() || text_code.is_some()]
    }

    /// Checks everything but the id against the collection. `codes` is the id of the codes that the
    /// collection stores, if any.
    pub(crate) fn check(&self, config: &CollectionConfig, codes: Option<ModelId>) -> Result<(), Error> {
        if let Some(image) = self.image {
            check_features(config, Modality::Image, image)?;
        }
        match self.text {
            Some(TextInput::Text(text)) => {
                if config.text != InputKind::Text {
                    return Err(Error::Input {
                        modality: Modality::Text,
                        what: "the collection takes no raw text",
                    });
                }
                if text.len() > MAX_TEXT_BYTES {
                    return Err(Error::Limit {
                        what: "the length of a text in bytes",
                        limit: MAX_TEXT_BYTES as u64,
                    });
                }
            }
            Some(TextInput::Features(features)) => check_features(config, Modality::Text, features)?,
            None => {}
        }
        let present = self.present();
        if present == [false; 2] {
            return Err(Error::Empty);
        }
        for ((modality, code), present) in Modality::ALL.into_iter().zip(self.codes).zip(present) {
            match code {
                Some(_) if codes.is_none() => return Err(Error::UnexpectedCode { modality }),
                Some(code) if code.len() != config.bits.bytes() => {
                    return Err(Error::Width {
                        modality,
                        what: "code (in bytes)",
                        expected: config.bits.bytes(),
                        got: code.len(),
                    });
                }
                // Without kept inputs a code could never be made later.
                None if present && (codes.is_some() || !config.keep_inputs) => {
                    return Err(Error::MissingCode { modality });
                }
                _ => {}
            }
        }
        check_fields(config, self.fields.iter().map(|(field, value)| (*field, Some(value))))
    }

    /// The id to store it under, or `None` when the database is to assign one.
    pub(crate) fn checked_id(&self, kind: IdKind) -> Result<Option<&RecordId>, Error> {
        match &self.id {
            Some(id) => id.check(kind).map(|()| Some(id)),
            None if kind == IdKind::Auto => Ok(None),
            None => Err(Error::Id("the collection's ids come from the application, and there is none")),
        }
    }
}

fn check_features(config: &CollectionConfig, modality: Modality, features: &[f16]) -> Result<(), Error> {
    let InputKind::Features { width } = config.input(modality) else {
        return Err(Error::Input { modality, what: "the collection takes no features for it" });
    };
    if features.len() != width as usize {
        return Err(Error::Width { modality, what: "input", expected: width as usize, got: features.len() });
    }
    if features.iter().any(|x| !x.is_finite()) {
        return Err(Error::Input { modality, what: "a feature is not a finite float16 number" });
    }
    Ok(())
}

/// Checks types, limits and that no field comes twice.
pub(crate) fn check_fields<'v>(
    config: &CollectionConfig,
    fields: impl Iterator<Item = (FieldId, Option<&'v Value>)>,
) -> Result<(), Error> {
    let mut seen = Vec::new();
    for (field, value) in fields {
        let expected = config.field_type(field)?;
        let refused = |what| -> Result<(), Error> {
            Err(Error::Value { field: config.field_name(field)?.to_owned(), what })
        };
        if seen.contains(&field) {
            return refused("the field is given twice");
        }
        seen.push(field);
        match value {
            None => {}
            Some(value) if value.field_type() != expected => {
                return Err(Error::FieldType {
                    field: config.field_name(field)?.to_owned(),
                    expected,
                    got: value.field_type(),
                });
            }
            Some(Value::F64(value)) if value.is_nan() => return refused("it is not a number"),
            Some(Value::Str(value)) if value.len() > MAX_FIELD_BYTES => {
                return refused("a string has at most 65,535 bytes");
            }
            Some(_) => {}
        }
    }
    Ok(())
}
