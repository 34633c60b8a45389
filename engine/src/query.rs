//! Queries: what is asked, and how the answers of all parts are put together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use twinbit_kernels::{Answer, CodesBuf, QueryPlan, RowMask, Scan, Search};
use twinbit_storage::Part;

use crate::accelerator::Accelerator;
use crate::against::Against;
use crate::bounds::Bounds;
use crate::device_pass::{DevicePass, Split, Task};
use crate::entry::Hit;
use crate::indexer::index_of;
use crate::plan::{Explanation, PartPlan, PartSearch, Plan};
use crate::rerank::Reranker;
use crate::snapshot::Snapshot;
use crate::{Error, Filter, Input, Method, Mismatch, Modality, ModelId, RecordId, Result};

/// Hits that a query asks for when it says nothing.
const DEFAULT_LIMIT: usize = 10;
/// Queries that one pass over the codes answers.
const QUERIES_A_PASS: usize = 1024;
/// The same where a card may answer them.
const QUERIES_A_CARD_PASS: usize = 4096;

#[derive(Debug, Clone)]
enum Question {
    Inputs(Vec<Input>),
    Record(RecordId),
}

/// A query under construction. Answers are exact, ordered by (distance, ordinal), and do not depend
/// on the number of threads.
///
/// ```
/// use twinbit::{CodeBits, Database, IdKind, Input, Modality, Record, Schema};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).external_codes();
/// let photos = database.create_collection("photos", schema)?;
/// photos.put(Record::new(1).image(Input::code([0b0000_0001, 0])))?;
/// photos.put(Record::new(2).image(Input::code([0b0000_0111, 0])))?;
/// let hits = photos.snapshot()?.query(Modality::Text, Input::code([0, 0])).limit(1).run()?;
/// assert_eq!((hits[0].id(), hits[0].distance()), (&1.into(), 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a query does nothing until it is run"]
pub struct Query {
    snapshot: Snapshot,
    modality: Modality,
    question: Question,
    against: Against,
    filter: Option<Filter>,
    limit: Option<usize>,
    radius: Option<u32>,
    rerank: Option<usize>,
    deadline: Option<Duration>,
    cancel: Option<Arc<AtomicBool>>,
    encoded_by: Option<ModelId>,
    method: Option<Method>,
}

/// A row of some part found near a query. Ordered as answers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    pub(crate) distance: u32,
    pub(crate) ordinal: u64,
    pub(crate) modality: Modality,
    pub(crate) part: usize,
    pub(crate) row: u32,
}

impl Query {
    pub(crate) fn new(snapshot: Snapshot, modality: Modality, inputs: Vec<Input>) -> Self {
        Self::ask(snapshot, modality, Question::Inputs(inputs))
    }

    pub(crate) fn of_record(snapshot: Snapshot, modality: Modality, id: RecordId) -> Self {
        Self::ask(snapshot, modality, Question::Record(id))
    }

    fn ask(snapshot: Snapshot, modality: Modality, question: Question) -> Self {
        Self {
            snapshot,
            modality,
            question,
            against: modality.other().into(),
            filter: None,
            limit: None,
            radius: None,
            rerank: None,
            deadline: None,
            cancel: None,
            encoded_by: None,
            method: None,
        }
    }

    /// Which codes to compare with (default: those of the other modality).
    pub fn against(mut self, against: impl Into<Against>) -> Self {
        self.against = against.into();
        self
    }

    /// Only records that this filter selects; the answer is still exact.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// At most this many hits (default: 10; without limit for [`within`](Self::within)).
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Only hits whose distance is at most `radius`.
    pub fn within(mut self, radius: u32) -> Self {
        self.radius = Some(radius);
        self
    }

    /// Orders the nearest `count` records anew by the outputs of the networks before they become bits:
    /// by the cosine between those for the query and those for a record's kept input, or, where inputs
    /// are not kept, the bits of its code as +1 and -1. Off unless asked for.
    ///
    /// The scan finds `count` records, even where fewer are asked for, and those asked for are the best
    /// after ordering; their distances are as they were. It costs reading and computing `count` inputs for
    /// each query. Queries must be inputs or records with kept inputs, not codes.
    pub fn rerank(mut self, count: usize) -> Self {
        self.rerank = Some(count);
        self
    }

