//! Transactions: changes gathered in memory, and in segment files once they are many.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::RandomState;
use twinbit_kernels::{Codes, Modality};

use crate::buffer::{Row, RowBuffer, row_bytes};
use crate::dead::Dead;
use crate::error::Error;
use crate::fields::Fields;
use crate::format::MAX_SEGMENT_ROWS;
use crate::gate::Pass;
use crate::id::{CollectionId, ModelId, RecordId};
use crate::record::{NewRecord, TextInput, Written, check_fields};
use crate::schema::{FieldId, IdKind};
use crate::segment::Segment;
use crate::spill::Spill;
use crate::store::Inner;
use crate::undo::Undo;
use crate::value::Value;
use crate::view::{CollectionView, View};

/// A multiple of the rows in a block of codes of any length.
const CODES_A_STEP: usize = 64;

/// Everything a transaction has changed so far.
pub(crate) struct Pending {
    /// New rows that are in no segment yet.
    pub(crate) buffer: RowBuffer,
    /// Segments written ahead of the commit; their files go unless it comes.
    pub(crate) spilled: Vec<Segment>,
    /// The rows that follow those, while they are being written.
    spilling: Option<Spill>,
    /// Where ids lead now; `None` for deleted ones.
    pub(crate) ids: HashMap<RecordId, Option<u64>, RandomState>,
    /// With automatic ids: new ordinals whose record has an older id.
    pub(crate) foreign: HashSet<u64>,
    /// Ordinals that died, old and new ones.
    pub(crate) dead: Dead,
    /// Fields of new rows that have some, by ascending ordinal.
    pub(crate) new_fields: Vec<(u64, Fields)>,
    /// Fields set on rows that were there before.
    pub(crate) set_fields: BTreeMap<u64, BTreeMap<FieldId, Option<Value>>>,
    pub(crate) sources: BTreeMap<String, String>,
    pub(crate) next_ordinal: u64,
    pub(crate) live: u64,
    rows: usize,
    bytes: usize,
}

impl Pending {
    pub(crate) fn is_unchanged(&self) -> bool {
        self.rows == 0 && self.dead.is_empty() && self.set_fields.is_empty() && self.sources.is_empty()
    }
}

/// Changes to one collection that become visible and durable together.
///
/// While it is open no one else writes to the collection. Dropping it without
/// [`commit`](Self::commit) discards it.
pub struct Transaction {
    // First, so that files which no commit names are written and gone before the lock of the database
    // is released: the next process may give their numbers to its own.
    pub(crate) pending: Pending,
    pub(crate) store: Arc<Inner>,
    pub(crate) id: CollectionId,
    /// The collection as it was when the transaction began.
    pub(crate) base: CollectionView,
    /// Where the ids led to that [`look_up`](Self::look_up) was last given.
    looked_up: HashMap<RecordId, Option<u64>, RandomState>,
    /// What would take back the change that is being made, where it may have to be.
    notes: Option<Vec<Undo>>,
    _pass: Pass,
}

impl Transaction {
    pub(crate) fn begin(store: Arc<Inner>, id: CollectionId, pass: Pass) -> Result<Self, Error> {
        store.check_writable()?;
        let view = View { state: store.state() };
        let base = view.collection(id).ok_or_else(|| Error::collection_not_found(id))?;
        let pending = Pending {
            buffer: new_buffer(&base),
            spilled: Vec::new(),
            spilling: None,
            ids: HashMap::default(),
            foreign: HashSet::new(),
            dead: Dead::default(),
            new_fields: Vec::new(),
            set_fields: BTreeMap::new(),
            sources: BTreeMap::new(),
            next_ordinal: base.collection.next_ordinal,
            live: base.collection.live,
            rows: 0,
            bytes: 0,
        };
        Ok(Transaction { store, id, base, pending, looked_up: HashMap::default(), notes: None, _pass: pass })
    }

    /// The model whose codes the collection stores.
    pub fn model(&self) -> Option<ModelId> {
        self.base.info().model
    }

    /// The collection as it was when the transaction began.
    pub fn view(&self) -> &CollectionView {
        &self.base
    }

    /// Rows put since the beginning.
    pub fn rows(&self) -> usize {
        self.pending.rows
    }

    /// Bytes of ids, inputs and codes put since the beginning.
    pub fn bytes(&self) -> usize {
        self.pending.bytes
    }

