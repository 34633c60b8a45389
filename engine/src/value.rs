//! Values of fields: which may stand for which type, and how they are shown.

use crate::{FieldType, Value};

/// Integers of this size and below are exact as 64-bit floats.
const EXACT_IN_F64: u64 = 1 << 53;

/// The value in the given type, where nothing is lost; `None` where it does not fit.
///
/// Integers stand for one another and for floats when exact, and RFC 3339 text for a timestamp.
pub(crate) fn coerce(value: &Value, field_type: FieldType) -> Option<Value> {
    let coerced = match (value, field_type) {
        (Value::I64(number), FieldType::U64) => Value::U64(u64::try_from(*number).ok()?),
        (Value::U64(number), FieldType::I64) => Value::I64(i64::try_from(*number).ok()?),
        (Value::I64(number), FieldType::F64) if number.unsigned_abs() <= EXACT_IN_F64 => {
            Value::F64(*number as f64)
        }
        (Value::U64(number), FieldType::F64) if *number <= EXACT_IN_F64 => Value::F64(*number as f64),
        (Value::Str(text), FieldType::Timestamp) => Value::Timestamp(parse_timestamp(text)?),
        (Value::F64(number), FieldType::F64) if number.is_nan() => return None,
        _ if value.field_type() == field_type => value.clone(),
        _ => return None,
    };
    Some(coerced)
}

/// Microseconds since 1970 of an RFC 3339 time, such as `2021-05-03T10:00:00Z`.
pub(crate) fn parse_timestamp(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

/// The value as text, strings in quotes, times as RFC 3339.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::U64(number) => number.to_string(),
        Value::I64(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        Value::Str(text) => format!("{text:?}"),
        Value::Timestamp(microseconds) => format_timestamp(*microseconds),
    }
}

/// The RFC 3339 form of a timestamp; the plain number where it is outside years -9999 to 9999.
///
/// ```
/// assert_eq!(twinbit::format_timestamp(1_500_000), "1970-01-01T00:00:01.5Z");
/// ```
pub fn format_timestamp(microseconds: i64) -> String {
    jiff::Timestamp::from_microsecond(microseconds)
        .map_or_else(|_| microseconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_fit_where_nothing_is_lost() {
        assert_eq!(coerce(&Value::I64(3), FieldType::U64), Some(Value::U64(3)));
        assert_eq!(coerce(&Value::I64(-3), FieldType::U64), None);
        assert_eq!(coerce(&Value::U64(u64::MAX), FieldType::I64), None);
        assert_eq!(coerce(&Value::U64(3), FieldType::F64), Some(Value::F64(3.0)));
        assert_eq!(coerce(&Value::U64((1 << 53) + 1), FieldType::F64), None);
        assert_eq!(coerce(&Value::F64(3.0), FieldType::U64), None);
        assert_eq!(coerce(&Value::F64(f64::NAN), FieldType::F64), None);
        assert_eq!(coerce(&Value::Bool(true), FieldType::U64), None);
    }

    #[test]
    fn times_are_read_and_shown() {
        let time = coerce(&Value::Str("1970-01-01T01:00:01.5+01:00".into()), FieldType::Timestamp);
        assert_eq!(time, Some(Value::Timestamp(1_500_000)));
        assert_eq!(coerce(&Value::Str("yesterday".into()), FieldType::Timestamp), None);
        assert_eq!(shown(&Value::Timestamp(1_500_000)), "1970-01-01T00:00:01.5Z");
        assert_eq!(format_timestamp(i64::MAX), i64::MAX.to_string());
    }
}
