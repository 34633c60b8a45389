//! What stands in JSON objects as cells and values of fields.

use serde_json::{Map, Value as Json};

use super::error::SourceError;
use super::table::Cell;
use crate::{Schema, Value};

/// The object in `text`.
pub(super) fn object(text: &[u8], name: impl Fn() -> String) -> Result<Map<String, Json>, SourceError> {
    serde_json::from_slice(text).map_err(|source| SourceError::Json { name: name(), source: source.into() })
}

/// A value of a field; `None` for null. The field's type is checked when the record is written.
pub(super) fn scalar(column: &str, value: Json) -> Result<Option<Value>, SourceError> {
    let wanted = "a number, text, true, false or null";
    Ok(Some(match value {
        Json::Null => return Ok(None),
        Json::Bool(value) => Value::Bool(value),
        Json::String(text) => Value::Str(text),
        Json::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), _, _) => Value::U64(number),
            (_, Some(number), _) => Value::I64(number),
            (_, _, Some(number)) => Value::F64(number),
            _ => return Err(SourceError::Column { column: column.to_owned(), wanted }),
        },
        Json::Array(_) | Json::Object(_) => {
            return Err(SourceError::Column { column: column.to_owned(), wanted });
        }
    }))
}

/// What stands under a column.
pub(super) fn cell(value: Json) -> Cell {
    match value {
        Json::Null => Cell::Null,
        Json::Array(values) => {
            let texts = values.into_iter().map(|value| match value {
                Json::String(text) => Some(text),
                _ => None,
            });
            texts.collect::<Option<_>>().map_or(Cell::Other, Cell::Texts)
        }
        value => scalar("", value).ok().flatten().map_or(Cell::Other, Cell::Value),
    }
}

/// Refuses a column that is no declared field.
pub(super) fn check_column(
    schema: &Schema,
    column: &str,
    name: impl Fn() -> String,
) -> Result<(), SourceError> {
    if schema.fields().any(|(field, _)| field == column) {
        return Ok(());
    }
    let known = schema.fields().map(|(field, _)| field.to_owned()).collect();
    Err(SourceError::UnknownColumn { name: name(), column: column.to_owned(), known })
}
