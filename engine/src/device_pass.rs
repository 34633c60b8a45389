//! Which parts some queries are answered from on the card, and what is found there.

use std::time::Instant;

use twinbit_kernels::cuda::SegmentHit;
use twinbit_kernels::{Codes, CodesBuf, Scan, Search};
use twinbit_storage::Part;

use crate::accelerator::{Accelerator, BUSY, CARD_FAILED, Card, TOO_MANY_HITS, Wanted};
use crate::bounds::Bounds;
use crate::card_search::{CardPart, CardSearch};
use crate::indexer::index_of;
use crate::plan::{PartPlan, PartSearch};
use crate::query::Candidate;
use crate::residency::MatrixKey;
use crate::snapshot::Snapshot;
use crate::{Error, Method, Modality, Result};

/// Queries that are answered together, and from what.
pub(crate) struct DevicePass<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) queries: &'a CodesBuf,
    pub(crate) bounds: &'a Bounds,
    pub(crate) method: Option<Method>,
    pub(crate) stop: &'a (dyn Fn() -> bool + Sync),
}

/// A part to be searched.
pub(crate) struct Task<'p> {
    pub(crate) planned: &'p mut PartPlan,
    /// What the card would have to do; `None` where it is out of the question.
    pub(crate) wanted: Option<Wanted>,
}

/// Where the parts are searched.
pub(crate) struct Split<'a, 'p> {
    /// The card with what is searched there.
    pub(crate) on_card: Option<(&'a Card, Vec<Task<'p>>)>,
    /// What is searched on the processor.
    pub(crate) rest: Vec<Task<'p>>,
}

/// What the card found, by query, and what it left to the processor.
#[derive(Default)]
pub(crate) struct Found<'p> {
    pub(crate) hits: Vec<Vec<Candidate>>,
    pub(crate) left: Vec<Task<'p>>,
}