    /// Puts a record; an older one with its id dies. A record that is refused changes nothing.
    ///
    /// Where the database assigns ids, an id may be given only to replace: it must be below the
    /// next one to be assigned.
    pub fn put(&mut self, mut record: NewRecord<'_>) -> Result<Written, Error> {
        let info = self.base.info();
        record.check(&info.config, info.codes_id())?;
        record.checked_id(info.config.ids)?;
        let is_auto = info.config.ids == IdKind::Auto;
        self.spill_if_full()?;
        let ordinal = self.pending.next_ordinal;
        let next_ordinal = ordinal
            .checked_add(1)
            .ok_or(Error::Limit { what: "the number of records ever put", limit: u64::MAX })?;
        let old = match &record.id {
            None => None,
            Some(RecordId::U64(id)) if is_auto && *id >= ordinal => {
                return Err(Error::Id("the database assigns ids, and this one is not assigned yet"));
            }
            Some(id) => self.locate(id)?,
        };
        let is_given = record.id.is_some();
        let id = record.id.take().unwrap_or(RecordId::U64(ordinal));
        let (text, text_features) = match record.text {
            None => (None, None),
            Some(TextInput::Text(text)) => (Some(text), None),
            Some(TextInput::Features(features)) => (None, Some(Cow::Borrowed(features))),
        };
        let before = self.pending.buffer.bytes;
        self.pending.buffer.push(&Row {
            ordinal,
            id: Cow::Borrowed(&id),
            present: record.present(),
            image: record.image.map(Cow::Borrowed),
            text,
            text_features,
            codes: record.codes.map(|code| code.map(Cow::Borrowed)),
        })?;
        self.note(|_| Undo::Put(ordinal));
        self.pending.bytes += self.pending.buffer.bytes - before;
        self.pending.rows += 1;
        self.pending.live += 1;
        self.pending.next_ordinal = next_ordinal;
        if let Some(old) = old {
            self.kill(old);
        }
        if is_given {
            self.note_id(&id);
            self.pending.ids.insert(id.clone(), Some(ordinal));
            if is_auto {
                self.pending.foreign.insert(ordinal);
            }
        }
        if !record.fields.is_empty() {
            let mut fields = record.fields;
            fields.sort_by_key(|(field, _)| *field);
            self.note(|_| Undo::NewFields(ordinal, None));
            self.pending.new_fields.push((ordinal, fields));
        }
        Ok(Written { id, ordinal, replaced: old.is_some() })
    }

