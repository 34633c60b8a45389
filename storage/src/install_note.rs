//! What an unfinished install has done, noted in the catalog so that the next attempt goes on.
//!
//! A note names a segment's codes file by number and length. Notes are hints: one whose segment or
//! file is gone says nothing, and a file is checked against its checksums before it is used.

use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::catalog::{Batch, Family, Pin};
use crate::error::Error;
use crate::id::{CollectionId, ModelId};
use crate::keys;
use crate::layout::Layout;
use crate::meta::{InstallEntry, ModelEntry};
use crate::segment::{CodesFile, Segment};
use crate::state::{CollectionState, open_codes};
use crate::store::Inner;

/// A codes file that an unfinished install has written.
pub(crate) struct EncodedFile {
    pub(crate) path: PathBuf,
    length: u64,
    pub(crate) segment: u32,
}

/// The install that is under way or was interrupted.
pub(crate) fn read(pin: &Pin, id: CollectionId) -> Result<Option<InstallEntry>, Error> {
    // An unreadable note is none: then all is encoded again.
    Ok(pin.get(Family::Meta, keys::install(id))?.and_then(|bytes| InstallEntry::decode(&bytes)))
}

/// The files that the notes of a collection name, for segments that are still there.
pub(crate) fn files(
    layout: &Layout,
    pin: &Pin,
    collection: &CollectionState,
) -> Result<Vec<EncodedFile>, Error> {
    let id = collection.info.id;
    let Some(InstallEntry { model, .. }) = read(pin, id)? else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    pin.scan_prefix(Family::Meta, &keys::all_installed(id), &mut |key, value| {
        if let (Some(segment), Ok(length)) = (keys::installed_segment(key), value.try_into()) {
            let length = u64::from_le_bytes(length);
            files.push(EncodedFile { path: layout.codes(segment, model), length, segment });
        }
        Ok(ControlFlow::Continue(()))
    })?;
    files.retain(|file| collection.segments().any(|segment| segment.rows.number() == file.segment));
    Ok(files)
}

/// Removes all notes of a collection.
pub(crate) fn forget(batch: &mut Batch<'_>, id: CollectionId) {
    batch.delete(Family::Meta, keys::install(id));
    batch.delete_prefix(Family::Meta, &keys::all_installed(id));
}

/// Removes files that no note names any more. What cannot be removed goes at the next open.
pub(crate) fn remove_files(layout: &Layout, files: &[EncodedFile]) {
    for file in files {
        if let Err(error) = layout.files.remove_left(&file.path) {
            tracing::warn!(%error, "left for the sweep at the next open");
        }
    }
}

impl Inner {
    /// Begins an install, or takes up an interrupted one of the same model: returns the segments that
    /// it has encoded already. What an install of another model left is discarded.
    pub(crate) fn begin_install(
        &self,
        id: CollectionId,
        model: ModelId,
        file: ModelEntry,
    ) -> Result<Vec<Segment>, Error> {
        let entry = InstallEntry { model, file };
        let state = self.state();
        let collection = state.collection(id)?;
        let found = files(&self.layout, &state.pin, collection)?;
        let same = read(&state.pin, id)? == Some(entry);
        let encoded = found.iter().filter_map(|file| self.encoded_segment(collection, model, file));
        let encoded: Vec<Segment> = if same { encoded.collect() } else { Vec::new() };
        self.commit(false, |state, batch, _| {
            state.collection(id)?;
            forget(batch, id);
            batch.put(Family::Meta, keys::install(id), entry.encode());
            for segment in &encoded {
                note(batch, id, segment);
            }
            Ok(Vec::new())
        })?;
        remove_files(&self.layout, &found);
        Ok(encoded)
    }

    /// The segment with the codes that a note names, if those are whole and fit.
    fn encoded_segment(
        &self,
        collection: &CollectionState,
        model: ModelId,
        file: &EncodedFile,
    ) -> Option<Segment> {
        let segment = collection.segments().find(|segment| segment.rows.number() == file.segment)?;
        // As with a file written now, the guard removes it unless the install ends well.
        let guard = self.layout.files.unnamed(file.path.clone());
        let opened = open_codes(guard, file.length, &segment.rows, model, &collection.info);
        let codes: CodesFile = opened.ok()?;
        let mut problems = Vec::new();
        codes.file().verify(&mut problems);
        problems.is_empty().then(|| Segment {
            rows: segment.rows.clone(),
            codes: Some(codes.into()),
            index: None,
        })
    }

    /// Notes that a segment's codes are on the disk.
    pub(crate) fn note_encoded(&self, id: CollectionId, segment: &Segment) -> Result<(), Error> {
        self.commit(false, |state, batch, _| {
            state.collection(id)?;
            note(batch, id, segment);
            Ok(Vec::new())
        })?;
        Ok(())
    }

    /// Removes the notes of an install that failed, was called off or is of no interest any more, and
    /// those of its files that no install in this process uses.
    pub(crate) fn discard_install(&self, id: CollectionId) -> Result<(), Error> {
        let state = self.state();
        if read(&state.pin, id)?.is_none() {
            return Ok(());
        }
        let found = files(&self.layout, &state.pin, state.collection(id)?)?;
        self.commit(false, |state, batch, _| {
            state.collection(id)?;
            forget(batch, id);
            Ok(Vec::new())
        })?;
        remove_files(&self.layout, &found);
        Ok(())
    }
}

fn note(batch: &mut Batch<'_>, id: CollectionId, segment: &Segment) {
    if let Some(codes) = &segment.codes {
        let length = codes.file().length().to_le_bytes();
        batch.put(Family::Meta, keys::installed(id, segment.rows.number()), length);
    }
}
