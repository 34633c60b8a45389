//! Rows that are in no segment yet, as the catalog stores them.
//!
//! A row: flags, id, codes, image features, text or text features. Its fields, which may change,
//! are a value of their own.

use std::borrow::Cow;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::buffer::Row;
use crate::cursor::Cursor;
use crate::id::RecordId;
use crate::schema::FieldId;
use crate::value::{Value, ValueRef, type_of_tag, type_tag};

const IMAGE: u8 = 1;
const TEXT: u8 = 1 << 1;
const IMAGE_FEATURES: u8 = 1 << 2;
const PLAIN_TEXT: u8 = 1 << 3;
const TEXT_FEATURES: u8 = 1 << 4;
const CODES: u8 = 1 << 5;
const STRING_ID: u8 = 1 << 6;

fn push_features(out: &mut Vec<u8>, features: &[f16]) {
    out.extend((features.len() as u32).to_le_bytes());
    out.extend(bytemuck::cast_slice::<u16, u8>(features.reinterpret_cast()));
}

fn read_features(from: &mut Cursor<'_>) -> Option<Vec<f16>> {
    let length = from.u32()? as usize;
    let bytes = from.bytes(length.checked_mul(2)?)?;
    Some(bytes.as_chunks::<2>().0.iter().map(|pair| f16::from_le_bytes(*pair)).collect())
}

/// The stored form of a row. Inputs are written only when `keep_inputs`.
pub(crate) fn encode(row: &Row<'_>, keep_inputs: bool) -> Vec<u8> {
    let [image, text] = row.present;
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    let image_features = row.image.as_deref().filter(|_| keep_inputs);
    let text_features = row.text_features.as_deref().filter(|_| keep_inputs);
    let plain_text = row.text.filter(|_| keep_inputs);
    let has_codes = row.codes.iter().any(Option::is_some);
    let mut out = vec![
        flag(image, IMAGE)
            | flag(text, TEXT)
            | flag(image_features.is_some(), IMAGE_FEATURES)
            | flag(plain_text.is_some(), PLAIN_TEXT)
            | flag(text_features.is_some(), TEXT_FEATURES)
            | flag(has_codes, CODES)
            | flag(matches!(row.id.as_ref(), RecordId::Str(_)), STRING_ID),
    ];
    match row.id.as_ref() {
        RecordId::U64(id) => out.extend(id.to_le_bytes()),
        RecordId::Str(id) => {
            out.extend((id.len() as u16).to_le_bytes());
            out.extend(id.as_bytes());
        }
    }
    for code in row.codes.iter().flatten() {
        out.extend_from_slice(code);
    }
    if let Some(features) = image_features {
        push_features(&mut out, features);
    }
    if let Some(text) = plain_text {
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    }
    if let Some(features) = text_features {
        push_features(&mut out, features);
    }
    out
}

/// Reads a row with codes of `code_bytes` bytes. `None` when the bytes are no row.
pub(crate) fn decode(ordinal: u64, bytes: &[u8], code_bytes: usize) -> Option<Row<'_>> {
    let mut from = Cursor::new(bytes);
    let flags = from.u8()?;
    let has = |bit: u8| flags & bit != 0;
    let id = if has(STRING_ID) {
        let length = usize::from(from.u16()?);
        RecordId::Str(from.text(length)?.to_owned())
    } else {
        RecordId::U64(from.u64()?)
    };
    let present = [has(IMAGE), has(TEXT)];
    let mut codes = [None, None];
    if has(CODES) {
        for (code, present) in codes.iter_mut().zip(present) {
            if present {
                *code = Some(Cow::Borrowed(from.bytes(code_bytes)?));
            }
        }
    }
    let image = match has(IMAGE_FEATURES) {
        true => Some(Cow::Owned(read_features(&mut from)?)),
        false => None,
    };
    let text = match has(PLAIN_TEXT) {
        true => {
            let length = from.u32()? as usize;
            Some(from.text(length)?)
        }
        false => None,
    };
    let text_features = match has(TEXT_FEATURES) {
        true => Some(Cow::Owned(read_features(&mut from)?)),
        false => None,
    };
    from.is_done().then_some(Row { ordinal, id: Cow::Owned(id), present, image, text, text_features, codes })
}

