//! What a run tells while it goes on and when it has ended.

use std::ops::ControlFlow;
use std::time::Duration;

use serde::Serialize;

use crate::Error;
use crate::source::Position;

/// How far a run has come.
///
/// ```
/// use twinbit::IngestProgress;
///
/// fn told(progress: &IngestProgress) -> String {
///     format!("{} records, {} of them committed", progress.records, progress.committed)
/// }
/// # let _ = told;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IngestProgress {
    /// Items read in this run.
    pub items: u64,
    /// Bytes of pictures, texts, features and codes in these items.
    pub bytes: u64,
    /// Items to be read in this run, when that is known.
    pub total: Option<u64>,
    /// Records written, further captions included.
    pub records: u64,
    /// Items and captions left out.
    pub skipped: u64,
    /// Records committed so far.
    pub committed: u64,
}

/// Is told of the progress of a run, and may stop it. `()` listens to nothing.
///
/// ```
/// use std::ops::ControlFlow;
///
/// use twinbit::{IngestObserver, IngestProgress};
///
/// /// Stops after a thousand records.
/// struct Enough;
///
/// impl IngestObserver for Enough {
///     fn on_progress(&mut self, progress: &IngestProgress) -> ControlFlow<()> {
///         if progress.records < 1_000 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
///     }
/// }
/// ```
pub trait IngestObserver {
    /// Called after each block. Breaking off stops the run: what was committed stays, nothing else
    /// does.
    fn on_progress(&mut self, progress: &IngestProgress) -> ControlFlow<()> {
        let _ = progress;
        ControlFlow::Continue(())
    }

    /// Called for each item that is left out.
    fn on_skipped(&mut self, item: &str, reason: &Error) {
        let _ = (item, reason);
    }
}

impl IngestObserver for () {}

/// How a run ended.
///
/// ```
/// # use twinbit::{CodeBits, Database, Schema, TextEncoding};
/// use twinbit::{IngestOutcome, PairsSource};
///
/// # let folder = tempfile::tempdir()?;
/// # std::fs::write(folder.path().join("pairs.jsonl"), "{\"text\": \"a dog\"}\n{\"text\": \"a cat\"}\n")?;
/// # let database = Database::open(folder.path().join("database"))?;
/// # let schema = Schema::new(CodeBits::B64).image_features(2).text_encoder(TextEncoding::Ngram);
/// # let texts = database.create_collection("texts", schema)?;
/// let ingest = || texts.ingest(PairsSource::new(folder.path().join("pairs.jsonl"))).run();
/// assert_eq!(ingest()?.outcome, IngestOutcome::Complete);
/// assert_eq!(ingest()?.outcome, IngestOutcome::AlreadyComplete);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IngestOutcome {
    /// The source was read to its end.
    Complete,
    /// The source had been read to its end before; there was nothing to do.
    AlreadyComplete,
    /// The observer stopped the run; another one continues it.
    Interrupted,
}

/// What a run has done. All that it counts is committed.
///
/// ```
/// use twinbit::{Array, CodeBits, CodeSource, Database, IngestOutcome, Modality, Schema};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("codes.npy");
/// # let header = format!("{:<117}\n", "{'descr': '|u1', 'fortran_order': False, 'shape': (6, 1), }");
/// # std::fs::write(&path, [b"\x93NUMPY\x01\x00\x76\x00", header.as_bytes(), &[1, 2, 3, 4, 5, 6]].concat())?;
/// # let database = Database::open(folder.path().join("db"))?;
/// let things = database.create_collection("things", Schema::new(CodeBits::new(8)?).external_codes())?;
/// let source = CodeSource::new().codes(Modality::Image, Array::open(&path)?);
/// let report = things.ingest(source).run()?;
/// assert_eq!((report.ingested, report.skipped, report.outcome), (6, 0, IngestOutcome::Complete));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IngestReport {
    /// Records written, further captions included.
    pub ingested: u64,
    /// Items and captions left out.
    pub skipped: u64,
    /// Seconds the run took.
    pub seconds: f64,
    /// Records written a second.
    pub records_per_second: f64,
    /// Where the run went on, when an earlier one had begun.
    pub resumed_from: Option<Position>,
    /// How it ended.
    pub outcome: IngestOutcome,
}

impl IngestReport {
    pub(super) fn new(
        ingested: u64,
        skipped: u64,
        elapsed: Duration,
        resumed_from: Option<Position>,
        outcome: IngestOutcome,
    ) -> Self {
        let seconds = elapsed.as_secs_f64();
        let records_per_second = if seconds > 0.0 { ingested as f64 / seconds } else { 0.0 };
        IngestReport { ingested, skipped, seconds, records_per_second, resumed_from, outcome }
    }

    pub(super) fn already_complete() -> Self {
        Self::new(0, 0, Duration::ZERO, None, IngestOutcome::AlreadyComplete)
    }
}
