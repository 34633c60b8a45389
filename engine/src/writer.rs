//! The exclusive transaction: many changes, one commit.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use twinbit_storage::Transaction;

use crate::collection::{Collection, typed_fields};
use crate::encode::{Encoder, Prepared};
use crate::error::Place;
use crate::{CodeRows, Error, Filter, Modality, Record, RecordId, Result, Value};

/// Records that are checked and encoded together.
const RECORDS_A_BLOCK: usize = 256;
/// Bytes of input that wait for encoding at most; a block ends early when it holds more.
const BYTES_A_BLOCK: usize = 64 << 20;

/// What to do with a record whose id is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Replace,
    Refuse,
}

/// The exclusive transaction of a collection.
///
/// Nothing is seen by others before [`commit`](Self::commit); dropping it discards everything.
/// A call that fails leaves out the record it names and keeps what came before, so the transaction
/// can go on.
///
/// ```
/// use twinbit::{CodeBits, Database, IdKind, Input, Modality, Record, Schema};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).external_codes();
/// let photos = database.create_collection("photos", schema)?;
/// let mut writer = photos.writer()?;
/// writer.put(Record::new(1).image(Input::code([0, 1])))?;
/// writer.extend((2..100).map(|id| Record::new(id).image(Input::code([0, id as u8]))))?;
/// writer.delete(50)?;
/// writer.commit()?;
/// assert_eq!(photos.snapshot()?.len(), 98);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Writer {
    collection: Collection,
    transaction: Transaction,
    encoder: Encoder,
    /// Records met so far, to name those without an id.
    met: u64,
    /// Ids of committed records that this transaction has replaced, changed or deleted: a record that
    /// has such an id now is the transaction's own.
    touched: HashSet<RecordId>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("collection", &self.collection).finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn new(collection: Collection, transaction: Transaction, encoder: Encoder) -> Self {
        Self { collection, transaction, encoder, met: 0, touched: HashSet::new() }
    }

    /// Writes a record, replacing the one of the same id. For many records
    /// [`extend`](Self::extend) is faster, because it encodes them in parallel.
    ///
    /// # Errors
    /// Names the record and what does not fit the schema.
    pub fn put(&mut self, record: Record) -> Result<RecordId> {
        self.write_one(record, Existing::Replace)
    }

    /// Writes a record whose id is new.
    ///
    /// # Errors
    /// [`Error::Duplicate`] when there is a record of this id, and as [`put`](Self::put).
    pub fn insert(&mut self, record: Record) -> Result<RecordId> {
        self.write_one(record, Existing::Refuse)
    }

    /// Writes records as [`put`](Self::put) does, checked and encoded in parallel blocks. Says how
    /// many were written.
    ///
    /// # Errors
    /// Stops at the first record that does not fit and names it; those before it are written, it and
    /// those after it are not.
    pub fn extend(&mut self, records: impl IntoIterator<Item = Record>) -> Result<u64> {
        self.write_all(records, Existing::Replace)
    }

    /// Writes records as [`insert`](Self::insert) does, checked and encoded in parallel blocks. Says
    /// how many were written.
    ///
    /// # Errors
    /// [`Error::Duplicate`], and as [`extend`](Self::extend).
    pub fn insert_all(&mut self, records: impl IntoIterator<Item = Record>) -> Result<u64> {
        self.write_all(records, Existing::Refuse)
    }

    /// Writes a record for every row of ready codes, in a collection with
    /// [external codes](crate::Schema::external_codes) that numbers its records itself. Gives their
    /// ids. Many times faster than [`extend`](Self::extend), because whole columns are written.
    ///
    /// ```
    /// use twinbit::{CodeBits, CodeRows, CodesBuf, Database, IdKind, Schema};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let database = Database::open(folder.path())?;
    /// let schema = Schema::new(CodeBits::B16).ids(IdKind::Auto).external_codes();
    /// let photos = database.create_collection("photos", schema)?;
    /// let codes = CodesBuf::from_packed(CodeBits::B16, &[0, 1, 0, 2, 0, 3])?;
    /// let mut writer = photos.writer()?;
    /// assert_eq!(writer.extend_codes(CodeRows::new().images(codes.as_codes()))?, 0..3);
    /// writer.commit()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the collection gives other ids or makes its codes itself, and when the codes have another
    /// length than its own or the two modalities another number of rows; then nothing is written.
    pub fn extend_codes(&mut self, rows: CodeRows<'_>) -> Result<Range<u64>> {
        let columns = rows.columns();
        let place = Place::Position(self.met);
        if !self.encoder.schema().has_external_codes() {
            let given = Modality::ALL.into_iter().zip(columns).find(|(_, codes)| codes.is_some());
            let (modality, _) = given.unwrap_or((Modality::Image, None));
            return Err(Error::CodesNotTaken { place, modality });
        }
        let written = self.transaction.put_codes(columns)?;
        self.met += written.end - written.start;
        Ok(written)
    }

    /// Deletes a record. Says whether there was one.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn delete(&mut self, id: impl Into<RecordId>) -> Result<bool> {
        self.delete_one(id.into())
    }

    /// Deletes the records that a filter selects among those committed before this transaction; what
    /// the transaction itself has written or changed is left alone. Says how many.
    ///
    /// # Errors
    /// When the filter does not fit the schema.
    pub fn delete_where(&mut self, filter: Filter) -> Result<u64> {
        let snapshot = self.collection.snapshot()?;
        let mut deleted = 0;
        for id in snapshot.matching(&filter)? {
            if !self.touched.contains(&id) && self.delete_one(id)? {
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// Changes fields of a record; `None` removes a value. Says whether there is such a record.
    ///
    /// # Errors
    /// [`Error::UnknownField`], [`Error::FieldType`].
    pub fn set<N: AsRef<str>>(
        &mut self,
        id: impl Into<RecordId>,
        fields: impl IntoIterator<Item = (N, Option<Value>)>,
    ) -> Result<bool> {
        let id = id.into();
        let fields = typed_fields(self.encoder.schema(), fields)?;
        let found = self.transaction.set(&id, &fields)?;
        if found {
            self.touched.insert(id);
        }
        Ok(found)
    }

    /// Whether there is a record of this id, this transaction's changes included.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn contains(&self, id: &RecordId) -> Result<bool> {
        Ok(self.transaction.contains(id)?)
    }

    /// Notes how far a source has been ingested; committed together with the records, and read back
    /// by [`Collection::source_position`].
    pub fn set_source_position(&mut self, source: &str, position: &str) {
        self.transaction.set_source_position(source, position);
    }

    /// Records written since the transaction began.
    pub fn pending_rows(&self) -> usize {
        self.transaction.rows()
    }

    /// Bytes written since the transaction began, about.
    pub fn pending_bytes(&self) -> usize {
        self.transaction.bytes()
    }

    /// Makes everything visible at once, and durable as the database's
    /// [`Durability`](crate::Durability) says. Gives the database's new version.
    ///
    /// # Errors
    /// When it cannot be written; the database then refuses writes until it is reopened.
    pub fn commit(self) -> Result<u64> {
        Ok(self.transaction.commit()?)
    }

    /// Discards everything, as dropping does.
    pub fn abort(self) {}

    fn delete_one(&mut self, id: RecordId) -> Result<bool> {
        let deleted = self.transaction.delete(&id)?;
        if deleted {
            self.touched.insert(id);
        }
        Ok(deleted)
    }

    fn write_one(&mut self, record: Record, existing: Existing) -> Result<RecordId> {
        let encoder = self.encoder.clone();
        self.write(encoder.prepare_one(&record, self.met), existing)
    }

    fn write_all(&mut self, records: impl IntoIterator<Item = Record>, existing: Existing) -> Result<u64> {
        let mut written = 0;
        let mut records = records.into_iter().fuse();
        let mut block = Vec::with_capacity(RECORDS_A_BLOCK);
        loop {
            block.clear();
            let mut bytes = 0_usize;
            while block.len() < RECORDS_A_BLOCK && bytes < BYTES_A_BLOCK {
                let Some(record) = records.next() else { break };
                bytes = bytes.saturating_add(record.bytes());
                block.push(record);
            }
            if block.is_empty() {
                return Ok(written);
            }
            let encoder = self.encoder.clone();
            let prepared = encoder.prepare(&block, self.met);
            self.look_up(&prepared)?;
            for prepared in prepared {
                self.write(prepared, existing)?;
                written += 1;
            }
        }
    }

    /// Writes a block and says of each record what became of it; one that fails does not stop
    /// those after it.
    pub(crate) fn write_block(&mut self, records: &[Record], existing: Existing) -> Vec<Result<RecordId>> {
        let encoder = self.encoder.clone();
        let prepared = encoder.prepare(records, self.met);
        // When this fails, so does the writing of the record in question.
        let _ = self.look_up(&prepared);
        prepared.into_iter().map(|prepared| self.write(prepared, existing)).collect()
    }

    /// Finds the ids of a block at once, which costs less than one by one.
    fn look_up(&mut self, block: &[Result<Prepared<'_>>]) -> Result<()> {
        Ok(self.transaction.look_up(block.iter().flatten().filter_map(|prepared| prepared.id.as_ref()))?)
    }

    fn write(&mut self, prepared: Result<Prepared<'_>>, existing: Existing) -> Result<RecordId> {
        self.met += 1;
        let prepared = prepared?;
        if existing == Existing::Refuse
            && let Some(id) = &prepared.id
            && self.transaction.contains(id)?
        {
            return Err(Error::Duplicate { id: id.clone() });
        }
        let written = self.transaction.put(prepared.as_new_record())?;
        if written.replaced {
            self.touched.insert(written.id.clone());
        }
        Ok(written.id)
    }
}
