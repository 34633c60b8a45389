//! Ids and field values between the command line, JSON and the library.

use serde_json::{Map, Value as Json, json};
use twinbit::{FieldType, Filter, IdKind, RecordId, Schema, Value, format_timestamp};

use crate::failure::{Failure, Result};

/// A filter as typed, when there is one.
pub fn parse_filter(text: Option<&str>) -> Result<Option<Filter>> {
    Ok(text.map(Filter::parse).transpose().map_err(twinbit::Error::from)?)
}

/// An id as it is typed, in the collection's type.
pub fn parse_id(text: &str, schema: &Schema) -> Result<RecordId> {
    match schema.id_kind() {
        IdKind::Str => Ok(RecordId::from(text)),
        IdKind::Auto | IdKind::U64 => text.parse::<u64>().map(RecordId::from).map_err(|_| {
            Failure::new(format!("\"{text}\" is no id of this collection, whose ids are whole numbers"))
        }),
    }
}

/// Several of them.
pub fn parse_ids(texts: &[String], schema: &Schema) -> Result<Vec<RecordId>> {
    texts.iter().map(|text| parse_id(text, schema)).collect()
}

/// An id in JSON: integers as numbers.
pub fn id_json(id: &RecordId) -> Json {
    match id {
        RecordId::U64(number) => json!(number),
        RecordId::Str(text) => json!(text),
    }
}

/// `field=value` in the field's declared type.
pub fn parse_assignment(text: &str, schema: &Schema) -> Result<(String, Value)> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| Failure::usage(format!("\"{text}\" is no assignment; write field=value")))?;
    let field_type = schema.fields().find(|(known, _)| *known == name).map(|(_, field)| field.field_type());
    let parsed = match field_type {
        Some(field_type) => parse_value(value, field_type).ok_or_else(|| {
            Failure::new(format!("field \"{name}\" is of type {field_type}, the value \"{value}\" is not"))
        })?,
        // The library says which fields there are.
        None => Value::Str(value.to_owned()),
    };
    Ok((name.to_owned(), parsed))
}

fn parse_value(text: &str, field_type: FieldType) -> Option<Value> {
    match field_type {
        FieldType::U64 => text.parse().ok().map(Value::U64),
        FieldType::I64 => text.parse().ok().map(Value::I64),
        FieldType::F64 => text.parse().ok().map(Value::F64),
        FieldType::Bool => text.parse().ok().map(Value::Bool),
        // The library reads RFC 3339.
        FieldType::Str | FieldType::Timestamp => Some(Value::Str(text.to_owned())),
    }
}

/// A field value in JSON: times as RFC 3339 text.
pub fn value_json(value: &Value) -> Json {
    match value {
        Value::U64(number) => json!(number),
        Value::I64(number) => json!(number),
        // JSON has no infinity; the text says what it is.
        Value::F64(number) if !number.is_finite() => json!(number.to_string()),
        Value::F64(number) => json!(number),
        Value::Str(text) => json!(text),
        Value::Bool(yes) => json!(yes),
        Value::Timestamp(microseconds) => json!(format_timestamp(*microseconds)),
    }
}

/// Fields as a JSON object.
pub fn fields_json<'a>(fields: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Json {
    Json::Object(
        fields.into_iter().map(|(name, value)| (name.to_owned(), value_json(value))).collect::<Map<_, _>>(),
    )
}

/// Fields for people: "year=2021 lang=en".
pub fn fields_text<'a>(fields: impl IntoIterator<Item = (&'a str, &'a Value)>) -> String {
    let shown = fields.into_iter().map(|(name, value)| match value_json(value) {
        Json::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinbit::{CodeBits, Field};

    fn schema() -> Schema {
        Schema::new(CodeBits::B64)
            .ids(IdKind::U64)
            .external_codes()
            .field("year", Field::u64())
            .field("note", Field::str())
    }

    #[test]
    fn a_value_is_read_in_the_type_of_its_field() {
        let parse = |text| parse_assignment(text, &schema());
        assert_eq!(parse("year=2021").unwrap(), ("year".to_owned(), Value::U64(2021)));
        assert_eq!(parse("note=2021").unwrap(), ("note".to_owned(), Value::Str("2021".to_owned())));
        assert_eq!(parse("note=a=b").unwrap().1, Value::Str("a=b".to_owned()));
        assert!(matches!(parse("year=soon"), Err(Failure::Failed(_))));
        assert!(matches!(parse("year"), Err(Failure::Usage(_))));
    }

    #[test]
    fn ids_follow_the_collection() {
        assert_eq!(parse_id("7", &schema()).unwrap(), RecordId::U64(7));
        assert!(parse_id("seven", &schema()).is_err());
        assert_eq!(parse_id("7", &schema().ids(IdKind::Str)).unwrap(), RecordId::Str("7".to_owned()));
        assert_eq!(id_json(&RecordId::U64(7)), json!(7));
    }

    #[test]
    fn what_json_cannot_hold_becomes_text() {
        assert_eq!(value_json(&Value::F64(f64::INFINITY)), json!("inf"));
        assert_eq!(value_json(&Value::Timestamp(0)), json!("1970-01-01T00:00:00Z"));
    }
}
