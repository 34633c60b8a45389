//! Ingesting a source: reading, encoding and committing, so that an interrupted run can continue.
//!
//! One thread reads the source and hands blocks of items over a bounded channel; the caller's
//! thread has each block encoded by the database's threads and writes it. Where ids are automatic
//! everything is one commit at the end, because a record read twice could not be told from two
//! records. Otherwise there is a commit every so many rows or bytes, each of which also notes how
//! far the source was read.

mod reader;
mod report;
mod skipped;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, bounded};
use twinbit_storage::format::MAX_TEXT_BYTES;

pub use report::{IngestObserver, IngestOutcome, IngestProgress, IngestReport};

use crate::source::{CodeBlock, Item, Position, Progress, Source, SourceError};
use crate::writer::Existing;
use crate::{CodeRows, Collection, Error, IdKind, Modality, Record, RecordId, Result, Schema, Writer};
use reader::Message;
pub(crate) use skipped::SkippedFile;

/// A commit is made when the transaction holds so many rows.
const ROWS_A_COMMIT: usize = 250_000;
/// A commit is made when the transaction holds so many bytes.
const BYTES_A_COMMIT: usize = 64 << 20;
/// Pictures take a while to encode: a run that is killed loses no more than about this much of it.
const TIME_A_COMMIT: Duration = Duration::from_secs(10);
/// Items that are encoded together, unless the caller says otherwise.
const ITEMS_A_BLOCK: usize = 256;
/// Blocks that are read ahead while one is encoded.
const BLOCKS_AHEAD: usize = 2;

/// What to do with an item that cannot be ingested.
///
/// ```
/// # use twinbit::{CodeBits, Database, Schema, TextEncoding};
/// use twinbit::{OnError, PairsSource};
///
/// # let folder = tempfile::tempdir()?;
/// # std::fs::write(folder.path().join("pairs.jsonl"), "{\"text\": \"a dog\"}\n{\"text\": \"a cat\"}\n")?;
/// # let database = Database::open(folder.path().join("database"))?;
/// # let schema = Schema::new(CodeBits::B64).image_features(2).text_encoder(TextEncoding::Ngram);
/// # let texts = database.create_collection("texts", schema)?;
/// let source = PairsSource::new(folder.path().join("pairs.jsonl"));
/// let report = texts
///     .ingest(source)
///     .on_error(OnError::Skip)
///     .skipped_file(folder.path().join("skipped.jsonl"))
///     .run()?;
/// assert_eq!(report.skipped, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// End the run with an error that names the item; what was not committed yet is discarded.
    #[default]
    Stop,
    /// Leave the item out, count it, and list it.
    Skip,
}

/// A run of [`Collection::ingest`], to be set up and then [`run`](Self::run).
///
/// ```
/// # use twinbit::{CodeBits, Database, Schema, TextEncoding};
/// use twinbit::PairsSource;
///
/// # let folder = tempfile::tempdir()?;
/// # std::fs::write(folder.path().join("pairs.jsonl"), "{\"text\": \"a dog\"}\n{\"text\": \"a cat\"}\n")?;
/// # let database = Database::open(folder.path().join("database"))?;
/// # let schema = Schema::new(CodeBits::B64).image_features(2).text_encoder(TextEncoding::Ngram);
/// # let texts = database.create_collection("texts", schema)?;
/// let report = texts.ingest(PairsSource::new(folder.path().join("pairs.jsonl"))).batch(1000).run()?;
/// assert_eq!(report.ingested, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is ingested before `run`"]
pub struct Ingest<'a> {
    collection: Collection,
    source: Box<dyn Source + 'a>,
    batch: usize,
    on_error: OnError,
    upsert: bool,
    from_start: bool,
    commit_rows: usize,
    skipped_file: Option<PathBuf>,
    append_skipped: bool,
    observer: Option<&'a mut dyn IngestObserver>,
}

