//! What a collection is made of: ids, modalities, fields.

use std::fmt;

use serde::{Deserialize, Serialize};
use twinbit_kernels::{CodeBits, Modality};

use crate::error::Error;
use crate::format::{MAX_FIELDS, MAX_NAME_BYTES};
use crate::id::{CollectionId, ModelId};

/// The id type of a collection, fixed at creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdKind {
    /// The database assigns ids: a record's id is its first ordinal.
    Auto,
    /// The application gives 64-bit numbers.
    U64,
    /// The application gives strings of 1 to 1024 bytes.
    Str,
}

impl fmt::Display for IdKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IdKind::Auto => "auto",
            IdKind::U64 => "u64",
            IdKind::Str => "str",
        })
    }
}

/// The type of a metadata field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// Unsigned 64-bit integer.
    U64,
    /// Signed 64-bit integer.
    I64,
    /// 64-bit float; NaN is refused.
    F64,
    /// UTF-8 string of at most 65,535 bytes.
    Str,
    /// Truth value.
    Bool,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FieldType::U64 => "u64",
            FieldType::I64 => "i64",
            FieldType::F64 => "f64",
            FieldType::Str => "str",
            FieldType::Bool => "bool",
            FieldType::Timestamp => "timestamp",
        })
    }
}

/// The number of a field within its collection.
///
/// Number 0 is the built-in `of` (the id of the record this one belongs to), number `n` the `n`-th
/// declared field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub u16);

impl FieldId {
    /// The built-in field `of`.
    pub const OF: FieldId = FieldId(0);
}

/// A declared field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldSpec {
    /// Its name, unique in the collection and not `of`.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// Whether a sorted index is kept.
    pub indexed: bool,
}

/// What a modality's inputs are, and so what is kept of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// No inputs: only codes come in.
    None,
    /// Feature vectors, kept as float16.
    Features {
        /// Entries of a vector.
        width: u32,
    },
    /// Text (only for the text modality).
    Text,
}

/// The definition of a collection, fixed at creation but for added fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectionConfig {
    /// Code length.
    #[serde(with = "code_bits")]
    pub bits: CodeBits,
    /// Id type.
    pub ids: IdKind,
    /// What comes in for images.
    pub image: InputKind,
    /// What comes in for texts.
    pub text: InputKind,
    /// Whether inputs are stored. Without them codes cannot be made anew.
    pub keep_inputs: bool,
    /// Whether the application brings its own codes; such a collection never has a model.
    pub external_codes: bool,
    /// Declared fields; the id of a field is its position plus one.
    pub fields: Vec<FieldSpec>,
    /// Opaque to this crate.
    pub application: serde_json::Value,
}

impl CollectionConfig {
    /// The input kind of a modality.
    pub fn input(&self, modality: Modality) -> InputKind {
        match modality {
            Modality::Image => self.image,
            Modality::Text => self.text,
        }
    }

    /// The type of a field, `of` included.
    pub fn field_type(&self, field: FieldId) -> Result<FieldType, Error> {
        match field {
            FieldId::OF if self.ids == IdKind::Str => Ok(FieldType::Str),
            FieldId::OF => Ok(FieldType::U64),
            other => self.declared(other).map(|spec| spec.field_type),
        }
    }

    /// Whether a field has an index; `of` always has.
    pub fn is_indexed(&self, field: FieldId) -> bool {
        field == FieldId::OF || self.declared(field).is_ok_and(|spec| spec.indexed)
    }

    /// The name of a field.
    pub fn field_name(&self, field: FieldId) -> Result<&str, Error> {
        match field {
            FieldId::OF => Ok("of"),
            other => self.declared(other).map(|spec| spec.name.as_str()),
        }
    }

    /// The number of the field with this name.
    pub fn field_id(&self, name: &str) -> Option<FieldId> {
        if name == "of" {
            return Some(FieldId::OF);
        }
        let position = self.fields.iter().position(|spec| spec.name == name)?;
        u16::try_from(position + 1).ok().map(FieldId)
    }

    /// All fields, `of` first.
    pub(crate) fn field_ids(&self) -> impl Iterator<Item = FieldId> + use<> {
        (0..=u16::try_from(self.fields.len()).unwrap_or(u16::MAX)).map(FieldId)
    }

