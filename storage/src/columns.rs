//! Fields of rows in segments: one chunk a field and [`ORDINALS_PER_COLUMN_CHUNK`] ordinals, with
//! presence, smallest and largest value, and the values one after the other.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | type |
//! | 2 | values, at least 1 |
//! | 512 | one bit an ordinal: which have a value |
//! | | smallest value, largest value |
//! | | values: 8 bytes each, 1 for truth values; for strings a `u32` end each, then the bytes |

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::cursor::Cursor;
use crate::format::ORDINALS_PER_COLUMN_CHUNK;
use crate::predicate::{Comparison, Test};
use crate::schema::FieldType;
use crate::value::{Value, ValueRef, type_of_tag, type_tag};

/// Places of a chunk, one bit each.
pub(crate) type Places = [u64; ORDINALS_PER_COLUMN_CHUNK as usize / 64];

const PRESENCE_BYTES: usize = ORDINALS_PER_COLUMN_CHUNK as usize / 8;

/// The chunk of an ordinal and its place in it.
pub(crate) fn place(ordinal: u64) -> (u64, u16) {
    (ordinal / ORDINALS_PER_COLUMN_CHUNK, (ordinal % ORDINALS_PER_COLUMN_CHUNK) as u16)
}

/// A chunk as stored.
pub(crate) struct Chunk<'a> {
    field_type: FieldType,
    count: usize,
    presence: &'a [u8; PRESENCE_BYTES],
    pub(crate) min: ValueRef<'a>,
    pub(crate) max: ValueRef<'a>,
    values: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// `None` when the bytes are no chunk.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut from = Cursor::new(bytes);
        let field_type = type_of_tag(from.u8()?)?;
        let count = usize::from(from.u16()?);
        let presence: &[u8; PRESENCE_BYTES] = from.bytes(PRESENCE_BYTES)?.try_into().ok()?;
        let min = ValueRef::decode(field_type, &mut from)?;
        let max = ValueRef::decode(field_type, &mut from)?;
        let chunk = Chunk { field_type, count, presence, min, max, values: from.rest() };
        let ones: usize = presence.iter().map(|byte| byte.count_ones() as usize).sum();
        let length = match field_type {
            FieldType::Str => count * 4 + count.checked_sub(1).map_or(Some(0), |last| chunk.end(last))?,
            FieldType::Bool => count,
            _ => count * 8,
        };
        (count > 0 && ones == count && chunk.values.len() == length).then_some(chunk)
    }

    pub(crate) fn field_type(&self) -> FieldType {
        self.field_type
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    fn end(&self, slot: usize) -> Option<usize> {
        let bytes = self.values.get(slot * 4..slot * 4 + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    }

    /// Whether every value can be read and the bounds are those of the values.
    pub(crate) fn is_whole(&self) -> bool {
        let (mut at_least, mut at_most) = (false, false);
        let within = (0..self.count).all(|slot| {
            let Some(value) = self.value(slot) else { return false };
            let (low, high) = (self.min.compare(value), self.max.compare(value));
            at_least |= low == Some(Ordering::Equal);
            at_most |= high == Some(Ordering::Equal);
            low.is_some_and(Ordering::is_le) && high.is_some_and(Ordering::is_ge)
        });
        within && at_least && at_most
    }

    /// The value in a slot: the `slot`-th of those that are there.
    fn value(&self, slot: usize) -> Option<ValueRef<'a>> {
        match self.field_type {
            FieldType::Str => std::str::from_utf8(self.text_bytes(slot)?).ok().map(ValueRef::Str),
            FieldType::Bool => ValueRef::decode(self.field_type, &mut Cursor::new(self.values.get(slot..)?)),
            _ => ValueRef::decode(self.field_type, &mut Cursor::new(self.values.get(slot * 8..)?)),
        }
    }

    fn text_bytes(&self, slot: usize) -> Option<&'a [u8]> {
        let start = match slot.checked_sub(1) {
            Some(before) => self.end(before)?,
            None => 0,
        };
        self.values.get(self.count * 4..)?.get(start..self.end(slot)?)
    }

    fn has(&self, place: u16) -> bool {
        self.presence.get(usize::from(place / 8)).is_some_and(|byte| byte >> (place % 8) & 1 == 1)
    }

    /// The value at a place: `Some(None)` when there is none, `None` when it is unreadable.
    pub(crate) fn get(&self, place: u16) -> Option<Option<ValueRef<'a>>> {
        if !self.has(place) {
            return Some(None);
        }
        let whole: u32 =
            self.presence.iter().take(usize::from(place / 8)).map(|byte| byte.count_ones()).sum();
        let byte = self.presence.get(usize::from(place / 8)).copied().unwrap_or_default();
        let before = (byte & ((1_u8 << (place % 8)) - 1)).count_ones();
        self.value((whole + before) as usize).map(Some)
    }

    /// The places that have a value.
    pub(crate) fn places(&self) -> impl Iterator<Item = u16> {
        self.presence.iter().enumerate().flat_map(|(index, byte)| {
            (0..8).filter(move |shift| byte >> shift & 1 == 1).map(move |shift| (index * 8) as u16 + shift)
        })
    }

    /// Places and values in order; a value is `None` when it is unreadable.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, Option<ValueRef<'a>>)> {
        self.places().enumerate().map(|(slot, place)| (place, self.value(slot)))
    }

    /// The places whose value passes; with no test, those that have a value. `None` when a value is
    /// unreadable.
    pub(crate) fn passing(&self, test: Option<&Test<'_>>) -> Option<Places> {
        let Some(test) = test.filter(|test| !test.must_hold(self.min, self.max)) else {
            return Some(self.presence_words());
        };
        if !test.could_hold(self.min, self.max) {
            return Some([0; _]);
        }
        Some(match (self.field_type, test) {
            (FieldType::U64, Test::Compare(op, ValueRef::U64(other))) => {
                self.compared(u64::from_le_bytes, *op, *other)
            }
            (FieldType::I64, Test::Compare(op, ValueRef::I64(other)))
            | (FieldType::Timestamp, Test::Compare(op, ValueRef::Timestamp(other))) => {
                self.compared(i64::from_le_bytes, *op, *other)
            }
            (FieldType::F64, Test::Compare(op, ValueRef::F64(other))) => {
                self.compared(f64::from_le_bytes, *op, *other)
            }
            (FieldType::Str, Test::Compare(op, ValueRef::Str(other))) => {
                let mut places = [0; _];
                for (slot, at) in self.places().enumerate() {
                    mark(&mut places, at, op.holds(self.text_bytes(slot)?.cmp(other.as_bytes())));
                }
                places
            }
            _ => {
                let mut places = [0; _];
                for (at, value) in self.iter() {
                    mark(&mut places, at, test.holds(value?));
                }
                places
            }
        })
    }

    fn compared<T: PartialOrd + Copy>(
        &self,
        read: impl Fn([u8; 8]) -> T + Copy,
        op: Comparison,
        other: T,
    ) -> Places {
        match op {
            Comparison::Eq => self.where_number(|bytes| read(bytes) == other),
            Comparison::Ne => self.where_number(|bytes| read(bytes) != other),
            Comparison::Lt => self.where_number(|bytes| read(bytes) < other),
            Comparison::Le => self.where_number(|bytes| read(bytes) <= other),
            Comparison::Gt => self.where_number(|bytes| read(bytes) > other),
            Comparison::Ge => self.where_number(|bytes| read(bytes) >= other),
        }
    }

    fn where_number(&self, passes: impl Fn([u8; 8]) -> bool) -> Places {
        let mut places: Places = [0; _];
        let (values, _) = self.values.as_chunks::<8>();
        if self.count as u64 == ORDINALS_PER_COLUMN_CHUNK {
            for (word, values) in places.iter_mut().zip(values.chunks(64)) {
                *word = values.iter().rev().fold(0, |word, value| word << 1 | u64::from(passes(*value)));
            }
        } else {
            for (at, value) in self.places().zip(values) {
                mark(&mut places, at, passes(*value));
            }
        }
        places
    }

    fn presence_words(&self) -> Places {
        let mut places: Places = [0; _];
        for (word, bytes) in places.iter_mut().zip(self.presence.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        places
    }
}

