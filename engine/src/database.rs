//! A database: a folder, its collections, and the threads that work on them.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use twinbit_storage::{CollectionConfig, CollectionId, CollectionInfo, CollectionView, Store, StoreOptions};

use crate::accelerator::Accelerator;
use crate::collection::Collection;
use crate::database_snapshot::DatabaseSnapshot;
use crate::encoder_folder::EncoderFolders;
use crate::featurizers::described;
use crate::indexer::MultiIndexer;
use crate::options::Builder;
use crate::{
    Copied, DeviceStatus, Error, Modality, Model, ModelId, RepairReport, Result, Schema, VerifyReport,
};

/// An open database. Clones share it; dropping the last one closes it.
///
/// One process writes (a second one gets [`Error::Locked`]), any number read with
/// [`open_read_only`](Self::open_read_only).
///
/// ```
/// use twinbit::{CodeBits, Database, Schema};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("photos.db");
/// let database = Database::builder().threads(2).open(&path)?;
/// database.create_collection("photos", Schema::new(CodeBits::B64).image_features(512).text_features(512))?;
/// assert_eq!(database.collections(), ["photos"]);
/// assert!(Database::open(&path).is_err(), "one writer at a time");
/// let reader = Database::open_read_only(&path)?;
/// assert!(reader.collection("photos")?.snapshot()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

/// A schema beside the definition that it was parsed from.
type ParsedSchema = (CollectionConfig, Arc<Schema>);

struct Inner {
    path: PathBuf,
    store: Store,
    /// Scans, encoding and training share these threads.
    pool: Arc<rayon::ThreadPool>,
    accelerator: Accelerator,
    /// Parsed schemas by collection, each beside the definition that it was parsed from.
    schemas: Mutex<BTreeMap<u32, ParsedSchema>>,
    /// The models in use, read and checked once.
    models: Mutex<BTreeMap<ModelId, Model>>,
    encoders: EncoderFolders,
    /// Where the encoders of images and of texts are, whatever the collections say.
    encoder_folders: [Option<PathBuf>; 2],
}

