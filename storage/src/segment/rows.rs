//! The rows file: ids, ordinals, presence and kept inputs.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use half::f16;
use half::slice::HalfFloatSliceExt;
use twinbit_kernels::{Modality, RowMask};

use super::reader::ColumnFile;
use super::texts;
use super::writer::{self, ColumnWriter};
use crate::bits::{BitSlice, RankDirectory, bit, mask_of_words};
use crate::buffer::{IdColumn, RowBuffer};
use crate::durable::FileGuard;
use crate::error::Error;
use crate::format::{ColumnKind, FileKind, Header, MAX_SEGMENT_ROWS, Presence, TEXTS_PER_BLOCK};
use crate::id::{CollectionId, ModelId, RecordId};
use crate::layout::Layout;

/// An open rows file.
pub(crate) struct RowsFile {
    file: ColumnFile,
    ranks: [OnceLock<RankDirectory>; 2],
    masks: [OnceLock<Arc<RowMask>>; 2],
}

impl std::fmt::Debug for RowsFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RowsFile").field(&self.file.path()).finish()
    }
}

pub(super) const PRESENCE: [ColumnKind; 2] = [ColumnKind::ImagePresence, ColumnKind::TextPresence];
pub(super) const KEPT: [ColumnKind; 2] = [ColumnKind::ImageKept, ColumnKind::TextKept];
pub(super) const FEATURES: [ColumnKind; 2] = [ColumnKind::ImageFeatures, ColumnKind::TextFeatures];

impl RowsFile {
    pub(super) fn write(
        layout: &Layout,
        number: u32,
        collection: CollectionId,
        buffer: &RowBuffer,
    ) -> Result<Self, Error> {
        let rows = buffer.rows();
        let (Some(base), true) = (buffer.ordinals.first().copied(), rows <= MAX_SEGMENT_ROWS) else {
            return Err(Error::Limit {
                what: "the number of rows of a segment",
                limit: MAX_SEGMENT_ROWS as u64,
            });
        };
        let presence = [0, 1].map(|modality| presence_of(buffer, modality));
        let header = header(number, collection, rows, base, presence);
        let guard = layout.files.unnamed(layout.rows(number));
        let length = writer::write(guard.files(), guard.path(), header, |columns| {
            write_buffer(buffer, base, columns)
        })?;
        Self::open(guard, length)
    }

    /// Opens the file and checks that its columns fit each other.
    pub(crate) fn open(guard: FileGuard, length: u64) -> Result<Self, Error> {
        let file = ColumnFile::open(guard, FileKind::Rows, length)?;
        let rows = u64::from(file.header.rows);
        if rows == 0 {
            return Err(Error::corrupt(file.path(), 20, "a segment without rows"));
        }
        if file.has(ColumnKind::IdNumbers) {
            file.expect(ColumnKind::IdNumbers, Some(rows * 8))?;
        }
        if file.has(ColumnKind::IdEnds) || file.has(ColumnKind::IdBytes) {
            file.expect(ColumnKind::IdNumbers, None)?;
            file.expect(ColumnKind::IdEnds, Some(rows * 8))?;
        }
        if file.has(ColumnKind::OrdinalDeltas) {
            file.expect(ColumnKind::OrdinalDeltas, Some(rows * 4))?;
        }
        for (kind, presence) in PRESENCE.into_iter().zip(file.header.presence) {
            let words = (presence == Presence::Some).then(|| rows.div_ceil(64) * 8);
            file.expect(kind, words)?;
        }
        let has_texts = [false, file.has(ColumnKind::TextBlocks)];
        for ((kind, features), texts) in KEPT.into_iter().zip(FEATURES).zip(has_texts) {
            if file.has(kind) {
                file.expect(kind, (texts || file.has(features)).then_some(rows.div_ceil(64) * 8))?;
            }
        }
        for ((kind, kept), presence) in FEATURES.into_iter().zip(KEPT).zip(file.header.presence) {
            let Some(width) = file.parameter(kind) else { continue };
            file.expect_multiple(kind, u64::from(width) * 2)?;
            if presence == Presence::All && !file.has(kept) {
                file.expect(kind, Some(rows * u64::from(width) * 2))?;
            }
        }
        if let Some(texts) = file.parameter(ColumnKind::TextBlocks) {
            let blocks = u64::from(texts).div_ceil(TEXTS_PER_BLOCK as u64);
            file.expect(ColumnKind::TextBlockEnds, Some(blocks * 8))?;
        }
        let opened = RowsFile { file, ranks: Default::default(), masks: Default::default() };
        // The range of ordinals is relied on before any checksum of a column is compared.
        if opened.ordinal(0) != opened.base() || opened.last() < opened.base() {
            return Err(opened.file.corrupt(
                ColumnKind::OrdinalDeltas,
                0,
                "the ordinals do not begin at their base",
            ));
        }
        Ok(opened)
    }

