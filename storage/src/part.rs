//! Parts of a collection: a segment, or a block of fresh rows, at one version.

use std::sync::{Arc, OnceLock};

use half::f16;
use twinbit_kernels::{Codes, Modality, RowMask};

use crate::buffer::RowBuffer;
use crate::catalog::{Family, Pin};
use crate::dead::Dead;
use crate::error::Error;
use crate::format::Presence;
use crate::fresh;
use crate::id::{CollectionId, RecordId};
use crate::indexer::OpenIndex;
use crate::keys;
use crate::record::{StoredRecord, StoredText};
use crate::segment::{CodesIdentity, Segment};

/// Where the rows of a part are.
#[derive(Debug)]
pub(crate) enum Source {
    Segment(Segment),
    Fresh(Arc<RowBuffer>),
}

/// A part with its masks, shared by all versions in which the same of its rows are alive.
#[derive(Debug)]
pub(crate) struct PartData {
    source: Source,
    dead: Dead,
    dead_rows: OnceLock<u64>,
    alive: OnceLock<Arc<RowMask>>,
    present: [OnceLock<Arc<RowMask>>; 2],
    searchable: [OnceLock<Arc<RowMask>>; 2],
    searchable_rows: [OnceLock<u64>; 2],
}

impl PartData {
    pub(crate) fn new(source: Source, dead: &Dead) -> Self {
        PartData {
            source,
            dead: dead.clone(),
            dead_rows: OnceLock::new(),
            alive: OnceLock::new(),
            present: Default::default(),
            searchable: Default::default(),
            searchable_rows: Default::default(),
        }
    }

    /// The same rows, of which others are alive.
    pub(crate) fn with_dead(&self, dead: &Dead) -> Self {
        let source = match &self.source {
            Source::Segment(segment) => Source::Segment(segment.clone()),
            Source::Fresh(rows) => Source::Fresh(rows.clone()),
        };
        PartData::new(source, dead)
    }

    pub(crate) fn segment(&self) -> Option<&Segment> {
        match &self.source {
            Source::Segment(segment) => Some(segment),
            Source::Fresh(_) => None,
        }
    }

    pub(crate) fn fresh(&self) -> Option<&Arc<RowBuffer>> {
        match &self.source {
            Source::Segment(_) => None,
            Source::Fresh(rows) => Some(rows),
        }
    }

    pub(crate) fn rows(&self) -> u32 {
        match &self.source {
            Source::Segment(segment) => segment.rows.rows(),
            Source::Fresh(rows) => rows.rows() as u32,
        }
    }

    pub(crate) fn ordinal(&self, row: u32) -> u64 {
        match &self.source {
            Source::Segment(segment) => segment.rows.ordinal(row),
            Source::Fresh(rows) => rows.ordinals.get(row as usize).copied().unwrap_or(u64::MAX),
        }
    }

    pub(crate) fn first(&self) -> u64 {
        self.ordinal(0)
    }

    pub(crate) fn last(&self) -> u64 {
        self.ordinal(self.rows().saturating_sub(1))
    }

    pub(crate) fn row_of(&self, ordinal: u64) -> Option<u32> {
        match &self.source {
            Source::Segment(segment) => segment.rows.row_of(ordinal),
            Source::Fresh(rows) => rows.row_of(ordinal).map(|row| row as u32),
        }
    }

    pub(crate) fn id(&self, row: u32) -> Result<RecordId, Error> {
        match &self.source {
            Source::Segment(segment) => segment.rows.id(row),
            Source::Fresh(rows) => rows.id(row as usize).ok_or(Error::Id("the part has no such row")),
        }
    }

