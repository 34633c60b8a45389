//! Conditions on fields. Two-valued: a missing field makes every comparison false, `Ne` too.

use std::cmp::Ordering;

use crate::error::Error;
use crate::schema::{CollectionConfig, FieldId};
use crate::value::{Value, ValueRef};

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// There and not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

impl Comparison {
    pub(crate) fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Eq => order.is_eq(),
            Comparison::Ne => order.is_ne(),
            Comparison::Lt => order.is_lt(),
            Comparison::Le => order.is_le(),
            Comparison::Gt => order.is_gt(),
            Comparison::Ge => order.is_ge(),
        }
    }
}

/// A condition on a record's fields.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// Every record.
    All,
    /// No record.
    None,
    /// The field is there and compares so.
    Compare {
        /// The field.
        field: FieldId,
        /// The comparison, field on the left.
        op: Comparison,
        /// The value on the right, of the field's type.
        value: Value,
    },
    /// The field is there and equals one of the values.
    In {
        /// The field.
        field: FieldId,
        /// The values, of the field's type.
        values: Vec<Value>,
    },
    /// The field is missing.
    IsNull(FieldId),
    /// All of them hold; true when there are none.
    And(Vec<Predicate>),
    /// One of them holds; false when there are none.
    Or(Vec<Predicate>),
    /// It does not hold.
    Not(Box<Predicate>),
}

/// A condition on one value.
pub(crate) enum Test<'p> {
    Compare(Comparison, ValueRef<'p>),
    In(&'p [Value]),
}

impl Test<'_> {
    pub(crate) fn holds(&self, value: ValueRef<'_>) -> bool {
        match self {
            Test::Compare(op, other) => value.compare(*other).is_some_and(|order| op.holds(order)),
            Test::In(values) => {
                values.iter().any(|other| value.compare(other.borrow()) == Some(Ordering::Equal))
            }
        }
    }

    /// Whether a value from `min` to `max` could pass.
    pub(crate) fn could_hold(&self, min: ValueRef<'_>, max: ValueRef<'_>) -> bool {
        let reaches = |value: ValueRef<'_>| {
            min.compare(value) != Some(Ordering::Greater) && max.compare(value) != Some(Ordering::Less)
        };
        match self {
            Test::Compare(Comparison::Eq, value) => reaches(*value),
            Test::Compare(Comparison::Ne, _) => true,
            Test::Compare(op @ (Comparison::Lt | Comparison::Le), value) => {
                min.compare(*value).is_none_or(|order| op.holds(order))
            }
            Test::Compare(op @ (Comparison::Gt | Comparison::Ge), value) => {
                max.compare(*value).is_none_or(|order| op.holds(order))
            }
            Test::In(values) => values.iter().any(|value| reaches(value.borrow())),
        }
    }
}

impl Test<'_> {
    /// Whether every value from `min` to `max` passes. May say no where they do.
    pub(crate) fn must_hold(&self, min: ValueRef<'_>, max: ValueRef<'_>) -> bool {
        let Test::Compare(op, value) = self else { return false };
        let (low, high) = (min.compare(*value), max.compare(*value));
        match op {
            Comparison::Eq => low == Some(Ordering::Equal) && high == Some(Ordering::Equal),
            Comparison::Ne => low == Some(Ordering::Greater) || high == Some(Ordering::Less),
            Comparison::Lt | Comparison::Le => high.is_some_and(|order| op.holds(order)),
            Comparison::Gt | Comparison::Ge => low.is_some_and(|order| op.holds(order)),
        }
    }
}

impl Predicate {
    /// Checks that fields are known and values of their types.
    pub(crate) fn check(&self, config: &CollectionConfig) -> Result<(), Error> {
        let check = |field: FieldId, value: &Value| {
            let expected = config.field_type(field)?;
            if value.field_type() == expected {
                return Ok(());
            }
            Err(Error::FieldType {
                field: config.field_name(field)?.to_owned(),
                expected,
                got: value.field_type(),
            })
        };
        match self {
            Predicate::All | Predicate::None => Ok(()),
            Predicate::Compare { field, value, .. } => check(*field, value),
            Predicate::In { field, values } => {
                config.field_type(*field)?;
                values.iter().try_for_each(|value| check(*field, value))
            }
            Predicate::IsNull(field) => config.field_type(*field).map(|_| ()),
            Predicate::And(all) | Predicate::Or(all) => all.iter().try_for_each(|inner| inner.check(config)),
            Predicate::Not(inner) => inner.check(config),
        }
    }

    /// Whether it holds for a row with these fields.
    pub(crate) fn holds(&self, fields: &[(FieldId, ValueRef<'_>)]) -> bool {
        let get =
            |field: FieldId| fields.iter().find_map(|(found, value)| (*found == field).then_some(*value));
        match self {
            Predicate::All => true,
            Predicate::None => false,
            Predicate::Compare { field, op, value } => {
                get(*field).is_some_and(|found| Test::Compare(*op, value.borrow()).holds(found))
            }
            Predicate::In { field, values } => get(*field).is_some_and(|found| Test::In(values).holds(found)),
            Predicate::IsNull(field) => get(*field).is_none(),
            Predicate::And(all) => all.iter().all(|inner| inner.holds(fields)),
            Predicate::Or(any) => any.iter().any(|inner| inner.holds(fields)),
            Predicate::Not(inner) => !inner.holds(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compare(op: Comparison, value: Value) -> Predicate {
        Predicate::Compare { field: FieldId(1), op, value }
    }

    #[test]
    fn a_missing_field_fails_every_comparison() {
        use Comparison::*;
        for op in [Eq, Ne, Lt, Le, Gt, Ge] {
            let predicate = compare(op, Value::I64(0));
            assert!(!predicate.holds(&[]), "{op:?}");
            assert!(Predicate::Not(Box::new(predicate)).holds(&[]), "{op:?}");
        }
        assert!(Predicate::IsNull(FieldId(1)).holds(&[(FieldId(2), ValueRef::I64(0))]));
        assert!(!Predicate::IsNull(FieldId(2)).holds(&[(FieldId(2), ValueRef::I64(0))]));
    }

    #[test]
    fn both_zeros_are_equal() {
        let fields = [(FieldId(1), ValueRef::F64(-0.0))];
        assert!(compare(Comparison::Eq, Value::F64(0.0)).holds(&fields));
        assert!(!compare(Comparison::Lt, Value::F64(0.0)).holds(&fields));
    }

    proptest! {
        #[test]
        fn a_chunk_is_skipped_only_when_nothing_in_it_passes(
            values in proptest::collection::vec(-5_i64..5, 1..6), right in -6_i64..6, other in -6_i64..6,
        ) {
            use Comparison::*;
            let min = ValueRef::I64(*values.iter().min().unwrap());
            let max = ValueRef::I64(*values.iter().max().unwrap());
            let right = Value::I64(right);
            let several = [right.clone(), Value::I64(other)];
            let tests = [Eq, Ne, Lt, Le, Gt, Ge].map(|op| Test::Compare(op, right.borrow()));
            for test in tests.into_iter().chain([Test::In(&several)]) {
                let passes = values.iter().any(|value| test.holds(ValueRef::I64(*value)));
                prop_assert!(!passes || test.could_hold(min, max));
                let all_pass = values.iter().all(|value| test.holds(ValueRef::I64(*value)));
                prop_assert!(all_pass || !test.must_hold(min, max));
            }
        }
    }
}
