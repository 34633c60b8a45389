//! A version of the database in memory: immutable, swapped whole at each commit.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use crate::buffer::{Row, RowBuffer};
use crate::catalog::{Family, Pin, format_version};
use crate::dead::Dead;
use crate::durable::FileGuard;
use crate::error::Error;
use crate::format::{FORMAT_VERSION, FRESH_BLOCK_ROWS, FRESH_GROWTH, FRESH_TAIL_ROWS};
use crate::fresh;
use crate::id::{CollectionId, ModelId};
use crate::keys;
use crate::layout::Layout;
use crate::meta::{CollectionCounters, Counters, Definition, ModelEntry, SegmentEntry};
use crate::model_file::ModelFile;
use crate::part::{Part, PartData, Source};
use crate::schema::CollectionInfo;
use crate::segment::{CodesFile, IndexFile, RowsFile, Segment};

/// A version of the database.
pub(crate) struct State {
    pub(crate) counters: Counters,
    // Files go before the catalog is closed and the lock of the database released.
    collections: BTreeMap<CollectionId, Slot>,
    pub(crate) pin: Arc<Pin>,
}

/// A collection and its parts as this version's views see them.
struct Slot {
    collection: Arc<CollectionState>,
    parts: OnceLock<Arc<[Arc<Part>]>>,
}