impl Collection {
    /// Takes in the records of a source, encoding them on the way when there is a model.
    ///
    /// A run that was interrupted, by whatever, is continued by the next one of the same source,
    /// while its files stay the same; a source that was read to its end is not read again. Where ids
    /// are automatic a run is one commit, so that it is there as a whole or not at all.
    ///
    /// ```
    /// use twinbit::{CodeBits, Database, IdKind, PairsSource, Schema, TextEncoding};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let list = folder.path().join("pairs.jsonl");
    /// # std::fs::write(&list, "{\"id\": \"a\", \"text\": [\"a cat\", \"a sleepy cat\"]}\n")?;
    /// # let database = Database::open(folder.path().join("database"))?;
    /// let schema = Schema::new(CodeBits::B64).ids(IdKind::Str).image_features(8).text_encoder(TextEncoding::Ngram);
    /// let photos = database.create_collection("photos", schema)?;
    /// let report = photos.ingest(PairsSource::new(&list)).run()?;
    /// assert_eq!((report.ingested, photos.snapshot()?.len()), (2, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ingest<'a>(&self, source: impl Source + 'a) -> Ingest<'a> {
        Ingest {
            collection: self.clone(),
            source: Box::new(source),
            batch: ITEMS_A_BLOCK,
            on_error: OnError::default(),
            upsert: false,
            from_start: false,
            commit_rows: ROWS_A_COMMIT,
            skipped_file: None,
            append_skipped: false,
            observer: None,
        }
    }
}

impl<'a> Ingest<'a> {
    /// How many items are encoded together (default 256).
    pub fn batch(mut self, items: usize) -> Self {
        self.batch = items.max(1);
        self
    }

    /// What to do with an item that cannot be ingested (default: stop).
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// Whether a record replaces the one of the same id (default: no, that is an error).
    pub fn upsert(mut self, upsert: bool) -> Self {
        self.upsert = upsert;
        self
    }

    /// Whether to read from the start, whatever is remembered of this source (default: no).
    pub fn from_start(mut self, from_start: bool) -> Self {
        self.from_start = from_start;
        self
    }

    /// A commit is made at least every so many records (default 250,000; also after 64 MiB and after 10
    /// seconds); a run that is killed is continued behind its last one. Where ids are automatic there is
    /// one commit at the end.
    pub fn commit_rows(mut self, rows: usize) -> Self {
        self.commit_rows = rows.clamp(1, ROWS_A_COMMIT);
        self
    }

