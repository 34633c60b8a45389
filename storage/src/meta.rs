//! Values of the family `meta`.

use serde::{Deserialize, Serialize};

use crate::cursor::Cursor;
use crate::format::hash;
use crate::id::ModelId;
use crate::schema::CollectionConfig;

/// What is counted per database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) next_collection: u32,
    pub(crate) next_segment: u32,
    /// Goes up by one with every commit.
    pub(crate) version: u64,
}

impl Counters {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.next_collection.to_le_bytes().to_vec();
        out.extend(self.next_segment.to_le_bytes());
        out.extend(self.version.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Cursor::new(bytes);
        let counters =
            Counters { next_collection: from.u32()?, next_segment: from.u32()?, version: from.u64()? };
        from.is_done().then_some(counters)
    }
}

/// A collection's name and config, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) config: CollectionConfig,
}

impl Definition {
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Only maps with keys that are no strings could fail, and there are none.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// What is counted per collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CollectionCounters {
    pub(crate) next_ordinal: u64,
    pub(crate) live: u64,
    pub(crate) model: Option<ModelId>,
}

impl CollectionCounters {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.next_ordinal.to_le_bytes().to_vec();
        out.extend(self.live.to_le_bytes());
        out.push(u8::from(self.model.is_some()));
        out.extend(self.model.map_or([0; 16], |model| model.0));
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Cursor::new(bytes);
        let (next_ordinal, live) = (from.u64()?, from.u64()?);
        let has_model = from.flag()?;
        let model = ModelId(from.array()?);
        from.is_done().then_some(CollectionCounters { next_ordinal, live, model: has_model.then_some(model) })
    }
}

/// The files of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentEntry {
    pub(crate) number: u32,
    pub(crate) rows: u32,
    pub(crate) last: u64,
    pub(crate) rows_length: u64,
    /// Model and length of the codes file.
    pub(crate) codes: Option<(ModelId, u64)>,
    /// Length of the index file of these codes.
    pub(crate) index: Option<u64>,
}

impl SegmentEntry {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.number.to_le_bytes().to_vec();
        out.extend(self.rows.to_le_bytes());
        out.extend(self.last.to_le_bytes());
        out.extend(self.rows_length.to_le_bytes());
        out.push(u8::from(self.codes.is_some()));
        if let Some((model, length)) = self.codes {
            out.extend(model.0);
            out.extend(length.to_le_bytes());
            out.extend(self.index.iter().flat_map(|length| length.to_le_bytes()));
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Cursor::new(bytes);
        let (number, rows, last, rows_length) = (from.u32()?, from.u32()?, from.u64()?, from.u64()?);
        let codes = match from.flag()? {
            true => Some((ModelId(from.array()?), from.u64()?)),
            false => None,
        };
        let index = match codes.is_some() && !from.is_done() {
            true => Some(from.u64()?),
            false => None,
        };
        from.is_done().then_some(SegmentEntry { number, rows, last, rows_length, codes, index })
    }
}

/// Length and xxh3-64 of a model's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModelEntry {
    pub(crate) length: u64,
    pub(crate) hash: u64,
}

impl ModelEntry {
    /// What the catalog says of a file with these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        ModelEntry { length: bytes.len() as u64, hash: hash(bytes) }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.length.to_le_bytes().to_vec();
        out.extend(self.hash.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Cursor::new(bytes);
        let entry = ModelEntry { length: from.u64()?, hash: from.u64()? };
        from.is_done().then_some(entry)
    }
}

/// A model whose install began and is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InstallEntry {
    pub(crate) model: ModelId,
    pub(crate) file: ModelEntry,
}

impl InstallEntry {
    pub(crate) fn encode(&self) -> Vec<u8> {
        [self.model.0.as_slice(), &self.file.encode()].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (model, file) = bytes.split_first_chunk()?;
        Some(InstallEntry { model: ModelId(*model), file: ModelEntry::decode(file)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_fixed_and_read_back() {
        let counters = Counters { next_collection: 1, next_segment: 2, version: 3 };
        assert_eq!(counters.encode(), [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Counters::decode(&counters.encode()), Some(counters));

        for model in [None, Some(ModelId([7; 16]))] {
            let counters = CollectionCounters { next_ordinal: 5, live: 4, model };
            assert_eq!(counters.encode().len(), 33);
            assert_eq!(CollectionCounters::decode(&counters.encode()), Some(counters));
        }
        let codes = Some((ModelId([7; 16]), 8192));
        for (codes, index, length) in [(None, None, 25), (codes, None, 49), (codes, Some(4096), 57)] {
            let entry = SegmentEntry { number: 1, rows: 2, last: 3, rows_length: 4, codes, index };
            let bytes = entry.encode();
            assert_eq!(bytes.len(), length);
            assert_eq!(SegmentEntry::decode(&bytes), Some(entry));
            assert_eq!(SegmentEntry::decode(&bytes[1..]), None);
        }
        let entry = ModelEntry { length: 1, hash: 2 };
        assert_eq!(ModelEntry::decode(&entry.encode()), Some(entry));
        assert_eq!(ModelEntry::decode(&[0; 15]), None);
        let install = InstallEntry { model: ModelId([9; 16]), file: entry };
        assert_eq!(install.encode()[..17], [9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 1]);
        assert_eq!(InstallEntry::decode(&install.encode()), Some(install));
        assert_eq!(InstallEntry::decode(&[0; 31]), None);
        assert_eq!(Definition::decode(b"{}"), None);
    }
}
