//! A collection: single writes that commit by themselves, and the doors to everything else.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use twinbit_storage::{CollectionId, CollectionView, FieldId};

use crate::database::Database;
use crate::encode::Encoder;
use crate::entry::Entry;
use crate::featurizers::{Featurizers, check_id, known};
use crate::field::check_field_name;
use crate::install;
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::train::Trainer;
use crate::writer::Writer;
use crate::{
    Array, Compacted, Error, Field, Indexed, Modality, Model, PictureArray, Record, RecordId, Result, Schema,
    Value,
};

/// A collection of records. Clones share it, and it may be used from any thread.
///
/// ```
/// use twinbit::{CodeBits, Database, Field, IdKind, Modality, Record, Schema};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// # let schema = Schema::new(CodeBits::new(8)?).ids(IdKind::Str).external_codes().field("year", Field::u64());
/// # let things = database.create_collection("things", schema)?;
/// # things.put(Record::new("a").code(Modality::Image, [0b1111_0000]).set("year", 1999))?;
/// # things.put(Record::new("b").code(Modality::Image, [0b1111_1111]).set("year", 2020))?;
/// assert!(things.set("a", [("year", Some(2001_u64.into()))])?);
/// things.delete("b")?;
/// assert_eq!(things.get("a")?.unwrap().fields()["year"], 2001_u64.into());
/// things.add_field("author", Field::str())?;
/// things.add_index("author")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Collection {
    database: Database,
    id: CollectionId,
    /// The name it was opened under, for messages once it has been dropped.
    opened_as: Arc<str>,
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Collection {
    pub(crate) fn new(database: Database, id: CollectionId, name: &str) -> Self {
        Self { database, id, opened_as: name.into() }
    }

    /// The name, also after a renaming.
    pub fn name(&self) -> String {
        self.view().map_or_else(|_| self.opened_as.to_string(), |view| view.info().name.clone())
    }

    /// The database it belongs to.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// What it holds, the fields added later included.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the collection was dropped.
    pub fn schema(&self) -> Result<Schema> {
        Ok(Schema::clone(&*self.shared_schema(&self.view()?)?))
    }

    /// The installed model, if there is one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the model's file is damaged.
    pub fn model(&self) -> Result<Option<Model>> {
        self.database.model(&self.view()?)
    }

    /// A view of what is committed now: cheap, never changes, never waits.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the collection was dropped.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let view = self.view()?;
        let schema = self.shared_schema(&view)?;
        Ok(Snapshot::new(self.clone(), view, schema))
    }

    /// The exclusive transaction: many changes, one commit. Single writes of other threads wait
    /// until it is over.
    ///
    /// # Errors
    /// [`Error::WriterBusy`] when there is one already.
    pub fn writer(&self) -> Result<Writer> {
        let transaction = self.database.store().writer(self.id)?;
        // Only a writer switches models, so this one stays in force until the transaction ends.
        let encoder = self.encoder(&self.view()?)?;
        Ok(Writer::new(self.clone(), transaction, encoder))
    }

    /// Writes one record, replacing the one of the same id, and commits. Commits of several
    /// threads share one write to disk.
    ///
    /// # Errors
    /// Names the record and what does not fit the schema; then nothing was written.
    pub fn put(&self, record: Record) -> Result<RecordId> {
        loop {
            let encoder = self.encoder(&self.view()?)?;
            let prepared = encoder.prepare_one(&record, 0)?;
            let model = encoder.stored_model();
            let written = self.database.store().write_grouped(self.id, |transaction| {
                // A model installed since the record was encoded: encode it again.
                if transaction.model() != model {
                    return Ok(None);
                }
                transaction.put(prepared.as_new_record()).map(Some)
            })?;
            if let Some(written) = written {
                return Ok(written.id);
            }
        }
    }

    /// Deletes one record and commits. Says whether there was one.
    ///
    /// # Errors
    /// When the commit fails.
    pub fn delete(&self, id: impl Into<RecordId>) -> Result<bool> {
        let id = id.into();
        Ok(self.database.store().write_grouped(self.id, |transaction| transaction.delete(&id))?)
    }

    /// Changes fields of one record and commits; `None` removes a value. Image, text and codes stay.
    /// Says whether there is such a record.
    ///
    /// # Errors
    /// [`Error::UnknownField`], [`Error::FieldType`].
    pub fn set<N: AsRef<str>>(
        &self,
        id: impl Into<RecordId>,
        fields: impl IntoIterator<Item = (N, Option<Value>)>,
    ) -> Result<bool> {
        let id = id.into();
        let fields = typed_fields(&*self.shared_schema(&self.view()?)?, fields)?;
        Ok(self.database.store().write_grouped(self.id, |transaction| transaction.set(&id, &fields))?)
    }

    /// The record of this id, as committed now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, id: impl Into<RecordId>) -> Result<Option<Entry>> {
        self.snapshot()?.get(id)
    }

    /// Declares another field; the records there are have no value of it.
    ///
    /// # Errors
    /// [`Error::FieldName`] when the name is taken or cannot be one.
    ///
    /// # Blocking
    /// As [`install`](Self::install).
    pub fn add_field(&self, name: &str, field: Field) -> Result<()> {
        check_field_name(name)?;
        if self.shared_schema(&self.view()?)?.resolve(name).is_ok() {
            return Err(Error::FieldName { field: name.to_owned(), reason: "there is one already" });
        }
        Ok(self.database.store().add_field(self.id, field.spec(name))?)
    }

    /// Makes an index of a field from the records that are there. Filters answer the same with and
    /// without; a field that is indexed already stays so. After an error or a crash it is not.
    ///
    /// # Errors
    /// [`Error::UnknownField`].
    ///
    /// # Blocking
    /// As [`install`](Self::install); writes wait until the index is complete, searches do not.
    pub fn add_index(&self, name: &str) -> Result<()> {
        let (field, _) = self.shared_schema(&self.view()?)?.resolve(name)?;
        Ok(self.database.store().add_index(self.id, field)?)
    }

    /// Removes the index of a field, and leaves its values.
    ///
    /// # Errors
    /// [`Error::UnknownField`]; the index of the built-in field `of` stays.
    ///
    /// # Blocking
    /// As [`install`](Self::install).
    pub fn remove_index(&self, name: &str) -> Result<()> {
        let (field, _) = self.shared_schema(&self.view()?)?.resolve(name)?;
        Ok(self.database.store().remove_index(self.id, field)?)
    }

    /// Says where the folder of an encoder is now. It must hold the encoder that the collection knows: the
    /// new place is written down, and counts for everybody who opens the database from then on.
    ///
    /// # Errors
    /// [`Error::Encoder`] when the folder holds something else; [`Error::Schema`] when the collection reads
    /// no encoder of this modality from a folder.
    ///
    /// # Blocking
    /// As [`install`](Self::install).
    pub fn move_encoder(&self, modality: Modality, folder: impl AsRef<Path>) -> Result<()> {
        let schema = self.schema()?;
        if schema.folder(modality).is_none() {
            let reason = "the encoder of this modality comes from no folder, so there is nothing to move";
            return Err(Error::Schema { reason });
        }
        let folder = folder.as_ref();
        let whole = std::path::absolute(folder).map_err(|source| Error::Io {
            path: folder.to_path_buf(),
            operation: "find",
            source,
        })?;
        check_id(modality, &whole, schema.featurizer(modality), &known(modality, &whole)?.id)?;
        let config = schema.with_folder(modality, whole).to_config()?;
        Ok(self.database.store().set_application(self.id, config.application)?)
    }

    /// The features of raw pictures by the collection's own encoder, in memory, rounded as they are kept: for
    /// [`Trainer::fit_source`]. They are those that [`ingest`](Self::ingest) makes of the same pictures.
    /// `watch` is told after each block how many pictures are done, and may call it off.
    ///
    /// # Errors
    /// [`Error::Source`] when the collection takes no pictures, [`Error::Canceled`], [`Error::Encoder`] when
    /// the encoder cannot be had, [`Error::Array`] when a picture cannot be read.
    pub fn picture_features(
        &self,
        pictures: &PictureArray,
        watch: impl FnMut(usize) -> ControlFlow<()> + Send,
    ) -> Result<Array> {
        let schema = self.shared_schema(&self.view()?)?;
        let encoding = pictures.check_taken(&schema)?;
        let encoder = Featurizers::new(&self.database, &schema).image(encoding)?;
        self.database.run(|| pictures.encode(&encoder, watch))
    }

    /// Trains a pair of hash networks for this collection.
    pub fn trainer(&self) -> Trainer<'_> {
        Trainer::new(self)
    }

    /// Whether any other model than the present one could be installed, whatever its shape: to be asked
    /// before a long training.
    ///
    /// # Errors
    /// [`Error::ExternalCodes`], and [`Error::InputsNotKept`] when there are records whose inputs are gone.
    pub fn check_installable(&self) -> Result<()> {
        let view = self.view()?;
        install::check_installable(&*self.shared_schema(&view)?, &view)
    }

    /// Makes `model` the one that encodes records and queries: encodes what is stored, then switches
    /// all of it at once. Searches and single writes go on under the old model meanwhile.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] says what does not fit; [`Error::InputsNotKept`] when there are
    /// records whose inputs are gone.
    ///
    /// # Blocking
    /// Waits until an open [`Writer`] of this collection is over: forever, when the calling thread
    /// is the one that holds it. Commit or drop it first.
    pub fn install(&self, model: &Model) -> Result<()> {
        self.install_with(model, |_, _| ControlFlow::Continue(()))
    }

    /// [`install`](Self::install) that tells how many rows are done out of how many, and ends with
    /// [`Error::Canceled`] and nothing changed when told to break.
    ///
    /// # Errors
    /// As [`install`](Self::install).
    pub fn install_with(
        &self,
        model: &Model,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<()> {
        install::install(self, model, &mut progress)
    }

    /// Merges the segments into as few as can be, gives the space of removed records back to the
    /// disk, and makes indexes of the codes of large segments. The database does so by itself in the background, less thoroughly; see
    /// [`Builder::compaction`](crate::Builder::compaction).
    ///
    /// Reading and writing go on meanwhile, and snapshots stay as they are: files that one of them
    /// reads go with it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a segment is damaged: it is left as it is. [`Error::ReadOnly`].
    ///
    /// # Blocking
    /// Waits until an open [`Writer`] of this collection is over (forever, when the calling thread is
    /// the one that holds it), and until an install is.
    ///
    /// ```
    /// use twinbit::{CodeBits, Database, Field, IdKind, Modality, Record, Schema};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let database = Database::open(folder.path())?;
    /// # let schema = Schema::new(CodeBits::new(8)?).ids(IdKind::Str).external_codes().field("year", Field::u64());
    /// # let things = database.create_collection("things", schema)?;
    /// # things.put(Record::new("a").code(Modality::Image, [0b1111_0000]).set("year", 1999))?;
    /// # things.put(Record::new("b").code(Modality::Image, [0b1111_1111]).set("year", 2020))?;
    /// let compacted = things.compact()?;
    /// println!("{} bytes before, {} after", compacted.bytes_before, compacted.bytes_after);
    /// let indexed = things.build_indexes()?;
    /// assert_eq!(indexed.segments, 0, "a few records are scanned faster than an index is read");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compact(&self) -> Result<Compacted> {
        self.compact_with(|_, _| ControlFlow::Continue(()))
    }

    /// [`compact`](Self::compact) that tells bytes read and written out of how many, and ends with
    /// [`Error::Canceled`] when told to break; what was merged until then stays so.
    ///
    /// # Errors
    /// As [`compact`](Self::compact).
    pub fn compact_with(&self, mut progress: impl FnMut(u64, u64) -> ControlFlow<()>) -> Result<Compacted> {
        Ok(self.database.store().compact(self.id, &mut progress)?)
    }

    /// Makes the indexes of codes that segments lack: those of as many rows as
    /// [`Builder::indexing`](crate::Builder::indexing) says. The database does so by itself in the
    /// background, and [`compact`](Self::compact) at its end.
    ///
    /// Answers are the same with and without; reading and writing go on meanwhile.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when codes are damaged. [`Error::ReadOnly`].
    ///
    /// # Blocking
    /// Waits until an install or a compaction is over.
    pub fn build_indexes(&self) -> Result<Indexed> {
        self.build_indexes_with(|_, _| ControlFlow::Continue(()))
    }

    /// [`build_indexes`](Self::build_indexes) that tells rows done out of how many, and ends with
    /// [`Error::Canceled`] when told to break; what was made until then stays.
    ///
    /// # Errors
    /// As [`build_indexes`](Self::build_indexes).
    pub fn build_indexes_with(
        &self,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Indexed> {
        Ok(self.database.store().build_indexes(self.id, &mut progress)?)
    }

    /// Sizes and counts.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the collection was dropped.
    ///
    /// ```
    /// use twinbit::{CodeBits, Database, Field, IdKind, Modality, Record, Schema};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let database = Database::open(folder.path())?;
    /// # let schema = Schema::new(CodeBits::new(8)?).ids(IdKind::Str).external_codes().field("year", Field::u64());
    /// # let things = database.create_collection("things", schema)?;
    /// # things.put(Record::new("a").code(Modality::Image, [0b1111_0000]).set("year", 1999))?;
    /// # things.put(Record::new("b").code(Modality::Image, [0b1111_1111]).set("year", 2020))?;
    /// let stats = things.stats()?;
    /// assert_eq!((stats.rows, stats.deleted, stats.bits), (2, 0, 8));
    /// println!("{} bytes of codes, kernel {}", stats.bytes.codes, stats.kernel);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats(&self) -> Result<Stats> {
        Stats::read(self)
    }

    /// How far the source of this name has been ingested, as told by
    /// [`Writer::set_source_position`] in the last commit that named it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn source_position(&self, source: &str) -> Result<Option<String>> {
        Ok(self.database.store().source_position(self.id, source)?)
    }

    pub(crate) fn id(&self) -> CollectionId {
        self.id
    }

    /// The committed state of this collection.
    pub(crate) fn view(&self) -> Result<CollectionView> {
        self.database.store().view().collection(self.id).ok_or_else(|| self.gone())
    }

    pub(crate) fn shared_schema(&self, view: &CollectionView) -> Result<Arc<Schema>> {
        self.database.schema(self.id, view.info())
    }

    /// What encodes inputs in this state of the collection.
    pub(crate) fn encoder(&self, view: &CollectionView) -> Result<Encoder> {
        Encoder::new(&self.database, self.shared_schema(view)?, view)
    }

    fn gone(&self) -> Error {
        Error::NotFound { name: self.opened_as.to_string() }
    }
}

/// Field ids and values in the fields' types.
pub(crate) fn typed_fields<N: AsRef<str>>(
    schema: &Schema,
    fields: impl IntoIterator<Item = (N, Option<Value>)>,
) -> Result<Vec<(FieldId, Option<Value>)>> {
    fields
        .into_iter()
        .map(|(name, value)| match value {
            Some(value) => schema.typed(name.as_ref(), value).map(|(id, value)| (id, Some(value))),
            None => schema.resolve(name.as_ref()).map(|(id, _)| (id, None)),
        })
        .collect()
}