/// A panic elsewhere leaves these caches whole, because each is changed by one insertion.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the database in this folder for reading and writing; creates it when there is none.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process writes to it, [`Error::Corrupt`] when it is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open(path)
    }

    /// Opens the database in this folder for reading, beside a process that writes to it. What that
    /// process commits is seen after [`refresh`](Self::refresh).
    ///
    /// # Errors
    /// When there is no database in the folder, or it is damaged.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open_read_only(path)
    }

    /// Options: threads, durability, device, cache.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn with(options: Builder, path: &Path, read_only: bool) -> Result<Self> {
        let accelerator = Accelerator::new(&options)?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .thread_name(|number| format!("twinbit-{number}"))
            .build()
            .map_err(|source| Error::Threads { source: Box::new(source) })?;
        let pool = Arc::new(pool);
        let mut store_options = StoreOptions {
            read_mode: options.read_mode,
            compaction: options.compaction,
            indexing: options.indexing,
            indexer: Some(Arc::new(MultiIndexer::new(Arc::clone(&pool)))),
            ..StoreOptions::default()
        };
        if let Some(durability) = options.durability {
            store_options.durability = durability;
        }
        if let Some(bytes) = options.cache_bytes {
            store_options.cache_bytes = bytes;
        }
        let store = match read_only {
            true => Store::open_read_only(path, store_options)?,
            false => Store::open(path, store_options)?,
        };
        let inner = Inner {
            path: path.to_path_buf(),
            store,
            pool,
            accelerator,
            schemas: Mutex::default(),
            models: Mutex::default(),
            encoders: EncoderFolders::default(),
            encoder_folders: options.encoder_folders,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The folder of the database.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Creates a collection.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Name`], [`Error::Schema`] and [`Error::FieldName`] for what cannot
    /// be created; [`Error::MissingFeature`] for an encoder that this build lacks, [`Error::Encoder`] for one
    /// that is not in its folder.
    pub fn create_collection(&self, name: &str, schema: Schema) -> Result<Collection> {
        let config = new_config(name, schema)?;
        let id = self.store().create_collection(name, config)?;
        Ok(Collection::new(self.clone(), id, name))
    }

    /// Whether a collection of this name and schema could be created in a database without any, so
    /// that one need not be made in vain.
    ///
    /// # Errors
    /// As [`create_collection`](Self::create_collection), but for [`Error::Exists`].
    pub fn check_collection(name: &str, schema: &Schema) -> Result<()> {
        new_config(name, schema.clone()).map(drop)
    }

    /// The collection of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn collection(&self, name: &str) -> Result<Collection> {
        let info = self.info(name)?;
        Ok(Collection::new(self.clone(), info.id, name))
    }

    /// The one collection there is.
    ///
    /// # Errors
    /// [`Error::WhichCollection`] when there is none, or several: it names them.
    pub fn only_collection(&self) -> Result<Collection> {
        let names = self.collections();
        match names.as_slice() {
            [name] => self.collection(name),
            _ => Err(Error::WhichCollection { names }),
        }
    }

    /// The names of all collections, in alphabetical order.
    pub fn collections(&self) -> Vec<String> {
        let mut names: Vec<String> = self.store().collections().into_iter().map(|info| info.name).collect();
        names.sort_unstable();
        names
    }

    /// Removes a collection and everything in it. Snapshots of it stay readable.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    ///
    /// # Blocking
    /// Waits until an open [`Writer`](crate::Writer) of the collection is over: forever, when the
    /// calling thread is the one that holds it.
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        Ok(self.store().drop_collection(name)?)
    }

    /// Gives a collection another name. Handles of it go on working.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Exists`], [`Error::Name`].
    ///
    /// # Blocking
    /// As [`drop_collection`](Self::drop_collection).
    pub fn rename_collection(&self, name: &str, new_name: &str) -> Result<()> {
        Ok(self.store().rename_collection(name, new_name)?)
    }

    /// All collections as they are now, at one version. Cheap to take.
    pub fn snapshot(&self) -> DatabaseSnapshot {
        DatabaseSnapshot::new(self.clone())
    }

    /// Makes a copy of the database as it is now, while reading and writing go on.
    ///
    /// The copy is a database of its own, complete or not there. On the same file system it shares
    /// the immutable files by hard links and takes little time and room; elsewhere it takes the
    /// time of copying. To go back to it, open it, or [`restore`](Self::restore) it.
    ///
    /// # Errors
    /// When there is something at `target`, or the handle is read-only.
    ///
    /// ```
    /// use twinbit::Database;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let (path, backup, again) = ["photos", "backup", "again"].map(|name| folder.path().join(name)).into();
    /// let database = Database::open(&path)?;
    /// let copied = database.checkpoint(&backup)?;
    /// assert!(copied.files > 0);
    /// assert!(Database::open_read_only(&backup)?.collections().is_empty());
    /// Database::restore(&backup, &again)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checkpoint(&self, target: impl AsRef<Path>) -> Result<Copied> {
        Ok(self.store().checkpoint(target)?)
    }

    /// Makes a database at `target` from a checkpoint, or from any database that nobody writes to,
    /// after verifying all of it. The source stays as it is.
    ///
    /// # Errors
    /// When there is something at `target`; [`Error::Corrupt`] when the source is damaged,
    /// [`Error::Locked`] when it is in use.
    pub fn restore(source: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<Copied> {
        Ok(Store::restore(source, target)?)
    }

    /// Reads everything on disk and compares it with its checksums.
    ///
    /// # Errors
    /// Only when something cannot be read; damage is listed in the report.
    pub fn verify(&self) -> Result<VerifyReport> {
        Ok(self.store().verify()?)
    }

    /// Makes anew what follows from other data (indexes of fields and of codes, statistics) and removes files that
    /// belong to nothing. Records are never touched: what [`verify`](Self::verify) still reports
    /// afterwards only a backup brings back.
    ///
    /// # Errors
    /// [`Error::ReadOnly`]; when the commits fail.
    ///
    /// # Blocking
    /// Waits until open writers are over.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// let database = twinbit::Database::open(folder.path())?;
    /// let report = database.verify()?;
    /// for problem in &report.problems {
    ///     println!("{}, byte {}: {}", problem.path.display(), problem.offset, problem.what);
    /// }
    /// if report.problems.iter().any(|problem| problem.repairable) {
    ///     database.repair()?;
    /// }
    /// # assert!(report.problems.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn repair(&self) -> Result<RepairReport> {
        Ok(self.store().repair()?)
    }

    /// Makes a database opened read-only see what the writing process has committed meanwhile; does
    /// nothing in the writing process.
    ///
    /// # Errors
    /// When the files cannot be opened.
    pub fn refresh(&self) -> Result<()> {
        Ok(self.store().refresh()?)
    }

    /// What is on the CUDA device in use, or why there is none. Opens none.
    pub fn device_status(&self) -> DeviceStatus {
        self.inner.accelerator.status()
    }

    pub(crate) fn accelerator(&self) -> &Accelerator {
        &self.inner.accelerator
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Runs work on the threads of this database.
    pub(crate) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.inner.pool.install(work)
    }

    /// The encoders read so far.
    pub(crate) fn encoder_folders(&self) -> &EncoderFolders {
        &self.inner.encoders
    }

    /// Where to read the encoder of a modality.
    pub(crate) fn encoder_folder<'a>(&'a self, schema: &'a Schema, modality: Modality) -> &'a Path {
        let [image, text] = &self.inner.encoder_folders;
        let given = match modality {
            Modality::Image => image,
            Modality::Text => text,
        };
        given.as_deref().or_else(|| schema.folder(modality)).unwrap_or(Path::new(""))
    }

    fn info(&self, name: &str) -> Result<CollectionInfo> {
        self.store()
            .collections()
            .into_iter()
            .find(|info| info.name == name)
            .ok_or_else(|| Error::NotFound { name: name.to_owned() })
    }

    /// The schema of a collection, parsed once.
    pub(crate) fn schema(&self, id: CollectionId, info: &CollectionInfo) -> Result<Arc<Schema>> {
        let mut schemas = lock(&self.inner.schemas);
        // Fields are added, and gain and lose indexes; encoders are moved.
        if let Some((config, schema)) = schemas.get(&id.0)
            && *config == info.config
        {
            return Ok(Arc::clone(schema));
        }
        let schema = Arc::new(Schema::from_config(&info.config)?);
        schemas.insert(id.0, (info.config.clone(), Arc::clone(&schema)));
        Ok(schema)
    }

    /// The model of this version of a collection, read and checked once.
    pub(crate) fn model(&self, view: &CollectionView) -> Result<Option<Model>> {
        let Some(id) = view.info().model.map(|id| ModelId::from_bytes(id.0)) else {
            return Ok(None);
        };
        if let Some(model) = lock(&self.inner.models).get(&id) {
            return Ok(Some(model.clone()));
        }
        let Some(bytes) = view.model_bytes()? else {
            return Ok(None);
        };
        let path = || self.path().join("models").join(format!("{id}.safetensors"));
        let model = Model::from_bytes(&bytes).map_err(|error| Error::Corrupt {
            path: path(),
            offset: 0,
            what: error.to_string(),
        })?;
        if model.id() != id {
            let what = format!("its content belongs to model {}", model.id());
            return Err(Error::Corrupt { path: path(), offset: 0, what });
        }
        self.remember_model(&model);
        Ok(Some(model))
    }

    /// Keeps a model in memory, and forgets those that no collection has any more; where a snapshot
    /// still needs one of them it is read again.
    pub(crate) fn remember_model(&self, model: &Model) {
        let collections = self.store().collections();
        let used: HashSet<ModelId> =
            collections.iter().filter_map(|info| info.model).map(|id| ModelId::from_bytes(id.0)).collect();
        let mut models = lock(&self.inner.models);
        models.retain(|id, _| used.contains(id));
        models.insert(model.id(), model.clone());
    }
}

