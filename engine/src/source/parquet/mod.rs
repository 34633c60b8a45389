//! Parquet files as sources of records.

mod column;
mod footer;
mod pages;
mod rows;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rows::Selection;
pub(super) use rows::{Cells, ParquetRows};

use super::error::SourceError;
use super::files;
use super::table::{Columns, Ids, Names, Role, Table};
use super::{Item, Position, Source, check_first};
use crate::{Error, Schema};

/// Records from Parquet files, a row a record.
///
/// Columns, the first of each that is there, upper or lower case: `id`, `key` or `sample_id`; `image`,
/// `jpg`, `jpeg`, `png`, `webp`, `image_path` or `file_name`: the bytes of a picture, its path relative
/// to the file's folder, or Hugging Face's structure of `bytes` and `path`; `text`, `texts`, `caption`
/// or `captions`: text, or a list of texts (see [`Content`](crate::Content)); `of`.
/// [`columns`](Self::columns) names others. Of the other columns those are read that are declared
/// fields. So the files of img2dataset, of LAION and of Hugging Face are read as they are; rows that
/// img2dataset could not download are left out. Addresses are not followed. A NaN is as good as null.
/// Ids do not count where the collection numbers its records.
///
/// # Limits
/// Pages of up to 256 MiB, packed by snappy, gzip, zstd or not at all; metadata of up to 16 MiB and
/// 2,000 columns; the encodings `PLAIN`, dictionary, `RLE`, `DELTA_BINARY_PACKED` and
/// `BYTE_STREAM_SPLIT`. No decimals, no encryption.
///
/// ```
/// use twinbit::{Columns, ParquetSource, expand_pattern};
///
/// let files = expand_pattern("data/train-{00000..00012}.parquet")?;
/// assert_eq!(files.len(), 13);
/// let source = ParquetSource::new(files).columns(Columns::new().text("title"));
/// # drop(source);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ParquetSource {
    files: Vec<PathBuf>,
    columns: Columns,
}

/// The columns of pairs.
const NAMES: Names = Names {
    id: &["id", "key", "sample_id"],
    image: &["image", "jpg", "jpeg", "png", "webp", "image_path", "file_name"],
    text: &["text", "texts", "caption", "captions"],
    of: &["of"],
};

impl ParquetSource {
    /// The rows of these files, one after the other.
    pub fn new<P: Into<PathBuf>>(files: impl IntoIterator<Item = P>) -> Self {
        ParquetSource { files: files.into_iter().map(Into::into).collect(), columns: Columns::default() }
    }

    /// The names of the columns that are no fields.
    pub fn columns(mut self, columns: Columns) -> Self {
        self.columns = columns;
        self
    }

    fn select(&self, rows: &ParquetRows, path: &Path, schema: &Schema) -> Result<Selection, SourceError> {
        let selection = rows.select(&self.columns, &NAMES, schema)?;
        if selection.has(Role::Image) || selection.has(Role::Text) {
            return Ok(selection);
        }
        Err(SourceError::NoPairs { path: path.to_owned() })
    }

    fn rows(
        &self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        for (number, offset, path) in start.rest_of(&self.files) {
            let rows = ParquetRows::open(path)?;
            let selection = self.select(&rows, path, schema)?;
            let folder = path.parent().unwrap_or(Path::new(""));
            let table = Table { schema, folder, ids: Ids::Optional };
            let flow = rows.read(&selection, offset, &mut |row, cells| {
                let Some(cells) = cells.downloaded() else { return ControlFlow::Continue(()) };
                let content = table.content(cells.iter()).map_err(Error::from);
                let next = Position { part: number, offset: row + 1 };
                each(Item { name: format!("{} row {row}", path.display()), next, content })
            })?;
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Source for ParquetSource {
    fn name(&self) -> Result<String, Error> {
        Ok(files::name("parquet", self.files.iter().map(|file| ("file", file.as_path())))?)
    }

    fn fingerprint(&self) -> Result<u64, Error> {
        Ok(files::fingerprint(self.files.iter().map(PathBuf::as_path))?)
    }

    fn items(&self, start: Position) -> Option<u64> {
        let skipped = usize::try_from(start.part).ok()?;
        let rows = self.files.iter().skip(skipped).map(|path| Some(ParquetRows::open(path).ok()?.len()));
        Some(rows.sum::<Option<u64>>()?.saturating_sub(start.offset))
    }

    fn check(&self, schema: &Schema) -> Result<(), Error> {
        let Some(first) = self.files.first() else {
            return Err(SourceError::Nothing { what: "file" }.into());
        };
        for path in &self.files {
            self.select(&ParquetRows::open(path)?, path, schema)?;
        }
        check_first(schema, first, |each| self.rows(schema, Position::default(), each))
    }

    fn read(
        &mut self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.rows(schema, start, each)
    }
}
