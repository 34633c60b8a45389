//! From a predicate to one mask a part.
//!
//! Fresh rows are tested one by one. For segments each leaf of the predicate becomes a mask, from
//! the sorted index when the leaf is a range of few values, else from the column chunks that can
//! hold such values; inner nodes combine masks. What is alive is cut out at the end.

use std::ops::ControlFlow;

use twinbit_kernels::RowMask;

use crate::catalog::Family;
use crate::columns::Chunk;
use crate::error::Error;
use crate::format::ORDINALS_PER_COLUMN_CHUNK;
use crate::fresh;
use crate::index::Range;
use crate::keys;
use crate::part::PartData;
use crate::predicate::{Predicate, Test};
use crate::schema::FieldId;
use crate::view::CollectionView;

impl CollectionView {
    /// One mask for each of [`parts`](Self::parts): the alive rows for which the predicate holds.
    pub fn select(&self, predicate: &Predicate) -> Result<Vec<RowMask>, Error> {
        predicate.check(&self.collection.info.config)?;
        let parts = &self.collection.parts;
        let alive = |masks: Vec<RowMask>| -> Vec<RowMask> {
            masks.iter().zip(parts).map(|(mask, part)| mask.and(part.alive())).collect()
        };
        match predicate {
            Predicate::All => Ok(alive(self.masks(true))),
            Predicate::None => Ok(self.masks(false)),
            _ => {
                let mut masks = self.evaluate(predicate)?;
                self.select_fresh(predicate, &mut masks)?;
                Ok(alive(masks))
            }
        }
    }

    fn masks(&self, all: bool) -> Vec<RowMask> {
        self.collection
            .parts
            .iter()
            .map(|part| match all {
                true => RowMask::all(part.rows() as usize),
                false => RowMask::none(part.rows() as usize),
            })
            .collect()
    }

    /// Masks for segments; what they say about fresh rows is not used.
    fn evaluate(&self, predicate: &Predicate) -> Result<Vec<RowMask>, Error> {
        let invert = |masks: Vec<RowMask>| masks.iter().map(RowMask::not).collect();
        match predicate {
            Predicate::All => Ok(self.masks(true)),
            Predicate::None => Ok(self.masks(false)),
            Predicate::Compare { field, op, value } => self.leaf(*field, &Test::Compare(*op, value.borrow())),
            Predicate::In { field, values } => self.leaf(*field, &Test::In(values)),
            Predicate::IsNull(field) => {
                let mut there = self.masks(false);
                self.scan_columns(*field, None, &mut there)?;
                Ok(invert(there))
            }
            Predicate::And(all) => all
                .iter()
                .try_fold(self.masks(true), |sum, inner| combine(sum, &self.evaluate(inner)?, RowMask::and)),
            Predicate::Or(any) => any
                .iter()
                .try_fold(self.masks(false), |sum, inner| combine(sum, &self.evaluate(inner)?, RowMask::or)),
            Predicate::Not(inner) => Ok(invert(self.evaluate(inner)?)),
        }
    }

    fn leaf(&self, field: FieldId, test: &Test<'_>) -> Result<Vec<RowMask>, Error> {
        let mut masks = self.masks(false);
        if self.collection.info.config.is_indexed(field)
            && let Some(ranges) = Range::of(self.collection.info.id, field, test)
            && let Some(ordinals) = self.look_up(&ranges, self.look_up_limit())?
        {
            let mut place = Place::new(&self.collection.parts);
            for ordinal in ordinals {
                place.set(ordinal, &mut masks);
            }
            return Ok(masks);
        }
        self.scan_columns(field, Some(test), &mut masks)?;
        Ok(masks)
    }

    /// Beyond a share of the rows, reading columns is cheaper than collecting index entries one by
    /// one; an index entry costs about as much as decoding a few dozen values.
    fn look_up_limit(&self) -> usize {
        4096.max(self.collection.live as usize / 32)
    }