    pub(crate) fn file(&self) -> &ColumnFile {
        &self.file
    }

    pub(crate) fn guard(&self) -> &FileGuard {
        self.file.guard()
    }

    pub(crate) fn number(&self) -> u32 {
        self.file.header.number
    }

    pub(crate) fn rows(&self) -> u32 {
        self.file.header.rows
    }

    pub(crate) fn base(&self) -> u64 {
        self.file.header.base
    }

    /// The last row's ordinal.
    pub(crate) fn last(&self) -> u64 {
        self.ordinal(self.rows() - 1)
    }

    /// The ordinal of a row.
    pub(crate) fn ordinal(&self, row: u32) -> u64 {
        let delta = match self.deltas() {
            Some(deltas) => deltas.get(row as usize).copied().unwrap_or(row),
            None => row,
        };
        self.base().saturating_add(u64::from(delta))
    }

    /// The row of an ordinal.
    pub(crate) fn row_of(&self, ordinal: u64) -> Option<u32> {
        let delta = u32::try_from(ordinal.checked_sub(self.base())?).ok()?;
        match self.deltas() {
            Some(deltas) => deltas.binary_search(&delta).ok().map(|row| row as u32),
            None => (delta < self.rows()).then_some(delta),
        }
    }

    pub(super) fn deltas(&self) -> Option<&[u32]> {
        self.file.numbers(ColumnKind::OrdinalDeltas)
    }

    /// The id of a row.
    pub(crate) fn id(&self, row: u32) -> Result<RecordId, Error> {
        let index = row as usize;
        if let Some(numbers) = self.file.numbers::<u64>(ColumnKind::IdNumbers) {
            let id = numbers.get(index).copied();
            return id
                .map(RecordId::U64)
                .ok_or_else(|| self.file.corrupt(ColumnKind::IdNumbers, index * 8, "no such row"));
        }
        let Some(ends) = self.file.numbers::<u64>(ColumnKind::IdEnds) else {
            return Ok(RecordId::U64(self.ordinal(row)));
        };
        let read = || -> Option<&str> {
            let start = match index.checked_sub(1) {
                Some(before) => usize::try_from(*ends.get(before)?).ok()?,
                None => 0,
            };
            let end = usize::try_from(*ends.get(index)?).ok()?;
            let bytes = self.file.bytes(ColumnKind::IdBytes)?;
            std::str::from_utf8(bytes.get(start..end)?).ok()
        };
        read().map(RecordId::from).ok_or_else(|| {
            self.file.corrupt(ColumnKind::IdEnds, index * 8, format!("the id of row {row} is unreadable"))
        })
    }

    /// Which rows have the modality.
    pub(crate) fn present(&self, modality: Modality) -> &Arc<RowMask> {
        let rows = self.rows() as usize;
        let [image, text] = &self.masks;
        let cell = match modality {
            Modality::Image => image,
            Modality::Text => text,
        };
        cell.get_or_init(|| {
            Arc::new(match self.presence(modality) {
                Presence::None => RowMask::none(rows),
                Presence::All => RowMask::all(rows),
                Presence::Some => mask_of_words(rows, self.presence_words(modality)),
            })
        })
    }

    pub(crate) fn presence(&self, modality: Modality) -> Presence {
        let [image, text] = self.file.header.presence;
        match modality {
            Modality::Image => image,
            Modality::Text => text,
        }
    }

    fn presence_words(&self, modality: Modality) -> &[u64] {
        let [image, text] = PRESENCE;
        let kind = match modality {
            Modality::Image => image,
            Modality::Text => text,
        };
        self.file.numbers(kind).unwrap_or_default()
    }

