//! Features of many texts, made once and kept in a file while training lasts.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::text_encoder::TextEncoder;
use crate::{Error, Result};

/// Texts encoded together.
const TEXTS_A_BLOCK: usize = 1024;

/// Rows of 16-bit floats in a file without a name, which the system removes with the handle.
///
/// Each epoch reads every row, and a pretrained encoder takes milliseconds for a text, so the rows are made
/// once; in memory they would take a gigabyte for a million texts.
pub(crate) struct TextRows {
    file: File,
    folder: PathBuf,
    width: usize,
}

impl TextRows {
    /// Encodes texts 0 to `count`, of which `texts` gives those of a range.
    ///
    /// The file lies in `folder`, or where temporary files do when `folder` takes none.
    pub(crate) fn encode(
        encoder: &TextEncoder,
        count: usize,
        texts: impl Fn(std::ops::Range<usize>) -> Result<Vec<String>>,
        folder: &Path,
    ) -> Result<Self> {
        let failed = |source| Error::Io {
            path: folder.to_path_buf(),
            operation: "write features of texts to",
            source,
        };
        let file = tempfile::tempfile_in(folder).or_else(|_| tempfile::tempfile()).map_err(failed)?;
        let mut writer = BufWriter::new(file);
        for start in (0..count).step_by(TEXTS_A_BLOCK) {
            let texts = texts(start..count.min(start + TEXTS_A_BLOCK))?;
            let rows = encoder.half_rows(&texts.iter().map(String::as_str).collect::<Vec<_>>())?;
            let bytes: Vec<u8> = rows.iter().flat_map(|value| value.to_le_bytes()).collect();
            writer.write_all(&bytes).map_err(failed)?;
        }
        let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
        Ok(Self { file, folder: folder.to_path_buf(), width: encoder.width() })
    }

    /// Values in a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Writes the row of a text.
    pub(crate) fn read(&self, text: usize, row: &mut [f32]) -> Result<()> {
        let mut bytes = vec![0; 2 * self.width];
        let at = text as u64 * bytes.len() as u64;
        self.file.read_exact_at(&mut bytes, at).map_err(|source| Error::Io {
            path: self.folder.clone(),
            operation: "read features of texts from",
            source,
        })?;
        let values: Vec<f16> = bytes.as_chunks().0.iter().map(|value| f16::from_le_bytes(*value)).collect();
        if row.len() != values.len() {
            return Err(Error::Training { reason: "a row of text features has another width; run verify" });
        }
        values.convert_to_f32_slice(row);
        Ok(())
    }
}
