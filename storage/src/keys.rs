//! Catalog keys: big-endian and order-preserving, so that byte order is the order of what they name.

use crate::id::{CollectionId, ModelId, RecordId};
use crate::schema::FieldId;
use crate::value::ValueRef;

/// First byte of a key in the family `meta`.
mod tag {
    pub(super) const FORMAT: u8 = 1;
    pub(super) const COUNTERS: u8 = 2;
    pub(super) const DEFINITION: u8 = 3;
    pub(super) const STATE: u8 = 4;
    pub(super) const SEGMENT: u8 = 5;
    pub(super) const SOURCE: u8 = 6;
    pub(super) const MODEL: u8 = 7;
    pub(super) const STATISTICS: u8 = 8;
    pub(super) const INSTALL: u8 = 9;
    pub(super) const INSTALLED: u8 = 10;
}

/// Key of the format version.
pub(crate) fn format() -> Vec<u8> {
    vec![tag::FORMAT]
}

/// Key of the database's counters.
pub(crate) fn counters() -> Vec<u8> {
    vec![tag::COUNTERS]
}

fn tagged(tag: u8, collection: CollectionId) -> Vec<u8> {
    let mut key = vec![tag];
    key.extend(collection.0.to_be_bytes());
    key
}

/// Prefix of all definitions.
pub(crate) fn definitions() -> Vec<u8> {
    vec![tag::DEFINITION]
}

/// Key of a collection's name and config.
pub(crate) fn definition(collection: CollectionId) -> Vec<u8> {
    tagged(tag::DEFINITION, collection)
}

/// The collection in a definition's key.
pub(crate) fn definition_collection(key: &[u8]) -> Option<CollectionId> {
    let number = key.strip_prefix(&[tag::DEFINITION])?;
    Some(CollectionId(u32::from_be_bytes(number.try_into().ok()?)))
}

/// Key of a collection's counters and model.
pub(crate) fn state(collection: CollectionId) -> Vec<u8> {
    tagged(tag::STATE, collection)
}

/// Prefix of a collection's segments, which come in the order of their ordinals.
pub(crate) fn segments(collection: CollectionId) -> Vec<u8> {
    tagged(tag::SEGMENT, collection)
}

/// Key of a segment.
pub(crate) fn segment(collection: CollectionId, base: u64) -> Vec<u8> {
    let mut key = segments(collection);
    key.extend(base.to_be_bytes());
    key
}

/// Prefix of a collection's source positions.
pub(crate) fn sources(collection: CollectionId) -> Vec<u8> {
    tagged(tag::SOURCE, collection)
}

/// Key of a source position.
pub(crate) fn source(collection: CollectionId, name: &str) -> Vec<u8> {
    let mut key = sources(collection);
    key.extend(name.as_bytes());
    key
}

/// Prefix of all models.
pub(crate) fn models() -> Vec<u8> {
    vec![tag::MODEL]
}

/// Key of a model.
pub(crate) fn model(model: ModelId) -> Vec<u8> {
    let mut key = models();
    key.extend(model.0);
    key
}

/// The model in its key.
pub(crate) fn model_of(key: &[u8]) -> Option<ModelId> {
    Some(ModelId(key.strip_prefix(&[tag::MODEL])?.try_into().ok()?))
}

/// Prefix of the statistics of a collection's fields.
pub(crate) fn all_statistics(collection: CollectionId) -> Vec<u8> {
    tagged(tag::STATISTICS, collection)
}

/// Key of a field's statistics.
pub(crate) fn statistics(collection: CollectionId, field: FieldId) -> Vec<u8> {
    let mut key = all_statistics(collection);
    key.extend(field.0.to_be_bytes());
    key
}

/// The field in its statistics' key.
pub(crate) fn statistics_field(key: &[u8]) -> Option<FieldId> {
    let (_, field) = key.split_at_checked(1 + 4)?;
    Some(FieldId(u16::from_be_bytes(field.try_into().ok()?)))
}

/// Key of the model that is being installed in a collection.
pub(crate) fn install(collection: CollectionId) -> Vec<u8> {
    tagged(tag::INSTALL, collection)
}

/// Prefix of the codes files that an unfinished install has written.
pub(crate) fn all_installed(collection: CollectionId) -> Vec<u8> {
    tagged(tag::INSTALLED, collection)
}

/// Key of such a codes file, by the number of its segment.
pub(crate) fn installed(collection: CollectionId, segment: u32) -> Vec<u8> {
    let mut key = all_installed(collection);
    key.extend(segment.to_be_bytes());
    key
}

/// The segment's number in such a key.
pub(crate) fn installed_segment(key: &[u8]) -> Option<u32> {
    let (_, number) = key.split_at_checked(1 + 4)?;
    Some(u32::from_be_bytes(number.try_into().ok()?))
}

