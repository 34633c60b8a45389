//! From a predicate to one mask a part.
//!
//! Fresh rows are tested one by one. For segments each leaf of the predicate becomes a mask in the way
//! that is expected to be cheapest: from the sorted index, from all column chunks that can hold such
//! values, or from the values of the rows that are left. The conditions of an `And` are taken in the
//! order of their expected cost and of how much they leave; inner nodes combine masks. What is alive
//! is cut out at the end.

use std::borrow::Cow;
use std::ops::ControlFlow;

use twinbit_kernels::RowMask;

use crate::catalog::Family;
use crate::columns::{Chunk, Places, place};
use crate::error::Error;
use crate::estimate::Estimates;
use crate::format::ORDINALS_PER_COLUMN_CHUNK;
use crate::fresh;
use crate::index::Range;
use crate::keys;
use crate::place::Place;
use crate::predicate::{Predicate, Test};
use crate::schema::FieldId;
use crate::view::CollectionView;

/// Costs in the unit of testing one value of a chunk that is read as a whole.
mod cost {
    /// Finding one entry of an index and its row.
    pub(super) const ENTRY: f64 = 40.0;
    /// Seeking in an index.
    pub(super) const LOOK_UP: f64 = 4_000.0;
    /// Fetching one chunk by its key.
    pub(super) const CHUNK: f64 = 2_000.0;
    /// Testing one value out of a chunk.
    pub(super) const PICK: f64 = 30.0;
}

/// Below this share of the rows an `And` goes on with the rows that are left, one by one.
const FEW: usize = 16;

/// Where a leaf's rows come from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Index,
    Columns,
    Rows,
}

/// Ascending ordinals outside of which nobody cares what a mask says; `None` for all rows.
type Few<'f> = Option<&'f [u64]>;

impl CollectionView {
    /// One mask for each of [`parts`](Self::parts): the alive rows for which the predicate holds.
    pub fn select(&self, predicate: &Predicate) -> Result<Vec<RowMask>, Error> {
        predicate.check(&self.collection.info.config)?;
        match predicate {
            Predicate::All => Ok(self.alive(self.masks(true))),
            Predicate::None => Ok(self.masks(false)),
            _ => {
                let estimates = Estimates::of(self, predicate)?;
                let mut masks = self.evaluate(predicate, &estimates, None)?;
                self.select_fresh(predicate, &mut masks)?;
                Ok(self.alive(masks))
            }
        }
    }