    /// A file in which items that were left out are listed, as JSON objects of `item` and `reason`,
    /// one a line. It is made when there is something to list; a continued run adds to it.
    pub fn skipped_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.skipped_file = Some(path.into());
        self
    }

    /// Whether to add to what the [`skipped_file`](Self::skipped_file) lists already, for a run that
    /// follows another one (default: only a continued run does).
    pub fn append_skipped(mut self, append: bool) -> Self {
        self.append_skipped = append;
        self
    }

    /// Is told of the progress and may stop the run.
    pub fn observer(mut self, observer: &'a mut dyn IngestObserver) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Reads the source to its end. Everything that the report counts is committed.
    ///
    /// # Errors
    /// [`Error::Source`] and [`Error::Array`] when the source does not fit the collection or cannot
    /// be read on, [`Error::Item`] for an item that cannot be ingested ([`Error::Duplicate`] within it
    /// when its id is taken). What was committed before stays; with automatic ids that is nothing.
    pub fn run(mut self) -> Result<IngestReport> {
        let started = Instant::now();
        let schema = self.collection.shared_schema(&self.collection.view()?)?;
        self.source.check(&schema)?;
        let name = self.source.name()?;
        let fingerprint = self.source.fingerprint()?;
        let remembered = match self.from_start {
            true => None,
            false => self.collection.source_position(&name)?,
        };
        let remembered = remembered
            .and_then(|text| Progress::parse(&text))
            .filter(|progress| progress.fingerprint == fingerprint);
        let start = match remembered {
            Some(Progress { next: None, .. }) => return Ok(IngestReport::already_complete()),
            Some(Progress { next: Some(next), .. }) => Some(next),
            None => None,
        };
        let first = start.unwrap_or_default();
        let append = self.append_skipped || start.is_some();
        let mut run = Run {
            total: self.source.items(first),
            existing: if self.upsert { Existing::Replace } else { Existing::Refuse },
            on_error: self.on_error,
            commit_rows: self.commit_rows,
            observer: self.observer.take(),
            skipped_file: self.skipped_file.take().map(|path| SkippedFile::new(path, append)),
            collection: &self.collection,
            schema: Arc::clone(&schema),
            source: name,
            fingerprint,
            counts: Counts::default(),
            committed: Counts::default(),
        };
        let (source, batch) = (&mut *self.source, self.batch);
        let outcome = std::thread::scope(|scope| {
            let (sender, receiver) = bounded(BLOCKS_AHEAD);
            std::thread::Builder::new()
                .name("twinbit-ingest".to_owned())
                .spawn_scoped(scope, move || reader::read(source, &schema, first, batch, &sender))
                .map_err(|source| Error::Threads { source: source.into() })?;
            // The receiver ends with this call, which ends the reader.
            run.write(receiver)
        })?;
        Ok(IngestReport::new(run.committed.records, run.committed.skipped, started.elapsed(), start, outcome))
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    items: u64,
    bytes: u64,
    records: u64,
    skipped: u64,
}

/// The state of a run.
struct Run<'r, 'a> {
    collection: &'r Collection,
    schema: Arc<Schema>,
    source: String,
    fingerprint: u64,
    total: Option<u64>,
    existing: Existing,
    on_error: OnError,
    commit_rows: usize,
    observer: Option<&'a mut dyn IngestObserver>,
    skipped_file: Option<SkippedFile>,
    counts: Counts,
    committed: Counts,
}

impl Run<'_, '_> {
    fn write(&mut self, messages: Receiver<Message>) -> Result<IngestOutcome> {
        let one_commit = self.schema.id_kind() == IdKind::Auto;
        let mut writer = self.collection.writer()?;
        let mut committed = Instant::now();
        for message in messages {
            let next = match message {
                Message::Block(items) => {
                    let next = items.last().map(|item| item.next);
                    self.write_items(&mut writer, items)?;
                    next
                }
                Message::Codes(block) => {
                    self.write_codes(&mut writer, &block)?;
                    Some(block.next)
                }
                Message::Failed(error) => return Err(error),
                Message::End => {
                    self.commit(writer, None)?;
                    return Ok(IngestOutcome::Complete);
                }
            };
            let full = writer.pending_rows() >= self.commit_rows
                || writer.pending_bytes() >= BYTES_A_COMMIT
                || committed.elapsed() >= TIME_A_COMMIT;
            if full && !one_commit && next.is_some() {
                self.commit(writer, next)?;
                writer = self.collection.writer()?;
                committed = Instant::now();
            }
            if self.report().is_break() {
                return Ok(IngestOutcome::Interrupted);
            }
        }
        // The reader always says how it ended, unless it panicked, which is passed on to the caller.
        Err(Error::Canceled)
    }

    /// Commits what was written together with the place the source was read to; `None` is its end.
    fn commit(&mut self, mut writer: Writer, next: Option<Position>) -> Result<()> {
        let progress = Progress { fingerprint: self.fingerprint, next };
        writer.set_source_position(&self.source, &progress.to_string());
        if let Some(file) = &mut self.skipped_file {
            file.flush()?;
        }
        writer.commit()?;
        self.committed = self.counts;
        Ok(())
    }

    fn report(&mut self) -> ControlFlow<()> {
        let progress = IngestProgress {
            items: self.counts.items,
            bytes: self.counts.bytes,
            total: self.total,
            records: self.counts.records,
            skipped: self.counts.skipped,
            committed: self.committed.records,
        };
        match &mut self.observer {
            Some(observer) => observer.on_progress(&progress),
            None => ControlFlow::Continue(()),
        }
    }

    /// Writes whole columns of ready codes.
    fn write_codes(&mut self, writer: &mut Writer, block: &CodeBlock) -> Result<()> {
        let mut rows = CodeRows::new();
        for (modality, codes) in Modality::ALL.into_iter().zip(&block.codes) {
            if let Some(codes) = codes {
                rows = rows.codes(modality, codes.as_codes());
            }
        }
        writer.extend_codes(rows)?;
        self.counts.items += block.rows();
        self.counts.bytes += block.bytes();
        self.counts.records += block.rows();
        Ok(())
    }

    /// Writes the records of a block, then the further captions of those that could be written,
    /// because their ids are known only then.
    fn write_items(&mut self, writer: &mut Writer, items: Vec<Item>) -> Result<()> {
        self.counts.items += items.len() as u64;
        self.counts.bytes += items.iter().map(|item| item.bytes() as u64).sum::<u64>();
        let (mut names, mut records, mut captions) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            let content = item.content.and_then(|content| {
                if !content.captions.is_empty() && self.schema.id_kind() == IdKind::U64 {
                    return Err(SourceError::CaptionIds.into());
                }
                Ok(content)
            });
            match content {
                Ok(content) => {
                    names.push(item.name);
                    records.push(content.record);
                    captions.push(content.captions);
                }
                // Stopping waits for the records before this one, which may be wrong as well: the
                // first mistake of the source is the one to name.
                Err(error) if self.on_error == OnError::Stop => {
                    self.write_records(writer, &names, &records)?;
                    return self.skip(&item.name, error);
                }
                Err(error) => self.skip(&item.name, error)?,
            }
        }
        let written = self.write_records(writer, &names, &records)?;
        drop(records);
        let (mut caption_names, mut caption_records) = (Vec::new(), Vec::new());
        for ((name, captions), id) in names.iter().zip(captions).zip(written) {
            let Some(id) = id else { continue };
            for (number, caption) in (2_u64..).zip(captions) {
                let record = match &id {
                    RecordId::Str(id) => Record::new(format!("{id}#{number}")),
                    RecordId::U64(_) => Record::auto(),
                };
                caption_names.push(format!("{name} caption {number}"));
                caption_records.push(record.text(caption).of(id.clone()));
            }
        }
        self.write_records(writer, &caption_names, &caption_records)?;
        Ok(())
    }

    /// Writes records and gives the ids of those that could be written.
    fn write_records(
        &mut self,
        writer: &mut Writer,
        names: &[String],
        records: &[Record],
    ) -> Result<Vec<Option<RecordId>>> {
        let mut ids = Vec::with_capacity(records.len());
        for (name, written) in names.iter().zip(writer.write_block(records, self.existing)) {
            match written {
                Ok(id) => {
                    self.counts.records += 1;
                    ids.push(Some(id));
                }
                Err(error) => {
                    self.skip(name, error)?;
                    ids.push(None);
                }
            }
        }
        Ok(ids)
    }

    /// Leaves an item out, or ends the run, as the caller wishes.
    fn skip(&mut self, item: &str, error: Error) -> Result<()> {
        if !concerns_record(&error) {
            return Err(error);
        }
        if self.on_error == OnError::Stop {
            return Err(Error::Item { item: item.to_owned(), source: Box::new(error) });
        }
        self.counts.skipped += 1;
        if let Some(file) = &mut self.skipped_file {
            file.add(item, &error)?;
        }
        if let Some(observer) = &mut self.observer {
            observer.on_skipped(item, &error);
        }
        Ok(())
    }
}

/// Whether an error is about one record, so that the next one may well succeed.
pub(crate) fn concerns_record(error: &Error) -> bool {
    matches!(
        error,
        Error::Duplicate { .. }
            | Error::MissingId { .. }
            | Error::WrongId { .. }
            | Error::CodesNotTaken { .. }
            | Error::MissingCode { .. }
            | Error::WrongInput { .. }
            | Error::Width { .. }
            | Error::CodeLength { .. }
            | Error::NotFinite { .. }
            | Error::Overflow { .. }
            | Error::Empty { .. }
            | Error::Picture { .. }
            | Error::UnknownField { .. }
            | Error::FieldType { .. }
            | Error::Source(_)
            | Error::Hashing(_)
    ) || matches!(error, Error::Storage(error) if concerns_value(error))
}

/// Whether the storage layer refused a value of the record, rather than failed.
fn concerns_value(error: &twinbit_storage::Error) -> bool {
    use twinbit_storage::Error as Storage;
    match error {
        Storage::Value { .. } | Storage::Input { .. } | Storage::Id(_) => true,
        // Other limits are those of files.
        Storage::Limit { limit, .. } => *limit == MAX_TEXT_BYTES as u64,
        _ => false,
    }
}