/// The stored form of a row's fields: a count, then field, type and value of each.
pub(crate) fn encode_fields(fields: &[(FieldId, Value)]) -> Vec<u8> {
    let mut out = (fields.len() as u16).to_le_bytes().to_vec();
    for (field, value) in fields {
        out.extend(field.0.to_le_bytes());
        out.push(type_tag(value.field_type()));
        value.borrow().encode(&mut out);
    }
    out
}

/// Reads a row's fields in place. `None` when the bytes are none.
pub(crate) fn decode_fields(bytes: &[u8]) -> Option<Vec<(FieldId, ValueRef<'_>)>> {
    let mut from = Cursor::new(bytes);
    let count = from.u16()?;
    let mut fields = Vec::new();
    for _ in 0..count {
        let field = FieldId(from.u16()?);
        let field_type = type_of_tag(from.u8()?)?;
        fields.push((field, ValueRef::decode(field_type, &mut from)?));
    }
    from.is_done().then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row<'static>> {
        let features =
            |from: i32| Cow::Owned((0..4).map(|i| f16::from_f32((from + i) as f32)).collect::<Vec<_>>());
        vec![
            Row {
                ordinal: 9,
                id: Cow::Owned(RecordId::U64(7)),
                present: [true, true],
                image: Some(features(1)),
                text: Some("ein Wort"),
                text_features: None,
                codes: [Some(Cow::Owned(vec![1, 2])), Some(Cow::Owned(vec![3, 4]))],
            },
            Row {
                ordinal: 10,
                id: Cow::Owned(RecordId::from("a")),
                present: [false, true],
                image: None,
                text: None,
                text_features: Some(features(-3)),
                codes: [None, Some(Cow::Owned(vec![3, 4]))],
            },
            Row {
                ordinal: 11,
                id: Cow::Owned(RecordId::from("b")),
                present: [true, false],
                image: None,
                text: None,
                text_features: None,
                codes: [None, None],
            },
        ]
    }

    #[test]
    fn rows_survive() {
        for row in rows() {
            let bytes = encode(&row, true);
            assert_eq!(decode(row.ordinal, &bytes, 2), Some(row.clone()));
            for cut in 0..bytes.len() {
                assert_eq!(decode(row.ordinal, &bytes[..cut], 2), None, "cut at {cut}");
            }
        }
    }

    #[test]
    fn inputs_are_dropped_where_none_are_kept() {
        let [row, ..] = &rows()[..] else { unreachable!() };
        let bytes = encode(row, false);
        let read = decode(row.ordinal, &bytes, 2).unwrap();
        assert_eq!((read.image, read.text), (None, None));
        assert_eq!((read.present, &read.codes), (row.present, &row.codes));
    }

    #[test]
    fn the_bytes_are_fixed() {
        let [_, row, _] = &rows()[..] else { unreachable!() };
        let bytes = encode(row, true);
        assert_eq!(bytes[..4], [0b0111_0010, 1, 0, b'a']);
        assert_eq!(bytes[4..10], [3, 4, 4, 0, 0, 0]);
        assert_eq!(bytes.len(), 18);
        let fields = [(FieldId(0), Value::Str("x".into())), (FieldId(2), Value::Bool(true))];
        assert_eq!(encode_fields(&fields), [2, 0, 0, 0, 4, 1, 0, 0, 0, b'x', 2, 0, 5, 1]);
    }

    #[test]
    fn fields_survive() {
        let fields = vec![
            (FieldId(0), Value::U64(1)),
            (FieldId(3), Value::Str("drei".into())),
            (FieldId(4), Value::F64(-0.5)),
        ];
        let bytes = encode_fields(&fields);
        let read: Vec<_> = decode_fields(&bytes)
            .unwrap()
            .into_iter()
            .map(|(field, value)| (field, value.to_value()))
            .collect();
        assert_eq!(read, fields);
        for cut in 0..bytes.len() {
            assert_eq!(decode_fields(&bytes[..cut]), None, "cut at {cut}");
        }
    }
}