impl<'a> DevicePass<'a> {
    fn accelerator(&self) -> &'a Accelerator {
        self.snapshot.collection().database().accelerator()
    }

    /// Decides for each part.
    pub(crate) fn split<'p>(&self, parts: &'p mut [PartPlan]) -> Split<'a, 'p> {
        let mut card = None;
        let (mut chosen, mut rest) = (Vec::new(), Vec::new());
        for planned in parts {
            planned.why_not_card = None;
            let wanted = self.wanted(planned);
            match wanted.as_ref().map(|wanted| self.accelerator().choose(wanted)) {
                Some(Ok(found)) => {
                    card = Some(found);
                    chosen.push(Task { planned, wanted });
                }
                Some(Err(why)) => {
                    planned.why_not_card = why;
                    rest.push(Task { planned, wanted });
                }
                None => rest.push(Task { planned, wanted }),
            }
        }
        Split { on_card: card.map(|card| (card, chosen)), rest }
    }

    /// What a card would have to do. Fresh rows change with every commit and stay with the processor.
    fn wanted(&self, planned: &PartPlan) -> Option<Wanted> {
        if !self.accelerator().is_possible() {
            return None;
        }
        let part = self.snapshot.parts().get(planned.number)?;
        let codes = part.codes(planned.modality)?;
        let has_index = index_of(part, planned.modality).is_some();
        if has_index && self.method == Some(Method::MultiIndex) {
            return None;
        }
        let scan = Search::new(Scan::new(codes).mask(planned.mask.as_deref()));
        Some(Wanted {
            key: MatrixKey { file: part.codes_identity()?, modality: planned.modality },
            bytes: Codes::byte_len(codes.bits(), codes.rows()) as u64,
            mask_bytes: planned.mask.as_ref().map_or(0, |mask| mask.words().len() as u64 * 8),
            queries: self.queries.rows(),
            limit: self.bounds.limit(),
            scan: scan.scan_time(self.queries.rows()),
            has_index: has_index && self.method != Some(Method::Scan),
        })
    }

    /// Searches on the card, all parts of a modality together.
    ///
    /// This must not wait for other work of the threads it runs on: that work may itself wait for the card.
    pub(crate) fn search<'p>(&self, card: &Card, tasks: Vec<Task<'p>>) -> Result<Found<'p>> {
        let accelerator = self.accelerator();
        let mut found = Found { hits: vec![Vec::new(); self.queries.rows()], left: Vec::new() };
        let patience = accelerator.patience(tasks.iter().filter_map(|task| task.wanted.as_ref()));
        let Some(mut turn) = card.take(patience, self.stop) else {
            if (self.stop)() {
                return Err(twinbit_kernels::Error::Stopped.into());
            }
            leave(tasks, BUSY, &mut found);
            return Ok(found);
        };
        let keys: Vec<MatrixKey> =
            tasks.iter().filter_map(|task| task.wanted.as_ref().map(|wanted| wanted.key.clone())).collect();
        let (images, texts): (Vec<_>, Vec<_>) =
            tasks.into_iter().partition(|task| task.planned.modality == Modality::Image);
        let mut outcome = Ok(());
        // The order of hits is that of (distance, part, row) in one modality, so each is a search of its own.
        for tasks in [images, texts].into_iter().filter(|tasks| !tasks.is_empty()) {
            let search = CardSearch {
                machine: &card.machine,
                residency: &mut turn.thing,
                queries: self.queries.as_codes(),
                bounds: self.bounds,
                stop: self.stop,
            };
            outcome = self.search_modality(card, search, tasks, &mut found);
            if outcome.is_err() {
                break;
            }
        }
        card.note(&turn.thing);
        accelerator.settle(&keys);
        outcome.map(|()| found)
    }

    fn search_modality<'p>(
        &self,
        card: &Card,
        mut search: CardSearch<'_>,
        mut tasks: Vec<Task<'p>>,
        found: &mut Found<'p>,
    ) -> Result<()> {
        let begin = Instant::now();
        let parts: Vec<&Part> = tasks
            .iter()
            .filter_map(|task| self.snapshot.parts().get(task.planned.number).map(AsRef::as_ref))
            .collect();
        let card_parts = tasks.iter().zip(&parts).filter_map(|(task, part)| {
            Some(CardPart {
                key: task.wanted.as_ref()?.key.clone(),
                codes: part.codes(task.planned.modality)?,
                mask: task.planned.mask.as_deref(),
            })
        });
        let hits = search.run(&card_parts.collect::<Vec<_>>());
        let hits = match hits {
            Ok(hits) => hits,
            Err(twinbit_kernels::Error::TooManyNearest { .. }) => {
                leave(tasks, TOO_MANY_HITS, found);
                return Ok(());
            }
            Err(twinbit_kernels::Error::Cuda(reason)) if self.accelerator().is_demanded() => {
                return Err(Error::NoCuda { reason });
            }
            Err(twinbit_kernels::Error::Cuda(reason)) => {
                self.accelerator().failed(&reason);
                leave(tasks, CARD_FAILED, found);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let candidate = |hit: SegmentHit| {
            let planned = &tasks.get(hit.segment)?.planned;
            Some(Candidate {
                distance: hit.distance,
                ordinal: parts.get(hit.segment)?.ordinal(hit.row),
                modality: planned.modality,
                part: planned.number,
                row: hit.row,
            })
        };
        for (all, hits) in found.hits.iter_mut().zip(hits) {
            all.extend(hits.into_iter().filter_map(candidate));
        }
        for Task { planned, wanted } in &mut tasks {
            let scan = wanted.as_ref().map_or_else(Default::default, |wanted| wanted.scan);
            planned.card = Some(card.number);
            planned.done.add(&PartSearch::of_card(self.queries.rows(), planned.rows, scan, begin.elapsed()));
        }
        Ok(())
    }
}

/// Leaves parts to the processor.
fn leave<'p>(tasks: Vec<Task<'p>>, why: &'static str, found: &mut Found<'p>) {
    for task in tasks {
        task.planned.why_not_card = Some(why);
        found.left.push(task);
    }
}
