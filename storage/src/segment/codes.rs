//! The codes file: both modalities' codes of one model, in the layout that is searched in place.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use twinbit_kernels::{CodeBits, Codes, CodesBuf, Modality};

use super::reader::ColumnFile;
use super::rows::RowsFile;
use super::writer;
use crate::durable::FileGuard;
use crate::error::Error;
use crate::format::{ColumnKind, FileKind, Header, Presence};
use crate::id::ModelId;
use crate::layout::Layout;

/// An open codes file.
#[derive(Debug)]
pub(crate) struct CodesFile {
    file: ColumnFile,
    bits: CodeBits,
}

/// One opening of a codes file, told from all others, those of the same name included. It does not keep
/// the file open: whoever keeps copies of codes under it can see when they are of no more use.
#[derive(Debug, Clone)]
pub struct CodesIdentity(Weak<CodesFile>);

impl CodesIdentity {
    pub(crate) fn of(file: &Arc<CodesFile>) -> Self {
        CodesIdentity(Arc::downgrade(file))
    }

    /// Whether some version, or a snapshot, still has the file open.
    pub fn is_open(&self) -> bool {
        self.0.strong_count() > 0
    }
}

// The place of an object in memory is not used again while anyone refers to it, though it be gone.
impl PartialEq for CodesIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

impl Eq for CodesIdentity {}

impl Hash for CodesIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_ptr().hash(state);
    }
}

pub(super) const CODES: [ColumnKind; 2] = [ColumnKind::ImageCodes, ColumnKind::TextCodes];

impl CodesFile {
    /// Writes the codes of all rows; a modality that no row has gets no column.
    pub(super) fn write(
        layout: &Layout,
        rows: &RowsFile,
        model: ModelId,
        codes: &[CodesBuf; 2],
    ) -> Result<Self, Error> {
        let [image, _] = codes;
        let header = header(rows, model, image.bits());
        let guard = layout.files.unnamed(layout.codes(rows.number(), model));
        let length = writer::write(guard.files(), guard.path(), header, |columns| {
            for ((kind, codes), presence) in CODES.into_iter().zip(codes).zip(header.presence) {
                if presence != Presence::None {
                    columns.column(kind, 0, codes.as_bytes())?;
                }
            }
            Ok(())
        })?;
        Self::open(guard, length)
    }

    /// Opens the file and checks that its columns have the length that rows and bits demand.
    pub(crate) fn open(guard: FileGuard, length: u64) -> Result<Self, Error> {
        let file = ColumnFile::open(guard, FileKind::Codes, length)?;
        let bits = CodeBits::new(file.header.bits as usize)
            .map_err(|_| Error::corrupt(file.path(), 48, "no such code length"))?;
        let bytes = Codes::byte_len(bits, file.header.rows as usize) as u64;
        for (kind, presence) in CODES.into_iter().zip(file.header.presence) {
            file.expect(kind, (presence != Presence::None).then_some(bytes))?;
        }
        Ok(CodesFile { file, bits })
    }

    /// The codes of a modality, one for every row; `None` when no row has it.
    pub(crate) fn codes(&self, modality: Modality) -> Option<Codes<'_>> {
        let [image, text] = CODES;
        let kind = match modality {
            Modality::Image => image,
            Modality::Text => text,
        };
        // Length was checked at open, and columns start at pages, so this does not fail.
        Codes::from_bytes(self.bits, self.file.header.rows as usize, self.file.bytes(kind)?).ok()
    }

    pub(crate) fn model(&self) -> ModelId {
        self.file.header.model
    }

    pub(crate) fn file(&self) -> &ColumnFile {
        &self.file
    }

    pub(crate) fn guard(&self) -> &FileGuard {
        self.file.guard()
    }
}

/// The header of the codes file beside a rows file.
pub(super) fn header(rows: &RowsFile, model: ModelId, bits: CodeBits) -> Header {
    Header {
        kind: FileKind::Codes,
        number: rows.number(),
        collection: rows.file().header.collection,
        rows: rows.rows(),
        base: rows.base(),
        model,
        bits: bits.bits() as u32,
        presence: Modality::ALL.map(|modality| rows.presence(modality)),
        columns: 0,
    }
}