impl State {
    /// Reads the whole catalog and maps every file it names. Files of segments that an earlier state has
    /// open are not opened again: they never change, and their numbers are never given twice.
    pub(crate) fn load(layout: &Layout, pin: Pin, earlier: Option<&State>) -> Result<Self, Error> {
        let counters = pin
            .get(Family::Meta, keys::counters())?
            .and_then(|bytes| Counters::decode(&bytes))
            .ok_or_else(|| pin.corrupt(Family::Meta, &keys::counters(), "the counters are unreadable"))?;
        let mut definitions = Vec::new();
        pin.scan_prefix(Family::Meta, &keys::definitions(), &mut |key, value| {
            match (keys::definition_collection(key), Definition::decode(value)) {
                (Some(id), Some(definition)) => definitions.push((id, definition)),
                _ => return Err(pin.corrupt(Family::Meta, key, "the collection's definition is unreadable")),
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let mut models = HashMap::new();
        let mut collections = BTreeMap::new();
        for (id, definition) in definitions {
            let open = OpenSegments::of(earlier.and_then(|state| state.collection(id).ok()));
            let collection = CollectionState::load(layout, &pin, id, definition, &mut models, &open)?;
            collections.insert(id, Slot::new(Arc::new(collection)));
        }
        Ok(State { counters, pin: Arc::new(pin), collections })
    }

    /// The next version: some collections changed or, where `None`, dropped.
    pub(crate) fn next(
        &self,
        counters: Counters,
        pin: Pin,
        changes: Vec<(CollectionId, Option<CollectionState>)>,
    ) -> Self {
        let mut collections: BTreeMap<_, _> =
            self.collections.iter().map(|(id, slot)| (*id, Slot::new(slot.collection.clone()))).collect();
        for (id, change) in changes {
            match change {
                Some(collection) => collections.insert(id, Slot::new(Arc::new(collection))),
                None => collections.remove(&id),
            };
        }
        State { counters, pin: Arc::new(pin), collections }
    }

    pub(crate) fn collection(&self, id: CollectionId) -> Result<&Arc<CollectionState>, Error> {
        self.collections.get(&id).map(|slot| &slot.collection).ok_or_else(|| Error::collection_not_found(id))
    }

    pub(crate) fn collections(&self) -> impl Iterator<Item = &Arc<CollectionState>> {
        self.collections.values().map(|slot| &slot.collection)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<CollectionState>> {
        self.collections().find(|collection| collection.info.name == name)
    }

    /// The file of a model that a collection uses.
    pub(crate) fn model_file(&self, model: ModelId) -> Option<&Arc<ModelFile>> {
        let mut users = self.collections().filter(|collection| collection.info.model == Some(model));
        users.find_map(|collection| collection.model_file.as_ref())
    }

    /// The parts of a collection, bound to this version's catalog.
    pub(crate) fn parts(&self, id: CollectionId) -> Arc<[Arc<Part>]> {
        let Some(slot) = self.collections.get(&id) else {
            return Arc::new([]);
        };
        slot.parts
            .get_or_init(|| {
                let code_bytes = slot.collection.info.config.bits.bytes();
                slot.collection
                    .parts
                    .iter()
                    .map(|data| Arc::new(Part::new(data.clone(), self.pin.clone(), id, code_bytes)))
                    .collect()
            })
            .clone()
    }
}

impl Slot {
    fn new(collection: Arc<CollectionState>) -> Self {
        Slot { collection, parts: OnceLock::new() }
    }
}

/// A collection at one version. Cloning is cheap: everything big is shared.
#[derive(Clone)]
pub(crate) struct CollectionState {
    pub(crate) info: Arc<CollectionInfo>,
    pub(crate) next_ordinal: u64,
    pub(crate) live: u64,
    pub(crate) dead: Dead,
    /// Segments, then blocks of fresh rows; ascending, disjoint ranges of ordinals.
    pub(crate) parts: Vec<Arc<PartData>>,
    pub(crate) segments: usize,
    pub(crate) fresh_rows: usize,
    pub(crate) fresh_bytes: usize,
    pub(crate) model_file: Option<Arc<ModelFile>>,
}

impl CollectionState {
    pub(crate) fn empty(info: CollectionInfo) -> Self {
        CollectionState {
            info: Arc::new(info),
            next_ordinal: 0,
            live: 0,
            dead: Dead::default(),
            parts: Vec::new(),
            segments: 0,
            fresh_rows: 0,
            fresh_bytes: 0,
            model_file: None,
        }
    }

    fn load(
        layout: &Layout,
        pin: &Pin,
        id: CollectionId,
        definition: Definition,
        models: &mut HashMap<ModelId, Arc<ModelFile>>,
        open: &OpenSegments,
    ) -> Result<Self, Error> {
        let key = keys::state(id);
        let counters = pin
            .get(Family::Meta, &key)?
            .and_then(|bytes| CollectionCounters::decode(&bytes))
            .ok_or_else(|| pin.corrupt(Family::Meta, &key, "the collection's counters are unreadable"))?;
        let mut state = CollectionState::empty(CollectionInfo {
            id,
            name: definition.name,
            config: definition.config,
            model: counters.model,
        });
        state.next_ordinal = counters.next_ordinal;
        state.live = counters.live;
        if let Some(model) = counters.model {
            let file = match models.get(&model) {
                Some(file) => file.clone(),
                None => Arc::new(open_model(layout, pin, model)?),
            };
            models.insert(model, file.clone());
            state.model_file = Some(file);
        }
        pin.scan_prefix(Family::Dead, &keys::collection(id), &mut |key, value| {
            keys::last_number(key)
                .and_then(|chunk| state.dead.add_chunk(chunk, value))
                .ok_or_else(|| pin.corrupt(Family::Dead, key, "the bitmap of dead rows is unreadable"))?;
            Ok(ControlFlow::Continue(()))
        })?;
        let mut segments = Vec::new();
        pin.scan_prefix(Family::Meta, &keys::segments(id), &mut |key, value| {
            let entry = SegmentEntry::decode(value)
                .ok_or_else(|| pin.corrupt(Family::Meta, key, "the segment's entry is unreadable"))?;
            let segment = match open.find(&entry) {
                Some(segment) => segment.clone(),
                None => open_segment(layout, &state.info, &entry)?,
            };
            // By this key segments are in order, and without it a later switch would miss the entry.
            if keys::last_number(key) != Some(segment.rows.base()) {
                return Err(pin.corrupt(Family::Meta, key, "the segment begins at another ordinal"));
            }
            segments.push(segment);
            Ok(ControlFlow::Continue(()))
        })?;
        for segment in segments {
            state.push_segment(segment);
        }
        let mut last = None;
        let code_bytes = state.info.config.bits.bytes();
        let mut block = state.empty_block();
        pin.scan_prefix(Family::Fresh, &keys::collection(id), &mut |key, value| {
            let ordinal = keys::last_number(key).filter(|ordinal| last.is_none_or(|last| *ordinal > last));
            let row = ordinal.and_then(|ordinal| fresh::decode(ordinal, value, code_bytes));
            let row = row.ok_or_else(|| pin.corrupt(Family::Fresh, key, "the row is unreadable"))?;
            last = ordinal;
            block.push(&row)?;
            state.fresh_bytes += value.len();
            if block.rows() == FRESH_BLOCK_ROWS {
                let full = std::mem::replace(&mut block, state.empty_block());
                state.push_block(full);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if block.rows() > 0 {
            state.push_block(block);
        }
        Ok(state)
    }

    /// An empty block for mirroring fresh rows: their inputs stay in the catalog.
    fn empty_block(&self) -> RowBuffer {
        let config = &self.info.config;
        let bits = self.info.codes_id().map(|_| config.bits);
        RowBuffer::new(config.ids, bits, false)
    }

    fn push_block(&mut self, block: RowBuffer) {
        self.fresh_rows += block.rows();
        self.parts.push(Arc::new(PartData::new(Source::Fresh(Arc::new(block)), &self.dead)));
    }

    /// Appends fresh rows whose stored forms have `bytes` bytes. Blocks that older versions share are
    /// not changed: a small last one is copied, a larger one followed by a new one.
    pub(crate) fn push_fresh<'r>(
        &mut self,
        rows: impl Iterator<Item = Row<'r>>,
        bytes: usize,
    ) -> Result<(), Error> {
        self.fresh_bytes += bytes;
        let mut block = match self.last_block() {
            Some(last) if last.rows() < FRESH_TAIL_ROWS => {
                let block = last.as_ref().clone();
                self.pop_block();
                block
            }
            Some(_) => {
                self.merge_blocks()?;
                self.empty_block()
            }
            None => self.empty_block(),
        };
        for row in rows {
            block.push(&row)?;
            if block.rows() == FRESH_BLOCK_ROWS {
                let full = std::mem::replace(&mut block, self.empty_block());
                self.push_block(full);
            }
        }
        if block.rows() > 0 {
            self.push_block(block);
        }
        Ok(())
    }

    /// Puts the last block together with the one before it, while that is not much larger.
    fn merge_blocks(&mut self) -> Result<(), Error> {
        while let [.., before, last] = self.parts.as_slice()
            && let (Some(before), Some(last)) = (before.fresh(), last.fresh())
            && before.rows() <= FRESH_GROWTH * last.rows()
            && before.rows() + last.rows() <= FRESH_BLOCK_ROWS
        {
            let mut block = before.as_ref().clone();
            for row in last.iter() {
                block.push(&row)?;
            }
            self.pop_block();
            self.pop_block();
            self.push_block(block);
        }
        Ok(())
    }

    fn last_block(&self) -> Option<&Arc<RowBuffer>> {
        self.parts.last().and_then(|part| part.fresh())
    }

    fn pop_block(&mut self) {
        let rows = self.last_block().map_or(0, |block| block.rows());
        self.fresh_rows -= rows;
        self.parts.pop();
    }

    /// Appends a segment; there must be no fresh rows.
    pub(crate) fn push_segment(&mut self, segment: Segment) {
        let data = PartData::new(Source::Segment(segment), &self.dead);
        self.parts.insert(self.segments, Arc::new(data));
        self.segments += 1;
    }

    /// Puts a segment in the place of one with the same rows.
    pub(crate) fn replace_segment(&mut self, place: usize, segment: Segment) {
        if let Some(part) = self.parts.get_mut(place) {
            *part = Arc::new(PartData::new(Source::Segment(segment), &self.dead));
        }
    }

    /// Forgets the fresh rows: they are in a segment now.
    pub(crate) fn clear_fresh(&mut self) {
        self.parts.truncate(self.segments);
        self.fresh_rows = 0;
        self.fresh_bytes = 0;
    }

    /// Adds dead rows; only parts that hold some of them get new masks.
    pub(crate) fn kill(&mut self, dead: &Dead) {
        if dead.is_empty() {
            return;
        }
        self.dead = self.dead.union(dead);
        for part in &mut self.parts {
            if dead.range(part.first(), part.last()).next().is_some() {
                *part = Arc::new(part.with_dead(&self.dead));
            }
        }
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.parts.iter().filter_map(|part| part.segment())
    }

    /// The first ordinal that is above all segments: from here on rows are fresh.
    pub(crate) fn fresh_start(&self) -> u64 {
        self.segments().last().map_or(0, |segment| segment.rows.last().saturating_add(1))
    }

    /// The part and row of an ordinal, alive or dead.
    pub(crate) fn part_of(&self, ordinal: u64) -> Option<(usize, u32)> {
        let after = self.parts.partition_point(|part| part.first() <= ordinal);
        let index = after.checked_sub(1)?;
        let row = self.parts.get(index)?.row_of(ordinal)?;
        Some((index, row))
    }

    /// Whether a record with this ordinal is alive.
    pub(crate) fn is_alive(&self, ordinal: u64) -> bool {
        self.part_of(ordinal).is_some() && !self.dead.contains(ordinal)
    }

    pub(crate) fn counters(&self) -> CollectionCounters {
        CollectionCounters { next_ordinal: self.next_ordinal, live: self.live, model: self.info.model }
    }
}

fn open_model(layout: &Layout, pin: &Pin, model: ModelId) -> Result<ModelFile, Error> {
    let key = keys::model(model);
    let entry = pin
        .get(Family::Meta, &key)?
        .and_then(|bytes| ModelEntry::decode(&bytes))
        .ok_or_else(|| pin.corrupt(Family::Meta, &key, "the model's entry is missing or unreadable"))?;
    ModelFile::open(layout, model, entry)
}

/// The segments of a collection that are open already, by what the catalog says of them.
struct OpenSegments(HashMap<u32, (SegmentEntry, Segment)>);

impl OpenSegments {
    fn of(collection: Option<&Arc<CollectionState>>) -> Self {
        let segments = collection.into_iter().flat_map(|collection| collection.segments());
        let named = segments.map(|segment| {
            let entry = segment_entry(segment);
            (entry.number, (entry, segment.clone()))
        });
        Self(named.collect())
    }

    fn find(&self, entry: &SegmentEntry) -> Option<&Segment> {
        self.0.get(&entry.number).filter(|(open, _)| open == entry).map(|(_, segment)| segment)
    }
}

fn open_segment(layout: &Layout, info: &CollectionInfo, entry: &SegmentEntry) -> Result<Segment, Error> {
    let path = layout.rows(entry.number);
    let rows = RowsFile::open(layout.files.named(path.clone()), entry.rows_length)?;
    let header = &rows.file().header;
    if (header.number, header.collection, header.rows) != (entry.number, info.id, entry.rows)
        || rows.last() != entry.last
    {
        return Err(Error::corrupt(&path, 0, "it is another segment than the catalog names"));
    }
    let codes = match entry.codes {
        None => None,
        Some((model, length)) => {
            let guard = layout.files.named(layout.codes(entry.number, model));
            Some(Arc::new(open_codes(guard, length, &rows, model, info)?))
        }
    };
    let index = match (&codes, entry.index) {
        (Some(codes), Some(length)) => {
            let guard = layout.files.named(layout.index(entry.number, codes.model()));
            Some(Arc::new(IndexFile::open(layout, guard, length, codes)?))
        }
        _ => None,
    };
    Ok(Segment { rows: Arc::new(rows), codes, index })
}

/// Opens a model's codes of a segment, and checks that they are.
pub(crate) fn open_codes(
    guard: FileGuard,
    length: u64,
    rows: &RowsFile,
    model: ModelId,
    info: &CollectionInfo,
) -> Result<CodesFile, Error> {
    let codes = CodesFile::open(guard, length)?;
    let (theirs, header) = (&codes.file().header, &rows.file().header);
    if (theirs.number, theirs.rows, theirs.base) != (header.number, header.rows, header.base)
        || theirs.presence != header.presence
        || theirs.bits as usize != info.config.bits.bits()
        || codes.model() != model
    {
        return Err(Error::corrupt(codes.file().path(), 0, "its codes belong to another segment or model"));
    }
    Ok(codes)
}

/// The catalog's entry for a segment.
pub(crate) fn segment_entry(segment: &Segment) -> SegmentEntry {
    SegmentEntry {
        number: segment.rows.number(),
        rows: segment.rows.rows(),
        last: segment.rows.last(),
        rows_length: segment.rows.file().length(),
        codes: segment.codes.as_ref().map(|codes| (codes.model(), codes.file().length())),
        index: segment.index.as_ref().map(|index| index.length()),
    }
}

/// Checks the catalog's format version. `false` when the catalog is new and empty.
pub(crate) fn check_format(pin: &Pin) -> Result<bool, Error> {
    let path = pin.catalog().path();
    let Some(value) = pin.get(Family::Meta, keys::format())? else {
        let mut empty = true;
        pin.scan(Family::Meta, &[], None, &mut |_, _| {
            empty = false;
            Ok(ControlFlow::Break(()))
        })?;
        return match empty {
            true => Ok(false),
            false => Err(Error::corrupt(path, 0, "the format version is missing")),
        };
    };
    match format_version(&value) {
        Some(found) if found > FORMAT_VERSION => {
            Err(Error::Version { path: path.to_path_buf(), found, supported: FORMAT_VERSION })
        }
        Some(_) => Ok(true),
        None => Err(Error::NotADatabase {
            path: path.to_path_buf(),
            what: "its catalog was not written by this library".to_owned(),
        }),
    }
}