    fn alive(&self, masks: Vec<RowMask>) -> Vec<RowMask> {
        masks.iter().zip(&self.collection.parts).map(|(mask, part)| mask.and(part.alive())).collect()
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
    fn evaluate(
        &self,
        predicate: &Predicate,
        estimates: &Estimates,
        few: Few<'_>,
    ) -> Result<Vec<RowMask>, Error> {
        let invert = |masks: Vec<RowMask>| masks.iter().map(RowMask::not).collect();
        match predicate {
            Predicate::All => Ok(self.masks(true)),
            Predicate::None => Ok(self.masks(false)),
            Predicate::Compare { field, op, value } => {
                self.leaf(*field, &Test::Compare(*op, value.borrow()), estimates, few)
            }
            Predicate::In { field, values } => self.leaf(*field, &Test::In(values), estimates, few),
            Predicate::IsNull(field) => {
                let mut there = self.masks(false);
                match few {
                    Some(few) => self.pick(*field, None, few, &mut there)?,
                    None => self.scan_columns(*field, None, &mut there)?,
                }
                Ok(invert(there))
            }
            Predicate::And(all) => self.all_of(all, estimates, few),
            Predicate::Or(any) => any.iter().try_fold(self.masks(false), |sum, inner| {
                Ok(combine(&sum, &self.evaluate(inner, estimates, few)?, RowMask::or))
            }),
            Predicate::Not(inner) => Ok(invert(self.evaluate(inner, estimates, few)?)),
        }
    }

    /// What is cheap and leaves little comes first; once little is left, only that is looked at.
    fn all_of(&self, all: &[Predicate], estimates: &Estimates, few: Few<'_>) -> Result<Vec<RowMask>, Error> {
        let rows = estimates.rows().max(1.0);
        let mut ordered: Vec<(f64, &Predicate)> = all
            .iter()
            .map(|inner| {
                let kept = estimates.holding(inner) / rows;
                (self.expected_cost(inner, estimates, few) / (1.0 - kept).max(1e-3), inner)
            })
            .collect();
        ordered.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut masks = self.masks(true);
        let mut few = few.map(Cow::Borrowed);
        for (position, (_, inner)) in ordered.iter().enumerate() {
            let found = self.evaluate(inner, estimates, few.as_deref())?;
            masks = combine(&masks, &found, RowMask::and);
            if position + 1 == ordered.len() {
                break;
            }
            few = match few {
                Some(few) => Some(Cow::Owned(self.still_in(&few, &masks))),
                None => self.few_of(&masks, rows as usize / FEW).map(Cow::Owned),
            };
            if few.as_deref().is_some_and(<[u64]>::is_empty) {
                return Ok(self.masks(false));
            }
        }
        Ok(masks)
    }

    /// The alive rows of segments that masks hold, when they are few.
    fn few_of(&self, masks: &[RowMask], limit: usize) -> Option<Vec<u64>> {
        let segments = || masks.iter().zip(&self.collection.parts).take(self.collection.segments);
        let found: Vec<RowMask> = segments().map(|(mask, part)| mask.and(part.alive())).collect();
        if found.iter().map(RowMask::count).sum::<usize>() > limit {
            return None;
        }
        let rows = found.iter().zip(&self.collection.parts);
        Some(rows.flat_map(|(mask, part)| mask.ones().map(|row| part.ordinal(row))).collect())
    }

    fn still_in(&self, few: &[u64], masks: &[RowMask]) -> Vec<u64> {
        let mut place = Place::new(&self.collection.parts);
        let held = |ordinal: &u64| {
            place
                .find(*ordinal)
                .and_then(|(part, row)| Some(masks.get(part)?.get(row as usize)))
                .unwrap_or(false)
        };
        few.iter().copied().filter(held).collect()
    }

    fn expected_cost(&self, predicate: &Predicate, estimates: &Estimates, few: Few<'_>) -> f64 {
        let several = |inner: &[Predicate]| -> f64 {
            inner.iter().map(|inner| self.expected_cost(inner, estimates, few)).sum()
        };
        match predicate {
            Predicate::All | Predicate::None => 0.0,
            Predicate::Compare { field, op, value } => {
                self.way(*field, &Test::Compare(*op, value.borrow()), estimates, few).1
            }
            Predicate::In { field, values } => self.way(*field, &Test::In(values), estimates, few).1,
            Predicate::IsNull(field) => estimates.values(*field),
            Predicate::And(inner) | Predicate::Or(inner) => several(inner),
            Predicate::Not(inner) => self.expected_cost(inner, estimates, few),
        }
    }

    /// The cheapest way to a leaf's rows, and its cost.
    fn way(&self, field: FieldId, test: &Test<'_>, estimates: &Estimates, few: Few<'_>) -> (Way, f64) {
        let values = estimates.values(field);
        let chunks = (estimates.rows() / ORDINALS_PER_COLUMN_CHUNK as f64).ceil();
        let mut best = (Way::Columns, values + chunks * cost::CHUNK / 4.0);
        let mut consider = |way, cost| {
            if cost < best.1 {
                best = (way, cost);
            }
        };
        if self.collection.info.config.is_indexed(field) && Range::is_of_use(test) {
            consider(Way::Index, cost::LOOK_UP + estimates.passing(field, test) * cost::ENTRY);
        }
        if let Some(few) = few {
            let rows = few.len() as f64;
            consider(Way::Rows, rows.min(chunks) * cost::CHUNK + rows * cost::PICK);
        }
        best
    }

    fn leaf(
        &self,
        field: FieldId,
        test: &Test<'_>,
        estimates: &Estimates,
        few: Few<'_>,
    ) -> Result<Vec<RowMask>, Error> {
        let mut masks = self.masks(false);
        let (way, _) = self.way(field, test, estimates, few);
        if way == Way::Index && self.look_up_rows(field, test, estimates, &mut masks)? {
            return Ok(masks);
        }
        match few {
            Some(few) if way != Way::Columns => self.pick(field, Some(test), few, &mut masks)?,
            _ => self.scan_columns(field, Some(test), &mut masks)?,
        }
        Ok(masks)
    }

    /// Sets the rows that the index leads to. `false`, and nothing set, when there are so many that
    /// the estimate was wrong and reading columns is cheaper.
    fn look_up_rows(
        &self,
        field: FieldId,
        test: &Test<'_>,
        estimates: &Estimates,
        masks: &mut [RowMask],
    ) -> Result<bool, Error> {
        let Some(ranges) = Range::of(self.collection.info.id, field, test) else { return Ok(false) };
        let limit = 4096.max((estimates.rows() / cost::ENTRY) as usize);
        let Some(ordinals) = self.look_up(&ranges, limit)? else { return Ok(false) };
        let mut place = Place::new(&self.collection.parts);
        for ordinal in ordinals {
            place.assign(ordinal, true, masks);
        }
        Ok(true)
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
            let places = chunk.passing(test).ok_or_else(corrupt)?;
            set_places(&mut place, base, &places, masks);
            Ok(ControlFlow::Continue(()))
        })
    }

    /// [`scan_columns`](Self::scan_columns) for a few rows only.
    fn pick(
        &self,
        field: FieldId,
        test: Option<&Test<'_>>,
        few: &[u64],
        masks: &mut [RowMask],
    ) -> Result<(), Error> {
        let (pin, info) = (&self.state.pin, &self.collection.info);
        let mut rows = Place::new(&self.collection.parts);
        for together in few.chunk_by(|a, b| place(*a).0 == place(*b).0) {
            let Some(first) = together.first() else { continue };
            let key = keys::column(info.id, field, place(*first).0);
            let Some(bytes) = pin.get(Family::Columns, &key)? else { continue };
            let corrupt = || pin.corrupt(Family::Columns, &key, "the chunk is unreadable");
            let chunk = Chunk::decode(&bytes).ok_or_else(corrupt)?;
            if test.is_some_and(|test| !test.could_hold(chunk.min, chunk.max)) {
                continue;
            }
            for ordinal in together {
                let value = chunk.get(place(*ordinal).1).ok_or_else(corrupt)?;
                if value.is_some_and(|value| test.is_none_or(|test| test.holds(value))) {
                    rows.assign(*ordinal, true, masks);
                }
            }
        }
        Ok(())
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

/// Sets the rows at places of the chunk that begins with the ordinal `base`.
fn set_places(place: &mut Place<'_>, base: u64, places: &Places, masks: &mut [RowMask]) {
    let run = place.run(base, ORDINALS_PER_COLUMN_CHUNK);
    for (word, at) in places.iter().zip((base..).step_by(64)) {
        let run = run.and_then(|(part, first)| Some((masks.get_mut(part)?, (at - first) as usize)));
        match (run, *word) {
            (_, 0) => {}
            (Some((mask, row)), u64::MAX) => mask.set_range(row..row + 64, true),
            (Some((mask, row)), word) => ones(word).for_each(|bit| mask.set(row + bit, true)),
            (None, word) => ones(word).for_each(|bit| place.assign(at + bit as u64, true, masks)),
        }
    }
}

fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros() as usize;
        word &= word.checked_sub(1)?;
        Some(bit)
    })
}

fn combine(sum: &[RowMask], next: &[RowMask], how: impl Fn(&RowMask, &RowMask) -> RowMask) -> Vec<RowMask> {
    sum.iter().zip(next).map(|(a, b)| how(a, b)).collect()
}
