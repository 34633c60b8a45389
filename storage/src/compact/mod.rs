//! Compaction: neighboring segments become one, without their dead rows.
//!
//! A merge reads immutable files and writes new ones, beside all reading and writing. Only the
//! switch, one commit that names the new segment instead of the old ones, takes part in the order of
//! commits. Rows that die while the merge runs are in the new segment, and dead there.

mod pace;
mod policy;
mod purge;
mod worker;

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

pub(crate) use worker::Worker;

use crate::catalog::Family;
use crate::dead::{Dead, put_dead};
use crate::error::Error;
use crate::flush;
use crate::id::CollectionId;
use crate::indexing::{self, Indexed};
use crate::install_note;
use crate::keys;
use crate::part::{PartData, Source};
use crate::segment::{Merge, Segment, Step};
use crate::state::{CollectionState, segment_entry};
use crate::store::{Inner, Store};
use policy::SegmentSize;

/// What a compaction by hand did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// Segments before.
    pub segments_before: u64,
    /// Segments after.
    pub segments_after: u64,
    /// Dead rows removed from segments.
    pub rows_dropped: u64,
    /// Segments that got a search index.
    pub indexes_built: u64,
    /// Bytes of the collection's segments and of the whole catalog before.
    pub bytes_before: u64,
    /// The same after. Files that a view still reads go when it does, and do not count.
    pub bytes_after: u64,
}

impl Store {
    /// Merges the segments of a collection into as few as can be, without dead rows, and gives the
    /// space of removed rows and fields back to the disk.
    ///
    /// Fresh rows become a segment first, and segments that are large enough get a search index last. `progress` is told bytes read and written so far and in
    /// all, and may break. Reading and writing go on meanwhile; what is written meanwhile is not
    /// merged. While it runs the disk holds at most one merged segment beside its parts.
    ///
    /// # Errors
    /// [`Error::Canceled`] when `progress` breaks; what was merged until then stays so.
    /// [`Error::Corrupt`] with the first damaged file when a segment's checksums do not match: it is left
    /// as it is, and the segments around it are merged.
    ///
    /// # Blocking
    /// Waits for an open transaction of the collection to end, and for an install.
    pub fn compact(
        &self,
        id: CollectionId,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Compacted, Error> {
        let store = &self.inner;
        store.check_writable()?;
        store.state().collection(id)?;
        let _turn = store.turns.compaction(id);
        let before = self.stats(id)?;
        {
            let _pass = store.gate(id).short();
            flush::flush(store, id)?;
        }
        store.state().collection(id)?.segments().for_each(Segment::forget_damage);
        let (mut rows_dropped, mut damage) = (0, None);
        let mut work = Work { done: 0, all: 0, progress };
        loop {
            let runs = runs_by_hand(store, id)?;
            work.all = work.done + runs.iter().map(|(_, bytes)| bytes).sum::<u64>();
            work.step(0)?;
            let mut met_damage = false;
            for (segments, _) in runs {
                match merge(store, id, &segments, &mut |bytes| work.step(bytes)) {
                    Ok(merged) => rows_dropped += merged.rows_dropped,
                    Err(error) if segments.iter().any(Segment::is_damaged) => {
                        damage.get_or_insert(error);
                        met_damage = true;
                    }
                    Err(error) => return Err(error),
                }
            }
            // What is around the damage is merged in another round.
            if !met_damage {
                break;
            }
        }
        purge::purge(store, id, &mut |bytes| work.step(bytes))?;
        let indexed = match indexing::build_due(store, id, &mut |_, _| work.step(0)) {
            Err(error) if error.is_corruption() => {
                damage.get_or_insert(error);
                Indexed::default()
            }
            indexed => indexed?,
        };
        store.state().pin.catalog().compact(id)?;
        if let Some(error) = damage {
            return Err(error);
        }
        let after = self.stats(id)?;
        Ok(Compacted {
            segments_before: before.segments,
            segments_after: after.segments,
            rows_dropped,
            indexes_built: indexed.segments,
            bytes_before: before.bytes.total() - before.bytes.models,
            bytes_after: after.bytes.total() - after.bytes.models,
        })
    }
}

/// Bytes read and written, and who is told.
struct Work<'p> {
    done: u64,
    all: u64,
    progress: &'p mut dyn FnMut(u64, u64) -> ControlFlow<()>,
}

impl Work<'_> {
    fn step(&mut self, bytes: u64) -> Result<(), Error> {
        self.done += bytes;
        match (self.progress)(self.done.min(self.all), self.all) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Canceled),
        }
    }
}

/// The runs to be merged by hand, each with the bytes that will be read and written.
fn runs_by_hand(store: &Inner, id: CollectionId) -> Result<Vec<(Vec<Segment>, u64)>, Error> {
    let state = store.state();
    let collection = state.collection(id)?;
    let sizes = sizes(collection);
    let runs = policy::everything(&sizes).into_iter().map(|run| {
        let work = sizes.iter().skip(run.start).take(run.len()).map(|size| size.bytes + size.alive_bytes());
        (segments(collection, run.clone()), work.sum())
    });
    Ok(runs.collect())
}

