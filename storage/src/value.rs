//! Values of metadata fields and how they compare.

use std::cmp::Ordering;

use crate::cursor::Cursor;
use crate::schema::FieldType;

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Unsigned integer.
    U64(u64),
    /// Signed integer.
    I64(i64),
    /// Float, never NaN once stored.
    F64(f64),
    /// String.
    Str(String),
    /// Truth value.
    Bool(bool),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
}

impl Value {
    /// The type of the value.
    pub fn field_type(&self) -> FieldType {
        self.borrow().field_type()
    }

    pub(crate) fn borrow(&self) -> ValueRef<'_> {
        match self {
            Value::U64(value) => ValueRef::U64(*value),
            Value::I64(value) => ValueRef::I64(*value),
            Value::F64(value) => ValueRef::F64(*value),
            Value::Str(value) => ValueRef::Str(value),
            Value::Bool(value) => ValueRef::Bool(*value),
            Value::Timestamp(value) => ValueRef::Timestamp(*value),
        }
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Value::U64(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::U64(u64::from(value))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::I64(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Value::I64(i64::from(value))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::F64(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Str(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Str(value)
    }
}

/// A value borrowed from where it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ValueRef<'a> {
    U64(u64),
    I64(i64),
    F64(f64),
    Str(&'a str),
    Bool(bool),
    Timestamp(i64),
}

impl<'a> ValueRef<'a> {
    pub(crate) fn field_type(self) -> FieldType {
        match self {
            ValueRef::U64(_) => FieldType::U64,
            ValueRef::I64(_) => FieldType::I64,
            ValueRef::F64(_) => FieldType::F64,
            ValueRef::Str(_) => FieldType::Str,
            ValueRef::Bool(_) => FieldType::Bool,
            ValueRef::Timestamp(_) => FieldType::Timestamp,
        }
    }

    pub(crate) fn to_value(self) -> Value {
        match self {
            ValueRef::U64(value) => Value::U64(value),
            ValueRef::I64(value) => Value::I64(value),
            ValueRef::F64(value) => Value::F64(value),
            ValueRef::Str(value) => Value::Str(value.to_owned()),
            ValueRef::Bool(value) => Value::Bool(value),
            ValueRef::Timestamp(value) => Value::Timestamp(value),
        }
    }

    /// The order within one type; `None` between types. Both zeros of a float are equal.
    pub(crate) fn compare(self, other: ValueRef<'_>) -> Option<Ordering> {
        match (self, other) {
            (ValueRef::U64(a), ValueRef::U64(b)) => Some(a.cmp(&b)),
            (ValueRef::I64(a), ValueRef::I64(b)) | (ValueRef::Timestamp(a), ValueRef::Timestamp(b)) => {
                Some(a.cmp(&b))
            }
            (ValueRef::F64(a), ValueRef::F64(b)) => a.partial_cmp(&b),
            (ValueRef::Str(a), ValueRef::Str(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (ValueRef::Bool(a), ValueRef::Bool(b)) => Some(a.cmp(&b)),
            _ => None,
        }
    }

    /// Appends the payload: 8 bytes for numbers, 1 for truth values, a `u32` length and the bytes
    /// for strings.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        match self {
            ValueRef::U64(value) => out.extend(value.to_le_bytes()),
            ValueRef::I64(value) | ValueRef::Timestamp(value) => out.extend(value.to_le_bytes()),
            ValueRef::F64(value) => out.extend(value.to_le_bytes()),
            ValueRef::Bool(value) => out.push(u8::from(value)),
            ValueRef::Str(value) => {
                // Bounded by MAX_FIELD_BYTES where values come in.
                out.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
                out.extend(value.as_bytes());
            }
        }
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` when the bytes are not that.
    pub(crate) fn decode(field_type: FieldType, from: &mut Cursor<'a>) -> Option<Self> {
        Some(match field_type {
            FieldType::U64 => ValueRef::U64(from.u64()?),
            FieldType::I64 => ValueRef::I64(from.i64()?),
            FieldType::F64 => ValueRef::F64(from.f64()?),
            FieldType::Timestamp => ValueRef::Timestamp(from.i64()?),
            FieldType::Bool => ValueRef::Bool(from.flag()?),
            FieldType::Str => {
                let length = from.u32()?;
                ValueRef::Str(from.text(length as usize)?)
            }
        })
    }
}

/// The byte that stands for a type in the catalog.
pub(crate) fn type_tag(field_type: FieldType) -> u8 {
    match field_type {
        FieldType::U64 => 1,
        FieldType::I64 => 2,
        FieldType::F64 => 3,
        FieldType::Str => 4,
        FieldType::Bool => 5,
        FieldType::Timestamp => 6,
    }
}

/// The type a byte stands for.
pub(crate) fn type_of_tag(tag: u8) -> Option<FieldType> {
    Some(match tag {
        1 => FieldType::U64,
        2 => FieldType::I64,
        3 => FieldType::F64,
        4 => FieldType::Str,
        5 => FieldType::Bool,
        6 => FieldType::Timestamp,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Value> {
        vec![
            Value::U64(u64::MAX),
            Value::I64(-3),
            Value::F64(-0.5),
            Value::Str("größer".to_owned()),
            Value::Bool(true),
            Value::Timestamp(-1),
        ]
    }

    #[test]
    fn values_survive_encoding() {
        for value in samples() {
            let mut bytes = Vec::new();
            value.borrow().encode(&mut bytes);
            let mut cursor = Cursor::new(&bytes);
            let read = ValueRef::decode(value.field_type(), &mut cursor).unwrap();
            assert_eq!(read.to_value(), value);
            assert!(cursor.is_done());
            for cut in 0..bytes.len() {
                assert_eq!(ValueRef::decode(value.field_type(), &mut Cursor::new(&bytes[..cut])), None);
            }
        }
    }

    #[test]
    fn tags_are_fixed() {
        for (tag, value) in (1..).zip([
            FieldType::U64,
            FieldType::I64,
            FieldType::F64,
            FieldType::Str,
            FieldType::Bool,
            FieldType::Timestamp,
        ]) {
            assert_eq!(type_tag(value), tag);
            assert_eq!(type_of_tag(tag), Some(value));
        }
        assert_eq!(type_of_tag(0), None);
        assert_eq!(type_of_tag(7), None);
    }

    #[test]
    fn zeros_are_equal_and_types_do_not_mix() {
        assert_eq!(ValueRef::F64(-0.0).compare(ValueRef::F64(0.0)), Some(Ordering::Equal));
        assert_eq!(ValueRef::I64(-1).compare(ValueRef::I64(0)), Some(Ordering::Less));
        assert_eq!(ValueRef::I64(1).compare(ValueRef::Timestamp(1)), None);
    }
}
