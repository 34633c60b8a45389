//! The output of clip-retrieval: embeddings of images and texts, and tables of what they belong to.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::error::SourceError;
use super::files::{self, failed};
use super::parquet::{Cells, ParquetRows};
use super::table::{Columns, Ids, Names, Table};
use super::{Content, Item, Position, Source};
use crate::arrays::{Array, ArrayError};
use crate::{Error, IdKind, Input, Modality, Record, Schema, TextKind};

/// Rows read from the arrays at once.
const ROWS_A_BLOCK: u64 = 256;

/// Records from a folder that clip-retrieval wrote: `img_emb/img_emb_N.npy`, `text_emb/text_emb_N.npy`
/// and `metadata/metadata_N.parquet`, row i of each belonging together.
///
/// The embeddings of images are their features. Those of texts are the features of texts in
/// collections that take features; in those that take text it is the column `caption`. The id is the
/// column `id`, `key`, `sample_id` or `image_path`; it does not count where ids are automatic. Other columns
/// are read where they are declared fields.
///
/// ```
/// use twinbit::ClipRetrievalSource;
///
/// # let folder = tempfile::tempdir()?;
/// # let embeddings = folder.path();
/// # std::fs::create_dir(embeddings.join("img_emb"))?;
/// assert!(ClipRetrievalSource::is_in(embeddings));
/// // Nothing was written there yet.
/// assert!(ClipRetrievalSource::open(embeddings).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ClipRetrievalSource {
    folder: PathBuf,
    parts: Vec<Part>,
}

/// The files of one number.
#[derive(Debug, Default)]
struct Part {
    arrays: [Option<Array>; 2],
    metadata: Option<PathBuf>,
}

/// The columns of the tables; pictures are there as embeddings.
const NAMES: Names = Names {
    id: &["id", "key", "sample_id", "image_path"],
    image: &[],
    text: &["caption", "captions", "text"],
    of: &[],
};

/// As [`NAMES`], where texts are there as embeddings.
const NAMES_WITHOUT_TEXT: Names = Names { text: &[], ..NAMES };

impl ClipRetrievalSource {
    /// Whether a folder looks as if clip-retrieval had written it.
    pub fn is_in(folder: &Path) -> bool {
        ["img_emb", "text_emb"].iter().any(|name| folder.join(name).is_dir())
    }

    /// Lists the folder and opens its arrays.
    ///
    /// # Errors
    /// When there are no embeddings, or files that belong together have other numbers of rows.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        let mut parts: BTreeMap<(usize, String), Part> = BTreeMap::new();
        for (kind, ending) in [("img_emb", "npy"), ("text_emb", "npy"), ("metadata", "parquet")] {
            let inside = folder.join(kind);
            if !inside.is_dir() {
                continue;
            }
            for file in inside.read_dir().map_err(failed(&inside))? {
                let path = file.map_err(failed(&inside))?.path();
                let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                let number = stem.strip_prefix(kind).and_then(|rest| rest.strip_prefix('_'));
                let (Some(number), true) = (number, path.extension().is_some_and(|end| end == ending)) else {
                    continue;
                };
                // In the order of the numbers, padded or not.
                let part = parts.entry((number.len(), number.to_owned())).or_default();
                let [image, text] = &mut part.arrays;
                match kind {
                    "img_emb" => *image = Some(Array::open(&path)?),
                    "text_emb" => *text = Some(Array::open(&path)?),
                    _ => part.metadata = Some(path),
                }
            }
        }
        let parts: Vec<Part> = parts.into_values().collect();
        if parts.iter().all(|part| part.arrays.iter().all(Option::is_none)) {
            return Err(SourceError::Nothing { what: "embedding" }.into());
        }
        for part in &parts {
            part.check_rows()?;
        }
        Ok(ClipRetrievalSource { folder, parts })
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        self.parts
            .iter()
            .flat_map(|part| part.arrays.iter().flatten().map(Array::path).chain(part.metadata.as_deref()))
    }
}

impl Part {
    fn rows(&self) -> u64 {
        self.arrays.iter().flatten().map(|array| array.rows() as u64).next().unwrap_or(0)
    }

    fn check_rows(&self) -> Result<(), Error> {
        let [image, text] = &self.arrays;
        if let (Some(first), Some(second)) = (image, text)
            && first.rows() != second.rows()
        {
            return Err(ArrayError::RowsDiffer {
                first: first.name().to_owned(),
                first_rows: first.rows(),
                second: second.name().to_owned(),
                second_rows: second.rows(),
            }
            .into());
        }
        if let Some(path) = &self.metadata {
            let (lines, rows) = (ParquetRows::open(path)?.len(), self.rows());
            if lines != rows {
                return Err(SourceError::Lines { path: path.clone(), lines, rows }.into());
            }
        }
        Ok(())
    }