    /// Ends with [`Error::DeadlineExceeded`] when the answer takes longer.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Ends with [`Error::Canceled`] soon after another thread has set `flag`.
    pub fn cancel(mut self, flag: Arc<AtomicBool>) -> Self {
        self.cancel = Some(flag);
        self
    }

    /// States which model made the codes given as [`Input::Code`]; when it is not the model of the
    /// collection the query ends with [`Error::ModelMismatch`] instead of a meaningless answer.
    pub fn encoded_by(mut self, model: ModelId) -> Self {
        self.encoded_by = Some(model);
        self
    }

    /// Searches in this way whatever it costs (default: by what is expected to take less time); parts
    /// without an index are scanned in any case. No answer depends on it.
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// The hits of the one query, nearest first.
    ///
    /// # Errors
    /// [`Error::Untrained`] before there is a model; names what does not fit in input and filter.
    pub fn run(self) -> Result<Vec<Hit>> {
        if let Question::Inputs(inputs) = &self.question
            && inputs.len() != 1
        {
            return Err(Error::QueryCount { count: inputs.len() });
        }
        Ok(self.run_many()?.pop().unwrap_or_default())
    }

    /// The hits of each query of the batch, nearest first.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_many(self) -> Result<Vec<Vec<Hit>>> {
        Ok(self.explain()?.hits)
    }

    /// Runs the queries and tells how: what was searched where and in which way, what was expected of it,
    /// and how long each step took.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn explain(self) -> Result<Explanation> {
        let database = self.snapshot.collection().database().clone();
        database.run(|| self.answer())
    }

    fn answer(self) -> Result<Explanation> {
        let begin = Instant::now();
        let limit = self.limit.or(self.radius.is_none().then_some(DEFAULT_LIMIT));
        if limit == Some(0) {
            return Err(Error::ZeroLimit);
        }
        self.snapshot.require_codes()?;
        self.check_model()?;
        let stop = || {
            self.cancel.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
                || self.deadline.is_some_and(|deadline| begin.elapsed() >= deadline)
        };
        let parts = self.snapshot.parts();
        let filters: Vec<Option<Arc<RowMask>>> = match &self.filter {
            Some(filter) => {
                self.snapshot.masks(filter)?.into_iter().map(|mask| Some(Arc::new(mask))).collect()
            }
            None => vec![None; parts.len()],
        };
        let mut plan = Plan::new(&self.snapshot, limit, self.radius);
        plan.filter_time = begin.elapsed();
        for (number, (part, filter)) in parts.iter().zip(&filters).enumerate() {
            let modalities = self.against.modalities().iter();
            plan.parts.extend(modalities.filter_map(|&of| part_plan(number, part, of, filter.as_ref())));
        }
        let mut hits = Vec::new();
        let at_once = match self.accelerator().open_card() {
            Some(_) => QUERIES_A_CARD_PASS,
            None => QUERIES_A_PASS,
        };
        for first in (0..self.queries()).step_by(at_once) {
            if stop() {
                return Err(self.stopped(twinbit_kernels::Error::Stopped.into()));
            }
            let encoding = Instant::now();
            let codes = self.codes(first, at_once)?;
            plan.encode_time += encoding.elapsed();
            let searching = Instant::now();
            let wanted = limit.map(|limit| limit.max(self.rerank.unwrap_or(0)));
            let bounds = Bounds::new(codes.rows(), self.radius, wanted);
            let mut found =
                self.search(&mut plan, &codes, &bounds, &stop).map_err(|error| self.stopped(error))?;
            if let Some(count) = self.rerank {
                self.look_again(first, &mut found, count)?;
            }
            plan.search_time += searching.elapsed();
            for mut candidates in found {
                candidates.truncate(limit.unwrap_or(usize::MAX));
                hits.push(self.name(candidates)?);
            }
        }
        plan.queries = hits.len();
        plan.total_time = begin.elapsed();
        Ok(Explanation { hits, plan })
    }

    fn accelerator(&self) -> &Accelerator {
        self.snapshot.collection().database().accelerator()
    }

    fn check_model(&self) -> Result<()> {
        match (self.encoded_by, self.snapshot.model_id()) {
            (Some(got), Some(expected)) if got != expected => {
                Err(Error::ModelMismatch { reason: Mismatch::Codes { expected, got } })
            }
            _ => Ok(()),
        }
    }

    fn queries(&self) -> usize {
        match &self.question {
            Question::Inputs(inputs) => inputs.len(),
            Question::Record(_) => 1,
        }
    }

    /// The codes of `at_once` queries from `first` on, or as many as there are.
    fn codes(&self, first: usize, at_once: usize) -> Result<CodesBuf> {
        match &self.question {
            Question::Inputs(inputs) => {
                let end = inputs.len().min(first.saturating_add(at_once));
                let inputs = inputs.get(first..end).unwrap_or_default();
                self.snapshot.encoder()?.query_codes(self.modality, inputs, first)
            }
            Question::Record(id) => {
                let ordinal = self.snapshot.ordinal(id)?;
                let lacking = || Error::NoModality { id: id.clone(), modality: self.modality };
                let entry = self.snapshot.entry(ordinal)?.ok_or_else(lacking)?;
                let code = entry.code(self.modality).ok_or_else(lacking)?;
                let mut codes = CodesBuf::new(self.snapshot.schema().bits());
                codes.push(code)?;
                Ok(codes)
            }
        }
    }

    /// Orders the candidates of the queries from `first` on anew.
    fn look_again(&self, first: usize, found: &mut [Vec<Candidate>], count: usize) -> Result<()> {
        let encoder = self.snapshot.encoder()?;
        let reranker = match &self.question {
            Question::Inputs(inputs) => {
                let inputs = inputs.get(first..first + found.len()).unwrap_or_default();
                Reranker::of_inputs(encoder, self.modality, inputs, first)?
            }
            Question::Record(id) => {
                let entry = self.snapshot.entry(self.snapshot.ordinal(id)?)?;
                Reranker::of_record(encoder, self.modality, entry.as_ref())?
            }
        };
        for (query, candidates) in found.iter_mut().enumerate() {
            reranker.order(query, candidates, count, |candidate: Candidate| {
                Ok((candidate.modality, self.snapshot.entry(candidate.ordinal)?))
            })?;
        }
        Ok(())
    }

    /// The best candidates of each query, from all parts.
    fn search(
        &self,
        plan: &mut Plan,
        queries: &CodesBuf,
        bounds: &Bounds,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Vec<Candidate>>> {
        let on_processor = |tasks: Vec<Task<'_>>| {
            let search = |task| self.search_part(task, queries, bounds, stop);
            tasks.into_par_iter().map(search).collect::<Result<Vec<_>>>()
        };
        let pass = DevicePass { snapshot: &self.snapshot, queries, bounds, method: self.method, stop };
        let Split { on_card, rest } = pass.split(&mut plan.parts);
        let (mut merged, found) = match on_card {
            None => (vec![Vec::new(); queries.rows()], on_processor(rest)?),
            Some((card, tasks)) => {
                let (on_card, found) = rayon::join(|| pass.search(card, tasks), || on_processor(rest));
                let (on_card, mut found) = (on_card?, found?);
                found.extend(on_processor(on_card.left)?);
                (on_card.hits, found)
            }
        };
        for part in found {
            for (all, candidates) in merged.iter_mut().zip(part) {
                all.extend(candidates);
            }
        }
        merged.par_iter_mut().for_each(|candidates| {
            candidates.sort_unstable();
            if self.against == Against::Both {
                // Sorted by distance, so the first of a record is its nearer modality.
                let mut seen = std::collections::HashSet::with_capacity(candidates.len());
                candidates.retain(|candidate| seen.insert(candidate.ordinal));
            }
            candidates.truncate(bounds.limit().unwrap_or(usize::MAX));
        });
        Ok(merged)
    }

    fn search_part(
        &self,
        task: Task<'_>,
        queries: &CodesBuf,
        bounds: &Bounds,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Vec<Candidate>>> {
        let begin = Instant::now();
        let Task { planned, wanted } = task;
        let part = self.snapshot.parts().get(planned.number);
        let Some((part, codes)) = part.and_then(|part| Some((part, part.codes(planned.modality)?))) else {
            return Ok(vec![Vec::new(); queries.rows()]);
        };
        let scan = Scan::new(codes).mask(planned.mask.as_deref()).stop(stop);
        let search = Search::new(scan).index(index_of(part, planned.modality)).method(self.method);
        let within = |search: Search<'_>| search.within(queries.as_codes(), bounds.radius(), bounds.limit());
        let Answer { answers, plans } = match within(search) {
            Err(error @ twinbit_kernels::Error::DamagedIndex { .. }) => {
                let (part, modality) = (planned.number, planned.modality);
                tracing::warn!(%error, part, %modality, "scanned instead; verify --repair makes it anew");
                within(Search::new(scan))?
            }
            answer => answer?,
        };
        for (query, hits) in answers.iter().enumerate() {
            bounds.learn(query, hits);
        }
        if let Some(wanted) = &wanted {
            self.accelerator().note(wanted, plans.iter().map(QueryPlan::time).sum());
        }
        let mut done = PartSearch::new(&plans, planned.rows);
        done.time = begin.elapsed();
        planned.done.add(&done);
        let candidate = |hit: twinbit_kernels::Hit| Candidate {
            distance: hit.distance,
            ordinal: part.ordinal(hit.row),
            modality: planned.modality,
            part: planned.number,
            row: hit.row,
        };
        Ok(answers.into_iter().map(|hits| hits.into_iter().map(candidate).collect()).collect())
    }

    /// Looks up the ids of the final hits.
    fn name(&self, candidates: Vec<Candidate>) -> Result<Vec<Hit>> {
        let parts = self.snapshot.parts();
        let hit = |candidate: Candidate| {
            let Candidate { distance, ordinal, modality, part, row } = candidate;
            let id = parts.get(part).map(|part| part.id(row)).transpose()?;
            Ok(id.map(|id| Hit { id, ordinal, distance, modality }))
        };
        candidates.into_iter().filter_map(|candidate| hit(candidate).transpose()).collect()
    }

    /// Says why the search was stopped.
    fn stopped(&self, error: Error) -> Error {
        match (error, self.deadline) {
            (Error::Kernels(twinbit_kernels::Error::Stopped), deadline) => {
                let canceled = self.cancel.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed));
                match deadline {
                    Some(deadline) if !canceled => Error::DeadlineExceeded {
                        milliseconds: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
                    },
                    _ => Error::Canceled,
                }
            }
            (error, _) => error,
        }
    }
}

/// What is to be searched of a part; `None` when it holds no candidate.
fn part_plan(
    number: usize,
    part: &Part,
    modality: Modality,
    filter: Option<&Arc<RowMask>>,
) -> Option<PartPlan> {
    part.codes(modality)?;
    let (rows, searchable) = (u64::from(part.rows()), part.searchable_rows(modality));
    let (mask, candidates) = match filter {
        // The mask of a large segment has megabytes: it is neither made nor read without need.
        None if searchable == rows => (None, rows),
        None => (Some(Arc::clone(part.searchable(modality))), searchable),
        Some(filter) => {
            let mask = match searchable == rows {
                true => Arc::clone(filter),
                false => Arc::new(part.searchable(modality).and(filter)),
            };
            let candidates = mask.count() as u64;
            (Some(mask).filter(|_| candidates < rows), candidates)
        }
    };
    let plan = PartPlan {
        number,
        modality,
        rows: part.rows(),
        candidates,
        mask,
        done: PartSearch::default(),
        card: None,
        why_not_card: None,
    };
    (candidates > 0).then_some(plan)
}
