//! Search indexes of segments: which segments are to get one, making it, dropping a damaged one.
//!
//! An index is a file like any other: written beside the codes that it is made of, and named by a
//! commit of its own. A segment without one is scanned, so nobody waits for it.

use std::ops::ControlFlow;
use std::slice;
use std::sync::Arc;

use crate::catalog::Family;
use crate::compact::place_of;
use crate::error::Error;
use crate::id::CollectionId;
use crate::indexer::IndexBuild;
use crate::keys;
use crate::repair::RepairReport;
use crate::segment::{IndexFile, Segment, Step};
use crate::state::segment_entry;
use crate::store::{Inner, Store};

/// What making indexes by hand did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Indexed {
    /// Segments that have an index now and had none.
    pub segments: u64,
    /// Their rows.
    pub rows: u64,
    /// Bytes of the new files.
    pub bytes: u64,
}

impl Store {
    /// Makes the search indexes that segments of a collection lack, as [`Indexing`](crate::Indexing)
    /// says.
    ///
    /// Reading and writing go on meanwhile. `progress` is told rows done and in all, also while one
    /// segment takes its time, and may break.
    ///
    /// # Errors
    /// [`Error::Canceled`] when `progress` breaks; what was made until then stays.
    /// [`Error::Corrupt`] when codes do not match their checksums.
    ///
    /// # Blocking
    /// Waits for an install or a compaction of the collection to end.
    pub fn build_indexes(
        &self,
        id: CollectionId,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Indexed, Error> {
        let store = &self.inner;
        store.check_writable()?;
        store.state().collection(id)?;
        let _turn = store.turns.compaction(id);
        store.state().collection(id)?.segments().for_each(Segment::forget_damage);
        build_due(store, id, &mut |done, all| match progress(done, all) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Canceled),
        })
    }
}

/// The segments that have no index and are to get one.
pub(crate) fn due(store: &Inner, id: CollectionId) -> Result<Vec<Segment>, Error> {
    let state = store.state();
    let lacks = |segment: &&Segment| {
        segment.codes.is_some()
            && segment.index.is_none()
            && !segment.is_damaged()
            && is_large_enough(store, segment)
    };
    Ok(state.collection(id)?.segments().filter(lacks).cloned().collect())
}

fn is_large_enough(store: &Inner, segment: &Segment) -> bool {
    store.layout.indexer.is_some() && segment.rows.rows() >= store.options.indexing.rows
}

/// Makes all indexes that are due, also behind a damaged segment, whose error is told at the end. The
/// caller has the collection's turn.
pub(crate) fn build_due(
    store: &Inner,
    id: CollectionId,
    progress: &mut dyn FnMut(u64, u64) -> Result<(), Error>,
) -> Result<Indexed, Error> {
    let due = due(store, id)?;
    let all = due.iter().map(|segment| u64::from(segment.rows.rows())).sum();
    let mut indexed = Indexed::default();
    let mut damage = None;
    for segment in due {
        match build(store, id, &segment, false, &mut |_| progress(indexed.rows, all)) {
            Ok(bytes) => indexed.bytes += bytes,
            Err(error) if segment.is_damaged() => {
                damage.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error),
        }
        indexed.rows += u64::from(segment.rows.rows());
        indexed.segments += 1;
    }
    progress(indexed.rows, all)?;
    damage.map_or(Ok(indexed), Err)
}

/// Makes the index of a segment and names it; returns the bytes of the file. A segment whose codes are
/// found damaged [knows it](Segment::is_damaged) afterwards. The caller has the collection's turn, so that
/// nobody else replaces segments.
pub(crate) fn build(
    store: &Inner,
    id: CollectionId,
    segment: &Segment,
    background: bool,
    step: &mut Step<'_>,
) -> Result<u64, Error> {
    let (Some(indexer), Some(codes)) = (&store.layout.indexer, &segment.codes) else { return Ok(0) };
    // An index of damaged codes would fit them.
    codes.file().check(None, step).inspect_err(|error| segment.note_damage(error))?;
    let build = IndexBuild { memory_bytes: store.options.indexing.memory_bytes, background };
    let index = IndexFile::write(&store.layout, codes, indexer.as_ref(), build, step)?;
    let length = index.length();
    name(store, id, segment, Some(Arc::new(index)))?;
    Ok(length)
}

/// Names an index of a segment, or none, in one commit.
fn name(
    store: &Inner,
    id: CollectionId,
    segment: &Segment,
    index: Option<Arc<IndexFile>>,
) -> Result<(), Error> {
    let new = segment.with_index(index);
    store.commit(true, |state, batch, _| {
        let mut next = state.collection(id)?.as_ref().clone();
        let place = place_of(&next, slice::from_ref(segment)).ok_or(Error::Canceled)?;
        batch.put(Family::Meta, keys::segment(id, new.rows.base()), segment_entry(&new).encode());
        if let Some(index) = &new.index {
            index.guard().keep();
        }
        next.replace_segment(place.start, new.clone());
        Ok(vec![(id, Some(next))])
    })?;
    Ok(())
}

/// Drops the indexes that are damaged or do not fit their codes, and makes those that are due.
pub(crate) fn repair(store: &Inner, id: CollectionId, report: &mut RepairReport) -> Result<(), Error> {
    let _turn = store.turns.compaction(id);
    let state = store.state();
    let Ok(collection) = state.collection(id) else { return Ok(()) };
    for segment in collection.segments() {
        let (Some(index), Some(codes)) = (&segment.index, &segment.codes) else { continue };
        let mut problems = Vec::new();
        codes.file().verify(&mut problems);
        if !problems.is_empty() {
            // There is nothing that the index could be compared with, or be made of.
            continue;
        }
        if index.verify(codes, store.layout.indexer.as_deref()).is_empty() {
            continue;
        }
        name(store, id, segment, None)?;
        segment.retire_index();
        report.search_indexes_dropped += 1;
        if is_large_enough(store, segment) {
            build(store, id, &segment.with_index(None), false, &mut |_| Ok(()))?;
            report.search_indexes_built += 1;
        }
    }
    Ok(())
}