fn mark(places: &mut Places, at: u16, member: bool) {
    if let Some(word) = places.get_mut(usize::from(at / 64)) {
        *word |= u64::from(member) << (at % 64);
    }
}

/// How many values a stored chunk states.
pub(crate) fn stored_values(chunk: &[u8]) -> usize {
    let count = chunk.get(1..3).and_then(|count| count.try_into().ok());
    count.map_or(0, |count| usize::from(u16::from_le_bytes(count)))
}

/// A value to be set at a place of a chunk or, with `None`, removed.
pub(crate) type Edit<'v> = (u16, Option<Cow<'v, Value>>);

/// The stored form of a chunk after edits, in their order; `Some(None)` when no value is left, `None`
/// when an old value is unreadable.
pub(crate) fn edited(old: Option<&Chunk<'_>>, mut edits: Vec<Edit<'_>>) -> Option<Option<Vec<u8>>> {
    // Stable, so that of several edits of a place the last one stays last.
    edits.sort_by_key(|(place, _)| *place);
    let mut values: Vec<(u16, ValueRef<'_>)> = Vec::with_capacity(edits.len());
    let mut edits = edits.iter().peekable();
    let mut old = old.into_iter().flat_map(Chunk::iter).peekable();
    loop {
        let edit = edits.peek().map(|(place, _)| *place);
        let kept = old.peek().map(|(place, _)| *place);
        match (edit, kept) {
            (None, None) => return Some(encode(&values)),
            (Some(edit), kept) if kept.is_none_or(|kept| edit <= kept) => {
                old.next_if(|(place, _)| *place == edit);
                let mut last = None;
                while let Some((_, value)) = edits.next_if(|(place, _)| *place == edit) {
                    last = value.as_deref();
                }
                values.extend(last.map(|value| (edit, value.borrow())));
            }
            _ => {
                if let Some((place, value)) = old.next() {
                    values.push((place, value?));
                }
            }
        }
    }
}

/// The stored form of a chunk without the values at places that are not to be kept; `Some(None)` when
/// no value is left, `None` when one is unreadable.
pub(crate) fn retained(chunk: &Chunk<'_>, keep: impl Fn(u16) -> bool) -> Option<Option<Vec<u8>>> {
    let kept = chunk.iter().filter(|(place, _)| keep(*place));
    let values: Option<Vec<_>> = kept.map(|(place, value)| Some((place, value?))).collect();
    Some(encode(&values?))
}

/// The stored form of values at ascending places; `None` when there are none.
fn encode(values: &[(u16, ValueRef<'_>)]) -> Option<Vec<u8>> {
    let (_, first) = *values.first()?;
    let (mut min, mut max) = (first, first);
    let mut presence = [0_u8; PRESENCE_BYTES];
    for (place, value) in values {
        if let Some(byte) = presence.get_mut(usize::from(place / 8)) {
            *byte |= 1 << (place % 8);
        }
        if value.compare(min) == Some(Ordering::Less) {
            min = *value;
        }
        if value.compare(max) == Some(Ordering::Greater) {
            max = *value;
        }
    }
    let mut out = Vec::with_capacity(PRESENCE_BYTES + 32 + values.len() * 8);
    out.push(type_tag(first.field_type()));
    out.extend((values.len() as u16).to_le_bytes());
    out.extend(presence);
    min.encode(&mut out);
    max.encode(&mut out);
    if first.field_type() == FieldType::Str {
        let texts = || {
            values.iter().map(|(_, value)| match value {
                ValueRef::Str(text) => *text,
                _ => "",
            })
        };
        // 4,096 strings of at most 65,535 bytes: below 2^28.
        let mut end = 0_u32;
        for text in texts() {
            end += text.len() as u32;
            out.extend(end.to_le_bytes());
        }
        texts().for_each(|text| out.extend(text.as_bytes()));
    } else {
        values.iter().for_each(|(_, value)| value.encode(&mut out));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(values: &[(u16, Value)]) -> Option<Vec<u8>> {
        let edits = values.iter().map(|(place, value)| (*place, Some(Cow::Borrowed(value))));
        edited(None, edits.collect()).unwrap()
    }

    fn check(values: &[(u16, Value)]) {
        let bytes = chunk(values).unwrap();
        let read = Chunk::decode(&bytes).unwrap();
        let back: Vec<_> = read.iter().map(|(place, value)| (place, value.unwrap().to_value())).collect();
        assert_eq!(back, values);
        for place in 0..4096 {
            let expected = values.iter().find(|(at, _)| *at == place).map(|(_, value)| value.borrow());
            assert_eq!(read.get(place), Some(expected));
        }
        assert_eq!(edited(Some(&read), Vec::new()).unwrap().unwrap(), bytes);
        for cut in (0..bytes.len()).step_by(7) {
            assert!(Chunk::decode(&bytes[..cut]).is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn chunks_of_every_type_survive() {
        check(&[(0, Value::I64(-5)), (7, Value::I64(9)), (8, Value::I64(i64::MIN)), (4095, Value::I64(0))]);
        check(&[(3, Value::Bool(true)), (4, Value::Bool(false))]);
        check(&[
            (1, Value::Str(String::new())),
            (2, Value::Str("größe".into())),
            (9, Value::Str("b".into())),
        ]);
        check(&[(1, Value::F64(-0.0)), (2, Value::F64(f64::INFINITY))]);
        check(&[(1, Value::Timestamp(-1))]);
        check(&(0..4096).map(|i| (i, Value::U64(u64::from(i) * 3))).collect::<Vec<_>>());
    }

    #[test]
    fn bounds_are_the_smallest_and_largest() {
        let bytes = chunk(&[(0, Value::F64(2.0)), (1, Value::F64(-7.0)), (2, Value::F64(0.0))]).unwrap();
        let read = Chunk::decode(&bytes).unwrap();
        assert_eq!((read.min, read.max), (ValueRef::F64(-7.0), ValueRef::F64(2.0)));
        assert_eq!(bytes[..4], [3, 3, 0, 0b111]);
    }

    #[test]
    fn an_emptied_chunk_is_nothing() {
        let bytes = chunk(&[(5, Value::U64(1))]).unwrap();
        let old = Chunk::decode(&bytes).unwrap();
        assert_eq!(edited(Some(&old), vec![(5, None)]), Some(None));
        assert_eq!(edited(None, vec![(5, None)]), Some(None));
    }

    proptest! {
        #[test]
        fn random_strings_survive(values in proptest::collection::btree_map(0_u16..4096, "[a-zäß]{0,9}", 1..40)) {
            check(&values.into_iter().map(|(place, text)| (place, Value::Str(text))).collect::<Vec<_>>());
        }

        /// Editing a chunk is what editing a map of its values is.
        #[test]
        fn edits_apply_in_their_order(
            old in proptest::collection::btree_map(0_u16..64, 0_u64..9, 0..40),
            edits in proptest::collection::vec((0_u16..64, proptest::option::of(0_u64..9)), 0..40),
        ) {
            let mut expected = old.clone();
            for (place, value) in &edits {
                match value {
                    Some(value) => expected.insert(*place, *value),
                    None => expected.remove(place),
                };
            }
            let stored = |values: std::collections::BTreeMap<u16, u64>| {
                chunk(&values.into_iter().map(|(place, value)| (place, Value::U64(value))).collect::<Vec<_>>())
            };
            let old = stored(old);
            let old = old.as_deref().map(|bytes| Chunk::decode(bytes).unwrap());
            let edits = edits.into_iter().map(|(place, value)| (place, value.map(|v| Cow::Owned(Value::U64(v)))));
            assert_eq!(edited(old.as_ref(), edits.collect()), Some(stored(expected)));
        }

        #[test]
        fn flipped_bytes_never_panic(at in 0_usize..600, mask in 1_u8..) {
            let mut bytes = chunk(&[(1, Value::Str("abc".into())), (9, Value::Str("d".into()))]).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= mask;
            if let Some(read) = Chunk::decode(&bytes) {
                read.iter().for_each(|(place, _)| { let _ = read.get(place); });
            }
        }
    }
}
