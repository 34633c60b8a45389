//! Rows of tables as records: which column is what.

use std::path::Path;

use super::error::SourceError;
use super::files;
use super::{Content, record_id};
use crate::value::coerce;
use crate::{FieldType, IdKind, Input, Record, RecordId, Schema, Value};

/// The names of the columns of a table that are no fields: those of the id, the image, the text, and
/// the id of the record that a row is a further caption of.
///
/// What is not named here has the names that the source takes by itself.
///
/// ```
/// use twinbit::{Columns, PairsSource};
///
/// let source = PairsSource::new("captions.csv").columns(Columns::new().image("file").text("caption"));
/// # drop(source);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    pub(super) id: Option<String>,
    pub(super) image: Option<String>,
    pub(super) text: Option<String>,
    pub(super) of: Option<String>,
}

impl Columns {
    /// The names that the source takes by itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// The column of the ids.
    pub fn id(mut self, column: impl Into<String>) -> Self {
        self.id = Some(column.into());
        self
    }

    /// The column of the pictures or their paths.
    pub fn image(mut self, column: impl Into<String>) -> Self {
        self.image = Some(column.into());
        self
    }

    /// The column of the texts.
    pub fn text(mut self, column: impl Into<String>) -> Self {
        self.text = Some(column.into());
        self
    }

    /// The column with the id of the record that a row is a further caption of.
    pub fn of(mut self, column: impl Into<String>) -> Self {
        self.of = Some(column.into());
        self
    }

    /// What a column is, where those that are not named have these names.
    pub(super) fn role(&self, column: &str, defaults: &Names) -> Role {
        let is = |named: &Option<String>, default: &[&str]| match named {
            Some(name) => name == column,
            None => default.contains(&column),
        };
        if is(&self.id, defaults.id) {
            Role::Id
        } else if is(&self.image, defaults.image) {
            Role::Image
        } else if is(&self.text, defaults.text) {
            Role::Text
        } else if is(&self.of, defaults.of) {
            Role::Of
        } else {
            Role::Field
        }
    }

    /// The columns that the caller named.
    pub(super) fn named(&self) -> impl Iterator<Item = &str> {
        [&self.id, &self.image, &self.text, &self.of].into_iter().flatten().map(String::as_str)
    }
}

/// The names that a kind of table has for the columns that are no fields, the preferred one first.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) id: &'static [&'static str],
    pub(super) image: &'static [&'static str],
    pub(super) text: &'static [&'static str],
    pub(super) of: &'static [&'static str],
}

/// What a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Id,
    Image,
    Text,
    Of,
    Field,
}

/// What stands in a row under a column.
#[derive(Debug)]
pub(super) enum Cell {
    /// Nothing.
    Null,
    /// A value of a known type.
    Value(Value),
    /// A value as written, whose type the field tells.
    Written(String),
    /// Several texts.
    Texts(Vec<String>),
    /// An encoded picture.
    Picture(Vec<u8>),
    /// What no column can hold.
    Other,
}

/// Where the ids of rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// From their column, which may not be there where the collection numbers its records.
    Column,
    /// From their column, which does not count where the collection numbers its records.
    Optional,
    /// As [`Optional`](Self::Optional), and without the column from the path of the picture without
    /// its extension.
    OrPath,
}

/// How rows become records.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) schema: &'a Schema,
    /// Where relative paths of pictures start.
    pub(super) folder: &'a Path,
    pub(super) ids: Ids,
}

impl Table<'_> {
    /// The record of a row. Columns that are no declared fields are left out.
    pub(super) fn content<'c>(
        &self,
        cells: impl IntoIterator<Item = (Role, &'c str, Cell)>,
    ) -> Result<Content, SourceError> {
        let kind = self.schema.id_kind();
        let (mut id, mut path_id) = (None, None);
        let mut record = Record::auto();
        let mut texts = Vec::new();
        for (role, column, cell) in cells {
            match (role, cell) {
                (_, Cell::Null) => {}
                (Role::Id, _) if kind == IdKind::Auto && self.ids == Ids::Column => {
                    return Err(SourceError::IdsNotTaken);
                }
                (Role::Id, _) if kind == IdKind::Auto => {}
                (Role::Id, cell) => id = Some(cell.id(column, kind)?),
                (Role::Of, cell) => record = record.of(cell.id(column, kind)?),
                (Role::Image, Cell::Picture(bytes)) => record = record.image(Input::picture(bytes)),
                (Role::Image, cell) => {
                    let path = cell.text(column, "a picture or the path of one")?;
                    if self.ids == Ids::OrPath && kind != IdKind::Auto {
                        path_id = Some(path_as_id(kind, &path));
                    }
                    record = record.image(Input::picture(files::read_picture(&self.folder.join(path))?));
                }
                (Role::Text, cell) => texts.extend(cell.texts(column)?),
                (Role::Field, cell) => {
                    let field = self.schema.fields().find(|(name, _)| *name == column);
                    if let Some((_, field)) = field
                        && let Some(value) = cell.value(column, field.field_type())?
                    {
                        record = record.set(column, value);
                    }
                }
            }
        }
        record.id = match (id, path_id) {
            (Some(id), _) => Some(id),
            (None, Some(id)) => Some(id?),
            (None, None) if kind == IdKind::Auto => None,
            (None, None) => {
                return Err(SourceError::Column { column: "id".to_owned(), wanted: "the record's id" });
            }
        };
        Ok(Content::new(record, texts))
    }
}

