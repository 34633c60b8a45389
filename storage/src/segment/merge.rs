//! Merging neighbors: one segment with the alive rows of several, byte for byte the segment that
//! those rows would have been written as in the first place.
//!
//! Columns are made one after the other, each by a pass over the runs of alive rows. What is in
//! memory at a time is a piece of a column, whatever the size of the segments. The inputs' checksums
//! are compared first: damage must not be copied under a checksum that fits it.

mod ids;

use std::ops::Range;
use std::sync::Arc;

use twinbit_kernels::{CodeBits, Codes, CodesBuf, Modality};

use super::codes::{self, CODES, CodesFile};
use super::rows::{self, FEATURES, KEPT, PRESENCE, RowsFile};
use super::texts::{self, BlockBuilder};
use super::writer::{self, ColumnWriter, Reserved};
use super::{Segment, Step};
use crate::bits::{BitSlice, Bits};
use crate::dead::Dead;
use crate::error::Error;
use crate::format::{ColumnKind, MAX_SEGMENT_ROWS, Presence, TEXTS_PER_BLOCK};
use crate::id::{CollectionId, ModelId};
use crate::layout::Layout;
use crate::schema::IdKind;

/// Rows that are treated at once: what a step of eight bytes a row holds in memory is half a MiB.
const ROWS_AT_ONCE: u32 = 1 << 16;
/// Words of a bit string, and ends of text blocks, that are gathered before they are written.
const NUMBERS_AT_ONCE: usize = 1 << 13;

/// What is merged.
pub(crate) struct Merge<'m> {
    /// Neighbors of one collection in ascending order.
    pub(crate) segments: &'m [Segment],
    /// Rows that are left out.
    pub(crate) dead: &'m Dead,
    pub(crate) collection: CollectionId,
    pub(crate) ids: IdKind,
    pub(crate) bits: CodeBits,
    /// The id of the codes that the collection stores.
    pub(crate) model: Option<ModelId>,
    /// Bytes of a column in memory at most.
    pub(crate) piece: usize,
}

/// What is known of the new segment before its first column.
struct Outline {
    rows: usize,
    base: u64,
    last: u64,
    /// With automatic ids: some row's id is not its ordinal.
    foreign: bool,
    present: [usize; 2],
    kept: [usize; 2],
}

