//! Views: a pinned version of the database, for reading.

use std::sync::Arc;

use crate::catalog::Family;
use crate::error::Error;
use crate::id::{CollectionId, RecordId};
use crate::keys;
use crate::order;
use crate::part::Part;
use crate::record::StoredRecord;
use crate::schema::{CollectionInfo, IdKind};
use crate::state::{CollectionState, State};

/// The database as it was at one commit. Cheap to clone; keeps its files and the database open.
#[derive(Clone)]
pub struct View {
    pub(crate) state: Arc<State>,
}

impl View {
    /// The number of the commit. It goes up with every commit of any collection.
    pub fn version(&self) -> u64 {
        self.state.counters.version
    }

    /// The collections, by ascending number.
    pub fn collections(&self) -> Vec<CollectionInfo> {
        self.state.collections().map(|collection| collection.info.as_ref().clone()).collect()
    }

    /// A collection by number.
    pub fn collection(&self, id: CollectionId) -> Option<CollectionView> {
        let collection = self.state.collection(id).ok()?.clone();
        Some(self.of(collection))
    }

    /// A collection by name.
    pub fn collection_named(&self, name: &str) -> Option<CollectionView> {
        let collection = self.state.by_name(name)?.clone();
        Some(self.of(collection))
    }

    fn of(&self, collection: Arc<CollectionState>) -> CollectionView {
        CollectionView { state: self.state.clone(), collection }
    }
}

/// A collection as it was at one commit.
#[derive(Clone)]
pub struct CollectionView {
    // Files go before the catalog is closed and the lock of the database released.
    pub(crate) collection: Arc<CollectionState>,
    pub(crate) state: Arc<State>,
}

impl CollectionView {
    /// The number of the commit.
    pub fn version(&self) -> u64 {
        self.state.counters.version
    }

    /// Name, definition and model.
    pub fn info(&self) -> &CollectionInfo {
        &self.collection.info
    }

    /// Alive records.
    pub fn len(&self) -> u64 {
        self.collection.live
    }

    /// Whether no record is alive.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parts: segments, then blocks of fresh rows, in ascending, disjoint ranges of ordinals.
    pub fn parts(&self) -> Arc<[Arc<Part>]> {
        self.state.parts(self.collection.info.id)
    }

    /// The part and the row in it of an ordinal, alive or dead.
    pub fn part_of(&self, ordinal: u64) -> Option<(usize, u32)> {
        self.collection.part_of(ordinal)
    }

    /// Whether a record with this ordinal is alive.
    pub fn is_alive(&self, ordinal: u64) -> bool {
        self.collection.is_alive(ordinal)
    }

    /// The ordinal of the record with an id.
    pub fn find(&self, id: &RecordId) -> Result<Option<u64>, Error> {
        let info = &self.collection.info;
        id.check(info.config.ids)?;
        let key = keys::id(info.id, id);
        if let Some(value) = self.state.pin.get(Family::Ids, &key)? {
            return self.leads_to(&key, &value).map(Some);
        }
        match id {
            // An automatic id is the ordinal of the record's first row, unless that row was put to
            // replace a record with another id.
            RecordId::U64(ordinal) if info.config.ids == IdKind::Auto => {
                let Some((part, row)) = self.part_of(*ordinal) else {
                    return Ok(None);
                };
                let Some(part) = self.collection.parts.get(part) else {
                    return Ok(None);
                };
                Ok((part.is_alive(row) && part.id(row)? == *id).then_some(*ordinal))
            }
            _ => Ok(None),
        }
    }

    /// The ordinals of the records with these ids, in the same order. Asking for many at once costs
    /// less than asking for each.
    pub(crate) fn find_many(&self, ids: &[&RecordId]) -> Result<Vec<Option<u64>>, Error> {
        let info = &self.collection.info;
        if info.config.ids == IdKind::Auto {
            // Few have an entry.
            return ids.iter().map(|id| self.find(id)).collect();
        }
        ids.iter().try_for_each(|id| id.check(info.config.ids))?;
        let (places, keys): (Vec<usize>, Vec<Vec<u8>>) =
            order::by_id(ids.iter().enumerate().map(|(place, id)| (*id, place)))
                .map(|(id, place)| (place, keys::id(info.id, id)))
                .unzip();
        let values = self.state.pin.get_many(Family::Ids, &keys)?;
        let mut found = vec![None; ids.len()];
        for ((place, key), value) in places.into_iter().zip(&keys).zip(values) {
            if let (Some(found), Some(value)) = (found.get_mut(place), value) {
                *found = Some(self.leads_to(key, &value)?);
            }
        }
        Ok(found)
    }

    /// The ordinal in the entry of an id.
    fn leads_to(&self, key: &[u8], value: &[u8]) -> Result<u64, Error> {
        match value.try_into().map(u64::from_le_bytes) {
            Ok(ordinal) if self.is_alive(ordinal) => Ok(ordinal),
            _ => Err(self.state.pin.corrupt(Family::Ids, key, "the id leads to no record")),
        }
    }

    /// The record with an ordinal, if it is alive.
    pub fn get(&self, ordinal: u64) -> Result<Option<StoredRecord>, Error> {
        if !self.is_alive(ordinal) {
            return Ok(None);
        }
        let parts = self.parts();
        let Some((part, row)) = self.part_of(ordinal) else {
            return Ok(None);
        };
        let Some(part) = parts.get(part) else {
            return Ok(None);
        };
        let mut record = part.record(row)?;
        record.fields = self.fields(ordinal)?;
        Ok(Some(record))
    }

    /// Ordinals of alive records above `after` in ascending order, at most `limit`.
    pub fn page(&self, after: Option<u64>, limit: usize) -> Result<Vec<u64>, Error> {
        let first = match after {
            Some(u64::MAX) => return Ok(Vec::new()),
            Some(after) => after + 1,
            None => 0,
        };
        let mut page = Vec::new();
        let skip = self.collection.parts.partition_point(|part| part.last() < first);
        for part in self.collection.parts.iter().skip(skip) {
            // The first row at or above `first`, by bisection: rows ascend with their ordinals.
            let (mut low, mut high) = (0, part.rows());
            while low < high {
                let middle = low + (high - low) / 2;
                if part.ordinal(middle) < first {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            for row in low..part.rows() {
                if page.len() == limit {
                    return Ok(page);
                }
                if part.is_alive(row) {
                    page.push(part.ordinal(row));
                }
            }
        }
        Ok(page)
    }
}
