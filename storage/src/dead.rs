//! Which ordinals are dead: bitmaps over chunks of [`ORDINALS_PER_DEAD_CHUNK`] ordinals, shared
//! between versions and copied only where a commit kills something.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::catalog::{Batch, Family};
use crate::format::ORDINALS_PER_DEAD_CHUNK;
use crate::id::CollectionId;
use crate::keys;

/// A set of ordinals.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Dead {
    chunks: Arc<BTreeMap<u64, Arc<RoaringBitmap>>>,
}

/// Chunks with their new stored form; `None` for one that is empty now.
pub(crate) type ChangedChunks = Vec<(u64, Option<Vec<u8>>)>;

/// Adds changed chunks to a batch.
pub(crate) fn put_dead(batch: &mut Batch<'_>, collection: CollectionId, changed: ChangedChunks) {
    for (chunk, bitmap) in changed {
        let key = keys::ordinal(collection, chunk);
        match bitmap {
            Some(bitmap) => batch.put(Family::Dead, key, bitmap),
            None => batch.delete(Family::Dead, key),
        }
    }
}

fn split(ordinal: u64) -> (u64, u32) {
    (ordinal / ORDINALS_PER_DEAD_CHUNK, (ordinal % ORDINALS_PER_DEAD_CHUNK) as u32)
}

impl Dead {
    pub(crate) fn contains(&self, ordinal: u64) -> bool {
        let (chunk, low) = split(ordinal);
        self.chunks.get(&chunk).is_some_and(|bitmap| bitmap.contains(low))
    }

    pub(crate) fn insert(&mut self, ordinal: u64) {
        let (chunk, low) = split(ordinal);
        let bitmap = Arc::make_mut(&mut self.chunks).entry(chunk).or_default();
        Arc::make_mut(bitmap).insert(low);
    }

