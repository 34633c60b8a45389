//! Columns of JSON objects as ids, texts and values of fields.

use serde_json::{Map, Value as Json};

use super::error::SourceError;
use super::record_id;
use crate::{IdKind, RecordId, Schema, Value};

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

/// The id in a column: text or a whole number, in the collection's own type.
pub(super) fn id(ids: IdKind, column: &str, value: &Json) -> Result<RecordId, SourceError> {
    match value {
        Json::String(text) => record_id(ids, text),
        Json::Number(number) if !number.is_f64() => record_id(ids, &number.to_string()),
        _ => Err(SourceError::Column { column: column.to_owned(), wanted: "text or a whole number" }),
    }
}

/// The texts in a column: one, or a list of captions. Blank ones are left out.
pub(super) fn texts(column: &str, value: Json) -> Result<Vec<String>, SourceError> {
    let wrong = || SourceError::Column { column: column.to_owned(), wanted: "text or a list of texts" };
    let values = match value {
        Json::Null => Vec::new(),
        Json::Array(values) => values,
        value => vec![value],
    };
    let mut texts = Vec::with_capacity(values.len());
    for value in values {
        match value {
            Json::String(text) if text.trim().is_empty() => {}
            Json::String(text) => texts.push(text),
            _ => return Err(wrong()),
        }
    }
    Ok(texts)
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
