//! What a collection holds: code length, id type, inputs of the two modalities, fields.

use std::path::{Path, PathBuf};

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
/// assert_eq!(*schema.image_kind(), ImageKind::Features { width: 512 });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
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
/// assert_eq!(*schema.text_kind(), TextKind::Text(TextEncoding::Ngram));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The encoders of images and texts, where they are known by an id; filled in when the collection is
    /// created.
    encoders: [Option<KnownEncoder>; 2],
}

/// A pretrained encoder, as a collection knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownEncoder {
    pub(crate) id: String,
    /// Values it makes of a picture or a text.
    pub(crate) width: usize,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text_featurizer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text_width: Option<usize>,
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
            encoders: [None, None],
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
    pub fn image_kind(&self) -> &ImageKind {
        &self.image
    }

    /// What is taken as the text of a record.
    pub fn text_kind(&self) -> &TextKind {
        &self.text
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
        let known = || self.encoder(modality).map(|encoder| encoder.width);
        match (modality, &self.image, &self.text) {
            (Modality::Image, ImageKind::Features { width }, _)
            | (Modality::Text, _, TextKind::Features { width }) => Some(*width),
            (Modality::Image, ImageKind::Pictures(encoding), _) => encoding.width().or_else(known),
            (Modality::Text, _, TextKind::Text(TextEncoding::Folder(_))) => known(),
            _ => None,
        }
    }

    /// The folder that the encoder of a modality is read from.
    pub(crate) fn folder(&self, modality: Modality) -> Option<&Path> {
        match (modality, &self.image, &self.text) {
            (Modality::Image, ImageKind::Pictures(encoding), _) => encoding.folder(),
            (Modality::Text, _, TextKind::Text(encoding)) => encoding.folder(),
            _ => None,
        }
    }

    /// The same with the encoder of a modality read from another folder.
    pub(crate) fn with_folder(mut self, modality: Modality, folder: PathBuf) -> Self {
        match modality {
            Modality::Image => self.image = ImageKind::Pictures(ImageEncoding::Folder(folder)),
            Modality::Text => self.text = TextKind::Text(TextEncoding::Folder(folder)),
        }
        self
    }

    /// What is taken as input of a modality, in words.
    pub(crate) fn expects(&self, modality: Modality) -> String {
        let features = |width: usize| format!("features of width {width}");
        match modality {
            Modality::Image => match self.image {
                ImageKind::None => "codes".to_owned(),
                ImageKind::Features { width } => features(width),
                ImageKind::Pictures(_) => {
                    format!("a picture (or its {} features)", self.width(modality).unwrap_or(0))
                }
            },
            Modality::Text => match self.text {
                TextKind::None => "codes".to_owned(),
                TextKind::Features { width } => features(width),
                TextKind::Text(_) => "text".to_owned(),
            },
        }
    }

    /// The pretrained encoder of a modality, where there is one.
    pub(crate) fn encoder(&self, modality: Modality) -> Option<&KnownEncoder> {
        let [image, text] = &self.encoders;
        match modality {
            Modality::Image => image.as_ref(),
            Modality::Text => text.as_ref(),
        }
    }

    /// Id of the pretrained encoder of a modality; "none" without one.
    pub(crate) fn featurizer(&self, modality: Modality) -> &str {
        self.encoder(modality).map_or("none", |encoder| &encoder.id)
    }

    pub(crate) fn with_encoder(mut self, modality: Modality, encoder: KnownEncoder) -> Self {
        let [image, text] = &mut self.encoders;
        match modality {
            Modality::Image => *image = Some(encoder),
            Modality::Text => *text = Some(encoder),
        }
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
        let [image_encoder, text_encoder] = &self.encoders;
        let mut application = Application {
            image_featurizer: image_encoder.as_ref().map(|encoder| encoder.id.clone()),
            text_featurizer: text_encoder.as_ref().map(|encoder| encoder.id.clone()),
            text_width: text_encoder.as_ref().map(|encoder| encoder.width),
            ..Application::default()
        };
        let image = match &self.image {
            ImageKind::None => InputKind::None,
            ImageKind::Features { width } => features(*width)?,
            ImageKind::Pictures(encoding) => {
                application.image_encoder = Some(encoding.clone());
                features(self.width(Modality::Image).unwrap_or(0))?
            }
        };
        let text = match &self.text {
            TextKind::None => InputKind::None,
            TextKind::Features { width } => features(*width)?,
            TextKind::Text(encoding) => {
                application.text_encoder = Some(encoding.clone());
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
                .map_err(|_| Error::Schema { reason: "the path of an encoder's folder is not Unicode" })?,
        })
    }

    /// The schema that storage kept.
    pub(crate) fn from_config(config: &CollectionConfig) -> Result<Self> {
        const NEWER: &str = "it was written by a newer version of twinbit";
        let application =
            Application::deserialize(&config.application).map_err(|_| Error::Schema { reason: NEWER })?;
        let image_width = match &config.image {
            InputKind::Features { width } => *width as usize,
            _ => 0,
        };
        let known = |id: Option<String>, width| id.map(|id| KnownEncoder { id, width });
        let image_encoder = known(application.image_featurizer, image_width);
        let text_encoder = known(application.text_featurizer, application.text_width.unwrap_or(0));
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
            encoders: [image_encoder, text_encoder],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str, width: usize) -> KnownEncoder {
        KnownEncoder { id: id.to_owned(), width }
    }

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
            .with_encoder(Modality::Image, known("efficientnet-lite0/1234", 1280));
        let back = Schema::from_config(&schema.to_config().unwrap()).unwrap();
        assert_eq!(back, schema);
        assert_eq!(back.featurizer(Modality::Image), "efficientnet-lite0/1234");
    }

    #[test]
    fn a_schema_with_encoders_from_folders_survives_storage() {
        let schema = Schema::new(CodeBits::B128)
            .image_encoder(ImageEncoding::Folder("/models/a".into()))
            .text_encoder(TextEncoding::Folder("/models/b".into()))
            .with_encoder(Modality::Image, known("resnet50/1", 2048))
            .with_encoder(Modality::Text, known("bert/2", 384));
        let back = Schema::from_config(&schema.to_config().unwrap()).unwrap();
        assert_eq!(back, schema);
        assert_eq!(Modality::ALL.map(|modality| back.width(modality)), [Some(2048), Some(384)]);
        let moved = back.with_folder(Modality::Text, "/models/c".into());
        let folders = Modality::ALL.map(|modality| moved.folder(modality).unwrap().to_owned());
        assert_eq!(folders, [Path::new("/models/a"), Path::new("/models/c")]);
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
