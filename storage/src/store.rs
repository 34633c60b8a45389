//! The open database: versions, commits, collections.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::beside_writer::{beside_the_writer, missing_is_damage};
use crate::catalog::{Batch, Catalog, Family};
use crate::compact::Worker;
use crate::durable::Files;
use crate::error::Error;
use crate::format::{CATALOG_MAGIC, FORMAT_VERSION};
use crate::gate::{Gate, Pass, lock};
use crate::group::Group;
use crate::id::{CollectionId, ModelId};
use crate::install_note;
use crate::keys;
use crate::layout::Layout;
use crate::lock::Lock;
use crate::meta::{Counters, Definition};
use crate::options::{Durability, StoreOptions};
use crate::schema::{CollectionConfig, CollectionInfo, FieldSpec, check_field_name, check_name};
use crate::state::{CollectionState, State, check_format};
use crate::sweep;
use crate::turn::Turns;
use crate::txn::Transaction;
use crate::versions;
use crate::view::View;

/// An open database. Clones share it; dropping the last clone, view and transaction closes it.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
    /// Ends with the last handle, before which it lets go of `inner`.
    _worker: Option<Arc<Worker>>,
}

pub(crate) struct Inner {
    pub(crate) layout: Layout,
    pub(crate) options: StoreOptions,
    read_only: bool,
    state: RwLock<Arc<State>>,
    /// Held while a batch is written and the next version put in place.
    pub(crate) commit: Mutex<()>,
    poison: Mutex<Option<String>>,
    next_segment: AtomicU32,
    gates: Mutex<HashMap<CollectionId, Arc<Gate>>>,
    groups: Mutex<HashMap<CollectionId, Arc<Group>>>,
    pub(crate) turns: Turns,
}

/// A commit's effect on collections: the new state, or `None` for a dropped one.
pub(crate) type Changes = Vec<(CollectionId, Option<CollectionState>)>;

impl Store {
    /// Opens the database in a folder for reading and writing, creating it when absent.
    ///
    /// Takes the lock and removes files that no commit names, left by an earlier process that ended
    /// in the middle of a write.
    pub fn open(path: impl AsRef<Path>, options: StoreOptions) -> Result<Store, Error> {
        let layout = layout(path.as_ref(), &options);
        layout.check_is_ours()?;
        layout.create_folders()?;
        let held = Lock::take(&layout.lock, &layout.root)?;
        layout.check_catalog_is_whole()?;
        versions::check(&layout)?;
        let catalog = Arc::new(Catalog::open(&layout.catalog, options.cache_bytes, held)?);
        if !check_format(&catalog.pin())? {
            let mut batch = catalog.batch()?;
            let mut format = CATALOG_MAGIC.to_vec();
            format.extend(FORMAT_VERSION.to_le_bytes());
            batch.put(Family::Meta, keys::format(), format);
            batch.put(Family::Meta, keys::counters(), Counters::default().encode());
            // The catalog's folder is new too, and a first commit must not be lost with its name.
            layout.files.sync_folder(&layout.root)?;
            catalog.write(batch, 0, true)?;
        }
        let state =
            State::load(&layout, catalog.pin(), None).map_err(|error| missing_is_damage(&layout, error))?;
        // What RocksDB finds in its logs it writes into tables while it opens.
        catalog.is_synced(state.counters.version);
        sweep::remove_unnamed(&layout, &state)?;
        let mut store = Store::new(layout, options, state, false);
        if store.inner.options.compaction.background {
            store._worker = Some(Arc::new(Worker::start(&store.inner)?));
        }
        Ok(store)
    }

    /// Opens the database as it is now, for reading, beside a process that may write to it.
    ///
    /// Neither locks nor removes anything; [`refresh`](Self::refresh) moves on to later commits.
    pub fn open_read_only(path: impl AsRef<Path>, options: StoreOptions) -> Result<Store, Error> {
        let layout = layout(path.as_ref(), &options);
        layout.check_is_ours()?;
        if !layout.catalog.is_dir() {
            return Err(Error::NotADatabase { path: layout.root, what: "it has no catalog".to_owned() });
        }
        let state = load_read_only(&layout, &options, None)?;
        Ok(Store::new(layout, options, state, true))
    }

