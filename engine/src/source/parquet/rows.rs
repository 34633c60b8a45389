//! The rows of one Parquet file.

use std::fs::File;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::ColumnDescriptor;

use super::super::error::SourceError;
use super::super::files::failed;
use super::super::table::{Cell, Columns, Names, Role};
use super::column::{Column, is_binary};
use super::footer;
use super::pages::BoundedFile;
use crate::{IdKind, Schema, Value};

/// The most rows that are read at once, and about how many bytes they may have.
const ROWS_A_BATCH: u64 = 256;
const BYTES_A_BATCH: u64 = 8 << 20;

/// A Parquet file that is open.
pub(in crate::source) struct ParquetRows {
    path: PathBuf,
    file: Arc<BoundedFile>,
    metadata: ParquetMetaData,
}

/// The columns of a file that are read.
#[derive(Debug, Default)]
pub(in crate::source) struct Selection {
    columns: Vec<Selected>,
    /// Where img2dataset says how the download went.
    status: Option<usize>,
}

#[derive(Debug)]
struct Selected {
    leaf: usize,
    role: Role,
    name: String,
}

/// What stands in a row.
pub(in crate::source) struct Cells<'s> {
    cells: Vec<(Role, &'s str, Cell)>,
    downloaded: bool,
}

impl<'s> Cells<'s> {
    /// The row, unless its picture could not be downloaded.
    pub(in crate::source) fn downloaded(self) -> Option<Self> {
        self.downloaded.then_some(self)
    }

    /// The cells with what their columns are.
    pub(in crate::source) fn iter(self) -> impl Iterator<Item = (Role, &'s str, Cell)> {
        self.cells.into_iter()
    }
}

/// Runs the decoder of the format. It checks much of what it reads, but relies on some of it: then it
/// panics, which is caught here and is an error like others.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, SourceError> {
    let damaged = |what| SourceError::Parquet { path: path.to_owned(), what };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(ParquetError::General(what))) => Err(damaged(what)),
        Ok(Err(error)) => Err(damaged(error.to_string())),
        Err(_) => Err(damaged("what it holds contradicts itself".to_owned())),
    }
}

