//! How a query was answered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use twinbit_kernels::{Isa, Method, QueryPlan, RowMask};

use crate::entry::Hit;
use crate::snapshot::Snapshot;
use crate::{Device, Modality};

/// The answers of a query and how they were found.
///
/// ```
/// # use twinbit::{CodeBits, Database, Field, IdKind, Record, Schema};
/// use twinbit::{Input, Modality};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// # let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).external_codes().field("year", Field::u64());
/// # let photos = database.create_collection("photos", schema)?;
/// # photos.put(Record::new(1).image(Input::code([0, 1])).text(Input::code([0, 3])).set("year", 2001_u64))?;
/// # photos.put(Record::new(2).image(Input::code([0, 7])).text(Input::code([0, 1])).set("year", 2002_u64))?;
/// let found = photos.snapshot()?.query(Modality::Text, Input::code([0, 0])).explain()?;
/// assert_eq!((found.hits.len(), found.plan.queries()), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Explanation {
    /// The hits of each query, nearest first.
    pub hits: Vec<Vec<Hit>>,
    /// How they were found.
    pub plan: Plan,
}

/// How a query was answered; `Display` prints it as a few lines.
///
/// ```
/// # use twinbit::{CodeBits, Database, Field, IdKind, Record, Schema};
/// use twinbit::{Input, Modality};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// # let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).external_codes().field("year", Field::u64());
/// # let photos = database.create_collection("photos", schema)?;
/// # photos.put(Record::new(1).image(Input::code([0, 1])).text(Input::code([0, 3])).set("year", 2001_u64))?;
/// # photos.put(Record::new(2).image(Input::code([0, 7])).text(Input::code([0, 1])).set("year", 2002_u64))?;
/// let found = photos.snapshot()?.query(Modality::Text, Input::code([0, 0])).explain()?;
/// assert_eq!((found.plan.rows(), found.plan.candidates()), (2, 2));
/// println!("{}", found.plan);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) parts: Vec<PartPlan>,
    pub(crate) queries: usize,
    pub(crate) filter_time: Duration,
    pub(crate) encode_time: Duration,
    pub(crate) search_time: Duration,
    pub(crate) total_time: Duration,
    records: u64,
    segments: usize,
    limit: Option<usize>,
    radius: Option<u32>,
    kernel: &'static str,
}

/// How the codes of one modality in one part were searched: a segment, or a block of fresh rows.
///
/// ```
/// # use twinbit::{CodeBits, Database, Field, IdKind, Record, Schema};
/// use twinbit::{Device, Input, Modality};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// # let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).external_codes().field("year", Field::u64());
/// # let photos = database.create_collection("photos", schema)?;
/// # photos.put(Record::new(1).image(Input::code([0, 1])).text(Input::code([0, 3])).set("year", 2001_u64))?;
/// # photos.put(Record::new(2).image(Input::code([0, 7])).text(Input::code([0, 1])).set("year", 2002_u64))?;
/// let found = photos.snapshot()?.query(Modality::Text, Input::code([0, 0])).explain()?;
/// for part in found.plan.parts() {
///     assert_eq!((part.modality(), part.device()), (Modality::Image, Device::Cpu));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct PartPlan {
    pub(crate) number: usize,
    pub(crate) modality: Modality,
    pub(crate) rows: u32,
    pub(crate) candidates: u64,
    /// Rows that may be hits; `None` where all may.
    pub(crate) mask: Option<Arc<RowMask>>,
    pub(crate) done: PartSearch,
    /// The card that answered last.
    pub(crate) card: Option<usize>,
    /// Why the card did not, where there is one and that needs a reason.
    pub(crate) why_not_card: Option<&'static str>,
}

/// What a search of a part did, and what was expected of it, all queries together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PartSearch {
    queries: usize,
    by_index: usize,
    on_card: usize,
    scan_cost: Duration,
    index_cost: Option<Duration>,
    lists: u64,
    compared: u64,
    pub(crate) time: Duration,
}

impl PartSearch {
    /// The queries answered in one pass over the codes.
    pub(crate) fn new(plans: &[QueryPlan], rows: u32) -> Self {
        let mut done = Self { queries: plans.len(), ..Self::default() };
        for plan in plans {
            done.scan_cost += plan.scan;
            done.index_cost = sum(done.index_cost, plan.index);
            done.lists += plan.lists;
            done.compared += plan.rows;
            match plan.method {
                Method::MultiIndex => done.by_index += 1,
                Method::Scan => done.compared += u64::from(rows),
            }
        }
        done
    }

    /// The queries answered by a card in one call, which may be one for several parts.
    pub(crate) fn of_card(queries: usize, rows: u32, scan_cost: Duration, time: Duration) -> Self {
        let compared = queries as u64 * u64::from(rows);
        Self { queries, on_card: queries, scan_cost, compared, time, ..Self::default() }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.queries += other.queries;
        self.by_index += other.by_index;
        self.on_card += other.on_card;
        self.scan_cost += other.scan_cost;
        self.index_cost = sum(self.index_cost, other.index_cost);
        self.lists += other.lists;
        self.compared += other.compared;
        self.time += other.time;
    }
}

fn sum(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (one, other) => one.or(other),
    }
}

impl PartPlan {
    /// Which codes.
    pub fn modality(&self) -> Modality {
        self.modality
    }