    /// The arrays that a collection takes: where it takes text, those of texts do not count.
    fn taken(&self, schema: &Schema) -> [Option<&Array>; 2] {
        let [image, text] = &self.arrays;
        let takes_text = matches!(schema.text_kind(), TextKind::Text(_));
        [image.as_ref(), text.as_ref().filter(|_| !takes_text)]
    }
}

/// Rows of the arrays of a part, read ahead in blocks.
struct Features<'a> {
    arrays: [Option<&'a Array>; 2],
    rows: u64,
    first: u64,
    values: [Vec<f32>; 2],
}

impl Features<'_> {
    /// Puts the features of a row, which is not before the last one, into a record.
    fn add(&mut self, mut record: Record, row: u64) -> Result<Record, ArrayError> {
        let end = self.rows.min(row + ROWS_A_BLOCK);
        let missing = self.values.iter().all(Vec::is_empty) || row >= self.first + ROWS_A_BLOCK;
        for ((modality, array), values) in Modality::ALL.into_iter().zip(self.arrays).zip(&mut self.values) {
            let Some(array) = array else { continue };
            if missing {
                values.resize((end - row) as usize * array.width(), 0.0);
                array.read_rows_f32(row as usize..end as usize, values)?;
            }
            let first = if missing { row } else { self.first };
            let place = (row - first) as usize * array.width();
            let features = values.get(place..place + array.width()).unwrap_or_default();
            record = record.input(modality, Input::features(features));
        }
        if missing {
            self.first = row;
        }
        Ok(record)
    }
}

impl Source for ClipRetrievalSource {
    fn name(&self) -> Result<String, Error> {
        Ok(files::name("clip-retrieval", [("folder", self.folder.as_path())])?)
    }

    fn fingerprint(&self) -> Result<u64, Error> {
        Ok(files::fingerprint(self.files())?)
    }

    fn items(&self, start: Position) -> Option<u64> {
        let skipped = usize::try_from(start.part).ok()?;
        let rows: u64 = self.parts.iter().skip(skipped).map(Part::rows).sum();
        Some(rows.saturating_sub(start.offset))
    }

    fn check(&self, schema: &Schema) -> Result<(), Error> {
        for part in &self.parts {
            for (modality, array) in Modality::ALL.into_iter().zip(part.taken(schema)) {
                let Some(array) = array else { continue };
                array.check_features()?;
                if schema.width(modality) != Some(array.width()) {
                    let gives = format!("features of width {}", array.width());
                    let (name, takes) = (array.name().to_owned(), schema.expects(modality));
                    return Err(SourceError::Takes { name, modality, gives, takes }.into());
                }
            }
            match &part.metadata {
                Some(path) => {
                    drop(ParquetRows::open(path)?.select(&Columns::default(), names(schema), schema)?)
                }
                None if schema.id_kind() == IdKind::Auto => {}
                None => return Err(SourceError::IdsMissing { ids: schema.id_kind() }.into()),
            }
        }
        Ok(())
    }

    fn read(
        &mut self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        for (number, offset, part) in start.rest_of(&self.parts) {
            let name = part.arrays.iter().flatten().map(Array::name).next().unwrap_or_default();
            let table = Table { schema, folder: &self.folder, ids: Ids::Optional };
            let arrays = part.taken(schema);
            let mut features =
                Features { arrays, rows: part.rows(), first: 0, values: [Vec::new(), Vec::new()] };
            let mut failed = None;
            let mut hand_out = |row: u64, cells: Option<Cells<'_>>| {
                let content = match cells {
                    Some(cells) => table.content(cells.iter()),
                    None => Ok(Content { record: Record::auto(), captions: Vec::new() }),
                };
                let content = match content {
                    Ok(Content { record, captions }) => match features.add(record, row) {
                        Ok(record) => Ok(Content { record, captions }),
                        Err(error) => {
                            failed = Some(error);
                            return ControlFlow::Break(());
                        }
                    },
                    Err(error) => Err(error.into()),
                };
                let next = Position { part: number, offset: row + 1 };
                each(Item { name: format!("{name} row {row}"), next, content })
            };
            let flow = match &part.metadata {
                Some(path) => {
                    let rows = ParquetRows::open(path)?;
                    let selection = rows.select(&Columns::default(), names(schema), schema)?;
                    rows.read(&selection, offset, &mut |row, cells| hand_out(row, Some(cells)))?
                }
                None => (offset..part.rows()).try_for_each(|row| hand_out(row, None)),
            };
            if let Some(error) = failed {
                return Err(error.into());
            }
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn names(schema: &Schema) -> &'static Names {
    match schema.text_kind() {
        TextKind::Text(_) => &NAMES,
        _ => &NAMES_WITHOUT_TEXT,
    }
}