impl Merge<'_> {
    /// Writes the new segment; `None` when no row is alive. The segments that are found damaged
    /// [know it](Segment::is_damaged) afterwards.
    pub(crate) fn write(
        &self,
        layout: &Layout,
        number: u32,
        step: &mut Step<'_>,
    ) -> Result<Option<Segment>, Error> {
        self.check(step)?;
        self.copy(layout, number, step).inspect_err(|error| self.note_damage(error))
    }

    fn note_damage(&self, error: &Error) {
        self.segments.iter().for_each(|segment| segment.note_damage(error));
    }

    fn copy(&self, layout: &Layout, number: u32, step: &mut Step<'_>) -> Result<Option<Segment>, Error> {
        let Some(outline) = self.outline() else { return Ok(None) };
        if outline.rows > MAX_SEGMENT_ROWS {
            return Err(Error::Limit {
                what: "the number of rows of a segment",
                limit: MAX_SEGMENT_ROWS as u64,
            });
        }
        let presence = outline.present.map(|count| Presence::of(count, outline.rows));
        let header = rows::header(number, self.collection, outline.rows, outline.base, presence);
        let guard = layout.files.unnamed(layout.rows(number));
        let length = writer::write(guard.files(), guard.path(), header, |columns| {
            self.ids(&outline, columns, step)?;
            self.deltas(&outline, columns, step)?;
            for (modality, kind) in Modality::ALL.into_iter().zip(PRESENCE) {
                if pick(presence, modality) == Presence::Some {
                    self.bit_column(kind, |rows| rows.present_bits(modality), columns, step)?;
                }
            }
            for (modality, kind) in Modality::ALL.into_iter().zip(FEATURES) {
                self.features(modality, kind, columns, step)?;
            }
            self.texts(&outline, columns, step)?;
            for (modality, kind) in Modality::ALL.into_iter().zip(KEPT) {
                let kept = pick(outline.kept, modality);
                if kept > 0 && kept < pick(outline.present, modality) {
                    self.bit_column(kind, |rows| rows.kept_bits(modality), columns, step)?;
                }
            }
            Ok(())
        })?;
        let rows = Arc::new(RowsFile::open(guard, length)?);
        let codes = match self.model {
            Some(model) => Some(Arc::new(self.codes(layout, &rows, model, step)?)),
            None => None,
        };
        Ok(Some(Segment { rows, codes, index: None }))
    }

    /// Compares everything that will be copied with its checksums, to the end also after damage: then
    /// one look finds all of it.
    fn check(&self, step: &mut Step<'_>) -> Result<(), Error> {
        let mut first = Ok(());
        for segment in self.segments {
            if let Err(error) = self.check_segment(segment, step) {
                segment.note_damage(&error);
                if !segment.is_damaged() {
                    return Err(error);
                }
                first = first.and(Err(error));
            }
        }
        first
    }

    fn check_segment(&self, segment: &Segment, step: &mut Step<'_>) -> Result<(), Error> {
        // These say which rows are dead.
        segment.rows.file().check(Some(ColumnKind::OrdinalDeltas), step)?;
        if self.runs(&segment.rows).next().is_none() {
            return Ok(());
        }
        segment.rows.file().check(None, step)?;
        match &segment.codes {
            Some(codes) => codes.file().check(None, step),
            None => Ok(()),
        }
    }

    fn outline(&self) -> Option<Outline> {
        let mut outline =
            Outline { rows: 0, base: 0, last: 0, foreign: false, present: [0; 2], kept: [0; 2] };
        for Segment { rows, .. } in self.segments {
            let numbers = rows.file().numbers::<u64>(ColumnKind::IdNumbers);
            for run in self.runs(rows) {
                if outline.rows == 0 {
                    outline.base = rows.ordinal(run.start);
                }
                outline.last = rows.ordinal(run.end - 1);
                outline.rows += run.len();
                let counts = outline.present.iter_mut().zip(&mut outline.kept);
                for (modality, (present, kept)) in Modality::ALL.into_iter().zip(counts) {
                    *present += rows.present_bits(modality).ones(range(&run));
                    *kept += rows.kept_bits(modality).ones(range(&run));
                }
                if let (IdKind::Auto, false, Some(numbers)) = (self.ids, outline.foreign, numbers) {
                    let ids = numbers.get(range(&run)).unwrap_or_default();
                    outline.foreign = run.zip(ids).any(|(row, id)| rows.ordinal(row) != *id);
                }
            }
        }
        (outline.rows > 0).then_some(outline)
    }

    /// The runs of alive rows of a segment, cut into pieces.
    fn runs(&self, rows: &RowsFile) -> impl Iterator<Item = Range<u32>> {
        let mut start = 0;
        self.dead
            .range(rows.base(), rows.last())
            .filter_map(|ordinal| rows.row_of(ordinal))
            .chain([rows.rows()])
            .map(move |end| std::mem::replace(&mut start, end + 1)..end)
            .flat_map(|run| {
                let end = run.end;
                run.step_by(ROWS_AT_ONCE as usize).map(move |from| from..end.min(from + ROWS_AT_ONCE))
            })
    }

    /// The places of the alive rows' inputs among all kept ones of a segment.
    fn slots(&self, rows: &RowsFile, modality: Modality) -> impl Iterator<Item = Range<usize>> {
        let kept = rows.kept_bits(modality);
        let (mut row, mut slot) = (0, 0);
        self.runs(rows).map(move |run| {
            slot += kept.ones(row..run.start as usize);
            let first = slot;
            slot += kept.ones(range(&run));
            row = run.end as usize;
            first..slot
        })
    }

    fn deltas(
        &self,
        outline: &Outline,
        columns: &mut ColumnWriter<'_>,
        step: &mut Step<'_>,
    ) -> Result<(), Error> {
        if outline.last.checked_sub(outline.base) == Some(outline.rows as u64 - 1) {
            return Ok(());
        }
        columns.begin(ColumnKind::OrdinalDeltas, 0)?;
        for Segment { rows, .. } in self.segments {
            for run in self.runs(rows) {
                let deltas: Result<Vec<u32>, Error> =
                    run.map(|row| rows::delta(outline.base, rows.ordinal(row))).collect();
                columns.push(bytemuck::cast_slice(&deltas?))?;
                columns.step(step)?;
            }
        }
        Ok(())
    }

    fn bit_column(
        &self,
        kind: ColumnKind,
        bits: impl for<'r> Fn(&'r RowsFile) -> BitSlice<'r>,
        columns: &mut ColumnWriter<'_>,
        step: &mut Step<'_>,
    ) -> Result<(), Error> {
        columns.begin(kind, 0)?;
        let mut gathered = Bits::default();
        for Segment { rows, .. } in self.segments {
            for run in self.runs(rows) {
                gathered.extend(bits(rows), range(&run));
                if gathered.words().len() > NUMBERS_AT_ONCE {
                    columns.push(bytemuck::cast_slice(&gathered.take_full_words()))?;
                    columns.step(step)?;
                }
            }
        }
        columns.push(bytemuck::cast_slice(gathered.words()))
    }

    fn features(
        &self,
        modality: Modality,
        kind: ColumnKind,
        columns: &mut ColumnWriter<'_>,
        step: &mut Step<'_>,
    ) -> Result<(), Error> {
        let mut width = None;
        for Segment { rows, .. } in self.segments {
            let file = rows.file();
            let Some(here) = file.parameter(kind) else { continue };
            for slots in self.slots(rows, modality).filter(|slots| !slots.is_empty()) {
                if width.is_none() {
                    columns.begin(kind, here)?;
                }
                if *width.get_or_insert(here) != here {
                    return Err(file.corrupt(kind, 0, "its features have another width than its neighbors'"));
                }
                let row_bytes = u64::from(here) * 2;
                let pieces = slots.clone().step_by((self.piece as u64 / row_bytes.max(1)).max(1) as usize);
                let ends = pieces.clone().skip(1).chain([slots.end]);
                for (from, until) in pieces.zip(ends) {
                    let place = from as u64 * row_bytes..until as u64 * row_bytes;
                    let bytes = file.range(kind, place.clone())?;
                    let bytes = bytes
                        .ok_or_else(|| file.corrupt(kind, place.start as usize, "features are missing"))?;
                    columns.push(&bytes)?;
                    columns.step(step)?;
                }
            }
        }
        Ok(())
    }

    fn texts(
        &self,
        outline: &Outline,
        columns: &mut ColumnWriter<'_>,
        step: &mut Step<'_>,
    ) -> Result<(), Error> {
        const KIND: ColumnKind = ColumnKind::TextBlocks;
        let texts = pick(outline.kept, Modality::Text);
        if texts == 0 || !self.segments.iter().any(|segment| segment.rows.file().has(KIND)) {
            return Ok(());
        }
        let blocks = texts.div_ceil(TEXTS_PER_BLOCK) as u64;
        let mut ends =
            Ends { place: columns.reserve(ColumnKind::TextBlockEnds, blocks * 8)?, gathered: Vec::new() };
        columns.begin(KIND, u32::try_from(texts).unwrap_or(u32::MAX))?;
        let mut block = BlockBuilder::default();
        let mut end = 0;
        for Segment { rows, .. } in self.segments {
            let file = rows.file();
            let in_all = file.parameter(KIND).unwrap_or_default() as usize;
            let mut open: Option<(usize, Vec<u8>)> = None;
            for slot in self.slots(rows, Modality::Text).flatten() {
                let number = slot / TEXTS_PER_BLOCK;
                let plain = match &mut open {
                    Some((opened, plain)) if *opened == number => &*plain,
                    _ => {
                        // The one before goes first.
                        drop(open.take());
                        &open.insert((number, rows.text_block(number)?)).1
                    }
                };
                let here = (in_all - (number * TEXTS_PER_BLOCK).min(in_all)).min(TEXTS_PER_BLOCK);
                let text = texts::text(plain, here, slot % TEXTS_PER_BLOCK)
                    .ok_or_else(|| file.corrupt(KIND, 0, format!("text {slot} is unreadable")))?;
                if block.push(text) {
                    ends.push(columns, &mut end, &block.take())?;
                    columns.step(step)?;
                }
            }
        }
        if !block.is_empty() {
            ends.push(columns, &mut end, &block.take())?;
        }
        ends.write(columns)
    }

    fn codes(
        &self,
        layout: &Layout,
        rows: &RowsFile,
        model: ModelId,
        step: &mut Step<'_>,
    ) -> Result<CodesFile, Error> {
        let header = codes::header(rows, model, self.bits);
        let guard = layout.files.unnamed(layout.codes(rows.number(), model));
        let length = writer::write(guard.files(), guard.path(), header, |columns| {
            for (modality, kind) in Modality::ALL.into_iter().zip(CODES) {
                if rows.presence(modality) != Presence::None {
                    columns.begin(kind, 0)?;
                    self.code_column(modality, model, columns, step)?;
                }
            }
            Ok(())
        })?;
        CodesFile::open(guard, length)
    }

    fn code_column(
        &self,
        modality: Modality,
        model: ModelId,
        columns: &mut ColumnWriter<'_>,
        step: &mut Step<'_>,
    ) -> Result<(), Error> {
        let block = self.bits.rows_per_block();
        let at_once = (self.piece / self.bits.bytes()).next_multiple_of(block).max(block);
        let mut code = vec![0; self.bits.bytes()];
        let mut gathered = CodesBuf::new(self.bits);
        for segment in self.segments {
            let file = segment.codes.as_ref().filter(|codes| codes.model() == model);
            let file = file.ok_or_else(|| {
                let what = "the codes beside it are not of the collection's model";
                Error::corrupt(segment.rows.file().path(), 0, what)
            })?;
            let codes = file.codes(modality);
            for run in self.runs(&segment.rows).map(|run| range(&run)) {
                let mut row = run.start;
                while row < run.end {
                    let whole = (run.end - row) / block * block;
                    if let Some(codes) = codes
                        && whole > 0
                        && row.is_multiple_of(block)
                        && gathered.rows().is_multiple_of(block)
                    {
                        push_codes(columns, &mut gathered)?;
                        columns.push(blocks(codes, row..row + whole))?;
                        row += whole;
                        continue;
                    }
                    match codes {
                        Some(codes) => {
                            codes.row_into(row, &mut code);
                            gathered.push(&code)
                        }
                        None => gathered.push_zero(),
                    }
                    .map_err(Error::codes)?;
                    row += 1;
                    if gathered.rows() == at_once {
                        push_codes(columns, &mut gathered)?;
                    }
                }
                columns.step(step)?;
            }
        }
        push_codes(columns, &mut gathered)
    }
}

