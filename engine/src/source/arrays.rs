//! Features and raw pictures in arrays.

use std::ops::{ControlFlow, Range};
use std::path::PathBuf;

use super::error::SourceError;
use super::rows::Rows;
use super::{Item, Position, Source};
use crate::arrays::{Array, ArrayError, PictureArray};
use crate::{Error, Input, Modality, Schema};

/// Records from arrays of features or of raw pictures: row i of each array, line i of each list.
///
/// Ids are one a line of a text file; fields are a JSON object a line, whose keys are declared
/// fields. Collections with automatic ids take no ids, others need them.
///
/// ```
/// use twinbit::{Array, ArraySource, CodeBits, Database, Schema};
///
/// # fn npy(kind: &str, rows: usize, width: usize, data: &[u8]) -> Vec<u8> {
/// #     let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, {width}), }}\n");
/// #     [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
/// # }
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("image.npy");
/// # std::fs::write(&path, npy("|u1", 3, 2, &[1, 2, 3, 4, 5, 6]))?;
/// # let database = Database::open(folder.path().join("database"))?;
/// let schema = Schema::new(CodeBits::B64).image_features(2).text_features(4);
/// let pairs = database.create_collection("pairs", schema)?;
/// let report = pairs.ingest(ArraySource::new().image(Array::open(&path)?)).run()?;
/// assert_eq!(report.ingested, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct ArraySource {
    rows: Rows,
}

impl ArraySource {
    /// A source without arrays yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The features of the images: (rows, width), of type float16, float32, float64, uint8 or bool.
    pub fn image(mut self, array: Array) -> Self {
        self.rows.set(Modality::Image, array);
        self
    }

    /// Raw pictures instead of features, for a collection with an image encoder.
    pub fn pictures(mut self, pictures: PictureArray) -> Self {
        self.rows.pictures = Some(pictures);
        self
    }

    /// The features of the texts.
    pub fn text(mut self, array: Array) -> Self {
        self.rows.set(Modality::Text, array);
        self
    }

    /// A text file with one id a line.
    pub fn ids(mut self, path: impl Into<PathBuf>) -> Self {
        self.rows.ids = Some(path.into());
        self
    }

    /// A file with one JSON object a line: the values of fields.
    pub fn fields(mut self, path: impl Into<PathBuf>) -> Self {
        self.rows.fields = Some(path.into());
        self
    }
}

/// Rows of features as inputs.
fn features(array: &Array, rows: Range<usize>) -> Result<Vec<Input>, ArrayError> {
    let width = array.width();
    let mut values = vec![0.0; rows.len() * width];
    array.read_rows_f32(rows, &mut values)?;
    Ok(values.chunks_exact(width.max(1)).map(Input::features).collect())
}

impl Source for ArraySource {
    fn name(&self) -> Result<String, Error> {
        self.rows.name("arrays")
    }

    fn fingerprint(&self) -> Result<u64, Error> {
        self.rows.fingerprint()
    }

    fn items(&self, start: Position) -> Option<u64> {
        Some(self.rows.rows().saturating_sub(start.offset))
    }

    fn check(&self, schema: &Schema) -> Result<(), Error> {
        if let Some(pictures) = &self.rows.pictures {
            pictures.check_taken(schema)?;
        }
        for (modality, array) in self.rows.arrays() {
            array.check_features()?;
            if schema.width(modality) != Some(array.width()) {
                return Err(SourceError::Takes {
                    name: array.name().to_owned(),
                    modality,
                    gives: format!("features of width {}", array.width()),
                    takes: schema.expects(modality),
                }
                .into());
            }
        }
        self.rows.check(schema)
    }

    fn read(
        &mut self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.rows.read(schema, start, features, each)
    }
}