/// What the policy goes by, for each segment of a collection.
fn sizes(collection: &CollectionState) -> Vec<SegmentSize> {
    let size = |part: &Arc<PartData>| {
        let segment = part.segment()?;
        Some(SegmentSize {
            rows: u64::from(part.rows()),
            dead: part.dead_rows(),
            bytes: segment.bytes(),
            first: part.first(),
            last: part.last(),
            damaged: segment.is_damaged(),
        })
    };
    collection.parts.iter().filter_map(size).collect()
}

fn segments(collection: &CollectionState, run: std::ops::Range<usize>) -> Vec<Segment> {
    collection.segments().skip(run.start).take(run.len()).cloned().collect()
}

/// A merge that has become part of the database.
struct Merged {
    rows_dropped: u64,
    /// The dead ordinals whose rows are gone, within `range`.
    dropped: Dead,
    range: RangeInclusive<u64>,
}

/// Merges neighboring segments and switches. The caller has the collection's turn, so that nobody
/// else replaces segments.
fn merge(
    store: &Inner,
    id: CollectionId,
    segments: &[Segment],
    step: &mut Step<'_>,
) -> Result<Merged, Error> {
    // No state is kept meanwhile: it would keep the catalog's old entries from going.
    let (info, dead) = {
        let state = store.state();
        let collection = state.collection(id)?;
        (collection.info.clone(), collection.dead.clone())
    };
    let merge = Merge {
        segments,
        dead: &dead,
        collection: id,
        ids: info.config.ids,
        bits: info.config.bits,
        model: info.codes_id(),
        piece: (store.options.compaction.memory_bytes / PIECES).clamp(MIN_PIECE, MAX_PIECE),
    };
    let merged = merge.write(&store.layout, store.segment_number()?, step)?;
    let rows_before: u64 = segments.iter().map(|segment| u64::from(segment.rows.rows())).sum();
    let rows_after = merged.as_ref().map_or(0, |segment| u64::from(segment.rows.rows()));
    let range = switch(store, id, segments, merged, &dead)?;
    Ok(Merged { rows_dropped: rows_before - rows_after, dropped: dead, range })
}

/// A merge holds at most so many pieces of columns in memory at once.
const PIECES: usize = 8;
const MIN_PIECE: usize = 1 << 16;
const MAX_PIECE: usize = 4 << 20;

/// Names the new segment instead of the old ones, in one commit. Synced even where commits are not:
/// the old files are removed right after. Returns the ordinals among which `dropped` are forgotten.
fn switch(
    store: &Inner,
    id: CollectionId,
    old: &[Segment],
    new: Option<Segment>,
    dropped: &Dead,
) -> Result<RangeInclusive<u64>, Error> {
    let mut forgotten = 0..=0;
    // What an interrupted install has made for the old segments serves nobody any more.
    let mut encoded = Vec::new();
    store.commit(true, |state, batch, _| {
        let mut next = state.collection(id)?.as_ref().clone();
        encoded = install_note::files(&store.layout, &state.pin, &next)?;
        encoded.retain(|file| old.iter().any(|segment| segment.rows.number() == file.segment));
        let place = place_of(&next, old).ok_or(Error::Canceled)?;
        // Ordinals between segments have no rows, so what is noted of them goes too.
        let neighbor = |index: Option<usize>| index.and_then(|index| next.parts.get(index)?.segment());
        let first =
            neighbor(place.start.checked_sub(1)).map_or(0, |before| before.rows.last().saturating_add(1));
        let last = match (neighbor(Some(place.end)), old.last()) {
            (Some(after), _) => after.rows.base().saturating_sub(1),
            (None, last) => last.map_or(first, |last| last.rows.last()),
        };
        forgotten = first..=last;
        for segment in old {
            batch.delete(Family::Meta, keys::segment(id, segment.rows.base()));
        }
        let (dead, changed) = next.dead.without(dropped, first, last);
        put_dead(batch, id, changed);
        next.dead = dead;
        if let Some(segment) = &new {
            batch.put(Family::Meta, keys::segment(id, segment.rows.base()), segment_entry(segment).encode());
            segment.keep();
        }
        let data = new.map(|segment| Arc::new(PartData::new(Source::Segment(segment), &next.dead)));
        next.segments = next.segments - place.len() + data.iter().len();
        next.parts.splice(place, data);
        Ok(vec![(id, Some(next))])
    })?;
    old.iter().for_each(Segment::retire);
    install_note::remove_files(&store.layout, &encoded);
    Ok(forgotten)
}

/// Where the segments are among the parts; `None` when they are not there as they were.
pub(crate) fn place_of(collection: &CollectionState, segments: &[Segment]) -> Option<std::ops::Range<usize>> {
    let same = |part: &PartData, segment: &Segment| {
        let codes = |segment: &Segment| segment.codes.as_ref().map(|codes| codes.model());
        part.segment()
            .is_some_and(|here| here.rows.number() == segment.rows.number() && codes(here) == codes(segment))
    };
    let first = segments.first()?;
    let start = collection.parts.iter().position(|part| same(part, first))?;
    let range = start..start + segments.len();
    let here = collection.parts.get(range.clone())?;
    here.iter().zip(segments).all(|(part, segment)| same(part, segment)).then_some(range)
}
