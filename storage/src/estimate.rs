//! What the statistics of fields say about a predicate: how many rows pass, before any is read.
//!
//! Estimates choose between ways that give the same answer, so they may be as wrong as they like.

use std::collections::BTreeMap;

use crate::edits::stored_sketch;
use crate::error::Error;
use crate::predicate::{Predicate, Test};
use crate::schema::FieldId;
use crate::sketch::Sketch;
use crate::value::Value;
use crate::view::CollectionView;

/// What is known of a field's values without reading them.
///
/// Counted are the rows in segments. Rows that died, and values that were replaced, count until
/// their chunk is compacted or the statistics are rebuilt; strings are cut to their first 64 bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldStatistics {
    /// Values.
    pub values: u64,
    /// The smallest value.
    pub min: Option<Value>,
    /// The largest value.
    pub max: Option<Value>,
    /// About how many different values; the standard error is 6.5 %.
    pub distinct: u64,
}

impl CollectionView {
    /// The statistics of a field, as the planner of filters uses them.
    pub fn statistics(&self, field: FieldId) -> Result<FieldStatistics, Error> {
        self.info().config.field_type(field)?;
        let sketch = stored_sketch(&self.state.pin, self.info().id, field)?.unwrap_or_default();
        let (min, max) = sketch.bounds().map(|(min, max)| (min.clone(), max.clone())).unzip();
        Ok(FieldStatistics { values: sketch.values, min, max, distinct: sketch.distinct() })
    }
}

/// The statistics that a predicate needs.
pub(crate) struct Estimates {
    rows: f64,
    sketches: BTreeMap<FieldId, Sketch>,
}

impl Estimates {
    pub(crate) fn of(view: &CollectionView, predicate: &Predicate) -> Result<Self, Error> {
        let rows: u64 = view.collection.segments().map(|segment| u64::from(segment.rows.rows())).sum();
        let mut estimates = Estimates { rows: rows as f64, sketches: BTreeMap::new() };
        estimates.read(view, predicate)?;
        Ok(estimates)
    }

    fn read(&mut self, view: &CollectionView, predicate: &Predicate) -> Result<(), Error> {
        match predicate {
            Predicate::All | Predicate::None => Ok(()),
            Predicate::Compare { field, .. } | Predicate::In { field, .. } | Predicate::IsNull(field) => {
                if !self.sketches.contains_key(field) {
                    let sketch = stored_sketch(&view.state.pin, view.info().id, *field)?;
                    let known = sketch
                        .filter(|sketch| sketch.field_type() == view.info().config.field_type(*field).ok());
                    self.sketches.insert(*field, known.unwrap_or_default());
                }
                Ok(())
            }
            Predicate::And(several) | Predicate::Or(several) => {
                several.iter().try_for_each(|inner| self.read(view, inner))
            }
            Predicate::Not(inner) => self.read(view, inner),
        }
    }

    /// Rows in segments.
    pub(crate) fn rows(&self) -> f64 {
        self.rows
    }

    /// Values of a field in segments.
    pub(crate) fn values(&self, field: FieldId) -> f64 {
        self.sketches.get(&field).map_or(0.0, |sketch| sketch.values as f64)
    }

    /// Rows of which a field's value passes a test.
    pub(crate) fn passing(&self, field: FieldId, test: &Test<'_>) -> f64 {
        self.sketches.get(&field).map_or(0.0, |sketch| sketch.estimate(test))
    }

    /// Rows for which a predicate holds.
    pub(crate) fn holding(&self, predicate: &Predicate) -> f64 {
        let holding = match predicate {
            Predicate::All => self.rows,
            Predicate::None => 0.0,
            Predicate::Compare { field, op, value } => {
                self.passing(*field, &Test::Compare(*op, value.borrow()))
            }
            Predicate::In { field, values } => self.passing(*field, &Test::In(values)),
            Predicate::IsNull(field) => self.rows - self.values(*field),
            Predicate::And(all) => {
                let share = |inner| self.holding(inner) / self.rows.max(1.0);
                all.iter().map(share).product::<f64>() * self.rows
            }
            Predicate::Or(any) => any.iter().map(|inner| self.holding(inner)).sum(),
            Predicate::Not(inner) => self.rows - self.holding(inner),
        };
        holding.clamp(0.0, self.rows)
    }
}
