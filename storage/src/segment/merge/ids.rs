//! The ids of the rows that are merged.

use std::ops::Range;

use super::{Merge, Outline, range};
use crate::error::Error;
use crate::format::ColumnKind;
use crate::schema::IdKind;
use crate::segment::rows::RowsFile;
use crate::segment::writer::ColumnWriter;
use crate::segment::{Segment, Step};

impl Merge<'_> {
    pub(super) fn ids(
        &self,
        outline: &Outline,
        columns: &mut ColumnWriter<'_>,
        step: &mut Step<'_>,
    ) -> Result<(), Error> {
        match self.ids {
            IdKind::Auto if !outline.foreign => Ok(()),
            IdKind::Auto | IdKind::U64 => self.number_ids(columns, step),
            IdKind::Str => {
                self.id_ends(columns, step)?;
                self.id_bytes(columns, step)
            }
        }
    }

    fn number_ids(&self, columns: &mut ColumnWriter<'_>, step: &mut Step<'_>) -> Result<(), Error> {
        const KIND: ColumnKind = ColumnKind::IdNumbers;
        columns.begin(KIND, 0)?;
        for Segment { rows, .. } in self.segments {
            let numbers = rows.file().numbers::<u64>(KIND);
            for run in self.runs(rows) {
                match numbers.map(|numbers| numbers.get(range(&run))) {
                    Some(Some(ids)) => columns.push(bytemuck::cast_slice(ids))?,
                    None if self.ids == IdKind::Auto => {
                        let ids: Vec<u64> = run.map(|row| rows.ordinal(row)).collect();
                        columns.push(bytemuck::cast_slice(&ids))?;
                    }
                    _ => return Err(rows.file().corrupt(KIND, 0, "ids are missing")),
                }
                columns.step(step)?;
            }
        }
        Ok(())
    }

    fn id_ends(&self, columns: &mut ColumnWriter<'_>, step: &mut Step<'_>) -> Result<(), Error> {
        columns.begin(ColumnKind::IdEnds, 0)?;
        let mut total = 0_u64;
        for Segment { rows, .. } in self.segments {
            for run in self.runs(rows) {
                let (ends, bytes) = string_ids(rows, &run)?;
                let mut before = bytes.start;
                let mut new_ends = Vec::with_capacity(ends.len());
                for end in ends {
                    total += end.checked_sub(before).ok_or_else(|| bad_ends(rows))?;
                    before = *end;
                    new_ends.push(total);
                }
                columns.push(bytemuck::cast_slice(&new_ends))?;
                columns.step(step)?;
            }
        }
        Ok(())
    }

    fn id_bytes(&self, columns: &mut ColumnWriter<'_>, step: &mut Step<'_>) -> Result<(), Error> {
        columns.begin(ColumnKind::IdBytes, 0)?;
        for Segment { rows, .. } in self.segments {
            let all = rows.file().bytes(ColumnKind::IdBytes).unwrap_or_default();
            for run in self.runs(rows) {
                let (_, range) = string_ids(rows, &run)?;
                let bytes = all.get(range.start as usize..range.end as usize);
                for piece in bytes.ok_or_else(|| bad_ends(rows))?.chunks(self.piece) {
                    columns.push(piece)?;
                    columns.step(step)?;
                }
            }
        }
        Ok(())
    }
}

/// The ends of string ids, and where their bytes are.
fn string_ids<'r>(rows: &'r RowsFile, run: &Range<u32>) -> Result<(&'r [u64], Range<u64>), Error> {
    let read = || -> Option<(&[u64], Range<u64>)> {
        let ends = rows.file().numbers::<u64>(ColumnKind::IdEnds)?;
        let start = match (run.start as usize).checked_sub(1) {
            Some(before) => *ends.get(before)?,
            None => 0,
        };
        let ends = ends.get(range(run))?;
        Some((ends, start..ends.last().copied()?))
    };
    read().ok_or_else(|| bad_ends(rows))
}

fn bad_ends(rows: &RowsFile) -> Error {
    rows.file().corrupt(ColumnKind::IdEnds, 0, "the ids are unreadable")
}