    fn new(layout: Layout, options: StoreOptions, state: State, read_only: bool) -> Store {
        Store {
            inner: Arc::new(Inner {
                layout,
                options,
                read_only,
                next_segment: AtomicU32::new(state.counters.next_segment),
                state: RwLock::new(Arc::new(state)),
                commit: Mutex::new(()),
                poison: Mutex::new(None),
                gates: Mutex::default(),
                groups: Mutex::default(),
                turns: Turns::default(),
            }),
            _worker: None,
        }
    }

    /// Moves a handle opened read-only on to the latest commit; does nothing on a writable one.
    pub fn refresh(&self) -> Result<(), Error> {
        if !self.inner.read_only {
            return Ok(());
        }
        // One at a time: the slower of two must not go back to an older version.
        let _one_at_a_time = lock(&self.inner.commit);
        let state = load_read_only(&self.inner.layout, &self.inner.options, Some(&self.inner.state()))?;
        self.inner.replace(state);
        Ok(())
    }

    /// The database's folder.
    pub fn path(&self) -> &Path {
        &self.inner.layout.root
    }

    /// Whether the handle was opened read-only.
    pub fn is_read_only(&self) -> bool {
        self.inner.read_only
    }

    /// Pins the current version.
    pub fn view(&self) -> View {
        View { state: self.inner.state() }
    }

    /// The collections, by ascending number.
    pub fn collections(&self) -> Vec<CollectionInfo> {
        self.view().collections()
    }

    /// Creates a collection.
    pub fn create_collection(&self, name: &str, config: CollectionConfig) -> Result<CollectionId, Error> {
        check_name(name)?;
        config.validate()?;
        let mut id = CollectionId(0);
        self.inner.commit(true, |state, batch, counters| {
            check_free(state, name)?;
            id = CollectionId(counters.next_collection);
            counters.next_collection = counters.next_collection.checked_add(1).ok_or(Error::Limit {
                what: "the number of collections ever created",
                limit: u64::from(u32::MAX),
            })?;
            let collection = CollectionState::empty(CollectionInfo {
                id,
                name: name.to_owned(),
                config: config.clone(),
                model: None,
            });
            put_definition(batch, &collection.info);
            batch.put(Family::Meta, keys::state(id), collection.counters().encode());
            Ok(vec![(id, Some(collection))])
        })?;
        Ok(id)
    }

    /// Removes a collection with everything in it. Views pinned before still see it.
    pub fn drop_collection(&self, name: &str) -> Result<(), Error> {
        let (id, _pass) = self.inner.pass_by_name(name)?;
        let (mut files, mut encoded) = (None, Vec::new());
        self.inner.commit(true, |state, batch, _| {
            let collection = state.collection(id)?;
            for family in Family::OF_COLLECTIONS {
                batch.delete_prefix(family, &keys::collection(id));
            }
            install_note::forget(batch, id);
            encoded = install_note::files(&self.inner.layout, &state.pin, collection)?;
            for prefix in [keys::segments(id), keys::sources(id), keys::all_statistics(id)] {
                batch.delete_prefix(Family::Meta, &prefix);
            }
            batch.delete(Family::Meta, keys::definition(id));
            batch.delete(Family::Meta, keys::state(id));
            forget_model(batch, state, id, collection.info.model);
            files = Some(collection.clone());
            Ok(vec![(id, None)])
        })?;
        if let Some(collection) = files {
            collection.segments().for_each(|segment| segment.retire());
            self.inner.retire_model(&collection);
        }
        install_note::remove_files(&self.inner.layout, &encoded);
        Ok(())
    }

    /// Renames a collection.
    pub fn rename_collection(&self, name: &str, new_name: &str) -> Result<(), Error> {
        check_name(new_name)?;
        let (id, _pass) = self.inner.pass_by_name(name)?;
        self.inner.commit(true, |state, batch, _| {
            check_free(state, new_name)?;
            let mut collection = state.collection(id)?.as_ref().clone();
            let mut info = collection.info.as_ref().clone();
            info.name = new_name.to_owned();
            put_definition(batch, &info);
            collection.info = Arc::new(info);
            Ok(vec![(id, Some(collection))])
        })?;
        Ok(())
    }

