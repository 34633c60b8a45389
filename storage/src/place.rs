//! From ordinals to rows of parts.

use std::sync::Arc;

use twinbit_kernels::RowMask;

use crate::part::PartData;

/// Finds the rows of ordinals, fast when they come in ascending order.
pub(crate) struct Place<'p> {
    parts: &'p [Arc<PartData>],
    current: usize,
}

impl<'p> Place<'p> {
    pub(crate) fn new(parts: &'p [Arc<PartData>]) -> Self {
        Place { parts, current: 0 }
    }

    /// The part and the row in it of an ordinal, alive or dead.
    pub(crate) fn find(&mut self, ordinal: u64) -> Option<(usize, u32)> {
        let here = |part: &PartData| (part.first()..=part.last()).contains(&ordinal);
        if !self.parts.get(self.current).is_some_and(|part| here(part)) {
            let after = self.parts.partition_point(|part| part.first() <= ordinal);
            self.current = after.saturating_sub(1);
        }
        Some((self.current, self.parts.get(self.current)?.row_of(ordinal)?))
    }

    /// The part that has a row for each of `count` ordinals from `first` on, and its first ordinal,
    /// where the ordinals of that part have no gaps: there a row is the distance from it.
    pub(crate) fn run(&mut self, first: u64, count: u64) -> Option<(usize, u64)> {
        let (current, _) = self.find(first)?;
        let part = self.parts.get(current)?;
        let (start, last) = (part.first(), part.last());
        let has_gaps = last - start + 1 != u64::from(part.rows());
        (!has_gaps && first.checked_add(count - 1)? <= last).then_some((current, start))
    }

    /// Whether the row of an ordinal is alive.
    pub(crate) fn is_alive(&mut self, ordinal: u64) -> bool {
        let Some((part, row)) = self.find(ordinal) else { return false };
        self.parts.get(part).is_some_and(|part| part.alive().get(row as usize))
    }

    /// Sets the row of an ordinal in the mask of its part.
    pub(crate) fn assign(&mut self, ordinal: u64, member: bool, masks: &mut [RowMask]) {
        if let Some((part, row)) = self.find(ordinal)
            && let Some(mask) = masks.get_mut(part)
        {
            mask.set(row as usize, member);
        }
    }
}
