//! A database: a folder, its collections, and the threads that work on them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use twinbit_hashing::ImageEncoder;
use twinbit_storage::{CollectionId, CollectionInfo, Store, StoreOptions};

use crate::collection::Collection;
use crate::options::Builder;
use crate::{Error, ImageEncoding, ImageKind, Model, ModelId, Result, Schema, VerifyReport};

/// An open database. Clones share it; dropping the last one closes it.
///
/// One process writes (a second one gets [`Error::Locked`]), any number read with
/// [`open_read_only`](Self::open_read_only).
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    store: Store,
    /// Scans, encoding and training share these threads.
    pool: rayon::ThreadPool,
    /// Parsed schemas by collection; a collection's schema changes only by adding fields.
    schemas: Mutex<BTreeMap<u32, Arc<Schema>>>,
    /// The models in use, read and checked once.
    models: Mutex<BTreeMap<ModelId, Model>>,
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
        options.device.check()?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .thread_name(|number| format!("twinbit-{number}"))
            .build()
            .map_err(|source| Error::Threads { source: Box::new(source) })?;
        let store = if read_only {
            Store::open_read_only(path)?
        } else {
            let mut store_options = StoreOptions::default();
            if let Some(durability) = options.durability {
                store_options.durability = durability;
            }
            if let Some(bytes) = options.cache_bytes {
                store_options.cache_bytes = bytes;
            }
            Store::open(path, store_options)?
        };
        let inner = Inner {
            path: path.to_path_buf(),
            store,
            pool,
            schemas: Mutex::default(),
            models: Mutex::default(),
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
    /// be created; [`Error::MissingFeature`] for an encoder that this build lacks.
    pub fn create_collection(&self, name: &str, schema: Schema) -> Result<Collection> {
        if name.is_empty() || name.len() > 255 || name.chars().any(|c| c.is_control() || c == '/') {
            return Err(Error::Name { name: name.to_owned() });
        }
        let schema = match schema.image_kind() {
            ImageKind::Pictures(encoding) => schema.with_image_featurizer(image_encoder(encoding)?.id()),
            _ => schema,
        };
        let id = self.store().create_collection(name, schema.to_config()?)?;
        Ok(Collection::new(self.clone(), id, name))
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
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        Ok(self.store().drop_collection(name)?)
    }

    /// Gives a collection another name. Handles of it go on working.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Exists`], [`Error::Name`].
    pub fn rename_collection(&self, name: &str, new_name: &str) -> Result<()> {
        Ok(self.store().rename_collection(name, new_name)?)
    }

    /// Reads everything on disk and compares it with its checksums.
    ///
    /// # Errors
    /// Only when something cannot be read; damage is listed in the report.
    pub fn verify(&self) -> Result<VerifyReport> {
        Ok(self.store().verify()?)
    }

    /// Makes a database opened read-only see what the writing process has committed meanwhile; does
    /// nothing in the writing process.
    ///
    /// # Errors
    /// When the files cannot be opened.
    pub fn refresh(&self) -> Result<()> {
        Ok(self.store().refresh()?)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Runs work on the threads of this database.
    pub(crate) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.inner.pool.install(work)
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
        if let Some(schema) = schemas.get(&id.0)
            && schema.fields().len() == info.config.fields.len()
        {
            return Ok(Arc::clone(schema));
        }
        let schema = Arc::new(Schema::from_config(&info.config)?);
        schemas.insert(id.0, Arc::clone(&schema));
        Ok(schema)
    }

    /// The model of this id, read and checked once.
    pub(crate) fn model(&self, id: ModelId) -> Result<Model> {
        if let Some(model) = lock(&self.inner.models).get(&id) {
            return Ok(model.clone());
        }
        let bytes = self.store().model_bytes(twinbit_storage::ModelId(*id.as_bytes()))?;
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
        Ok(model)
    }

    pub(crate) fn remember_model(&self, model: &Model) {
        lock(&self.inner.models).insert(model.id(), model.clone());
    }
}

/// The encoder of this name; its weights are unpacked once.
pub(crate) fn image_encoder(encoding: ImageEncoding) -> Result<ImageEncoder> {
    match encoding {
        ImageEncoding::EfficientNetLite0 => efficientnet_lite0(),
    }
}

#[cfg(feature = "efficientnet-lite0")]
fn efficientnet_lite0() -> Result<ImageEncoder> {
    Ok(ImageEncoder::efficientnet_lite0()?)
}

#[cfg(not(feature = "efficientnet-lite0"))]
fn efficientnet_lite0() -> Result<ImageEncoder> {
    Err(Error::MissingFeature { feature: "efficientnet-lite0" })
}
