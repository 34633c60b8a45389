//! Some queries against codes on the card.

use twinbit_kernels::cuda::{AnyMachine, DeviceMask, MOST_NEAREST, Search, SegmentHit, Target};
use twinbit_kernels::{Codes, Error, Hit, RowMask};

use crate::bounds::Bounds;
use crate::residency::{MatrixKey, Residency};

/// Codes to be searched, and which of their rows.
pub(crate) struct CardPart<'a> {
    pub(crate) key: MatrixKey,
    pub(crate) codes: Codes<'a>,
    pub(crate) mask: Option<&'a RowMask>,
}

/// A search of parts on a card, in as many rounds as its memory asks for.
pub(crate) struct CardSearch<'a> {
    pub(crate) machine: &'a AnyMachine,
    pub(crate) residency: &'a mut Residency,
    pub(crate) queries: Codes<'a>,
    pub(crate) bounds: &'a Bounds,
    pub(crate) stop: &'a (dyn Fn() -> bool + Sync),
}

impl CardSearch<'_> {
    /// The hits of each query in parts of one modality, which come in the order of their ordinals. Each
    /// round adds the hits asked for, nearest first, so that there can be more than were asked for.
    ///
    /// # Errors
    /// [`Error::TooManyNearest`] when more hits than a card can select are within the radius,
    /// [`Error::Stopped`], and [`Error::Cuda`] when memory or driver fail.
    pub(crate) fn run(&mut self, parts: &[CardPart<'_>]) -> Result<Vec<Vec<SegmentHit>>, Error> {
        let mut found = vec![Vec::new(); self.queries.rows()];
        // What is on the card goes first: it would have to make room for the others.
        let mut waiting: Vec<usize> = (0..parts.len()).collect();
        let is_here =
            |part: usize| parts.get(part).is_some_and(|part| self.residency.get(&part.key).is_some());
        waiting.sort_by_key(|&part| !is_here(part));
        let mut waiting = waiting.into_iter().peekable();
        while waiting.peek().is_some() {
            self.residency.begin_round();
            let mut round = Vec::new();
            while let Some(&number) = waiting.peek()
                && let Some(part) = parts.get(number)
                && self.residency.hold(&part.key, part.codes, self.stop)?
            {
                round.push((number, part));
                waiting.next();
            }
            // Ties are broken by the order of the parts.
            round.sort_unstable_by_key(|(number, _)| *number);
            self.search_round(&round, &mut found)?;
        }
        Ok(found)
    }

    fn search_round(
        &self,
        round: &[(usize, &CardPart<'_>)],
        found: &mut [Vec<SegmentHit>],
    ) -> Result<(), Error> {
        let mut masks = Vec::with_capacity(round.len());
        for (_, part) in round {
            masks.push(part.mask.map(|mask| DeviceMask::upload(self.machine, mask)).transpose()?);
        }
        let target = |((_, part), mask): (&(usize, &CardPart<'_>), _)| {
            Some(Target { codes: self.residency.get(&part.key)?, mask: Option::as_ref(mask) })
        };
        let targets: Vec<Target<'_, AnyMachine>> = round.iter().zip(&masks).filter_map(target).collect();
        let search = Search::new(self.machine, &targets).stop(self.stop);
        let radius = self.bounds.radius();
        let limit = match self.bounds.limit() {
            Some(limit) => limit,
            None => {
                let most = search.count_within(self.queries, radius)?.into_iter().max().unwrap_or(0);
                usize::try_from(most).unwrap_or(usize::MAX)
            }
        };
        if limit > MOST_NEAREST {
            return Err(Error::TooManyNearest { k: limit, most: MOST_NEAREST });
        }
        let hits = search.within(self.queries, radius, limit)?;
        for (query, (all, hits)) in found.iter_mut().zip(hits).enumerate() {
            let plain: Vec<Hit> =
                hits.iter().map(|hit| Hit { distance: hit.distance, row: hit.row }).collect();
            self.bounds.learn(query, &plain);
            all.extend(hits.into_iter().filter_map(|hit| {
                round.get(hit.segment).map(|&(number, _)| SegmentHit { segment: number, ..hit })
            }));
        }
        Ok(())
    }
}
