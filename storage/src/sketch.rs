//! What is known about the values of a field without reading them: how many there are, their bounds,
//! and about how many are different.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | values |
//! | 1 | type |
//! | | smallest value, largest value; strings cut to 64 bytes |
//! | 256 | registers of a HyperLogLog over the values |

use std::cmp::Ordering;

use crate::cursor::Cursor;
use crate::format::{MAX_SKETCH_TEXT, SKETCH_REGISTERS, hash};
use crate::keys;
use crate::predicate::{Comparison, Test};
use crate::schema::FieldType;
use crate::value::{Value, ValueRef, type_of_tag, type_tag};

/// Statistics of one field, in the form that is stored and grows with each value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sketch {
    pub(crate) values: u64,
    bounds: Option<(Value, Value)>,
    registers: [u8; SKETCH_REGISTERS],
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch { values: 0, bounds: None, registers: [0; SKETCH_REGISTERS] }
    }
}

impl Sketch {
    /// Widens the bounds and the count of different values; [`values`](Self::values) is the caller's.
    pub(crate) fn note(&mut self, value: ValueRef<'_>) {
        let mut bytes = Vec::new();
        keys::push_value(&mut bytes, value);
        let hash = hash(&bytes);
        let rank = ((hash >> 8) | 1 << 55).trailing_zeros() as u8 + 1;
        if let Some(register) = self.registers.get_mut((hash & 0xff) as usize) {
            *register = rank.max(*register);
        }
        let value = cut(value);
        let Some((min, max)) = &mut self.bounds else {
            self.bounds = Some((value.to_value(), value.to_value()));
            return;
        };
        if value.compare(min.borrow()) == Some(Ordering::Less) {
            *min = value.to_value();
        }
        if value.compare(max.borrow()) == Some(Ordering::Greater) {
            *max = value.to_value();
        }
    }

    /// The smallest and the largest value noted.
    pub(crate) fn bounds(&self) -> Option<(&Value, &Value)> {
        self.bounds.as_ref().map(|(min, max)| (min, max))
    }

    pub(crate) fn field_type(&self) -> Option<FieldType> {
        self.bounds.as_ref().map(|(min, _)| min.field_type())
    }

    /// About how many different values were noted: the standard error is 6.5 %.
    pub(crate) fn distinct(&self) -> u64 {
        let registers = SKETCH_REGISTERS as f64;
        let sum: f64 = self.registers.iter().map(|rank| 0.5_f64.powi(i32::from(*rank))).sum();
        let estimate = 0.7213 / (1.0 + 1.079 / registers) * registers * registers / sum;
        let empty = self.registers.iter().filter(|rank| **rank == 0).count() as f64;
        match estimate <= 2.5 * registers && empty > 0.0 {
            true => (registers * (registers / empty).ln()).round() as u64,
            false => estimate.round() as u64,
        }
    }

    /// Whether all that the other noted was noted here, too.
    pub(crate) fn covers(&self, other: &Sketch) -> bool {
        let (Some((min, max)), Some((low, high))) = (&self.bounds, &other.bounds) else {
            return other.bounds.is_none();
        };
        let within = |a: &Value, b: &Value| a.borrow().compare(b.borrow()).is_some_and(Ordering::is_le);
        self.values >= other.values
            && within(min, low)
            && within(high, max)
            && self.registers.iter().zip(&other.registers).all(|(ours, theirs)| ours >= theirs)
    }