    pub(crate) fn remove(&mut self, ordinal: u64) {
        let (chunk, low) = split(ordinal);
        let chunks = Arc::make_mut(&mut self.chunks);
        if let Some(bitmap) = chunks.get_mut(&chunk) {
            let bitmap = Arc::make_mut(bitmap);
            bitmap.remove(low);
            if bitmap.is_empty() {
                chunks.remove(&chunk);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Adds a stored chunk. `None` when the bytes are no bitmap of a chunk.
    pub(crate) fn add_chunk(&mut self, chunk: u64, bytes: &[u8]) -> Option<()> {
        chunk.checked_add(1)?.checked_mul(ORDINALS_PER_DEAD_CHUNK)?;
        let bitmap = decode(bytes)?;
        Arc::make_mut(&mut self.chunks).insert(chunk, Arc::new(bitmap));
        Some(())
    }

    /// The union of both.
    pub(crate) fn union(&self, other: &Dead) -> Dead {
        if other.is_empty() {
            return self.clone();
        }
        let mut union = self.clone();
        let chunks = Arc::make_mut(&mut union.chunks);
        for (chunk, bitmap) in other.chunks.iter() {
            let entry = chunks.entry(*chunk).or_default();
            *Arc::make_mut(entry) |= bitmap.as_ref();
        }
        union
    }

    /// How many there are from `first` to `last`, both included.
    pub(crate) fn count(&self, first: u64, last: u64) -> u64 {
        let low = first / ORDINALS_PER_DEAD_CHUNK;
        self.chunks
            .range(low..=(last / ORDINALS_PER_DEAD_CHUNK).max(low))
            .map(|(chunk, bitmap)| bitmap.range_cardinality(within(*chunk, first, last)))
            .sum()
    }

    /// What is left without those of `gone` from `first` to `last`, both included, and the chunks
    /// that are no longer the same.
    pub(crate) fn without(&self, gone: &Dead, first: u64, last: u64) -> (Dead, ChangedChunks) {
        let mut rest = self.clone();
        let mut changed = Vec::new();
        let low = first / ORDINALS_PER_DEAD_CHUNK;
        for (chunk, gone) in gone.chunks.range(low..=(last / ORDINALS_PER_DEAD_CHUNK).max(low)) {
            let Some(before) = self.chunks.get(chunk) else { continue };
            let mut gone = gone.as_ref().clone();
            let range = within(*chunk, first, last);
            gone.remove_range(..range.start());
            gone.remove_range((Bound::Excluded(*range.end()), Bound::Unbounded));
            let after = before.as_ref() - gone;
            if after.len() == before.len() {
                continue;
            }
            let chunks = Arc::make_mut(&mut rest.chunks);
            changed.push((*chunk, (!after.is_empty()).then(|| encode(&after))));
            match after.is_empty() {
                true => chunks.remove(chunk),
                false => chunks.insert(*chunk, Arc::new(after)),
            };
        }
        (rest, changed)
    }

    /// The chunks with their stored form.
    pub(crate) fn encoded(&self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        self.chunks.iter().map(|(chunk, bitmap)| (*chunk, encode(bitmap)))
    }

    /// The dead ordinals from `first` to `last`, both included.
    pub(crate) fn range(&self, first: u64, last: u64) -> impl Iterator<Item = u64> {
        let (low, high) = (first / ORDINALS_PER_DEAD_CHUNK, last / ORDINALS_PER_DEAD_CHUNK);
        self.chunks
            .range(low..=high.max(low))
            .flat_map(|(chunk, bitmap)| {
                let base = chunk * ORDINALS_PER_DEAD_CHUNK;
                bitmap.iter().map(move |low| base + u64::from(low))
            })
            .filter(move |ordinal| (first..=last).contains(ordinal))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.range(0, u64::MAX)
    }
}

/// The places of a chunk between two ordinals, of which at least one is in it or both are around it.
fn within(chunk: u64, first: u64, last: u64) -> RangeInclusive<u32> {
    let place = |ordinal: u64| match ordinal / ORDINALS_PER_DEAD_CHUNK {
        here if here < chunk => 0,
        here if here > chunk => ORDINALS_PER_DEAD_CHUNK as u32 - 1,
        _ => split(ordinal).1,
    };
    place(first)..=place(last)
}

fn encode(bitmap: &RoaringBitmap) -> Vec<u8> {
    let mut bitmap = bitmap.clone();
    bitmap.optimize();
    let mut out = Vec::with_capacity(bitmap.serialized_size());
    // Writing to memory does not fail.
    let _ = bitmap.serialize_into(&mut out);
    out
}

fn decode(bytes: &[u8]) -> Option<RoaringBitmap> {
    let bitmap = RoaringBitmap::deserialize_from(bytes).ok()?;
    bitmap.max().is_none_or(|max| u64::from(max) < ORDINALS_PER_DEAD_CHUNK).then_some(bitmap)
}

/// The union of stored bitmaps: the catalog's merge operator. `None` on damage, which RocksDB
/// reports as corruption.
pub(crate) fn merge<'a>(
    existing: Option<&[u8]>,
    operands: impl Iterator<Item = &'a [u8]>,
) -> Option<Vec<u8>> {
    let mut union = match existing {
        Some(bytes) => decode(bytes)?,
        None => RoaringBitmap::new(),
    };
    for bytes in operands {
        union |= decode(bytes)?;
    }
    Some(encode(&union))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(ordinals: &[u64]) -> Dead {
        let mut dead = Dead::default();
        ordinals.iter().for_each(|ordinal| dead.insert(*ordinal));
        dead
    }

    #[test]
    fn chunks_survive_storing() {
        let original = dead(&[0, 65_535, 65_536, 1 << 40]);
        let mut read = Dead::default();
        for (chunk, bytes) in original.encoded() {
            read.add_chunk(chunk, &bytes).unwrap();
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]), None, "cut at {cut}");
            }
        }
        assert_eq!(read, original);
        assert_eq!(read.iter().collect::<Vec<_>>(), [0, 65_535, 65_536, 1 << 40]);
        assert_eq!(read.range(65_535, 65_536).collect::<Vec<_>>(), [65_535, 65_536]);
        assert!(read.contains(1 << 40) && !read.contains(1));
    }

    #[test]
    fn a_union_leaves_its_parts_alone() {
        let (a, b) = (dead(&[1, 2]), dead(&[2, 70_000]));
        let union = a.union(&b);
        assert_eq!(union.iter().collect::<Vec<_>>(), [1, 2, 70_000]);
        assert_eq!(a.iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_range_of_them_is_counted_and_taken_out() {
        let all = dead(&[0, 5, 65_535, 65_536, 70_000, 200_000, 1 << 40]);
        for (first, last) in [(0, 0), (1, 4), (5, 65_535), (5, 65_536), (65_537, 199_999), (0, u64::MAX)] {
            let inside: Vec<u64> = all.range(first, last).collect();
            assert_eq!(all.count(first, last), inside.len() as u64);
            let (rest, changed) = all.without(&all, first, last);
            let expected: Vec<u64> = all.iter().filter(|ordinal| !inside.contains(ordinal)).collect();
            assert_eq!(rest.iter().collect::<Vec<_>>(), expected);
            // What is stored follows.
            let mut stored = all.clone();
            for (chunk, bytes) in changed {
                Arc::make_mut(&mut stored.chunks).remove(&chunk);
                if let Some(bytes) = bytes {
                    stored.add_chunk(chunk, &bytes).unwrap();
                }
            }
            assert_eq!(stored, rest);
        }
        let (rest, changed) = all.without(&dead(&[5, 6, 300_000]), 0, u64::MAX);
        assert_eq!(rest.iter().count(), 6);
        assert_eq!(changed.len(), 1);
        assert_eq!(all.without(&dead(&[6]), 0, 100).1, []);
    }

    #[test]
    fn merging_is_associative() {
        let [a, b, c] =
            [dead(&[1]), dead(&[2, 3]), dead(&[3, 9])].map(|dead| dead.encoded().next().unwrap().1);
        let ab = merge(Some(&a), [b.as_slice()].into_iter()).unwrap();
        let bc = merge(None, [b.as_slice(), &c].into_iter()).unwrap();
        assert_eq!(
            merge(Some(&ab), [c.as_slice()].into_iter()),
            merge(Some(&a), [bc.as_slice()].into_iter())
        );
        assert_eq!(merge(Some(b"junk"), [c.as_slice()].into_iter()), None);
    }

    #[test]
    fn a_bitmap_beyond_its_chunk_is_damage() {
        let mut out = Vec::new();
        RoaringBitmap::from_iter([65_536]).serialize_into(&mut out).unwrap();
        assert_eq!(decode(&out), None);
    }
}