/// What a key of the family `meta` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaKey {
    /// Something of the whole database.
    Database,
    /// A model.
    Model,
    /// Something of a collection.
    Collection(CollectionId),
}

/// `None` when the key is none that this version writes.
pub(crate) fn meta_key(key: &[u8]) -> Option<MetaKey> {
    let (tag, rest) = key.split_first()?;
    let collection = || Some(MetaKey::Collection(CollectionId(u32::from_be_bytes(*rest.first_chunk()?))));
    match (*tag, rest.len()) {
        (tag::FORMAT | tag::COUNTERS, 0) => Some(MetaKey::Database),
        (tag::MODEL, 16) => Some(MetaKey::Model),
        (tag::DEFINITION | tag::STATE | tag::INSTALL, 4)
        | (tag::STATISTICS, 6)
        | (tag::INSTALLED, 8)
        | (tag::SEGMENT, 12)
        | (tag::SOURCE, 4..) => collection(),
        _ => None,
    }
}

/// Prefix of everything of a collection in the families other than `meta`.
pub(crate) fn collection(collection: CollectionId) -> Vec<u8> {
    collection.0.to_be_bytes().to_vec()
}

/// Key of an id in the family `ids`. Within a collection all ids are of one kind, so numbers and
/// strings never meet.
pub(crate) fn id(collection: CollectionId, id: &RecordId) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    push_id(&mut key, collection, id);
    key
}

/// Appends the key of an id.
pub(crate) fn push_id(key: &mut Vec<u8>, collection: CollectionId, id: &RecordId) {
    key.extend(collection.0.to_be_bytes());
    match id {
        RecordId::U64(number) => key.extend(number.to_be_bytes()),
        RecordId::Str(text) => key.extend(text.as_bytes()),
    }
}

/// Key by ordinal, in `fresh` and `fresh_fields`; by chunk, in `dead`.
pub(crate) fn ordinal(collection: CollectionId, ordinal: u64) -> Vec<u8> {
    let mut key = self::collection(collection);
    key.extend(ordinal.to_be_bytes());
    key
}

/// The last eight bytes of a key as a number: an ordinal or a chunk.
pub(crate) fn last_number(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.last_chunk::<8>()?))
}

/// Prefix of a field in `columns` and `index`.
pub(crate) fn field(collection: CollectionId, field: FieldId) -> Vec<u8> {
    let mut key = self::collection(collection);
    key.extend(field.0.to_be_bytes());
    key
}

/// Key of a column chunk.
pub(crate) fn column(collection: CollectionId, field: FieldId, chunk: u64) -> Vec<u8> {
    let mut key = self::field(collection, field);
    key.extend(chunk.to_be_bytes());
    key
}

/// The field in a column chunk's key.
pub(crate) fn column_field(key: &[u8]) -> Option<FieldId> {
    let (_, rest) = key.split_first_chunk::<4>()?;
    rest.first_chunk().map(|number| FieldId(u16::from_be_bytes(*number)))
}

/// Prefix of a value in `index`.
pub(crate) fn index_value(collection: CollectionId, field: FieldId, value: ValueRef<'_>) -> Vec<u8> {
    let mut key = self::field(collection, field);
    push_value(&mut key, value);
    key
}

/// Key of a row in `index`.
pub(crate) fn index(collection: CollectionId, field: FieldId, value: ValueRef<'_>, ordinal: u64) -> Vec<u8> {
    let mut key = index_value(collection, field, value);
    key.extend(ordinal.to_be_bytes());
    key
}

/// Appends the key of a row in `index` whose value is given as the bytes of [`push_value`].
pub(crate) fn push_index(
    key: &mut Vec<u8>,
    collection: CollectionId,
    field: FieldId,
    value: [&[u8]; 2],
    ordinal: u64,
) {
    key.extend(collection.0.to_be_bytes());
    key.extend(field.0.to_be_bytes());
    value.iter().for_each(|bytes| key.extend(*bytes));
    key.extend(ordinal.to_be_bytes());
}

/// Appends bytes whose order is the order of the values; no value's bytes begin another's.
///
/// - unsigned numbers big-endian; signed ones with the sign bit flipped;
/// - floats as the bits of the number with the sign bit flipped when positive and all bits flipped
///   when negative; the two zeros are one;
/// - strings with 0x00 as 0x00 0xff, closed by 0x00 0x00; truth values one byte.
pub(crate) fn push_value(key: &mut Vec<u8>, value: ValueRef<'_>) {
    const SIGN: u64 = 1 << 63;
    match value {
        ValueRef::U64(value) => key.extend(value.to_be_bytes()),
        ValueRef::I64(value) | ValueRef::Timestamp(value) => key.extend((value as u64 ^ SIGN).to_be_bytes()),
        ValueRef::F64(value) => {
            // Adding 0.0 turns -0.0 into 0.0 and leaves every other number alone.
            let bits = (value + 0.0).to_bits();
            let ordered = if bits & SIGN == 0 { bits ^ SIGN } else { !bits };
            key.extend(ordered.to_be_bytes());
        }
        ValueRef::Bool(value) => key.push(u8::from(value)),
        ValueRef::Str(text) => {
            for byte in text.bytes() {
                key.push(byte);
                if byte == 0 {
                    key.push(0xff);
                }
            }
            key.extend([0, 0]);
        }
    }
}

