//! Ready codes in arrays.

use std::ops::{ControlFlow, Range};
use std::path::PathBuf;

use super::error::SourceError;
use super::rows::Rows;
use super::{CodeBlock, Item, Position, Source};
use crate::arrays::{Array, ArrayError, ElementType};
use crate::{CodesBuf, Error, IdKind, Input, Modality, Schema};

/// Records from arrays of codes that were made elsewhere, for collections with
/// [external codes](Schema::external_codes).
///
/// An array is uint8 of (rows, bits / 8), in the order of `numpy.packbits`: the first bit is the most
/// significant one of byte 0. Ids and fields are as with [`ArraySource`](crate::ArraySource).
///
/// ```
/// use twinbit::{Array, CodeBits, CodeSource, Database, Modality, Schema};
///
/// # fn npy(kind: &str, rows: usize, width: usize, data: &[u8]) -> Vec<u8> {
/// #     let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, {width}), }}\n");
/// #     [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
/// # }
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("codes.npy");
/// # std::fs::write(&path, npy("|u1", 3, 2, &[1, 2, 3, 4, 5, 6]))?;
/// # let database = Database::open(folder.path().join("database"))?;
/// let codes = database.create_collection("codes", Schema::new(CodeBits::B16).external_codes())?;
/// let report = codes.ingest(CodeSource::new().codes(Modality::Image, Array::open(&path)?)).run()?;
/// assert_eq!(report.ingested, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct CodeSource {
    rows: Rows,
}

impl CodeSource {
    /// A source without arrays yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The codes of one modality.
    pub fn codes(mut self, modality: Modality, array: Array) -> Self {
        self.rows.set(modality, array);
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

/// Rows of ready codes read at once.
const ROWS_A_BLOCK: usize = 1 << 17;

/// Rows of codes as a column.
fn column(schema: &Schema, array: &Array, rows: Range<usize>) -> Result<CodesBuf, Error> {
    let mut bytes = vec![0; rows.len() * array.width()];
    array.read_rows_u8(rows, &mut bytes)?;
    Ok(CodesBuf::from_packed(schema.bits(), &bytes)?)
}

/// Rows of codes as inputs.
fn codes(array: &Array, rows: Range<usize>) -> Result<Vec<Input>, ArrayError> {
    let width = array.width();
    let mut bytes = vec![0; rows.len() * width];
    array.read_rows_u8(rows, &mut bytes)?;
    Ok(bytes.chunks_exact(width.max(1)).map(Input::code).collect())
}

impl Source for CodeSource {
    fn name(&self) -> Result<String, Error> {
        self.rows.name("codes")
    }

    fn fingerprint(&self) -> Result<u64, Error> {
        self.rows.fingerprint()
    }

    fn items(&self, start: Position) -> Option<u64> {
        Some(self.rows.rows().saturating_sub(start.offset))
    }

    fn check(&self, schema: &Schema) -> Result<(), Error> {
        for (modality, array) in self.rows.arrays() {
            if array.element_type() != ElementType::U8 {
                return Err(array.wrong_elements("uint8 codes").into());
            }
            let bytes = schema.bits().bytes();
            if !schema.has_external_codes() || array.width() != bytes {
                let takes = match schema.has_external_codes() {
                    true => format!("codes of {bytes} bytes"),
                    false => format!("{}, and makes the codes itself", schema.expects(modality)),
                };
                let gives = format!("codes of {} bytes", array.width());
                return Err(
                    SourceError::Takes { name: array.name().to_owned(), modality, gives, takes }.into()
                );
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
        self.rows.read(schema, start, codes, each)
    }

    fn read_codes(
        &mut self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(CodeBlock) -> ControlFlow<()>,
    ) -> Result<bool, Error> {
        if schema.id_kind() != IdKind::Auto || self.rows.fields.is_some() {
            return Ok(false);
        }
        let rows = self.rows.rows() as usize;
        let mut row = usize::try_from(start.offset).unwrap_or(rows).min(rows);
        while row < rows {
            let end = rows.min(row + ROWS_A_BLOCK);
            let mut codes = [None, None];
            for (codes, array) in codes.iter_mut().zip(&self.rows.arrays) {
                *codes = array.as_ref().map(|array| column(schema, array, row..end)).transpose()?;
            }
            let next = Position { part: 0, offset: end as u64 };
            if each(CodeBlock { codes, next }).is_break() {
                break;
            }
            row = end;
        }
        Ok(true)
    }
}
