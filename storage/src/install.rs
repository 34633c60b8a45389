//! Installing a model: codes for every row, then one atomic switch.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use twinbit_kernels::{CodesBuf, Modality};

use crate::catalog::Family;
use crate::error::{BoxedError, Error};
use crate::flush;
use crate::id::{CollectionId, ModelId};
use crate::install_note;
use crate::keys;
use crate::meta::ModelEntry;
use crate::model_file::ModelFile;
use crate::part::{Part, PartData, Source};
use crate::segment::Segment;
use crate::state::segment_entry;
use crate::store::{Inner, Store, forget_model};
use crate::view::CollectionView;

/// Passes over segments before writers are asked to wait. Each pass meets only segments added
/// during the one before.
const PASSES: usize = 3;

/// Makes the codes of all rows of a part, both modalities, zero where a row lacks one.
type Encode<'f> = dyn FnMut(&Part) -> Result<[CodesBuf; 2], BoxedError> + 'f;
/// Told rows done and rows in all; may ask to stop.
type Progress<'f> = dyn FnMut(u64, u64) -> ControlFlow<()> + 'f;

impl Store {
    /// Installs a model: writes its file, encodes every row, and switches in one commit. Collections
    /// with the same model share its file.
    ///
    /// `encode` gets each part and returns the codes of all its rows, image first, with zero codes
    /// where a row lacks the modality. Reading and writing go on under the old model meanwhile;
    /// writers wait only for the rows added last. After an error, after `progress` breaks, or after
    /// a crash the old model is still in place.
    ///
    /// After a crash the next install of the same model goes on with the segments that were encoded;
    /// that of another model discards them.
    ///
    /// # Errors
    /// [`Error::InstallBusy`]; [`Error::ModelDiffers`] when another collection, a view, or another
    /// install uses a model of this id with other bytes; [`Error::NotEncodable`].
    pub fn install_model(
        &self,
        id: CollectionId,
        model: ModelId,
        bytes: &[u8],
        encode: &mut dyn FnMut(&Part) -> Result<[CodesBuf; 2], BoxedError>,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let store = &self.inner;
        store.check_writable()?;
        let name = store.state().collection(id)?.info.name.clone();
        let _turn = store.turns.install(id).ok_or(Error::InstallBusy { collection: name })?;
        // Only now: another install may have ended while this one waited for its turn.
        let state = store.state();
        let info = state.collection(id)?.info.clone();
        let refused = |what| Err(Error::NotEncodable { collection: info.name.clone(), what });
        if info.config.external_codes {
            return refused("its codes come from the application");
        }
        if model == ModelId::EXTERNAL {
            return Err(Error::Id("the all-zero model id stands for external codes"));
        }
        if let Some(file) = state.model_file(model) {
            if file.entry() != ModelEntry::of(bytes) {
                return Err(Error::ModelDiffers { model });
            }
            // Its damage is told here, rather than taken for other bytes.
            file.read()?;
        }
        if info.model == Some(model) {
            return store.discard_install(id);
        }
        drop(state);
        let result = run(store, id, model, bytes, encode, progress);
        if result.is_err()
            && let Err(error) = store.discard_install(id)
        {
            tracing::warn!(%error, "the notes of an install stay until the next one");
        }
        result
    }

    /// The bytes of a model that a collection uses.
    pub fn model_bytes(&self, model: ModelId) -> Result<Vec<u8>, Error> {
        let state = self.inner.state();
        let file = state.model_file(model);
        file.ok_or_else(|| Error::NotFound { what: "model", name: model.to_string() })?.read()
    }
}

impl CollectionView {
    /// The bytes of the model that the collection used at this version, `None` before there was one.
    pub fn model_bytes(&self) -> Result<Option<Vec<u8>>, Error> {
        self.collection.model_file.as_ref().map(|file| file.read()).transpose()
    }
}