    /// Declares a further field, which all present records lack.
    pub fn add_field(&self, id: CollectionId, field: FieldSpec) -> Result<(), Error> {
        check_field_name(&field.name)?;
        let _pass = self.inner.gate(id).short();
        self.inner.commit(true, |state, batch, _| {
            let mut collection = state.collection(id)?.as_ref().clone();
            let mut info = collection.info.as_ref().clone();
            info.config.fields.push(field.clone());
            info.config.validate()?;
            put_definition(batch, &info);
            collection.info = Arc::new(info);
            Ok(vec![(id, Some(collection))])
        })?;
        Ok(())
    }

    /// Replaces what the application keeps of a collection's definition.
    pub fn set_application(&self, id: CollectionId, application: serde_json::Value) -> Result<(), Error> {
        let _pass = self.inner.gate(id).short();
        self.inner.commit(true, |state, batch, _| {
            let mut collection = state.collection(id)?.as_ref().clone();
            let mut info = collection.info.as_ref().clone();
            info.config.application = application.clone();
            put_definition(batch, &info);
            collection.info = Arc::new(info);
            Ok(vec![(id, Some(collection))])
        })?;
        Ok(())
    }

    /// Begins the exclusive transaction of a collection; [`Error::WriterBusy`] when one is open.
    pub fn writer(&self, id: CollectionId) -> Result<Transaction, Error> {
        self.inner.check_writable()?;
        let state = self.inner.state();
        let collection = state.collection(id)?;
        let pass = self
            .inner
            .gate(id)
            .exclusive()
            .ok_or_else(|| Error::WriterBusy { collection: collection.info.name.clone() })?;
        Transaction::begin(self.inner.clone(), id, pass)
    }

    /// Begins a short transaction, waiting for an open one to end.
    pub fn wait_writer(&self, id: CollectionId) -> Result<Transaction, Error> {
        self.inner.check_writable()?;
        let state = self.inner.state();
        state.collection(id)?;
        let pass = self.inner.gate(id).short();
        Transaction::begin(self.inner.clone(), id, pass)
    }