/// What storage keeps of a new collection, once its name and schema are found to be right.
fn new_config(name: &str, schema: Schema) -> Result<CollectionConfig> {
    if name.is_empty() || name.len() > 255 || name.chars().any(|c| c.is_control() || c == '/') {
        return Err(Error::Name { name: name.to_owned() });
    }
    described(schema)?.to_config()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CodeBits, IdKind, Input, Modality, Record, TrainConfig};

    #[test]
    fn a_replaced_model_is_forgotten_but_its_snapshots_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::builder().threads(1).open(folder.path()).unwrap();
        let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).image_features(2).text_features(2);
        let things = database.create_collection("things", schema).unwrap();
        let mut writer = things.writer().unwrap();
        let features = |id: u64| Input::features([(id % 3) as f32, (id % 5) as f32]);
        writer.extend((0..64).map(|id| Record::new(id).image(features(id)).text(features(id)))).unwrap();
        writer.commit().unwrap();
        let config = TrainConfig { hidden: 4, batch: 16, negatives: 16, epochs: 1, ..TrainConfig::default() };
        let mut snapshots = Vec::new();
        for seed in 1..=3 {
            let trainer = things.trainer().config(config.clone()).seed(seed);
            let model = trainer.fit(&things.snapshot().unwrap()).unwrap().model;
            things.install(&model).unwrap();
            let kept: Vec<ModelId> = lock(&database.inner.models).keys().copied().collect();
            assert_eq!(kept, [model.id()]);
            snapshots.push(things.snapshot().unwrap());
        }
        for snapshot in &snapshots {
            let found = snapshot.query(Modality::Text, features(1)).limit(3).run().unwrap();
            assert_eq!(found.len(), 3);
        }
    }
}