/// Writes gathered codes out: whole blocks, or the last ones.
fn push_codes(columns: &mut ColumnWriter<'_>, gathered: &mut CodesBuf) -> Result<(), Error> {
    if gathered.rows() == 0 {
        return Ok(());
    }
    let bits = gathered.bits();
    let codes = std::mem::replace(gathered, CodesBuf::new(bits));
    columns.push(codes.as_bytes())
}

/// The bytes of whole blocks of codes.
fn blocks(codes: Codes<'_>, rows: Range<usize>) -> &[u8] {
    let lines = Codes::line_count(codes.bits(), rows.start)..Codes::line_count(codes.bits(), rows.end);
    bytemuck::cast_slice(codes.lines().get(lines).unwrap_or_default())
}

/// The ends of text blocks, written in their place as they become known.
struct Ends {
    place: Reserved,
    gathered: Vec<u64>,
}

impl Ends {
    /// Writes a block and notes where it ends.
    fn push(&mut self, columns: &mut ColumnWriter<'_>, end: &mut u64, block: &[u8]) -> Result<(), Error> {
        columns.push(block)?;
        *end += block.len() as u64;
        self.gathered.push(*end);
        match self.gathered.len() {
            NUMBERS_AT_ONCE => self.write(columns),
            _ => Ok(()),
        }
    }

    fn write(&mut self, columns: &mut ColumnWriter<'_>) -> Result<(), Error> {
        columns.fill(&mut self.place, bytemuck::cast_slice(&self.gathered))?;
        self.gathered.clear();
        Ok(())
    }
}

fn range(run: &Range<u32>) -> Range<usize> {
    run.start as usize..run.end as usize
}

fn pick<T>([image, text]: [T; 2], modality: Modality) -> T {
    match modality {
        Modality::Image => image,
        Modality::Text => text,
    }
}

#[cfg(test)]
mod tests;