/// The smallest key above all keys with the prefix; `None` when there is none.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut key = prefix.to_vec();
    while let Some(last) = key.pop() {
        if last < u8::MAX {
            key.push(last + 1);
            return Some(key);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const C: CollectionId = CollectionId(0x0102_0304);

    fn encoded(value: ValueRef<'_>) -> Vec<u8> {
        let mut key = Vec::new();
        push_value(&mut key, value);
        key
    }

    #[test]
    fn keys_are_fixed() {
        assert_eq!(format(), [1]);
        assert_eq!(counters(), [2]);
        assert_eq!(definition(C), [3, 1, 2, 3, 4]);
        assert_eq!(state(C), [4, 1, 2, 3, 4]);
        assert_eq!(segment(C, 9), [5, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(source(C, "a"), [6, 1, 2, 3, 4, b'a']);
        assert_eq!(model(ModelId([9; 16]))[..2], [7, 9]);
        assert_eq!(id(C, &7.into()), [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(id(C, &"ab".into()), [1, 2, 3, 4, b'a', b'b']);
        assert_eq!(ordinal(C, 258), [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(column(C, FieldId(5), 6), [1, 2, 3, 4, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6]);
        assert_eq!(
            index(C, FieldId(5), ValueRef::Str("a\0"), 1),
            [1, 2, 3, 4, 0, 5, b'a', 0, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        );
        assert_eq!(encoded(ValueRef::I64(-1)), [0x7f, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(encoded(ValueRef::F64(1.0)), [0xbf, 0xf0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(encoded(ValueRef::Bool(true)), [1]);
    }

    #[test]
    fn both_zeros_share_a_key() {
        assert_eq!(encoded(ValueRef::F64(-0.0)), encoded(ValueRef::F64(0.0)));
        assert!(encoded(ValueRef::F64(-f64::MIN_POSITIVE)) < encoded(ValueRef::F64(0.0)));
        assert!(encoded(ValueRef::F64(f64::NEG_INFINITY)) < encoded(ValueRef::F64(f64::MIN)));
    }

    #[test]
    fn the_key_after_a_prefix_bounds_it() {
        assert_eq!(after_prefix(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(after_prefix(&[1, 255]), Some(vec![2]));
        assert_eq!(after_prefix(&[255, 255]), None);
    }

    proptest! {
        #[test]
        fn numbers_keep_their_order(a: u64, b: u64, x: i64, y: i64) {
            prop_assert_eq!(a.cmp(&b), encoded(ValueRef::U64(a)).cmp(&encoded(ValueRef::U64(b))));
            prop_assert_eq!(x.cmp(&y), encoded(ValueRef::I64(x)).cmp(&encoded(ValueRef::I64(y))));
            prop_assert_eq!(x.cmp(&y), encoded(ValueRef::Timestamp(x)).cmp(&encoded(ValueRef::Timestamp(y))));
            prop_assert_eq!(a.cmp(&b), ordinal(C, a).cmp(&ordinal(C, b)));
            prop_assert_eq!(a.cmp(&b), id(C, &a.into()).cmp(&id(C, &b.into())));
        }

        #[test]
        fn floats_keep_their_order(a in proptest::num::f64::ANY, b in proptest::num::f64::ANY) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(a.partial_cmp(&b), Some(encoded(ValueRef::F64(a)).cmp(&encoded(ValueRef::F64(b)))));
        }

        #[test]
        fn strings_keep_their_order(a in "[\\x00-\\x02a-c\u{ff}]{0,6}", b in "[\\x00-\\x02a-c\u{ff}]{0,6}") {
            let (x, y) = (encoded(ValueRef::Str(&a)), encoded(ValueRef::Str(&b)));
            prop_assert_eq!(a.as_bytes().cmp(b.as_bytes()), x.cmp(&y));
            prop_assert!(a == b || !y.starts_with(&x));
        }

        #[test]
        fn an_ordinal_after_a_string_does_not_disturb_its_order(
            a in "[\\x00a\u{ff}]{0,3}", b in "[\\x00a\u{ff}]{0,3}", i: u64, j: u64,
        ) {
            let x = index(C, FieldId(1), ValueRef::Str(&a), i);
            let y = index(C, FieldId(1), ValueRef::Str(&b), j);
            prop_assert_eq!((a.as_bytes(), i).cmp(&(b.as_bytes(), j)), x.cmp(&y));
            prop_assert_eq!(last_number(&x), Some(i));
        }
    }
}