    /// About how many values pass a test.
    pub(crate) fn estimate(&self, test: &Test<'_>) -> f64 {
        let Some((min, max)) = &self.bounds else { return 0.0 };
        if !test.could_hold(min.borrow(), max.borrow()) {
            return 0.0;
        }
        let values = self.values as f64;
        let each = values / self.distinct().max(1) as f64;
        let below = |value: ValueRef<'_>| {
            let (low, high, at) = (position(min.borrow()), position(max.borrow()), position(value));
            if high > low { ((at - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 }
        };
        let passing = match test {
            Test::Compare(Comparison::Eq, _) => each,
            Test::Compare(Comparison::Ne, _) => values - each,
            Test::Compare(Comparison::Lt | Comparison::Le, value) => values * below(*value),
            Test::Compare(Comparison::Gt | Comparison::Ge, value) => values * (1.0 - below(*value)),
            Test::In(several) => each * several.len() as f64,
        };
        passing.clamp(each.min(values), values)
    }

    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let (min, max) = self.bounds.as_ref()?;
        let mut out = self.values.to_le_bytes().to_vec();
        out.push(type_tag(min.field_type()));
        min.borrow().encode(&mut out);
        max.borrow().encode(&mut out);
        out.extend(self.registers);
        Some(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Cursor::new(bytes);
        let values = from.u64()?;
        let field_type = type_of_tag(from.u8()?)?;
        let min = ValueRef::decode(field_type, &mut from)?.to_value();
        let max = ValueRef::decode(field_type, &mut from)?.to_value();
        let registers = from.array()?;
        from.is_done().then_some(Sketch { values, bounds: Some((min, max)), registers })
    }
}

/// Cutting keeps the order: of two strings the cut ones compare alike or are equal.
fn cut(value: ValueRef<'_>) -> ValueRef<'_> {
    match value {
        ValueRef::Str(text) => {
            let end = text.floor_char_boundary(MAX_SKETCH_TEXT);
            ValueRef::Str(text.get(..end).unwrap_or_default())
        }
        other => other,
    }
}

/// Where a value is on the line of its type, roughly.
fn position(value: ValueRef<'_>) -> f64 {
    match value {
        ValueRef::U64(value) => value as f64,
        ValueRef::I64(value) | ValueRef::Timestamp(value) => value as f64,
        ValueRef::F64(value) => value.clamp(f64::MIN / 4.0, f64::MAX / 4.0),
        ValueRef::Bool(value) => f64::from(u8::from(value)),
        ValueRef::Str(text) => {
            let first = text.bytes().chain(std::iter::repeat(0)).take(8);
            first.fold(0.0, |sum, byte| sum * 256.0 + f64::from(byte))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(values: impl IntoIterator<Item = Value>) -> Sketch {
        let mut sketch = Sketch::default();
        for value in values {
            sketch.values += 1;
            sketch.note(value.borrow());
        }
        sketch
    }

    #[test]
    fn different_values_are_counted_roughly() {
        for count in [1_u64, 10, 100, 1_000, 50_000] {
            let found = sketch((0..count * 3).map(|i| Value::U64(i % count))).distinct() as f64;
            assert!((found / count as f64 - 1.0).abs() < 0.2, "{found} for {count}");
        }
        assert_eq!(Sketch::default().distinct(), 0);
    }

    #[test]
    fn sketches_survive_storing() {
        assert_eq!(Sketch::default().encode(), None);
        for one in [
            sketch((0..50).map(|i| Value::I64(i - 20))),
            sketch(["b", "a", &"ä".repeat(100)].map(Value::from)),
            sketch([true, false].map(Value::from)),
        ] {
            let bytes = one.encode().unwrap();
            assert_eq!(Sketch::decode(&bytes).as_ref(), Some(&one));
            for cut in 0..bytes.len() {
                assert_eq!(Sketch::decode(&bytes[..cut]), None, "cut at {cut}");
            }
        }
    }

    #[test]
    fn estimates_follow_the_bounds() {
        let years = sketch((0..1_000).map(|i| Value::I64(1950 + i % 100)));
        let compare = |op, value| years.estimate(&Test::Compare(op, ValueRef::I64(value)));
        assert_eq!(compare(Comparison::Eq, 1900), 0.0);
        assert!((5.0..20.0).contains(&compare(Comparison::Eq, 1990)));
        assert!((150.0..250.0).contains(&compare(Comparison::Lt, 1970)));
        assert!((750.0..850.0).contains(&compare(Comparison::Ge, 1970)));
        assert_eq!(compare(Comparison::Gt, 2100), 0.0);
        let texts = sketch((b'a'..=b'z').map(|letter| Value::Str((letter as char).to_string())));
        let found = texts.estimate(&Test::Compare(Comparison::Lt, ValueRef::Str("n")));
        assert!((10.0..16.0).contains(&found), "{found}");
    }

    #[test]
    fn a_sketch_covers_what_it_noted() {
        let (all, some) = (sketch((0..100).map(Value::from)), sketch((10..60).map(Value::from)));
        assert!(all.covers(&some) && !some.covers(&all));
        assert!(all.covers(&Sketch::default()) && !Sketch::default().covers(&some));
        // A string that is cut counts as its beginning, on both sides.
        let long = sketch([Value::Str("x".repeat(500))]);
        assert!(long.covers(&long.clone()));
    }

    #[test]
    fn the_bytes_are_fixed() {
        let bytes = sketch([Value::Bool(true), Value::Bool(true)]).encode().unwrap();
        assert_eq!(bytes[..11], [2, 0, 0, 0, 0, 0, 0, 0, 5, 1, 1]);
        assert_eq!(bytes.len(), 11 + 256);
        assert_eq!(bytes[11..].iter().filter(|rank| **rank > 0).count(), 1);
    }
}