    /// Rows of the part.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Rows among them that are alive, have the modality and pass the filter.
    pub fn candidates(&self) -> u64 {
        self.candidates
    }

    /// What the part was searched on: a CUDA device, when it answered any of the queries.
    pub fn device(&self) -> Device {
        self.card.map_or(Device::Cpu, Device::Cuda)
    }

    /// Queries that the CUDA device answered; the others the processor.
    pub fn queries_on_card(&self) -> usize {
        self.done.on_card
    }

    /// Why the CUDA device did not answer the last queries, where one is in use and the reason is not that
    /// the rows are fresh.
    pub fn why_not_card(&self) -> Option<&'static str> {
        self.why_not_card
    }

    /// Queries that the index answered; the others by a scan.
    pub fn queries_by_index(&self) -> usize {
        self.done.by_index
    }

    /// The time expected of scanning, all queries together, on the machine that the planner was
    /// calibrated on.
    pub fn scan_cost(&self) -> Duration {
        self.done.scan_cost
    }

    /// The time expected of the index, as far as it was reckoned: no further than to the scan's. `None`
    /// without an index.
    pub fn index_cost(&self) -> Option<Duration> {
        self.done.index_cost
    }

    /// Lists of the index that were looked up.
    pub fn lists(&self) -> u64 {
        self.done.lists
    }

    /// Rows touched: those in the lists, and all for each query that was scanned for.
    pub fn rows_compared(&self) -> u64 {
        self.done.compared
    }

    /// Time from the first row to the last; other parts may be searched meanwhile, and a CUDA device
    /// searches several in one call.
    pub fn time(&self) -> Duration {
        self.done.time
    }
}

impl fmt::Display for PartPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PartSearch { queries, by_index, on_card, scan_cost, index_cost, lists, compared, time } =
            self.done;
        let how = match (index_cost, by_index) {
            (Some(_), 0) => "scan rather than index".to_owned(),
            (Some(_), all) if all == queries => "index".to_owned(),
            (Some(_), some) => format!("index for {some} of {queries} queries"),
            (None, _) => "scan".to_owned(),
        };
        let place = match (self.card, on_card) {
            (Some(card), all) if all == queries => format!("on cuda:{card}"),
            (Some(card), some) => format!("on cpu and, for {some} of {queries} queries, on cuda:{card}"),
            (None, _) => "on cpu".to_owned(),
        };
        let why = self.why_not_card.map_or_else(String::new, |why| format!(" ({why})"));
        write!(
            f,
            "part {} {}: {} of {} rows are candidates; {how}, {lists} lists, {compared} rows compared {place}{why} in {:.3} ms \
             (expected: scan {:.3} ms",
            self.number,
            self.modality,
            self.candidates,
            self.rows,
            milliseconds(time),
            milliseconds(scan_cost)
        )?;
        match index_cost {
            Some(cost) => write!(f, ", index {:.3} ms)", milliseconds(cost)),
            None => write!(f, ", no index)"),
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Plan {
    pub(crate) fn new(snapshot: &Snapshot, limit: Option<usize>, radius: Option<u32>) -> Self {
        Self {
            parts: Vec::new(),
            queries: 0,
            filter_time: Duration::ZERO,
            encode_time: Duration::ZERO,
            search_time: Duration::ZERO,
            total_time: Duration::ZERO,
            records: snapshot.len(),
            segments: snapshot.parts().iter().filter(|part| part.is_segment()).count(),
            limit,
            radius,
            kernel: Isa::best().name(),
        }
    }

    /// Number of queries answered.
    pub fn queries(&self) -> usize {
        self.queries
    }

    /// How each part that held candidates was searched.
    pub fn parts(&self) -> &[PartPlan] {
        &self.parts
    }

    /// Parts searched, by modality.
    pub fn scans(&self) -> usize {
        self.parts.len()
    }

    /// Codes in the parts that were searched.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.rows)).sum()
    }

    /// Codes among them that were alive and passed the filter, so could be hits.
    pub fn candidates(&self) -> u64 {
        self.parts.iter().map(PartPlan::candidates).sum()
    }

    /// The instruction set in use.
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// Time to turn the filter into row masks.
    pub fn filter_time(&self) -> Duration {
        self.filter_time
    }

    /// Time to encode the queries.
    pub fn encode_time(&self) -> Duration {
        self.encode_time
    }

    /// Time of searching the parts and of merging their hits.
    pub fn search_time(&self) -> Duration {
        self.search_time
    }

    /// Time of everything.
    pub fn total_time(&self) -> Duration {
        self.total_time
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exact search ({}) for {} queries", self.kernel, self.queries)?;
        match (self.radius, self.limit) {
            (Some(radius), Some(limit)) => writeln!(f, ", distance at most {radius}, first {limit}")?,
            (Some(radius), None) => writeln!(f, ", distance at most {radius}")?,
            (None, Some(limit)) => writeln!(f, ", first {limit}")?,
            (None, None) => writeln!(f)?,
        }
        writeln!(f, "  {} records in {} segments and fresh rows", self.records, self.segments)?;
        for part in &self.parts {
            writeln!(f, "  {part}")?;
        }
        write!(
            f,
            "  filter {:.3} ms, encode {:.3} ms, search {:.3} ms, total {:.3} ms",
            milliseconds(self.filter_time),
            milliseconds(self.encode_time),
            milliseconds(self.search_time),
            milliseconds(self.total_time)
        )
    }
}
