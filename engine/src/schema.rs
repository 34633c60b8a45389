//! What a collection holds: code length, id type, inputs of the two modalities, fields.

use serde::{Deserialize, Serialize};
use twinbit_storage::format::MAX_FIELDS;
use twinbit_storage::{CollectionConfig, FieldId, InputKind};

use crate::field::{Field, OF, check_field_name};
use crate::value::{coerce, shown};
use crate::{CodeBits, Error, FieldType, IdKind, ImageEncoding, Modality, Result, TextEncoding, Value};

/// What a collection takes as the image of a record.
///
/// ```
/// use twinbit::{CodeBits, ImageKind, Schema};
///
/// let schema = Schema::new(CodeBits::B64).image_features(512);
/// assert_eq!(schema.image_kind(), ImageKind::Features { width: 512 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageKind {
    /// Nothing but codes.
    None,
    /// Features made elsewhere.
    Features {
        /// Values a feature row has.
        width: usize,
    },
    /// Pictures, made into features by this encoder.
    Pictures(ImageEncoding),
}

/// What a collection takes as the text of a record.
///
/// ```
/// use twinbit::{CodeBits, Schema, TextEncoding, TextKind};
///
/// let schema = Schema::new(CodeBits::B64).text_encoder(TextEncoding::Ngram);
/// assert_eq!(schema.text_kind(), TextKind::Text(TextEncoding::Ngram));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextKind {
    /// Nothing but codes.
    None,
    /// Features made elsewhere.
    Features {
        /// Values a feature row has.
        width: usize,
    },
    /// Text, made into features in this way.
    Text(TextEncoding),
}

/// What a collection holds; fixed when it is created, but for fields, which may be added.
///
/// ```
/// use twinbit::{CodeBits, Field, IdKind, Schema, TextEncoding};
///
/// let schema = Schema::new(CodeBits::B128)
///     .ids(IdKind::Str)
///     .image_features(1280)
///     .text_encoder(TextEncoding::Ngram)
///     .field("year", Field::u64().indexed())
///     .field("lang", Field::str());
/// assert_eq!(schema.fields().count(), 2);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    bits: CodeBits,
    ids: IdKind,
    image: ImageKind,
    text: TextKind,
    external_codes: bool,
    keep_inputs: bool,
    fields: Vec<(String, Field)>,
    /// Id of the image encoder that made the kept features; filled in when the collection is created.
    image_featurizer: Option<String>,
}

/// The part of a schema that storage keeps without understanding it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Application {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image_encoder: Option<ImageEncoding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image_featurizer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text_encoder: Option<TextEncoding>,
}

impl Schema {
    /// A schema of codes of this many bits, with automatic ids and no inputs declared yet.
    pub fn new(bits: CodeBits) -> Self {
        Self {
            bits,
            ids: IdKind::Auto,
            image: ImageKind::None,
            text: TextKind::None,
            external_codes: false,
            keep_inputs: true,
            fields: Vec::new(),
            image_featurizer: None,
        }
    }

    /// The type of ids (default: automatic).
    pub fn ids(mut self, ids: IdKind) -> Self {
        self.ids = ids;
        self
    }

    /// Images come in as features of this width.
    pub fn image_features(mut self, width: usize) -> Self {
        self.image = ImageKind::Features { width };
        self
    }

    /// Images come in as pictures, which this encoder makes into features.
    pub fn image_encoder(mut self, encoding: ImageEncoding) -> Self {
        self.image = ImageKind::Pictures(encoding);
        self
    }

    /// Texts come in as features of this width.
    pub fn text_features(mut self, width: usize) -> Self {
        self.text = TextKind::Features { width };
        self
    }

    /// Texts come in as text, are kept as text, and are made into features in this way.
    pub fn text_encoder(mut self, encoding: TextEncoding) -> Self {
        self.text = TextKind::Text(encoding);
        self
    }

    /// Codes come from outside: records and queries bring them, there are no networks.
    pub fn external_codes(mut self) -> Self {
        self.external_codes = true;
        self
    }

    /// Whether inputs are kept (default: yes). Without them the collection is smaller, but can
    /// neither be trained on nor be encoded again by another model.
    pub fn keep_inputs(mut self, keep: bool) -> Self {
        self.keep_inputs = keep;
        self
    }

    /// Declares a metadata field.
    pub fn field(mut self, name: impl Into<String>, field: Field) -> Self {
        self.fields.push((name.into(), field));
        self
    }

    /// Bits of a code.
    pub fn bits(&self) -> CodeBits {
        self.bits
    }

    /// The type of ids.
    pub fn id_kind(&self) -> IdKind {
        self.ids
    }