/// The path of a picture without its extension as an id, as a folder of pictures has it.
fn path_as_id(kind: IdKind, path: &str) -> Result<RecordId, SourceError> {
    let stem = Path::new(path).with_extension("");
    record_id(kind, &stem.to_string_lossy())
}

impl Cell {
    /// The id that stands here.
    fn id(self, column: &str, kind: IdKind) -> Result<RecordId, SourceError> {
        match self {
            Cell::Written(text) | Cell::Value(Value::Str(text)) => record_id(kind, &text),
            Cell::Value(Value::U64(number)) => record_id(kind, &number.to_string()),
            Cell::Value(Value::I64(number)) => record_id(kind, &number.to_string()),
            _ => Err(SourceError::Column { column: column.to_owned(), wanted: "text or a whole number" }),
        }
    }

    fn text(self, column: &str, wanted: &'static str) -> Result<String, SourceError> {
        match self {
            Cell::Written(text) | Cell::Value(Value::Str(text)) => Ok(text),
            _ => Err(SourceError::Column { column: column.to_owned(), wanted }),
        }
    }

    /// One text or several; blank ones are left out.
    fn texts(self, column: &str) -> Result<Vec<String>, SourceError> {
        let mut texts = match self {
            Cell::Texts(texts) => texts,
            cell => vec![cell.text(column, "text or a list of texts")?],
        };
        texts.retain(|text| !text.trim().is_empty());
        Ok(texts)
    }

    /// The value of a field. Values of a known type are checked when the record is written.
    fn value(self, column: &str, field_type: FieldType) -> Result<Option<Value>, SourceError> {
        match self {
            Cell::Null => Ok(None),
            Cell::Value(value) => Ok(Some(value)),
            Cell::Written(text) => match written(&text, field_type) {
                Some(value) => Ok(Some(value)),
                None => Err(SourceError::Column { column: column.to_owned(), wanted: noun(field_type) }),
            },
            Cell::Texts(_) | Cell::Picture(_) | Cell::Other => {
                let wanted = "a number, text, true, false or null";
                Err(SourceError::Column { column: column.to_owned(), wanted })
            }
        }
    }
}

/// The value that `text` stands for in a field of this type.
fn written(text: &str, field_type: FieldType) -> Option<Value> {
    let trimmed = text.trim();
    match field_type {
        FieldType::U64 => trimmed.parse().ok().map(Value::U64),
        FieldType::I64 => trimmed.parse().ok().map(Value::I64),
        FieldType::F64 => trimmed.parse().ok().map(Value::F64),
        FieldType::Bool => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(Value::Bool(true)),
            "false" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        FieldType::Str => Some(Value::Str(text.to_owned())),
        FieldType::Timestamp => coerce(&Value::Str(trimmed.to_owned()), FieldType::Timestamp),
    }
}

fn noun(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::U64 => "a whole number of at least 0, or nothing",
        FieldType::I64 => "a whole number, or nothing",
        FieldType::F64 => "a number, or nothing",
        FieldType::Bool => "true, false, or nothing",
        FieldType::Str => "text, or nothing",
        FieldType::Timestamp => "a time such as 2021-05-03T10:00:00Z, or nothing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_by_the_type_of_the_field() {
        assert_eq!(written(" 7 ", FieldType::U64), Some(Value::U64(7)));
        assert_eq!(written("-7", FieldType::U64), None);
        assert_eq!(written("-7", FieldType::I64), Some(Value::I64(-7)));
        assert_eq!(written("1e3", FieldType::F64), Some(Value::F64(1000.0)));
        assert_eq!(written("True", FieldType::Bool), Some(Value::Bool(true)));
        assert_eq!(written("yes", FieldType::Bool), None);
        assert_eq!(written(" as it is", FieldType::Str), Some(Value::Str(" as it is".into())));
        assert_eq!(written("1970-01-01T00:00:01Z", FieldType::Timestamp), Some(Value::Timestamp(1_000_000)));
    }

    #[test]
    fn a_named_column_takes_the_place_of_the_usual_one() {
        const NAMES: Names = Names { id: &["id"], image: &["image"], text: &["text"], of: &["of"] };
        let columns = Columns::new().text("caption");
        assert_eq!(columns.role("caption", &NAMES), Role::Text);
        assert_eq!(columns.role("text", &NAMES), Role::Field);
        assert_eq!(columns.role("id", &NAMES), Role::Id);
    }
}
