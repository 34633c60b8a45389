//! A collection at one moment.

use std::fmt;
use std::sync::Arc;

use twinbit_kernels::RowMask;
use twinbit_storage::{CollectionView, Part};

use crate::collection::Collection;
use crate::database::Database;
use crate::encode::Encoder;
use crate::entry::{Entry, Fields, Hit, named};
use crate::evaluate::{Evaluation, Queries, Recall};
use crate::judged::Judged;
use crate::query::Query;
use crate::{Error, Filter, Input, Labels, Modality, Model, ModelId, RecordId, Result, Schema};

/// A collection as it was at one moment: later writes, installs and even dropping the collection
/// do not change it. Cheap to take and to clone; files live while a snapshot needs them.
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
/// let snapshot = things.snapshot()?;
/// things.delete("a")?;
/// assert_eq!((snapshot.len(), things.snapshot()?.len()), (2, 1));
/// let recent = twinbit::Filter::parse("year > 2000")?;
/// assert_eq!(snapshot.count(&recent)?, 1);
/// for entry in snapshot.page(None, 100)? {
///     println!("{}", entry.id());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Snapshot {
    collection: Collection,
    view: CollectionView,
    parts: Arc<[Arc<Part>]>,
    schema: Arc<Schema>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("collection", &self.view.info().name)
            .field("version", &self.version())
            .field("records", &self.len())
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(crate) fn new(collection: Collection, view: CollectionView, schema: Arc<Schema>) -> Self {
        Self { collection, parts: view.parts(), view, schema }
    }

    /// Number of records.
    pub fn len(&self) -> u64 {
        self.view.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The version of the database, which every commit raises.
    pub fn version(&self) -> u64 {
        self.view.version()
    }

    /// What the collection holds.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Id of the model whose codes it holds.
    pub fn model_id(&self) -> Option<ModelId> {
        self.view.info().model.map(|id| ModelId::from_bytes(id.0))
    }

    /// The record of this id.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, id: impl Into<RecordId>) -> Result<Option<Entry>> {
        match self.view.find(&id.into())? {
            Some(ordinal) => self.entry(ordinal),
            None => Ok(None),
        }
    }

    /// Up to `limit` records in the order of their writes, from the first, or from the one behind
    /// the record `after`.
    ///
    /// # Errors
    /// [`Error::NoRecord`] when there is no record `after`.
    pub fn page(&self, after: Option<&RecordId>, limit: usize) -> Result<Vec<Entry>> {
        let after = after.map(|id| self.ordinal(id)).transpose()?;
        let ordinals = self.view.page(after, limit)?;
        let entries = ordinals.into_iter().filter_map(|ordinal| self.entry(ordinal).transpose());
        entries.collect()
    }

    /// The fields of each hit, in their order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn fields_of(&self, hits: &[Hit]) -> Result<Vec<Fields>> {
        Ok(self.fields_and_of(hits)?.into_iter().map(|(fields, _)| fields).collect())
    }

    /// The fields of each hit, and the record whose image its text describes too, if there is one:
    /// see [`Record::of`](crate::Record::of).
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn fields_and_of(&self, hits: &[Hit]) -> Result<Vec<(Fields, Option<RecordId>)>> {
        let ordinals: Vec<u64> = hits.iter().map(Hit::ordinal).collect();
        let fields = self.view.fields_many(&ordinals)?;
        let split = |fields| {
            let (of, fields) = named(fields, &self.schema);
            (fields, of)
        };
        Ok(fields.into_iter().map(split).collect())
    }

    /// Whether the model's text encoder knows any word or piece of a word in a text. Where it knows
    /// none, the text has the same code as every other such text. `None` where no text is encoded.
    ///
    /// # Errors
    /// When the model cannot be read.
    pub fn knows_text(&self, text: &str) -> Result<Option<bool>> {
        let model = self.collection.database().model(&self.view)?;
        if model.is_some() && self.schema.folder(Modality::Text).is_some() {
            // A pretrained encoder has something for every text.
            return Ok(Some(true));
        }
        let Some(featurizer) = model.as_ref().and_then(|model| model.text_featurizer()) else {
            return Ok(None);
        };
        let mut features = vec![0.0; featurizer.width()];
        featurizer.encode(text, &mut features)?;
        Ok(Some(features.iter().any(|value| *value != 0.0)))
    }

    /// The ids of all records that a filter selects, in the order of their writes.
    ///
    /// # Errors
    /// When the filter does not fit the schema.
    pub fn matching(&self, filter: &Filter) -> Result<Vec<RecordId>> {
        let masks = self.masks(filter)?;
        let mut ids = Vec::new();
        for (part, mask) in self.parts().iter().zip(&masks) {
            for row in mask.ones() {
                ids.push(part.id(row)?);
            }
        }
        Ok(ids)
    }

    /// How many records a filter selects.
    ///
    /// # Errors
    /// When the filter does not fit the schema.
    pub fn count(&self, filter: &Filter) -> Result<u64> {
        Ok(self.masks(filter)?.iter().map(|mask| mask.count() as u64).sum())
    }

    /// Asks for the records nearest to one input, by default those of the other modality: a text
    /// finds images.
    pub fn query(&self, modality: Modality, input: impl Into<Input>) -> Query {
        self.query_many(modality, vec![input.into()])
    }

    /// A batch of queries, answered by [`Query::run_many`] in fewer passes over the codes than one
    /// by one.
    pub fn query_many(&self, modality: Modality, inputs: Vec<Input>) -> Query {
        Query::new(self.clone(), modality, inputs)
    }

    /// Asks for the records nearest to the stored code of a record; that record is among the
    /// answers when its own modality is asked for.
    pub fn query_id(&self, id: impl Into<RecordId>, modality: Modality) -> Query {
        Query::of_record(self.clone(), modality, id.into())
    }

    /// Measures retrieval with queries from outside against the records of this snapshot; row i of
    /// `database_labels` belongs to the i-th record in the order of their writes.
    ///
    /// # Errors
    /// [`Error::Rows`] when labels and rows differ in number.
    ///
    /// ```
    /// use twinbit::{CodeBits, Database, Input, Labels, Modality, Queries, Record, Schema};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let database = Database::open(folder.path())?;
    /// let things = database.create_collection("things", Schema::new(CodeBits::new(8)?).external_codes())?;
    /// for code in [0x00, 0x01, 0xff, 0xfe] {
    ///     things.put(Record::auto().code(Modality::Image, [code]).code(Modality::Text, [code]))?;
    /// }
    /// let code = |code| vec![Input::Code(vec![code])];
    /// let queries = Queries::new(code(0x03), code(0xfc));
    /// let (query_labels, labels) = (Labels::from_sets([[0]])?, Labels::from_sets([[0], [0], [1], [1]])?);
    /// let evaluation = things.snapshot()?.evaluate(&queries, &query_labels, &labels, &[1])?;
    /// assert_eq!(evaluation.image_to_text.scores.map, 1.0);
    /// // The text's neighbors are of the other class: right answers come third and fourth.
    /// assert_eq!(evaluation.text_to_image.scores.map, (1.0 / 3.0 + 2.0 / 4.0) / 2.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn evaluate(
        &self,
        queries: &Queries,
        query_labels: &Labels,
        database_labels: &Labels,
        ks: &[usize],
    ) -> Result<Evaluation> {
        Evaluation::measure(Judged::stored(self)?, queries, query_labels, database_labels, ks)
    }

    /// [`evaluate`](Self::evaluate) under a model that need not be installed: queries and what is kept
    /// of the records are encoded by it, and nothing that is stored changes. So two models are
    /// compared on the same records.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate); [`Error::ModelMismatch`] when the model does not fit the
    /// collection, [`Error::InputsNotKept`] when there is nothing to encode.
    pub fn evaluate_with(
        &self,
        model: &Model,
        queries: &Queries,
        query_labels: &Labels,
        database_labels: &Labels,
        ks: &[usize],
    ) -> Result<Evaluation> {
        Evaluation::measure(Judged::under(self, model)?, queries, query_labels, database_labels, ks)
    }

    /// Measures how often a stored code finds its own counterpart among the first `k`: captions
    /// their image, images any of their captions (`of` groups them). With a filter only the images
    /// that it selects take part, and their captions whatever these have in their fields.
    ///
    /// # Errors
    /// [`Error::Untrained`] without codes, [`Error::ZeroLimit`] for a `k` of 0,
    /// [`Error::NothingToMeasure`] when no record is left that has a counterpart.
    ///
    /// ```
    /// use twinbit::{CodeBits, Database, Modality, Record, Schema};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let database = Database::open(folder.path())?;
    /// let things = database.create_collection("things", Schema::new(CodeBits::new(8)?).external_codes())?;
    /// for (image, text) in [(0x00, 0x01), (0xff, 0x7f), (0x0f, 0xf0)] {
    ///     things.put(Record::auto().code(Modality::Image, [image]).code(Modality::Text, [text]))?;
    /// }
    /// let recall = things.snapshot()?.recall(None, &[1])?;
    /// assert_eq!(recall.text_to_image, [(1, 2.0 / 3.0)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recall(&self, filter: Option<&Filter>, ks: &[usize]) -> Result<Recall> {
        Recall::measure(Judged::stored(self)?, filter, ks)
    }

    /// [`recall`](Self::recall) under a model that need not be installed: what is kept of the records
    /// is encoded by it, and nothing that is stored changes.
    ///
    /// # Errors
    /// As [`recall`](Self::recall) and [`evaluate_with`](Self::evaluate_with).
    pub fn recall_with(&self, model: &Model, filter: Option<&Filter>, ks: &[usize]) -> Result<Recall> {
        Recall::measure(Judged::under(self, model)?, filter, ks)
    }

    /// Ids of the pairs that [`Trainer::fit`](crate::Trainer::fit) trains on, in its order: the
    /// records with an image and at least one text, by their write. Labels for validation follow
    /// this order.
    ///
    /// # Errors
    /// When the collection keeps no inputs.
    pub fn pair_ids(&self) -> Result<Vec<RecordId>> {
        crate::train::pair_ids(self)
    }

    pub(crate) fn collection(&self) -> &Collection {
        &self.collection
    }

    pub(crate) fn view(&self) -> &CollectionView {
        &self.view
    }

    pub(crate) fn name(&self) -> &str {
        &self.view.info().name
    }

    pub(crate) fn parts(&self) -> &[Arc<Part>] {
        &self.parts
    }

    pub(crate) fn database(&self) -> &Database {
        self.collection.database()
    }

    pub(crate) fn shared_schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    pub(crate) fn encoder(&self) -> Result<Encoder> {
        let database = self.collection.database();
        Encoder::new(database, Arc::clone(&self.schema), &self.view)
    }

    /// Refuses a collection without codes.
    pub(crate) fn require_codes(&self) -> Result<()> {
        if self.model_id().is_none() && !self.schema.has_external_codes() {
            return Err(Error::Untrained { collection: self.name().to_owned() });
        }
        Ok(())
    }

    /// The rows that a filter selects, one mask a part.
    pub(crate) fn masks(&self, filter: &Filter) -> Result<Vec<RowMask>> {
        Ok(self.view.select(&filter.resolve(&self.schema)?)?)
    }

    pub(crate) fn ordinal(&self, id: &RecordId) -> Result<u64> {
        self.view
            .find(id)?
            .ok_or_else(|| Error::NoRecord { id: id.clone(), collection: self.name().to_owned() })
    }

    pub(crate) fn entry(&self, ordinal: u64) -> Result<Option<Entry>> {
        Ok(self.view.get(ordinal)?.map(|record| Entry::new(record, &self.schema)))
    }
}
