//! Metadata fields: their types and names.

use twinbit_storage::FieldSpec;

use crate::{Error, FieldType, Result};

/// Name of the built-in field that makes a record a further caption of another.
pub(crate) const OF: &str = "of";

/// The declaration of a metadata field.
///
/// ```
/// use twinbit::{Field, FieldType};
///
/// let year = Field::u64().indexed();
/// assert_eq!((year.field_type(), year.is_indexed()), (FieldType::U64, true));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    field_type: FieldType,
    indexed: bool,
}

impl Field {
    /// A field of the given type, not indexed.
    pub fn new(field_type: FieldType) -> Self {
        Self { field_type, indexed: false }
    }

    /// An unsigned integer.
    pub fn u64() -> Self {
        Self::new(FieldType::U64)
    }

    /// A signed integer.
    pub fn i64() -> Self {
        Self::new(FieldType::I64)
    }

    /// A 64-bit float; NaN is refused.
    pub fn f64() -> Self {
        Self::new(FieldType::F64)
    }

    /// A string.
    pub fn str() -> Self {
        Self::new(FieldType::Str)
    }

    /// True or false.
    pub fn bool() -> Self {
        Self::new(FieldType::Bool)
    }

    /// A point in time, in microseconds UTC.
    pub fn timestamp() -> Self {
        Self::new(FieldType::Timestamp)
    }

    /// Keeps an index of the values, so that filters on this field need not read all of them.
    pub fn indexed(mut self) -> Self {
        self.indexed = true;
        self
    }

    /// The type of its values.
    pub fn field_type(&self) -> FieldType {
        self.field_type
    }

    /// Whether an index is kept.
    pub fn is_indexed(&self) -> bool {
        self.indexed
    }

    /// What storage keeps of a field of this name.
    pub(crate) fn spec(&self, name: &str) -> FieldSpec {
        FieldSpec { name: name.to_owned(), field_type: self.field_type, indexed: self.indexed }
    }

    /// Name and declaration that storage kept.
    pub(crate) fn from_spec(spec: &FieldSpec) -> (String, Self) {
        (spec.name.clone(), Self { field_type: spec.field_type, indexed: spec.indexed })
    }
}

/// Names that filters can be written with, and that are not taken.
pub(crate) fn check_field_name(name: &str) -> Result<()> {
    const WORDS: [&str; 11] = ["id", OF, "and", "or", "not", "in", "is", "null", "true", "false", "image"];
    let mut characters = name.chars();
    let starts_well = characters.next().is_some_and(|first| first.is_alphabetic() || first == '_');
    let reason = if name.len() > 255 {
        "it is longer than 255 bytes"
    } else if !starts_well || !characters.all(|c| c.is_alphanumeric() || c == '_') {
        "names consist of letters, digits and underscores and do not start with a digit"
    } else if WORDS.contains(&name.to_ascii_lowercase().as_str()) || name.eq_ignore_ascii_case("text") {
        "the word is taken"
    } else {
        return Ok(());
    };
    Err(Error::FieldName { field: name.to_owned(), reason })
}