    /// Which rows have the modality, as stored.
    pub(super) fn present_bits(&self, modality: Modality) -> BitSlice<'_> {
        match self.presence(modality) {
            Presence::None => BitSlice::Zeros,
            Presence::All => BitSlice::Ones,
            Presence::Some => BitSlice::Words(self.presence_words(modality)),
        }
    }

    /// Which rows have a kept input, as stored.
    pub(super) fn kept_bits(&self, modality: Modality) -> BitSlice<'_> {
        let ([image, text], [image_features, text_features]) = (KEPT, FEATURES);
        let (kept, has_inputs) = match modality {
            Modality::Image => (image, self.file.has(image_features)),
            Modality::Text => (text, self.file.has(text_features) || self.file.has(ColumnKind::TextBlocks)),
        };
        match self.file.numbers(kept) {
            Some(words) => BitSlice::Words(words),
            None if has_inputs => self.present_bits(modality),
            None => BitSlice::Zeros,
        }
    }

    /// Whether a row has the modality.
    pub(crate) fn is_present(&self, modality: Modality, row: u32) -> bool {
        match self.presence(modality) {
            Presence::None => false,
            Presence::All => true,
            Presence::Some => bit(self.presence_words(modality), row as usize),
        }
    }

    /// The place of a row among the rows with a kept input.
    fn slot(&self, modality: Modality, row: u32) -> Option<usize> {
        let [image, text] = KEPT;
        let kept = self.file.numbers(match modality {
            Modality::Image => image,
            Modality::Text => text,
        });
        let words = match kept {
            Some(words) if bit(words, row as usize) => words,
            Some(_) => return None,
            None if !self.is_present(modality, row) => return None,
            None if self.presence(modality) == Presence::All => return Some(row as usize),
            None => self.presence_words(modality),
        };
        let [image, text] = &self.ranks;
        let cell = match modality {
            Modality::Image => image,
            Modality::Text => text,
        };
        let directory = cell.get_or_init(|| RankDirectory::new(words));
        Some(directory.rank(words, row as usize))
    }

    /// The kept features of a row, `None` where there are none.
    pub(crate) fn features(&self, modality: Modality, row: u32) -> Result<Option<Vec<f16>>, Error> {
        let [image, text] = FEATURES;
        let kind = match modality {
            Modality::Image => image,
            Modality::Text => text,
        };
        let (Some(width), Some(slot)) = (self.file.parameter(kind), self.slot(modality, row)) else {
            return Ok(None);
        };
        let bytes = u64::from(width) * 2;
        let start = slot as u64 * bytes;
        let values = self.file.range(kind, start..start + bytes)?.ok_or_else(|| {
            self.file.corrupt(kind, start as usize, format!("the features of row {row} are missing"))
        })?;
        let (pairs, _) = values.as_chunks();
        Ok(Some(pairs.iter().map(|pair| f16::from_le_bytes(*pair)).collect()))
    }

    /// The kept text of a row, `None` where there is none.
    pub(crate) fn text(&self, row: u32) -> Result<Option<String>, Error> {
        let Some(texts) = self.file.parameter(ColumnKind::TextBlocks) else {
            return Ok(None);
        };
        let Some(slot) = self.slot(Modality::Text, row) else {
            return Ok(None);
        };
        let block = slot / TEXTS_PER_BLOCK;
        let plain = self.text_block(block)?;
        let here = (texts as usize - (block * TEXTS_PER_BLOCK).min(texts as usize)).min(TEXTS_PER_BLOCK);
        texts::text(&plain, here, slot % TEXTS_PER_BLOCK).map(|text| Some(text.to_owned())).ok_or_else(|| {
            self.file.corrupt(ColumnKind::TextBlocks, 0, format!("the text of row {row} is unreadable"))
        })
    }

    /// Reads every kept input, those of dead rows included, and returns what cannot be read.
    pub(crate) fn check_inputs(&self) -> Vec<Error> {
        let mut damage = Vec::new();
        let texts = self.file.parameter(ColumnKind::TextBlocks).unwrap_or_default() as usize;
        for block in 0..texts.div_ceil(TEXTS_PER_BLOCK) {
            let here = (texts - block * TEXTS_PER_BLOCK).min(TEXTS_PER_BLOCK);
            match self.text_block(block) {
                Ok(plain) if (0..here).all(|index| texts::text(&plain, here, index).is_some()) => {}
                Ok(_) => damage.push(self.file.corrupt(
                    ColumnKind::TextBlocks,
                    0,
                    format!("a text of block {block} is unreadable"),
                )),
                Err(error) => damage.push(error),
            }
        }
        // The inputs lie one after the other, so that the last one is there only when all are.
        for (modality, kind) in Modality::ALL.into_iter().zip(FEATURES) {
            let has_texts = modality == Modality::Text && texts > 0;
            if !has_texts && !self.file.has(kind) {
                continue;
            }
            let last = self.present(modality).ones().filter(|row| self.slot(modality, *row).is_some()).last();
            let Some(last) = last else { continue };
            if let Err(error) = self.features(modality, last) {
                damage.push(error);
            }
            if let (true, Some(slot)) = (has_texts, self.slot(modality, last))
                && slot >= texts
            {
                let what = format!("it has {texts} texts where {} belong", slot + 1);
                damage.push(self.file.corrupt(ColumnKind::TextBlocks, 0, what));
            }
        }
        damage
    }

    /// The block of texts with this number, unpacked.
    pub(super) fn text_block(&self, block: usize) -> Result<Vec<u8>, Error> {
        let range = || -> Option<Range<u64>> {
            let ends = self.file.numbers::<u64>(ColumnKind::TextBlockEnds)?;
            let start = match block.checked_sub(1) {
                Some(before) => *ends.get(before)?,
                None => 0,
            };
            Some(start..*ends.get(block)?)
        };
        let packed = match range() {
            Some(range) => self.file.range(ColumnKind::TextBlocks, range)?,
            None => None,
        };
        packed.and_then(|packed| texts::decompress(&packed)).ok_or_else(|| {
            self.file.corrupt(
                ColumnKind::TextBlockEnds,
                block * 8,
                format!("text block {block} is unreadable"),
            )
        })
    }
}

