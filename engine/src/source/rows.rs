//! What sources made of arrays have in common: rows that belong together by their number.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::error::SourceError;
use super::lines::Lines;
use super::{Content, Item, Position, files, json, record};
use crate::arrays::{Array, ArrayError, PictureArray};
use crate::{Error, IdKind, Input, Modality, Record, Schema};

/// Rows read from the arrays at once.
const ROWS_A_BLOCK: usize = 256;

/// Arrays of images and texts, and lists of ids and fields, of which line i belongs to row i. Raw pictures stand in
/// the place of the images' array.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) arrays: [Option<Array>; 2],
    pub(super) pictures: Option<PictureArray>,
    pub(super) ids: Option<PathBuf>,
    pub(super) fields: Option<PathBuf>,
}

/// A list that is read along with the rows.
type List = Option<Lines>;

impl Rows {
    pub(super) fn set(&mut self, modality: Modality, array: Array) {
        let [image, text] = &mut self.arrays;
        match modality {
            Modality::Image => *image = Some(array),
            Modality::Text => *text = Some(array),
        }
    }

    pub(super) fn arrays(&self) -> impl Iterator<Item = (Modality, &Array)> {
        Modality::ALL
            .into_iter()
            .zip(&self.arrays)
            .filter_map(|(modality, array)| Some((modality, array.as_ref()?)))
    }

    /// Name, file and number of rows of each array, pictures first.
    fn columns(&self) -> impl Iterator<Item = (&str, &Path, usize)> {
        let pictures = self.pictures.iter().map(|array| (array.name(), array.path(), array.rows()));
        pictures.chain(self.arrays().map(|(_, array)| (array.name(), array.path(), array.rows())))
    }

    pub(super) fn rows(&self) -> u64 {
        self.columns().next().map_or(0, |(_, _, rows)| rows as u64)
    }

    fn files(&self) -> impl Iterator<Item = (&str, &Path)> {
        let arrays = self.columns().map(|(name, path, _)| (name, path));
        let ids = self.ids.iter().map(|path| ("ids", path.as_path()));
        let fields = self.fields.iter().map(|path| ("fields", path.as_path()));
        arrays.chain(ids).chain(fields)
    }

    pub(super) fn name(&self, kind: &str) -> Result<String, Error> {
        Ok(files::name(kind, self.files())?)
    }

    pub(super) fn fingerprint(&self) -> Result<u64, Error> {
        Ok(files::fingerprint(self.files().map(|(_, path)| path))?)
    }

    /// Checks that there is an array, that all have as many rows, and the lists as many lines.
    pub(super) fn check(&self, schema: &Schema) -> Result<(), Error> {
        let mut columns = self.columns();
        let Some((first, _, first_rows)) = columns.next() else {
            return Err(SourceError::Nothing { what: "array" }.into());
        };
        if let Some((second, _, second_rows)) = columns.next()
            && first_rows != second_rows
        {
            let (first, second) = (first.to_owned(), second.to_owned());
            return Err(ArrayError::RowsDiffer { first, first_rows, second, second_rows }.into());
        }
        match (schema.id_kind(), &self.ids) {
            (IdKind::Auto, Some(_)) => return Err(SourceError::IdsNotTaken.into()),
            (ids @ (IdKind::U64 | IdKind::Str), None) => return Err(SourceError::IdsMissing { ids }.into()),
            _ => {}
        }
        let rows = self.rows();
        for path in [&self.ids, &self.fields].into_iter().flatten() {
            let lines = Lines::count(path)?;
            if lines != rows {
                return Err(SourceError::Lines { path: path.clone(), lines, rows }.into());
            }
        }
        Ok(())
    }

    /// Hands out the rows from `start` on; `inputs` reads a block of rows of one array.
    pub(super) fn read(
        &self,
        schema: &Schema,
        start: Position,
        inputs: impl Fn(&Array, std::ops::Range<usize>) -> Result<Vec<Input>, ArrayError>,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let list = |path: &Option<PathBuf>| -> Result<List, SourceError> {
            let Some(path) = path else { return Ok(None) };
            let mut lines = Lines::open(path, Position::default())?;
            lines.skip(start.offset)?;
            Ok(Some(lines))
        };
        let (mut ids, mut fields) = (list(&self.ids)?, list(&self.fields)?);
        let rows = self.rows() as usize;
        let mut row = usize::try_from(start.offset).unwrap_or(rows).min(rows);
        let rows_a_block =
            self.pictures.as_ref().map_or(ROWS_A_BLOCK, |pictures| pictures.block().min(ROWS_A_BLOCK));
        while row < rows {
            let block = row..rows.min(row + rows_a_block);
            let mut columns = [None, None];
            for (column, array) in columns.iter_mut().zip(&self.arrays) {
                let read = array.as_ref().map(|array| inputs(array, block.clone())).transpose()?;
                *column = read.map(Vec::into_iter);
            }
            if let (Some(pictures), [image, _]) = (&self.pictures, &mut columns) {
                let read = pictures.read(block.clone())?.into_iter().map(Input::Pixels);
                *image = Some(read.collect::<Vec<_>>().into_iter());
            }
            for number in block.clone() {
                let content = self.record(schema, &mut ids, &mut fields)?.map(|mut record| {
                    for (modality, column) in Modality::ALL.into_iter().zip(&mut columns) {
                        if let Some(input) = column.as_mut().and_then(Iterator::next) {
                            record = record.input(modality, input);
                        }
                    }
                    Content { record, captions: Vec::new() }
                });
                let next = Position { part: 0, offset: number as u64 + 1 };
                let name = self.row_name(number, [&ids, &fields]);
                let item = Item { name, next, content: content.map_err(Error::from) };
                if each(item).is_break() {
                    return Ok(());
                }
            }
            row = block.end;
        }
        Ok(())
    }

    /// A row, with the lines that were read for it: any of them may be to blame for an error.
    fn row_name(&self, row: usize, lists: [&List; 2]) -> String {
        let first = self.columns().next().map_or("", |(name, _, _)| name);
        let lines: String = lists.into_iter().flatten().map(|lines| format!(", {}", lines.name())).collect();
        format!("{first} row {row}{lines}")
    }

    /// The id and the fields of the next row. The outer error ends the source.
    fn record(
        &self,
        schema: &Schema,
        ids: &mut List,
        fields: &mut List,
    ) -> Result<Result<Record, SourceError>, SourceError> {
        let id = ids.as_mut().map(next_line).transpose()?;
        let record = match id {
            Some(id) => id.and_then(|id| record(schema.id_kind(), id)),
            None => Ok(Record::auto()),
        };
        let Some(lines) = fields else { return Ok(record) };
        let object = match next_line(lines)? {
            Ok(line) => json::object(line.as_bytes(), || "the fields".to_owned()),
            Err(error) => Err(error),
        };
        let (mut record, object) = match (record, object) {
            (Ok(record), Ok(object)) => (record, object),
            (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
        };
        for (column, value) in object {
            json::check_column(schema, &column, || lines.name())?;
            match json::scalar(&column, value) {
                Ok(Some(value)) => record = record.set(column, value),
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(record))
    }
}

/// The next line of a list that was found to have as many lines as there are rows.
fn next_line(lines: &mut Lines) -> Result<Result<&str, SourceError>, SourceError> {
    Ok(lines.next()?.unwrap_or(Ok("")))
}