fn run(
    store: &Inner,
    id: CollectionId,
    model: ModelId,
    bytes: &[u8],
    encode: &mut Encode<'_>,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    let mut job = Job { store, id, model, done: HashMap::new(), done_rows: 0 };
    for segment in store.begin_install(id, model, ModelEntry::of(bytes))? {
        job.add(segment);
    }
    let file = Arc::new(ModelFile::write(&store.layout, model, bytes)?);
    for _ in 0..PASSES {
        if job.encode_segments(encode, progress)? == 0 {
            break;
        }
    }
    let _pass = store.gate(id).short();
    flush::flush(store, id)?;
    job.encode_segments(encode, progress)?;
    job.switch(file)
}

/// An install in progress. New files go with it, unless the switch keeps them.
struct Job<'s> {
    store: &'s Inner,
    id: CollectionId,
    model: ModelId,
    done: HashMap<u32, Segment>,
    done_rows: u64,
}

impl Job<'_> {
    fn add(&mut self, segment: Segment) {
        self.done_rows += u64::from(segment.rows.rows());
        self.done.insert(segment.rows.number(), segment);
    }

    /// Encodes the segments that are not done yet; returns how many there were.
    fn encode_segments(
        &mut self,
        encode: &mut Encode<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<usize, Error> {
        let state = self.store.state();
        let collection = state.collection(self.id)?;
        let config = &collection.info.config;
        let all_rows = collection.parts.iter().map(|part| u64::from(part.rows())).sum();
        let mut encoded = 0;
        for part in state.parts(self.id).iter() {
            let Some(segment) = part.data.segment() else { continue };
            if self.done.contains_key(&segment.rows.number()) {
                continue;
            }
            if !config.keep_inputs {
                return Err(Error::NotEncodable {
                    collection: collection.info.name.clone(),
                    what: "its inputs were not kept",
                });
            }
            if progress(self.done_rows, all_rows).is_break() {
                return Err(Error::Canceled);
            }
            let codes = encode(part).map_err(|source| Error::Encoder { source })?;
            for (modality, codes) in Modality::ALL.into_iter().zip(&codes) {
                if codes.rows() != part.rows() as usize || codes.bits() != config.bits {
                    return Err(Error::EncodedShape {
                        modality,
                        expected: part.rows() as usize,
                        got: codes.rows(),
                        expected_bits: config.bits.bits(),
                        got_bits: codes.bits().bits(),
                    });
                }
            }
            let segment = segment.with_codes(&self.store.layout, self.model, &codes)?;
            self.store.note_encoded(self.id, &segment)?;
            self.add(segment);
            encoded += 1;
        }
        if progress(self.done_rows, all_rows.max(self.done_rows)).is_break() {
            return Err(Error::Canceled);
        }
        Ok(encoded)
    }

    /// Names the new files instead of the old ones. Synced even where commits are not: the old
    /// files are removed right after, and a catalog that still named them would be damaged.
    fn switch(self, file: Arc<ModelFile>) -> Result<(), Error> {
        let (id, model) = (self.id, self.model);
        let mut former = None;
        self.store.commit(true, |state, batch, _| {
            let collection = state.collection(id)?;
            let mut next = collection.as_ref().clone();
            let mut info = next.info.as_ref().clone();
            info.model = Some(model);
            next.info = Arc::new(info);
            next.model_file = Some(file.clone());
            for part in &mut next.parts {
                let number = part.segment().map(|segment| segment.rows.number());
                let Some(segment) = number.and_then(|number| self.done.get(&number)) else {
                    continue;
                };
                batch.put(
                    Family::Meta,
                    keys::segment(id, segment.rows.base()),
                    segment_entry(segment).encode(),
                );
                *part = Arc::new(PartData::new(Source::Segment(segment.clone()), &next.dead));
                segment.keep();
            }
            install_note::forget(batch, id);
            forget_model(batch, state, id, collection.info.model);
            batch.put(Family::Meta, keys::model(model), file.entry().encode());
            batch.put(Family::Meta, keys::state(id), next.counters().encode());
            file.keep();
            former = Some(collection.clone());
            Ok(vec![(id, Some(next))])
        })?;
        if let Some(former) = former {
            former.segments().for_each(Segment::retire_codes);
            self.store.retire_model(&former);
        }
        Ok(())
    }
}
