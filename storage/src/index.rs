//! The sorted index: from a range of values to ordinals.

use std::ops::ControlFlow;

use crate::catalog::Family;
use crate::error::Error;
use crate::id::CollectionId;
use crate::keys;
use crate::predicate::{Comparison, Test};
use crate::schema::FieldId;
use crate::view::CollectionView;

/// A range of index keys, the end left out.
#[derive(Debug, PartialEq)]
pub(crate) struct Range {
    first: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl Range {
    /// Whether ranges of the index can answer a test.
    pub(crate) fn is_of_use(test: &Test<'_>) -> bool {
        !matches!(test, Test::Compare(Comparison::Ne, _))
    }

    /// The ranges that hold just the entries that pass a test; `None` when the index is of no use.
    pub(crate) fn of(collection: CollectionId, field: FieldId, test: &Test<'_>) -> Option<Vec<Range>> {
        let whole = keys::field(collection, field);
        let exactly = |value| {
            let first = keys::index_value(collection, field, value);
            let end = keys::after_prefix(&first);
            Range { first, end }
        };
        let after_all = keys::after_prefix(&whole);
        Some(match test {
            Test::Compare(Comparison::Ne, _) => return None,
            Test::Compare(Comparison::Eq, value) => vec![exactly(*value)],
            Test::Compare(Comparison::Lt, value) => {
                vec![Range { first: whole, end: Some(exactly(*value).first) }]
            }
            Test::Compare(Comparison::Le, value) => vec![Range { first: whole, end: exactly(*value).end }],
            Test::Compare(Comparison::Gt, value) => {
                vec![Range { first: exactly(*value).end?, end: after_all }]
            }
            Test::Compare(Comparison::Ge, value) => {
                vec![Range { first: exactly(*value).first, end: after_all }]
            }
            Test::In(values) => values.iter().map(|value| exactly(value.borrow())).collect(),
        })
    }
}

impl CollectionView {
    /// The ordinals under the ranges, or `None` when there are more than `limit`.
    pub(crate) fn look_up(&self, ranges: &[Range], limit: usize) -> Result<Option<Vec<u64>>, Error> {
        let pin = &self.state.pin;
        let mut ordinals = Vec::new();
        for range in ranges {
            pin.scan(Family::Index, &range.first, range.end.clone(), &mut |key, _| {
                let ordinal = keys::last_number(key)
                    .ok_or_else(|| pin.corrupt(Family::Index, key, "the index entry is too short"))?;
                ordinals.push(ordinal);
                Ok(match ordinals.len() > limit {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                })
            })?;
            if ordinals.len() > limit {
                return Ok(None);
            }
        }
        Ok(Some(ordinals))
    }
}