    /// Sets the rows whose value passes; with no test, those that have a value.
    fn scan_columns(
        &self,
        field: FieldId,
        test: Option<&Test<'_>>,
        masks: &mut [RowMask],
    ) -> Result<(), Error> {
        let (pin, info) = (&self.state.pin, &self.collection.info);
        let mut place = Place::new(&self.collection.parts);
        let prefix = keys::field(info.id, field);
        pin.scan_prefix(Family::Columns, &prefix, &mut |key, value| {
            let corrupt = || pin.corrupt(Family::Columns, key, "the chunk is unreadable");
            let chunk = Chunk::decode(value).ok_or_else(corrupt)?;
            let number = keys::last_number(key).ok_or_else(corrupt)?;
            let base = number.checked_mul(ORDINALS_PER_COLUMN_CHUNK).ok_or_else(corrupt)?;
            match test {
                None => {
                    for at in chunk.places() {
                        place.set(base + u64::from(at), masks);
                    }
                }
                Some(test) if test.could_hold(chunk.min, chunk.max) => {
                    for (at, value) in chunk.iter() {
                        if test.holds(value.ok_or_else(corrupt)?) {
                            place.set(base + u64::from(at), masks);
                        }
                    }
                }
                Some(_) => {}
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    fn select_fresh(&self, predicate: &Predicate, masks: &mut [RowMask]) -> Result<(), Error> {
        let (pin, info) = (&self.state.pin, &self.collection.info);
        // Rows without an entry have no fields.
        let without_fields = predicate.holds(&[]);
        for (part, mask) in self.collection.parts.iter().zip(masks.iter_mut()) {
            if part.fresh().is_some() {
                *mask = match without_fields {
                    true => RowMask::all(part.rows() as usize),
                    false => RowMask::none(part.rows() as usize),
                };
            }
        }
        let mut place = Place::new(&self.collection.parts);
        let first = keys::ordinal(info.id, self.collection.fresh_start());
        let end = keys::after_prefix(&keys::collection(info.id));
        pin.scan(Family::FreshFields, &first, end, &mut |key, value| {
            let corrupt = || pin.corrupt(Family::FreshFields, key, "the fields are unreadable");
            let ordinal = keys::last_number(key).ok_or_else(corrupt)?;
            let fields = fresh::decode_fields(value).ok_or_else(corrupt)?;
            place.assign(ordinal, predicate.holds(&fields), masks);
            Ok(ControlFlow::Continue(()))
        })
    }
}

fn combine(
    sum: Vec<RowMask>,
    next: &[RowMask],
    how: impl Fn(&RowMask, &RowMask) -> RowMask,
) -> Result<Vec<RowMask>, Error> {
    Ok(sum.iter().zip(next).map(|(a, b)| how(a, b)).collect())
}

/// Finds the rows of ordinals, fast when they come in ascending order.
struct Place<'p> {
    parts: &'p [std::sync::Arc<PartData>],
    current: usize,
}

impl<'p> Place<'p> {
    fn new(parts: &'p [std::sync::Arc<PartData>]) -> Self {
        Place { parts, current: 0 }
    }

    fn set(&mut self, ordinal: u64, masks: &mut [RowMask]) {
        self.assign(ordinal, true, masks);
    }

    fn assign(&mut self, ordinal: u64, member: bool, masks: &mut [RowMask]) {
        let here = |part: &PartData| (part.first()..=part.last()).contains(&ordinal);
        if !self.parts.get(self.current).is_some_and(|part| here(part)) {
            let after = self.parts.partition_point(|part| part.first() <= ordinal);
            self.current = after.saturating_sub(1);
        }
        let row = self.parts.get(self.current).and_then(|part| part.row_of(ordinal));
        if let (Some(row), Some(mask)) = (row, masks.get_mut(self.current)) {
            mask.set(row as usize, member);
        }
    }
}
