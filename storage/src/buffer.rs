//! Rows in memory, by column: what a transaction gathers, what a block of fresh rows mirrors, and
//! what a segment is written from.

use std::borrow::Cow;

use half::f16;
use twinbit_kernels::{CodeBits, Codes, CodesBuf, RowMask};

use crate::bits::{BitSlice, Bits};
use crate::error::Error;
use crate::id::RecordId;
use crate::schema::IdKind;

/// One row on its way from or to a buffer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row<'a> {
    pub(crate) ordinal: u64,
    pub(crate) id: Cow<'a, RecordId>,
    pub(crate) present: [bool; 2],
    pub(crate) image: Option<Cow<'a, [f16]>>,
    pub(crate) text: Option<&'a str>,
    pub(crate) text_features: Option<Cow<'a, [f16]>>,
    pub(crate) codes: [Option<Cow<'a, [u8]>>; 2],
}

impl Row<'_> {
    /// Bytes of the payload, for limits.
    fn bytes(&self) -> usize {
        let features = |column: &Option<Cow<'_, [f16]>>| column.as_ref().map_or(0, |f| f.len() * 2);
        let id = match self.id.as_ref() {
            RecordId::U64(_) => 8,
            RecordId::Str(id) => id.len(),
        };
        id + features(&self.image)
            + features(&self.text_features)
            + self.text.map_or(0, str::len)
            + self.codes.iter().flatten().map(|code| code.len()).sum::<usize>()
    }
}

/// Bytes of the payload of a row that [`RowBuffer::extend_codes`] appends, for limits.
pub(crate) fn row_bytes(codes: [Option<Codes<'_>>; 2]) -> usize {
    8 + codes.iter().flatten().map(|codes| codes.bits().bytes()).sum::<usize>()
}

/// Ids of rows.
#[derive(Clone, Debug)]
pub(crate) enum IdColumn {
    /// Each row's id is its ordinal.
    Ordinals,
    /// Numbers.
    Numbers(Vec<u64>),
    /// Strings, one after the other, with the end of each.
    Strings(Texts),
}

/// Strings one after the other, with the end offset of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    pub(crate) ends: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.bytes.extend(text.as_bytes());
        self.ends.push(self.bytes.len() as u64);
    }

    pub(crate) fn get(&self, slot: usize) -> Option<&str> {
        let end = *self.ends.get(slot)? as usize;
        let start = match slot.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        std::str::from_utf8(self.bytes.get(start..end)?).ok()
    }
}

/// Rows by column, ascending ordinals.
#[derive(Clone, Debug)]
pub(crate) struct RowBuffer {
    pub(crate) ordinals: Vec<u64>,
    pub(crate) ids: IdColumn,
    pub(crate) present: [Bits; 2],
    /// Which rows have a kept input: a record may have a code alone.
    pub(crate) kept: [Bits; 2],
    pub(crate) image_features: Vec<f16>,
    pub(crate) text_features: Vec<f16>,
    pub(crate) texts: Texts,
    /// Both codes of every row, zero where absent; `None` while there are no codes.
    pub(crate) codes: Option<[CodesBuf; 2]>,
    pub(crate) bytes: usize,
    keep_inputs: bool,
}