    pub(crate) fn codes(&self, modality: Modality) -> Option<Codes<'_>> {
        match &self.source {
            Source::Segment(segment) => segment.codes(modality),
            Source::Fresh(rows) => rows.codes.as_ref()?.get(modality.index()).map(|codes| codes.as_codes()),
        }
    }

    pub(crate) fn index(&self, modality: Modality) -> Option<&OpenIndex> {
        self.segment()?.index.as_ref()?.index(modality)
    }

    pub(crate) fn alive(&self) -> &Arc<RowMask> {
        self.alive.get_or_init(|| {
            let mut mask = RowMask::all(self.rows() as usize);
            for ordinal in self.dead.range(self.first(), self.last()) {
                if let Some(row) = self.row_of(ordinal) {
                    mask.set(row as usize, false);
                }
            }
            Arc::new(mask)
        })
    }

    /// How many rows are dead. Ordinals between rows may be noted as dead, too.
    pub(crate) fn dead_rows(&self) -> u64 {
        let noted = self.dead.count(self.first(), self.last());
        let is_dense = self.last() - self.first() < u64::from(self.rows());
        match noted {
            0 => 0,
            _ if is_dense => noted,
            _ => *self.dead_rows.get_or_init(|| {
                let dead = self.dead.range(self.first(), self.last());
                dead.filter(|ordinal| self.row_of(*ordinal).is_some()).count() as u64
            }),
        }
    }

    pub(crate) fn is_alive(&self, row: u32) -> bool {
        row < self.rows() && !self.dead.contains(self.ordinal(row))
    }

    pub(crate) fn present(&self, modality: Modality) -> &Arc<RowMask> {
        match &self.source {
            Source::Segment(segment) => segment.rows.present(modality),
            Source::Fresh(rows) => {
                pick(&self.present, modality).get_or_init(|| Arc::new(rows.presence(modality.index())))
            }
        }
    }

    pub(crate) fn searchable(&self, modality: Modality) -> &Arc<RowMask> {
        pick(&self.searchable, modality).get_or_init(|| {
            let (alive, present) = (self.alive(), self.present(modality));
            if present.is_all() {
                alive.clone()
            } else if alive.is_all() {
                present.clone()
            } else {
                Arc::new(alive.and(present))
            }
        })
    }

    pub(crate) fn searchable_rows(&self, modality: Modality) -> u64 {
        *pick(&self.searchable_rows, modality).get_or_init(|| match &self.source {
            // No mask is made where none is needed: that of a large segment has megabytes.
            Source::Segment(segment)
                if segment.rows.presence(modality) == Presence::All && self.dead_rows() == 0 =>
            {
                u64::from(self.rows())
            }
            _ => self.searchable(modality).count() as u64,
        })
    }
}

fn pick<T>(both: &[T; 2], modality: Modality) -> &T {
    let [image, text] = both;
    match modality {
        Modality::Image => image,
        Modality::Text => text,
    }
}

/// A segment or a block of fresh rows, as one view sees it.
///
/// Rows are numbered from 0 in the order of their ordinals. Dead rows keep their numbers; masks
/// leave them out.
#[derive(Clone, Debug)]
pub struct Part {
    pub(crate) data: Arc<PartData>,
    pin: Arc<Pin>,
    collection: CollectionId,
    code_bytes: usize,
}

impl Part {
    pub(crate) fn new(
        data: Arc<PartData>,
        pin: Arc<Pin>,
        collection: CollectionId,
        code_bytes: usize,
    ) -> Self {
        Part { data, pin, collection, code_bytes }
    }

    /// Rows, dead ones included.
    pub fn rows(&self) -> u32 {
        self.data.rows()
    }

    /// The ordinal of a row; `row` must be below [`rows`](Self::rows).
    pub fn ordinal(&self, row: u32) -> u64 {
        self.data.ordinal(row)
    }

    /// The row of an ordinal, alive or dead.
    pub fn row_of(&self, ordinal: u64) -> Option<u32> {
        self.data.row_of(ordinal)
    }

    /// The id of a row.
    pub fn id(&self, row: u32) -> Result<RecordId, Error> {
        self.data.id(row)
    }