    /// Runs `change` in a transaction that it may share with other threads' changes, and commits.
    ///
    /// Threads that call this at the same time wait for one sync together. When `change` fails, what
    /// it did is undone and the others' changes are committed.
    pub fn write_grouped<T>(
        &self,
        id: CollectionId,
        change: impl FnOnce(&mut Transaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let group = lock(&self.inner.groups).entry(id).or_default().clone();
        group.run(|| self.wait_writer(id), change)
    }

    /// The position that the last commit of a source's records left.
    pub fn source_position(&self, id: CollectionId, source: &str) -> Result<Option<String>, Error> {
        let state = self.inner.state();
        state.collection(id)?;
        let key = keys::source(id, source);
        match state.pin.get(Family::Meta, &key)? {
            None => Ok(None),
            Some(value) => String::from_utf8(value)
                .map(Some)
                .map_err(|_| state.pin.corrupt(Family::Meta, &key, "the position is not text")),
        }
    }
}

impl Inner {
    pub(crate) fn state(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, state: State) {
        let old = std::mem::replace(
            &mut *self.state.write().unwrap_or_else(PoisonError::into_inner),
            Arc::new(state),
        );
        // The old version may hold the last use of many files; let go of them outside the lock.
        drop(old);
    }

    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        match lock(&self.poison).as_ref() {
            Some(reason) => Err(Error::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    pub(crate) fn gate(&self, id: CollectionId) -> Arc<Gate> {
        lock(&self.gates).entry(id).or_default().clone()
    }

    /// Waits for the right to change a collection, which may be renamed or dropped meanwhile.
    fn pass_by_name(&self, name: &str) -> Result<(CollectionId, Pass), Error> {
        self.check_writable()?;
        let find = || -> Result<CollectionId, Error> {
            let state = self.state();
            let collection = state.by_name(name);
            collection.map(|collection| collection.info.id).ok_or_else(|| Error::collection_not_found(name))
        };
        let id = find()?;
        let pass = self.gate(id).short();
        match find()? == id {
            true => Ok((id, pass)),
            false => Err(Error::collection_not_found(name)),
        }
    }

    /// A segment number that no other segment has or had since the last open.
    pub(crate) fn segment_number(&self) -> Result<u32, Error> {
        self.next_segment
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |number| number.checked_add(1))
            .map_err(|_| Error::Limit {
                what: "the number of segments ever written",
                limit: u64::from(u32::MAX),
            })
    }

    /// Refuses further writes until the store is reopened.
    pub(crate) fn poison(&self, reason: &str) {
        *lock(&self.poison) = Some(reason.to_owned());
    }

    pub(crate) fn durable(&self) -> bool {
        self.options.durability == Durability::Immediate
    }

    /// The one way to change the database: `build` fills a batch and says what becomes of the
    /// collections; the batch is written, and the next version put in place. Returns its number.
    ///
    /// When `build` fails nothing has happened. When writing fails it is unknown what reached the
    /// disk, so the store refuses further writes until it is reopened.
    pub(crate) fn commit(
        &self,
        sync: bool,
        build: impl FnOnce(&State, &mut Batch<'_>, &mut Counters) -> Result<Changes, Error>,
    ) -> Result<u64, Error> {
        let _one_at_a_time = lock(&self.commit);
        self.check_writable()?;
        let state = self.state();
        let catalog = state.pin.catalog();
        let mut batch = catalog.batch()?;
        let mut counters = state.counters;
        let changes = build(&state, &mut batch, &mut counters)?;
        counters.version += 1;
        counters.next_segment = self.next_segment.load(Ordering::Relaxed);
        batch.put(Family::Meta, keys::counters(), counters.encode());
        if let Err(error) = catalog.write(batch, counters.version, sync) {
            self.poison(&error.to_string());
            return Err(error);
        }
        self.replace(state.next(counters, catalog.pin(), changes));
        self.turns.wake_worker();
        Ok(counters.version)
    }

    /// Removes the file of a collection's former model when no other collection uses it.
    pub(crate) fn retire_model(&self, former: &CollectionState) {
        // No install may begin to use the model between asking and retiring.
        let _one_at_a_time = lock(&self.commit);
        let used = self.state().collections().any(|collection| collection.info.model == former.info.model);
        if let (false, Some(file)) = (used, &former.model_file) {
            file.retire();
        }
    }
}

fn layout(root: &Path, options: &StoreOptions) -> Layout {
    Layout::new(root, Files::new(options.file_system.clone(), options.read_mode))
        .with_indexer(options.indexer.clone())
}

fn load_read_only(layout: &Layout, options: &StoreOptions, earlier: Option<&State>) -> Result<State, Error> {
    let state = beside_the_writer(layout, || {
        let pin = Arc::new(Catalog::open_read_only(&layout.catalog, options.cache_bytes)?).pin();
        let is_ours = check_format(&pin)?;
        is_ours.then(|| State::load(layout, pin, earlier)).transpose()
    })?;
    state.ok_or_else(|| Error::NotADatabase {
        path: layout.root.clone(),
        what: "its catalog is empty".to_owned(),
    })
}

fn check_free(state: &State, name: &str) -> Result<(), Error> {
    match state.by_name(name) {
        Some(_) => Err(Error::Exists { what: "collection", name: name.to_owned() }),
        None => Ok(()),
    }
}

pub(crate) fn put_definition(batch: &mut Batch<'_>, info: &CollectionInfo) {
    let definition = Definition { name: info.name.clone(), config: info.config.clone() };
    batch.put(Family::Meta, keys::definition(info.id), definition.encode());
}

/// Removes a model's entry when no collection but `id` uses it.
pub(crate) fn forget_model(batch: &mut Batch<'_>, state: &State, id: CollectionId, model: Option<ModelId>) {
    let Some(model) = model else { return };
    let used = state.collections().any(|other| other.info.id != id && other.info.model == Some(model));
    if !used {
        batch.delete(Family::Meta, keys::model(model));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_numbers_end_and_do_not_begin_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
        store.inner.next_segment.store(u32::MAX - 1, Ordering::Relaxed);
        assert_eq!(store.inner.segment_number().unwrap(), u32::MAX - 1);
        for _ in 0..3 {
            assert!(matches!(store.inner.segment_number(), Err(Error::Limit { .. })));
        }
    }
}