impl ParquetRows {
    pub(in crate::source) fn open(path: &Path) -> Result<ParquetRows, SourceError> {
        let mut file = File::open(path).map_err(failed(path))?;
        let metadata = guarded(path, || footer::read(&mut file))?;
        let file = Arc::new(BoundedFile::new(file).map_err(failed(path))?);
        let rows = ParquetRows { path: path.to_owned(), file, metadata };
        let counts = rows.metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).ok());
        let total = counts.into_iter().try_fold(0_u64, |sum, rows| sum.checked_add(rows?));
        match total {
            Some(_) => Ok(rows),
            None => Err(SourceError::Parquet {
                path: path.to_owned(),
                what: "it says it has an impossible number of rows".to_owned(),
            }),
        }
    }

    /// How many rows there are.
    pub(in crate::source) fn len(&self) -> u64 {
        self.metadata.row_groups().iter().map(rows_of).sum()
    }

    /// The columns to be read: those that are named, the first of `names` that is there, and declared
    /// fields.
    ///
    /// # Errors
    /// When a named column is missing, or that of the ids where they are needed.
    pub(in crate::source) fn select(
        &self,
        columns: &Columns,
        names: &Names,
        schema: &Schema,
    ) -> Result<Selection, SourceError> {
        let leaves = self.metadata.file_metadata().schema_descr().columns();
        let mut header: Vec<String> = Vec::new();
        for leaf in leaves {
            let name = top(leaf);
            if header.last().is_none_or(|last| last != name) {
                header.push(name.to_owned());
            }
        }
        let missing = |column: String| SourceError::ColumnMissing {
            name: self.path.display().to_string(),
            column,
            header: header.clone(),
        };
        let is_field = |name: &str| schema.fields().any(|(field, _)| field == name);
        let mut selection = Selection::default();
        let roles = [
            (Role::Id, &columns.id, names.id),
            (Role::Image, &columns.image, names.image),
            (Role::Text, &columns.text, names.text),
            (Role::Of, &columns.of, names.of),
        ];
        for (role, named, defaults) in roles {
            let found = match named {
                Some(name) => {
                    Some(header.iter().find(|column| *column == name).ok_or_else(|| missing(name.clone()))?)
                }
                None => defaults.iter().find_map(|default| {
                    header.iter().find(|name| name.eq_ignore_ascii_case(default) && !is_field(name))
                }),
            };
            let Some(name) = found else { continue };
            let mut parts: Vec<usize> = Vec::new();
            for (number, leaf) in leaves.iter().enumerate().filter(|(_, leaf)| top(leaf) == name) {
                match (role, structure(leaf)) {
                    (_, Structure::Value) | (Role::Text, Structure::List) => parts.push(number),
                    // The bytes come first, and count more than the path.
                    (Role::Image, Structure::Child("bytes")) => parts.insert(0, number),
                    (Role::Image, Structure::Child("path")) => parts.push(number),
                    _ => {}
                }
            }
            if parts.is_empty() {
                let wanted = match role {
                    Role::Image => "pictures, paths of pictures, or a structure of bytes and path",
                    Role::Text => "texts or lists of texts",
                    _ => "text or whole numbers",
                };
                return Err(SourceError::Column { column: name.clone(), wanted });
            }
            let select = |leaf| Selected { leaf, role, name: name.clone() };
            selection.columns.extend(parts.into_iter().map(select));
        }
        if !selection.has(Role::Id) && schema.id_kind() != IdKind::Auto {
            return Err(missing(names.id.join(" or ")));
        }
        for (number, leaf) in leaves.iter().enumerate() {
            let name = top(leaf);
            let taken = selection.columns.iter().any(|selected| selected.name == name);
            if !taken && is_field(name) && matches!(structure(leaf), Structure::Value) {
                let (role, name) = (Role::Field, name.to_owned());
                selection.columns.push(Selected { leaf: number, role, name });
            }
        }
        let plain = |name: &str| {
            leaves.iter().position(|leaf| top(leaf) == name && matches!(structure(leaf), Structure::Value))
        };
        selection.status = plain("status").filter(|_| plain("error_message").is_some());
        Ok(selection)
    }

    /// Hands the rows from `start` on to `each`, with their numbers.
    pub(in crate::source) fn read<'s>(
        &self,
        selection: &'s Selection,
        start: u64,
        each: &mut dyn FnMut(u64, Cells<'s>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, SourceError> {
        let mut first = 0;
        for group in self.metadata.row_groups() {
            let rows = rows_of(group);
            let skipped = start.saturating_sub(first).min(rows);
            if skipped < rows && self.read_group(group, selection, first, skipped, each)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            first += rows;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Hands on the rows of a group but the `skipped` first ones. `first` is the number of its first row.
    fn read_group<'s>(
        &self,
        group: &RowGroupMetaData,
        selection: &'s Selection,
        first: u64,
        skipped: u64,
        each: &mut dyn FnMut(u64, Cells<'s>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, SourceError> {
        let leaves = selection.columns.iter().map(|selected| selected.leaf).chain(selection.status);
        let mut columns = guarded(&self.path, || {
            leaves
                .map(|leaf| {
                    let mut column = Column::open(&self.file, group, leaf)?;
                    column.skip(usize::try_from(skipped)?)?;
                    Ok(column)
                })
                .collect::<Result<Vec<Column>, ParquetError>>()
        })?;
        let batch = self.rows_a_batch(group, selection);
        let mut row = skipped;
        while row < rows_of(group) {
            let rows = batch.min(rows_of(group) - row);
            let read = guarded(&self.path, || {
                columns.iter_mut().map(|column| column.read(usize::try_from(rows)?)).collect()
            })?;
            let mut read: Vec<_> = Vec::into_iter(read).map(Vec::into_iter).collect();
            for row in row..row + rows {
                let mut cells = read.iter_mut().map(|column| column.next().unwrap_or(Cell::Null));
                if each(first + row, selection.cells(&mut cells)).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            row += rows;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// So many rows that their values take about [`BYTES_A_BATCH`].
    fn rows_a_batch(&self, group: &RowGroupMetaData, selection: &Selection) -> u64 {
        let chunks = selection.columns.iter().filter_map(|selected| group.columns().get(selected.leaf));
        let bytes = chunks
            .map(|chunk| u64::try_from(chunk.uncompressed_size()).unwrap_or(0))
            .fold(0, u64::saturating_add);
        let bytes_a_row = (bytes / rows_of(group).max(1)).max(1);
        (BYTES_A_BATCH / bytes_a_row).clamp(1, ROWS_A_BATCH)
    }
}

impl Selection {
    /// Whether one of the columns is this.
    pub(in crate::source) fn has(&self, role: Role) -> bool {
        self.columns.iter().any(|selected| selected.role == role)
    }

    /// Puts the cells of a row together, those of the selected columns first.
    fn cells<'s>(&'s self, cells: &mut dyn Iterator<Item = Cell>) -> Cells<'s> {
        let mut row = Vec::with_capacity(self.columns.len());
        let mut has_picture = false;
        for (selected, cell) in self.columns.iter().zip(&mut *cells) {
            let cell = match (selected.role, cell) {
                (Role::Image, _) if has_picture => Cell::Null,
                (Role::Image, cell) => {
                    has_picture = matches!(cell, Cell::Picture(_));
                    cell
                }
                // Some writers do not say that their bytes are text.
                (_, Cell::Picture(bytes)) => match String::from_utf8(bytes) {
                    Ok(text) => Cell::Value(Value::Str(text)),
                    Err(_) => Cell::Other,
                },
                (_, cell) => cell,
            };
            row.push((selected.role, selected.name.as_str(), cell));
        }
        let downloaded = match (self.status, cells.next()) {
            (Some(_), Some(Cell::Value(Value::Str(status)))) => status == "success",
            _ => true,
        };
        Cells { cells: row, downloaded }
    }
}

/// Checked to be a number when the file was opened.
fn rows_of(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0)
}

/// The column that a leaf of the schema belongs to.
fn top(leaf: &ColumnDescriptor) -> &str {
    leaf.path().parts().first().map_or("", String::as_str)
}

/// How a leaf lies in its column.
enum Structure<'a> {
    Value,
    /// A list of values.
    List,
    /// A part of a structure.
    Child(&'a str),
    /// Something deeper.
    Deep,
}

fn structure(leaf: &ColumnDescriptor) -> Structure<'_> {
    match (leaf.path().parts(), leaf.max_rep_level()) {
        ([_], 0) => Structure::Value,
        ([_, child], 0) => Structure::Child(child),
        ([_] | [_, _] | [_, _, _], 1) if !is_binary(leaf) => Structure::List,
        _ => Structure::Deep,
    }
}