    /// What is taken as the image of a record.
    pub fn image_kind(&self) -> ImageKind {
        self.image
    }

    /// What is taken as the text of a record.
    pub fn text_kind(&self) -> TextKind {
        self.text
    }

    /// Whether codes come from outside.
    pub fn has_external_codes(&self) -> bool {
        self.external_codes
    }

    /// Whether inputs are kept.
    pub fn keeps_inputs(&self) -> bool {
        self.keep_inputs
    }

    /// The declared fields, in order of declaration; the built-in field `of` is not among them.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&str, Field)> {
        self.fields.iter().map(|(name, field)| (name.as_str(), *field))
    }

    /// Id and type of a field by its name, the built-in `of` included.
    pub(crate) fn resolve(&self, name: &str) -> Result<(FieldId, FieldType)> {
        if name == OF {
            let of_type = match self.ids {
                IdKind::Str => FieldType::Str,
                IdKind::Auto | IdKind::U64 => FieldType::U64,
            };
            return Ok((FieldId(0), of_type));
        }
        // Storage numbers the declared fields from 1, in order.
        (1_u16..)
            .zip(&self.fields)
            .find(|(_, (declared, _))| declared == name)
            .map(|(id, (_, field))| (FieldId(id), field.field_type()))
            .ok_or_else(|| Error::UnknownField {
                field: name.to_owned(),
                known: self.fields.iter().map(|(name, _)| name.clone()).collect(),
            })
    }

    /// Id of a field and the value in the field's own type.
    pub(crate) fn typed(&self, name: &str, value: Value) -> Result<(FieldId, Value)> {
        let (id, field_type) = self.resolve(name)?;
        match coerce(&value, field_type) {
            Some(value) => Ok((id, value)),
            None => {
                Err(Error::FieldType { field: name.to_owned(), expected: field_type, value: shown(&value) })
            }
        }
    }

    /// Name of a field by its id.
    pub(crate) fn field_name(&self, id: FieldId) -> Option<&str> {
        match id.0 {
            0 => Some(OF),
            number => self.fields.get(usize::from(number) - 1).map(|(name, _)| name.as_str()),
        }
    }

    /// Width of the features of a modality, where the schema alone decides it.
    pub(crate) fn width(&self, modality: Modality) -> Option<usize> {
        match (modality, self.image, self.text) {
            (Modality::Image, ImageKind::Features { width }, _)
            | (Modality::Text, _, TextKind::Features { width }) => Some(width),
            (Modality::Image, ImageKind::Pictures(encoding), _) => Some(encoding.width()),
            _ => None,
        }
    }

    /// What is taken as input of a modality, in words.
    pub(crate) fn expects(&self, modality: Modality) -> String {
        let features = |width: usize| format!("features of width {width}");
        match modality {
            Modality::Image => match self.image {
                ImageKind::None => "codes".to_owned(),
                ImageKind::Features { width } => features(width),
                ImageKind::Pictures(encoding) => {
                    format!("a picture (or its {} features)", encoding.width())
                }
            },
            Modality::Text => match self.text {
                TextKind::None => "codes".to_owned(),
                TextKind::Features { width } => features(width),
                TextKind::Text(_) => "text".to_owned(),
            },
        }
    }

    /// Id of what made the image features; "none" when they come in.
    pub(crate) fn image_featurizer(&self) -> &str {
        self.image_featurizer.as_deref().unwrap_or("none")
    }

    pub(crate) fn with_image_featurizer(mut self, id: &str) -> Self {
        self.image_featurizer = Some(id.to_owned());
        self
    }

    /// Refuses declarations that contradict each other.
    pub(crate) fn validate(&self) -> Result<()> {
        let missing = self.image == ImageKind::None || self.text == TextKind::None;
        if missing && !self.external_codes {
            let reason = "declare what stands for images and what for texts, or external codes";
            return Err(Error::Schema { reason });
        }
        for modality in Modality::ALL {
            if self.width(modality).is_some_and(|width| width == 0 || u32::try_from(width).is_err()) {
                return Err(Error::Schema { reason: "features must have at least one value" });
            }
        }
        if self.fields.len() > MAX_FIELDS {
            return Err(Error::Schema { reason: "there are more than 4,096 fields" });
        }
        for (position, (name, _)) in self.fields.iter().enumerate() {
            check_field_name(name)?;
            if self.fields.iter().take(position).any(|(other, _)| other == name) {
                let reason = "it is declared twice";
                return Err(Error::FieldName { field: name.clone(), reason });
            }
        }
        Ok(())
    }

    /// What storage keeps of this schema.
    pub(crate) fn to_config(&self) -> Result<CollectionConfig> {
        self.validate()?;
        let features = |width: usize| match u32::try_from(width) {
            Ok(width) => Ok(InputKind::Features { width }),
            Err(_) => Err(Error::Schema { reason: "features are too wide" }),
        };
        let mut application =
            Application { image_featurizer: self.image_featurizer.clone(), ..Application::default() };
        let image = match self.image {
            ImageKind::None => InputKind::None,
            ImageKind::Features { width } => features(width)?,
            ImageKind::Pictures(encoding) => {
                application.image_encoder = Some(encoding);
                features(encoding.width())?
            }
        };
        let text = match self.text {
            TextKind::None => InputKind::None,
            TextKind::Features { width } => features(width)?,
            TextKind::Text(encoding) => {
                application.text_encoder = Some(encoding);
                InputKind::Text
            }
        };
        Ok(CollectionConfig {
            bits: self.bits,
            ids: self.ids,
            image,
            text,
            keep_inputs: self.keep_inputs,
            external_codes: self.external_codes,
            fields: self.fields.iter().map(|(name, field)| field.spec(name)).collect(),
            application: serde_json::to_value(application)
                .map_err(|_| Error::Schema { reason: "it cannot be written as JSON" })?,
        })
    }

    /// The schema that storage kept.
    pub(crate) fn from_config(config: &CollectionConfig) -> Result<Self> {
        const NEWER: &str = "it was written by a newer version of twinbit";
        let application =
            Application::deserialize(&config.application).map_err(|_| Error::Schema { reason: NEWER })?;
        let image = match (application.image_encoder, &config.image) {
            (Some(encoding), _) => ImageKind::Pictures(encoding),
            (None, InputKind::Features { width }) => ImageKind::Features { width: *width as usize },
            (None, _) => ImageKind::None,
        };
        let text = match (application.text_encoder, &config.text) {
            (Some(encoding), _) => TextKind::Text(encoding),
            (None, InputKind::Features { width }) => TextKind::Features { width: *width as usize },
            (None, _) => TextKind::None,
        };
        Ok(Self {
            bits: config.bits,
            ids: config.ids,
            image,
            text,
            external_codes: config.external_codes,
            keep_inputs: config.keep_inputs,
            fields: config.fields.iter().map(Field::from_spec).collect(),
            image_featurizer: application.image_featurizer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features() -> Schema {
        Schema::new(CodeBits::B64).image_features(3).text_features(2)
    }

    #[test]
    fn a_schema_survives_storage() {
        let schema = Schema::new(CodeBits::B128)
            .ids(IdKind::Str)
            .image_encoder(ImageEncoding::EfficientNetLite0)
            .text_encoder(TextEncoding::Bow)
            .keep_inputs(false)
            .field("year", Field::u64().indexed())
            .field("seen", Field::timestamp())
            .with_image_featurizer("efficientnet-lite0/1234");
        let back = Schema::from_config(&schema.to_config().unwrap()).unwrap();
        assert_eq!(back, schema);
        assert_eq!(back.image_featurizer(), "efficientnet-lite0/1234");
    }

    #[test]
    fn contradictions_are_refused() {
        let no_text = Schema::new(CodeBits::B64).image_features(3);
        assert!(matches!(no_text.to_config(), Err(Error::Schema { .. })));
        assert!(no_text.clone().external_codes().to_config().is_ok());
        assert!(matches!(features().image_features(0).to_config(), Err(Error::Schema { .. })));
        for name in ["", "1st", "a b", "of", "AND", "text"] {
            let schema = features().field(name, Field::u64());
            assert!(matches!(schema.to_config(), Err(Error::FieldName { .. })), "{name}");
        }
        let many = |count| (0..count).fold(features(), |all, n| all.field(format!("f{n}"), Field::u64()));
        assert!(many(4096).to_config().is_ok());
        assert!(matches!(many(4097).to_config(), Err(Error::Schema { .. })));
        let twice = features().field("a", Field::u64()).field("a", Field::str());
        assert!(matches!(twice.to_config(), Err(Error::FieldName { .. })));
    }

    #[test]
    fn values_take_the_type_of_their_field() {
        let schema = features().field("year", Field::u64()).field("lang", Field::str());
        assert_eq!(schema.typed("year", Value::I64(7)).unwrap(), (FieldId(1), Value::U64(7)));
        assert!(matches!(schema.typed("year", Value::I64(-7)), Err(Error::FieldType { .. })));
        assert!(matches!(schema.typed("yaer", Value::I64(7)), Err(Error::UnknownField { .. })));
        assert_eq!(schema.typed("of", Value::U64(7)).unwrap(), (FieldId(0), Value::U64(7)));
        assert_eq!(schema.field_name(FieldId(2)), Some("lang"));
        assert_eq!(schema.field_name(FieldId(3)), None);
    }
}