/// The header of a rows file.
pub(super) fn header(
    number: u32,
    collection: CollectionId,
    rows: usize,
    base: u64,
    presence: [Presence; 2],
) -> Header {
    Header {
        kind: FileKind::Rows,
        number,
        collection,
        rows: rows as u32,
        base,
        model: ModelId([0; 16]),
        bits: 0,
        presence,
        columns: 0,
    }
}

fn presence_of(buffer: &RowBuffer, modality: usize) -> Presence {
    Presence::of(buffer.present.get(modality).map_or(0, |bits| bits.count()), buffer.rows())
}

fn write_buffer(buffer: &RowBuffer, base: u64, columns: &mut ColumnWriter<'_>) -> Result<(), Error> {
    match &buffer.ids {
        IdColumn::Ordinals => {}
        IdColumn::Numbers(numbers) => {
            columns.column(ColumnKind::IdNumbers, 0, bytemuck::cast_slice::<u64, u8>(numbers))?;
        }
        IdColumn::Strings(strings) => {
            columns.column(ColumnKind::IdEnds, 0, bytemuck::cast_slice::<u64, u8>(&strings.ends))?;
            columns.column(ColumnKind::IdBytes, 0, &strings.bytes)?;
        }
    }
    let last = buffer.ordinals.last().copied().unwrap_or(base);
    if last - base != buffer.rows() as u64 - 1 {
        let mut deltas = Vec::with_capacity(buffer.rows());
        for ordinal in &buffer.ordinals {
            deltas.push(delta(base, *ordinal)?);
        }
        columns.column(ColumnKind::OrdinalDeltas, 0, bytemuck::cast_slice(&deltas))?;
    }
    for (modality, (kind, bits)) in PRESENCE.into_iter().zip(&buffer.present).enumerate() {
        if presence_of(buffer, modality) == Presence::Some {
            columns.column(kind, 0, bytemuck::cast_slice::<u64, u8>(bits.words()))?;
        }
    }
    let features = [&buffer.image_features, &buffer.text_features];
    for ((kind, values), kept) in FEATURES.into_iter().zip(features).zip(&buffer.kept) {
        if !values.is_empty() {
            let width = u32::try_from(values.len() / kept.count().max(1)).unwrap_or(u32::MAX);
            columns.column(kind, width, bytemuck::cast_slice::<u16, u8>(values.reinterpret_cast()))?;
        }
    }
    if !buffer.texts.ends.is_empty() {
        let (ends, blocks) = texts::compress(&buffer.texts);
        columns.column(ColumnKind::TextBlockEnds, 0, bytemuck::cast_slice::<u64, u8>(&ends))?;
        let texts = u32::try_from(buffer.texts.ends.len()).unwrap_or(u32::MAX);
        columns.column(ColumnKind::TextBlocks, texts, &blocks)?;
    }
    for ((kind, kept), present) in KEPT.into_iter().zip(&buffer.kept).zip(&buffer.present) {
        // Mostly every row of the modality has an input or none has.
        if kept.count() > 0 && kept.count() < present.count() {
            columns.column(kind, 0, bytemuck::cast_slice::<u64, u8>(kept.words()))?;
        }
    }
    Ok(())
}

/// An ordinal as a segment stores it.
pub(super) fn delta(base: u64, ordinal: u64) -> Result<u32, Error> {
    ordinal
        .checked_sub(base)
        .and_then(|delta| u32::try_from(delta).ok())
        .ok_or(Error::Limit { what: "the range of ordinals of a segment", limit: u64::from(u32::MAX) })
}