impl RowBuffer {
    /// An empty buffer. `bits` is given where rows have codes.
    pub(crate) fn new(ids: IdKind, bits: Option<CodeBits>, keep_inputs: bool) -> Self {
        RowBuffer {
            ordinals: Vec::new(),
            ids: match ids {
                IdKind::Auto => IdColumn::Ordinals,
                IdKind::U64 => IdColumn::Numbers(Vec::new()),
                IdKind::Str => IdColumn::Strings(Texts::default()),
            },
            present: Default::default(),
            kept: Default::default(),
            image_features: Vec::new(),
            text_features: Vec::new(),
            texts: Texts::default(),
            codes: bits.map(|bits| [CodesBuf::new(bits), CodesBuf::new(bits)]),
            bytes: 0,
            keep_inputs,
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.ordinals.len()
    }

    /// Appends a row. Its inputs are dropped where the buffer keeps none.
    pub(crate) fn push(&mut self, row: &Row<'_>) -> Result<(), Error> {
        if let Some(columns) = &mut self.codes {
            for (column, code) in columns.iter_mut().zip(&row.codes) {
                match code {
                    Some(code) => column.push(code),
                    None => column.push_zero(),
                }
                .map_err(Error::codes)?;
            }
        }
        match (&mut self.ids, row.id.as_ref()) {
            (IdColumn::Ordinals, RecordId::U64(id)) if *id == row.ordinal => {}
            (IdColumn::Ordinals, RecordId::U64(id)) => {
                // The first replaced record among automatic ids: from here on each id is stored.
                let mut numbers = self.ordinals.clone();
                numbers.push(*id);
                self.ids = IdColumn::Numbers(numbers);
            }
            (IdColumn::Numbers(numbers), RecordId::U64(id)) => numbers.push(*id),
            (IdColumn::Strings(texts), RecordId::Str(id)) => texts.push(id),
            (IdColumn::Strings(_), RecordId::U64(_)) | (_, RecordId::Str(_)) => {
                return Err(Error::Id("it is of another kind than the collection's ids"));
            }
        }
        self.ordinals.push(row.ordinal);
        for (column, present) in self.present.iter_mut().zip(row.present) {
            column.push(present);
        }
        let inputs = [row.image.is_some(), row.text.is_some() || row.text_features.is_some()];
        for (column, input) in self.kept.iter_mut().zip(inputs) {
            column.push(input && self.keep_inputs);
        }
        self.bytes += row.bytes();
        if self.keep_inputs {
            if let Some(features) = &row.image {
                self.image_features.extend_from_slice(features);
            }
            if let Some(features) = &row.text_features {
                self.text_features.extend_from_slice(features);
            }
            if let Some(text) = row.text {
                self.texts.push(text);
            }
        }
        Ok(())
    }

    /// Appends rows that have codes and nothing else; their ids are their ordinals, from `first` on.
    pub(crate) fn extend_codes(
        &mut self,
        first: u64,
        rows: usize,
        codes: [Option<Codes<'_>>; 2],
    ) -> Result<(), Error> {
        if let Some(columns) = &mut self.codes {
            for (column, codes) in columns.iter_mut().zip(codes) {
                match codes {
                    Some(codes) => column.append(codes),
                    None => CodesBuf::with_rows(column.bits(), rows)
                        .and_then(|zeros| column.append(zeros.as_codes())),
                }
                .map_err(Error::codes)?;
            }
        }
        let ordinals = first..first.saturating_add(rows as u64);
        match &mut self.ids {
            IdColumn::Ordinals => {}
            IdColumn::Numbers(numbers) => numbers.extend(ordinals.clone()),
            IdColumn::Strings(_) => return Err(Error::Id("it is of another kind than the collection's ids")),
        }
        self.ordinals.extend(ordinals);
        for (column, codes) in self.present.iter_mut().zip(codes) {
            column.extend(if codes.is_some() { BitSlice::Ones } else { BitSlice::Zeros }, 0..rows);
        }
        self.kept.iter_mut().for_each(|column| column.extend(BitSlice::Zeros, 0..rows));
        self.bytes += rows * row_bytes(codes);
        Ok(())
    }

    /// The id of a row.
    pub(crate) fn id(&self, row: usize) -> Option<RecordId> {
        match &self.ids {
            IdColumn::Ordinals => self.ordinals.get(row).copied().map(RecordId::U64),
            IdColumn::Numbers(numbers) => numbers.get(row).copied().map(RecordId::U64),
            IdColumn::Strings(texts) => texts.get(row).map(RecordId::from),
        }
    }

    /// The row of an ordinal.
    pub(crate) fn row_of(&self, ordinal: u64) -> Option<usize> {
        self.ordinals.binary_search(&ordinal).ok()
    }

    pub(crate) fn presence(&self, modality: usize) -> RowMask {
        self.present.get(modality).map_or_else(|| RowMask::none(self.rows()), Bits::to_mask)
    }

    /// All rows in order, with their inputs and codes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        let [images, texts] = &self.kept;
        let stride = |values: &Vec<f16>, rows: usize| values.len().checked_div(rows).unwrap_or(0);
        let image_width = stride(&self.image_features, images.count());
        let text_width = stride(&self.text_features, texts.count());
        let mut slots = [0_usize; 2];
        self.ordinals.iter().enumerate().map(move |(row, ordinal)| {
            let kept = [images.get(row), texts.get(row)];
            let [image_slot, text_slot] = slots;
            for (slot, kept) in slots.iter_mut().zip(kept) {
                *slot += usize::from(kept);
            }
            let features = |values: &'_ [f16], width: usize, slot: usize| -> Option<Vec<f16>> {
                let slice = values.get(slot * width..(slot + 1) * width)?;
                (width > 0).then(|| slice.to_vec())
            };
            let [image, text] = kept;
            let present = self.present.each_ref().map(|bits| bits.get(row));
            let mut codes = [None, None];
            if let Some(columns) = &self.codes {
                for ((code, column), present) in codes.iter_mut().zip(columns).zip(present) {
                    *code = present.then(|| Cow::Owned(column.as_codes().row(row)));
                }
            }
            Row {
                ordinal: *ordinal,
                id: Cow::Owned(self.id(row).unwrap_or(RecordId::U64(*ordinal))),
                present,
                image: image
                    .then(|| features(&self.image_features, image_width, image_slot))
                    .flatten()
                    .map(Cow::Owned),
                text: text.then(|| self.texts.get(text_slot)).flatten(),
                text_features: text
                    .then(|| features(&self.text_features, text_width, text_slot))
                    .flatten()
                    .map(Cow::Owned),
                codes,
            }
        })
    }
}