    /// Puts a record for every row of ready codes: those of an image, of a text, or of both, where
    /// row i of the one belongs to row i of the other. The database assigns the ids, which are the
    /// ordinals that it returns.
    ///
    /// Whole columns go into segments, so that this costs about what writing the codes costs. When
    /// it fails in the middle, rows from the first on may have been put, as with single puts.
    pub fn put_codes(&mut self, codes: [Option<Codes<'_>>; 2]) -> Result<Range<u64>, Error> {
        let rows = self.check_codes(codes)?;
        let start = self.pending.next_ordinal;
        let end = start
            .checked_add(rows as u64)
            .ok_or(Error::Limit { what: "the number of records ever put", limit: u64::MAX })?;
        let mut done = 0;
        while done < rows {
            self.spill_if_full()?;
            let buffer = &mut self.pending.buffer;
            // Whole blocks of codes can be copied, so every step but the last is made of them.
            let room = self.store.options.segment_bytes.saturating_sub(buffer.bytes) / row_bytes(codes);
            let step = (rows - done)
                .min(room.next_multiple_of(CODES_A_STEP).max(CODES_A_STEP))
                .min(MAX_SEGMENT_ROWS - buffer.rows());
            if step < rows - done && !step.is_multiple_of(CODES_A_STEP) {
                self.spill()?;
                continue;
            }
            let mut columns = [None; 2];
            for (column, codes) in columns.iter_mut().zip(codes) {
                *column = codes.map(|codes| part_of(codes, done..done + step)).transpose()?;
            }
            let (first, before) = (self.pending.next_ordinal, buffer.bytes);
            buffer.extend_codes(first, step, columns)?;
            self.pending.bytes += buffer.bytes - before;
            self.pending.rows += step;
            self.pending.live += step as u64;
            self.pending.next_ordinal += step as u64;
            if self.notes.is_some() {
                (first..first + step as u64).for_each(|ordinal| self.note(|_| Undo::Put(ordinal)));
            }
            done += step;
        }
        Ok(start..end)
    }

    /// Checks codes against the collection; returns their number.
    fn check_codes(&self, codes: [Option<Codes<'_>>; 2]) -> Result<usize, Error> {
        let info = self.base.info();
        if info.config.ids != IdKind::Auto {
            return Err(Error::Id("the collection's ids come from the application, and there is none"));
        }
        let mut rows = None;
        for (modality, codes) in Modality::ALL.into_iter().zip(codes) {
            let Some(codes) = codes else { continue };
            if info.codes_id().is_none() {
                return Err(Error::UnexpectedCode { modality });
            }
            let (expected, got) = (info.config.bits.bytes(), codes.bits().bytes());
            if got != expected {
                return Err(Error::Width { modality, what: "code (in bytes)", expected, got });
            }
            let (expected, got) = (*rows.get_or_insert(codes.rows()), codes.rows());
            if got != expected {
                let what = "text codes, one for each image";
                return Err(Error::codes(twinbit_kernels::Error::Shape { what, expected, got }));
            }
        }
        rows.ok_or(Error::Empty)
    }

    /// Finds out at once which of these ids there are. Whatever is then done with each of them until
    /// the next call costs less; it need not be called.
    pub fn look_up<'i>(&mut self, ids: impl IntoIterator<Item = &'i RecordId>) -> Result<(), Error> {
        let kind = self.base.info().config.ids;
        let ids: Vec<_> = ids.into_iter().filter(|id| id.check(kind).is_ok()).collect();
        let ordinals = self.base.find_many(&ids)?;
        self.looked_up.clear();
        self.looked_up.extend(ids.into_iter().cloned().zip(ordinals));
        Ok(())
    }

    /// Whether there is a record with the id.
    pub fn contains(&self, id: &RecordId) -> Result<bool, Error> {
        id.check(self.base.info().config.ids)?;
        Ok(self.locate(id)?.is_some())
    }

    /// Deletes the record with the id; `false` when there is none.
    pub fn delete(&mut self, id: &RecordId) -> Result<bool, Error> {
        id.check(self.base.info().config.ids)?;
        let Some(ordinal) = self.locate(id)? else {
            return Ok(false);
        };
        self.kill(ordinal);
        self.note_id(id);
        self.pending.ids.insert(id.clone(), None);
        Ok(true)
    }

    /// Sets or, with `None`, removes fields of the record with the id; `false` when there is none.
    ///
    /// The record keeps its ordinal, inputs and codes.
    pub fn set(&mut self, id: &RecordId, fields: &[(FieldId, Option<Value>)]) -> Result<bool, Error> {
        let config = &self.base.info().config;
        id.check(config.ids)?;
        check_fields(config, fields.iter().map(|(field, value)| (*field, value.as_ref())))?;
        let Some(ordinal) = self.locate(id)? else {
            return Ok(false);
        };
        if ordinal < self.base.collection.next_ordinal {
            self.note(|pending| Undo::SetFields(ordinal, pending.set_fields.get(&ordinal).cloned()));
            let changes = self.pending.set_fields.entry(ordinal).or_default();
            changes.extend(fields.iter().cloned());
            return Ok(true);
        }
        let found = self.pending.new_fields.binary_search_by_key(&ordinal, |(row, _)| *row);
        self.note(|pending| {
            let fields = found.ok().and_then(|index| pending.new_fields.get(index));
            Undo::NewFields(ordinal, fields.map(|(_, fields)| fields.clone()))
        });
        let rows = &mut self.pending.new_fields;
        let index = found.unwrap_or_else(|index| {
            rows.insert(index, (ordinal, Vec::new()));
            index
        });
        if let Some((_, row)) = rows.get_mut(index) {
            *row = updated(std::mem::take(row), fields.iter().cloned());
        }
        Ok(true)
    }

    /// Notes how far a source has been read; it is stored with the commit.
    pub fn set_source_position(&mut self, source: &str, position: &str) {
        self.note(|pending| Undo::Source(source.to_owned(), pending.sources.get(source).cloned()));
        self.pending.sources.insert(source.to_owned(), position.to_owned());
    }

    /// Makes the changes visible and, after the store's durability, lasting. Returns the version.
    ///
    /// With no changes the current version is returned and nothing is written.
    pub fn commit(self) -> Result<u64, Error> {
        crate::commit::commit(self)
    }

    /// The ordinal of the record with an id, this transaction's changes included.
    fn locate(&self, id: &RecordId) -> Result<Option<u64>, Error> {
        if let Some(known) = self.pending.ids.get(id) {
            return Ok(*known);
        }
        if let Some(ordinal) = self.looked_up.get(id) {
            // The collection as it was when the transaction began does not change.
            return Ok(*ordinal);
        }
        if let (IdKind::Auto, RecordId::U64(number)) = (self.base.info().config.ids, id)
            && *number >= self.base.collection.next_ordinal
        {
            let is_new = *number < self.pending.next_ordinal
                && !self.pending.foreign.contains(number)
                && !self.pending.dead.contains(*number);
            return Ok(is_new.then_some(*number));
        }
        self.base.find(id)
    }

    fn kill(&mut self, ordinal: u64) {
        self.note(|pending| Undo::Killed(ordinal, pending.set_fields.get(&ordinal).cloned()));
        self.pending.dead.insert(ordinal);
        self.pending.set_fields.remove(&ordinal);
        self.pending.live = self.pending.live.saturating_sub(1);
    }

    fn spill_if_full(&mut self) -> Result<(), Error> {
        let buffer = &self.pending.buffer;
        if buffer.bytes >= self.store.options.segment_bytes || buffer.rows() >= MAX_SEGMENT_ROWS {
            self.spill()?;
        }
        Ok(())
    }

    /// Begins to write the gathered rows as a segment that the commit will name. That goes on while
    /// the next rows are gathered; two segments at most are in memory.
    fn spill(&mut self) -> Result<(), Error> {
        self.finish_spill()?;
        if self.pending.buffer.rows() == 0 {
            return Ok(());
        }
        if self.pending.spilled.is_empty() {
            // Fresh rows come before ours, and segments cover ascending ranges: they go first.
            crate::flush::flush(&self.store, self.id)?;
        }
        let (layout, collection) = (self.store.layout.clone(), self.id);
        let (number, model) = (self.store.segment_number()?, self.base.info().codes_id());
        let rows = std::mem::replace(&mut self.pending.buffer, new_buffer(&self.base));
        let write = move |rows: &RowBuffer| Segment::write(&layout, number, collection, model, rows);
        self.pending.spilling = Some(Spill::start(rows, write));
        Ok(())
    }

    fn finish_spill(&mut self) -> Result<(), Error> {
        if let Some(spill) = &mut self.pending.spilling {
            self.pending.spilled.push(spill.finish()?);
            self.pending.spilling = None;
        }
        Ok(())
    }

    /// Writes what is still gathered where it is too much for the catalog, and waits until all
    /// segments are there.
    pub(crate) fn finish_segments(&mut self) -> Result<(), Error> {
        let (rows, bytes) = (self.pending.buffer.rows(), self.pending.buffer.bytes);
        let options = &self.store.options;
        let has_segments = !self.pending.spilled.is_empty() || self.pending.spilling.is_some();
        if has_segments || rows >= options.fresh_rows || bytes >= options.fresh_bytes {
            self.spill()?;
        }
        self.finish_spill()
    }

    /// Begins a change that [`end_change`](Self::end_change) keeps or takes back. That costs what the
    /// change does, however much is pending already.
    pub(crate) fn begin_change(&mut self) {
        self.notes = Some(Vec::new());
    }

    pub(crate) fn end_change(&mut self, keep: bool) {
        let notes = self.notes.take().unwrap_or_default();
        if !keep {
            self.pending.undo(notes);
        }
    }

    fn note(&mut self, undo: impl FnOnce(&Pending) -> Undo) {
        if let Some(notes) = &mut self.notes {
            notes.push(undo(&self.pending));
        }
    }

    fn note_id(&mut self, id: &RecordId) {
        self.note(|pending| Undo::Id(id.clone(), pending.ids.get(id).copied()));
    }
}

/// The rows of a range that begins at a whole block.
fn part_of(codes: Codes<'_>, range: Range<usize>) -> Result<Codes<'_>, Error> {
    let lines = |rows| Codes::line_count(codes.bits(), rows);
    let lines = codes.lines().get(lines(range.start)..lines(range.end)).unwrap_or_default();
    Codes::new(codes.bits(), range.len(), lines).map_err(Error::codes)
}

fn new_buffer(base: &CollectionView) -> RowBuffer {
    let info = base.info();
    let config = &info.config;
    RowBuffer::new(config.ids, info.codes_id().map(|_| config.bits), config.keep_inputs)
}

/// Fields after some were set or removed, by ascending field.
pub(crate) fn updated(fields: Fields, changes: impl Iterator<Item = (FieldId, Option<Value>)>) -> Fields {
    let mut all: BTreeMap<FieldId, Value> = fields.into_iter().collect();
    for (field, value) in changes {
        match value {
            Some(value) => all.insert(field, value),
            None => all.remove(&field),
        };
    }
    all.into_iter().collect()
}