    /// The codes of a modality, one for every row and zero where the row has none.
    ///
    /// `None` when the collection has no codes yet, and for segments in which no row has the
    /// modality.
    pub fn codes(&self, modality: Modality) -> Option<Codes<'_>> {
        self.data.codes(modality)
    }

    /// Which file the codes lie in, however many snapshots share it; `None` where they lie in no file.
    pub fn codes_identity(&self) -> Option<CodesIdentity> {
        self.data.segment()?.codes.as_ref().map(CodesIdentity::of)
    }

    /// What the [indexer](crate::SegmentIndexer) made of the index of these codes; `None` where there
    /// is none, or a damaged one.
    pub fn index(&self, modality: Modality) -> Option<&OpenIndex> {
        self.data.index(modality)
    }

    /// Which rows have the modality, dead ones included.
    pub fn present(&self, modality: Modality) -> &Arc<RowMask> {
        self.data.present(modality)
    }

    /// Which rows are alive.
    pub fn alive(&self) -> &Arc<RowMask> {
        self.data.alive()
    }

    /// Which rows are alive and have the modality.
    pub fn searchable(&self, modality: Modality) -> &Arc<RowMask> {
        self.data.searchable(modality)
    }

    /// How many rows are alive and have the modality; counted once.
    pub fn searchable_rows(&self, modality: Modality) -> u64 {
        self.data.searchable_rows(modality)
    }

    /// Whether the part is a segment.
    pub fn is_segment(&self) -> bool {
        self.data.segment().is_some()
    }

    /// The number of the segment.
    pub fn segment_number(&self) -> Option<u32> {
        self.data.segment().map(|segment| segment.rows.number())
    }

    /// The kept image features of a row.
    pub fn image_features(&self, row: u32) -> Result<Option<Vec<f16>>, Error> {
        match &self.data.source {
            Source::Segment(segment) => segment.rows.features(Modality::Image, row),
            Source::Fresh(_) => Ok(self.fresh_record(row)?.image),
        }
    }

    /// The kept text features of a row.
    pub fn text_features(&self, row: u32) -> Result<Option<Vec<f16>>, Error> {
        match &self.data.source {
            Source::Segment(segment) => segment.rows.features(Modality::Text, row),
            Source::Fresh(_) => Ok(match self.fresh_record(row)?.text {
                Some(StoredText::Features(features)) => Some(features),
                _ => None,
            }),
        }
    }

    /// The kept text of a row.
    pub fn text(&self, row: u32) -> Result<Option<String>, Error> {
        match &self.data.source {
            Source::Segment(segment) => segment.rows.text(row),
            Source::Fresh(_) => Ok(match self.fresh_record(row)?.text {
                Some(StoredText::Text(text)) => Some(text),
                _ => None,
            }),
        }
    }

    /// A row without its fields.
    pub(crate) fn record(&self, row: u32) -> Result<StoredRecord, Error> {
        let Source::Segment(segment) = &self.data.source else {
            return self.fresh_record(row);
        };
        let rows = &segment.rows;
        let present = Modality::ALL.map(|modality| rows.is_present(modality, row));
        let text = match rows.text(row)? {
            Some(text) => Some(StoredText::Text(text)),
            None => rows.features(Modality::Text, row)?.map(StoredText::Features),
        };
        let mut codes = [None, None];
        for ((code, modality), present) in codes.iter_mut().zip(Modality::ALL).zip(present) {
            if present {
                *code = segment.codes(modality).map(|codes| codes.row(row as usize));
            }
        }
        Ok(StoredRecord {
            id: rows.id(row)?,
            ordinal: rows.ordinal(row),
            image: rows.features(Modality::Image, row)?,
            text,
            codes,
            present,
            fields: Vec::new(),
        })
    }

    fn fresh_record(&self, row: u32) -> Result<StoredRecord, Error> {
        let ordinal = self.ordinal(row);
        let key = keys::ordinal(self.collection, ordinal);
        let corrupt = |what| self.pin.corrupt(Family::Fresh, &key, what);
        let value = self.pin.get(Family::Fresh, &key)?.ok_or_else(|| corrupt("the row is missing"))?;
        let row = fresh::decode(ordinal, &value, self.code_bytes)
            .ok_or_else(|| corrupt("the row is unreadable"))?;
        let text = match (row.text, row.text_features) {
            (Some(text), _) => Some(StoredText::Text(text.to_owned())),
            (None, Some(features)) => Some(StoredText::Features(features.into_owned())),
            (None, None) => None,
        };
        Ok(StoredRecord {
            id: row.id.into_owned(),
            ordinal,
            image: row.image.map(|features| features.into_owned()),
            text,
            codes: row.codes.map(|code| code.map(|code| code.into_owned())),
            present: row.present,
            fields: Vec::new(),
        })
    }
}