    fn declared(&self, field: FieldId) -> Result<&FieldSpec, Error> {
        usize::from(field.0)
            .checked_sub(1)
            .and_then(|position| self.fields.get(position))
            .ok_or(Error::UnknownField { field: field.0 })
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let mut seen = std::collections::HashSet::new();
        for spec in &self.fields {
            check_field_name(&spec.name)?;
            if !seen.insert(spec.name.as_str()) {
                return Err(Error::Exists { what: "field", name: spec.name.clone() });
            }
        }
        if self.fields.len() > MAX_FIELDS {
            return Err(Error::Limit { what: "the number of fields", limit: MAX_FIELDS as u64 });
        }
        if self.image == InputKind::Text {
            return Err(Error::Input {
                modality: Modality::Image,
                what: "images come as features or as nothing, not as text",
            });
        }
        for modality in Modality::ALL {
            if self.input(modality) == (InputKind::Features { width: 0 }) {
                return Err(Error::Input { modality, what: "features need a width of at least 1" });
            }
        }
        Ok(())
    }
}

/// Checks the name of a collection: 1 to 255 bytes, no control characters, no `/`.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let what = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME_BYTES {
        "it has more than 255 bytes"
    } else if name.chars().any(|c| c.is_control() || c == '/') {
        "control characters and '/' are not allowed"
    } else {
        return Ok(());
    };
    Err(Error::Name { name: name.to_owned(), what })
}

pub(crate) fn check_field_name(name: &str) -> Result<(), Error> {
    if name == "of" {
        return Err(Error::Name { name: name.to_owned(), what: "\"of\" is built in" });
    }
    check_name(name)
}

/// A collection as it is at one version.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectionInfo {
    /// Its number, never reused.
    pub id: CollectionId,
    /// Its name.
    pub name: String,
    /// Its definition.
    pub config: CollectionConfig,
    /// The model whose codes it holds.
    pub model: Option<ModelId>,
}

impl CollectionInfo {
    /// Which codes files belong to the collection now: the model's, or for external codes the
    /// all-zero id; `None` before there is a model.
    pub(crate) fn codes_id(&self) -> Option<ModelId> {
        if self.config.external_codes { Some(ModelId::EXTERNAL) } else { self.model }
    }
}

mod code_bits {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};
    use twinbit_kernels::CodeBits;

    pub(super) fn serialize<S: Serializer>(bits: &CodeBits, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(bits.bits() as u64)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CodeBits, D::Error> {
        CodeBits::new(usize::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(fields: Vec<FieldSpec>) -> CollectionConfig {
        CollectionConfig {
            bits: CodeBits::new(128).unwrap(),
            ids: IdKind::Str,
            image: InputKind::Features { width: 4 },
            text: InputKind::Text,
            keep_inputs: true,
            external_codes: false,
            fields,
            application: serde_json::json!({"encoder": "x"}),
        }
    }

    fn field(name: &str) -> FieldSpec {
        FieldSpec { name: name.to_owned(), field_type: FieldType::I64, indexed: true }
    }

    #[test]
    fn survives_json() {
        let config = config(vec![field("year")]);
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<CollectionConfig>(&text).unwrap(), config);
    }

    #[test]
    fn numbers_fields_after_of() {
        let config = config(vec![field("year"), field("month")]);
        assert_eq!(config.field_id("of"), Some(FieldId(0)));
        assert_eq!(config.field_id("month"), Some(FieldId(2)));
        assert_eq!(config.field_type(FieldId(0)).unwrap(), FieldType::Str);
        assert_eq!(config.field_name(FieldId(1)).unwrap(), "year");
        assert!(matches!(config.field_type(FieldId(3)), Err(Error::UnknownField { field: 3 })));
    }

    #[test]
    fn refuses_bad_definitions() {
        assert!(matches!(config(vec![field("of")]).validate(), Err(Error::Name { .. })));
        assert!(matches!(config(vec![field("a"), field("a")]).validate(), Err(Error::Exists { .. })));
        let mut text_images = config(vec![]);
        text_images.image = InputKind::Text;
        assert!(matches!(text_images.validate(), Err(Error::Input { .. })));
        for name in ["", "a/b", "a\nb", &"x".repeat(256)] {
            assert!(matches!(check_name(name), Err(Error::Name { .. })), "{name:?}");
        }
        assert!(check_name("photos of 2024").is_ok());
    }
}
