//! Every number of the format: magic bytes, versions, sizes, offsets, limits.
//!
//! `docs/format.md` describes the same in prose; the tests here and in `tests/format.rs` pin it.
//! All integers in files and in catalog values are little-endian; integers in catalog keys are
//! big-endian, so that byte order is number order.

use crate::cursor::Cursor;
use crate::id::{CollectionId, ModelId};

/// The version of everything on disk: files and catalog. Until the library's version 0.1 it stays 0
/// and carries no promise.
pub const FORMAT_VERSION: u32 = 0;

/// First bytes of a rows file. The first is not ASCII and the line ends catch text-mode copies.
pub const ROWS_MAGIC: [u8; 8] = *b"\x89TBR\r\n\x1a\n";
/// First bytes of a codes file.
pub const CODES_MAGIC: [u8; 8] = *b"\x89TBC\r\n\x1a\n";
/// First bytes of an index file.
pub const INDEX_MAGIC: [u8; 8] = *b"\x89TBI\r\n\x1a\n";
/// Last bytes of each of them.
pub const END_MAGIC: [u8; 8] = *b"\x89TBEND\r\n";
/// Value under the catalog's format key, before the version.
pub const CATALOG_MAGIC: [u8; 8] = *b"twinbit\0";

/// What a commit's mark in the catalog's log begins with.
pub(crate) const LOG_MARK_MAGIC: [u8; 4] = *b"TBLM";

/// Where a segment file has its format version, after the first bytes.
pub const VERSION_OFFSET: usize = 8;
/// Columns start at multiples of this; the header fills one page.
pub const PAGE: usize = 4096;
/// Bytes of the header's fixed part; the column table follows it.
pub const HEADER_BYTES: usize = 64;
/// Bytes of an entry in the column table.
pub const COLUMN_BYTES: usize = 32;
/// Entries that fit into the header page.
pub const MAX_COLUMNS: usize = (PAGE - HEADER_BYTES) / COLUMN_BYTES;
/// Bytes of the footer.
pub const FOOTER_BYTES: usize = 24;

/// Rows of a segment at most.
pub const MAX_SEGMENT_ROWS: usize = 1 << 27;
/// Texts in an lz4 block.
pub const TEXTS_PER_BLOCK: usize = 64;
/// Ordinals a chunk of dead rows covers.
pub const ORDINALS_PER_DEAD_CHUNK: u64 = 1 << 16;
/// Ordinals a column chunk covers.
pub const ORDINALS_PER_COLUMN_CHUNK: u64 = 1 << 12;
/// Rows of a block of fresh rows in memory at most.
pub(crate) const FRESH_BLOCK_ROWS: usize = 16_384;
/// Rows up to which the last of these blocks takes further ones. A commit copies that block.
pub(crate) const FRESH_TAIL_ROWS: usize = 64;
/// A block of fresh rows is put together with the one before it unless that is more than so many
/// times as large: a row is copied a few times, and there are few blocks.
pub(crate) const FRESH_GROWTH: usize = 16;

/// Bytes of a string id at most.
pub const MAX_ID_BYTES: usize = 1024;
/// Bytes of a collection's or field's name at most.
pub const MAX_NAME_BYTES: usize = 255;
/// Bytes of a string field at most.
pub const MAX_FIELD_BYTES: usize = 65_535;
/// Bytes of a text at most.
pub const MAX_TEXT_BYTES: usize = 1 << 24;
/// Declared fields of a collection at most.
pub const MAX_FIELDS: usize = 4096;

/// Registers of the HyperLogLog in a field's statistics.
pub const SKETCH_REGISTERS: usize = 256;
/// Bytes of a string bound in a field's statistics at most.
pub const MAX_SKETCH_TEXT: usize = 64;

/// Name of the lock file.
pub const LOCK_FILE: &str = "LOCK";
/// Folder of the RocksDB catalog.
pub const CATALOG_FOLDER: &str = "catalog";
/// Folder of segment files.
pub const SEGMENTS_FOLDER: &str = "segments";
/// Folder of model files.
pub const MODELS_FOLDER: &str = "models";
/// Ending of a file that is still being written.
pub const TEMPORARY_ENDING: &str = ".tmp";

/// Name of a segment's rows file.
pub(crate) fn rows_name(number: u32) -> String {
    format!("{number:08x}.rows")
}

/// Name of a segment's codes file.
pub(crate) fn codes_name(number: u32, model: ModelId) -> String {
    format!("{number:08x}.codes.{model}")
}

/// Name of the file with the search indexes of a segment's codes.
pub(crate) fn index_name(number: u32, model: ModelId) -> String {
    format!("{number:08x}.index.{model}")
}

/// Name of a model's file.
pub(crate) fn model_name(model: ModelId) -> String {
    format!("{model}.safetensors")
}

/// Which kind a segment file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Rows,
    Codes,
    Index,
}

impl FileKind {
    pub(crate) const ALL: [FileKind; 3] = [FileKind::Rows, FileKind::Codes, FileKind::Index];

    pub(crate) fn magic(self) -> [u8; 8] {
        match self {
            FileKind::Rows => ROWS_MAGIC,
            FileKind::Codes => CODES_MAGIC,
            FileKind::Index => INDEX_MAGIC,
        }
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum ColumnKind {
    /// `u64` a row.
    IdNumbers = 1,
    /// `u64` end offset a row into `IdBytes`.
    IdEnds = 2,
    /// UTF-8 strings, one after the other.
    IdBytes = 3,
    /// `u32` a row: ordinal minus the base ordinal. Absent when it is the row number.
    OrdinalDeltas = 4,
    /// One bit a row, in `u64` words.
    ImagePresence = 5,
    /// One bit a row, in `u64` words.
    TextPresence = 6,
    /// float16, `parameter` entries for each row with kept image features.
    ImageFeatures = 7,
    /// float16, `parameter` entries for each row with kept text features.
    TextFeatures = 8,
    /// `u64` end offset a block into `TextBlocks`.
    TextBlockEnds = 9,
    /// lz4 blocks of texts.
    TextBlocks = 10,
    /// One bit a row, in `u64` words: has kept image features. Absent when all with an image have.
    ImageKept = 11,
    /// One bit a row, in `u64` words: has a kept text or features. Absent when all with a text have.
    TextKept = 12,
    /// Codes in the layout of `twinbit_kernels`, one for every row.
    ImageCodes = 16,
    /// Codes in the layout of `twinbit_kernels`, one for every row.
    TextCodes = 17,
    /// The search index of the image codes, whose bytes only its maker understands.
    ImageIndex = 24,
    /// The search index of the text codes.
    TextIndex = 25,
}

impl ColumnKind {
    /// Whether the column has kept inputs: large, and read a row at a time.
    pub(crate) fn is_kept_input(self) -> bool {
        matches!(self, ColumnKind::ImageFeatures | ColumnKind::TextFeatures | ColumnKind::TextBlocks)
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        use ColumnKind::*;
        [
            IdNumbers,
            IdEnds,
            IdBytes,
            OrdinalDeltas,
            ImagePresence,
            TextPresence,
            ImageFeatures,
            TextFeatures,
            TextBlockEnds,
            TextBlocks,
            ImageKept,
            TextKept,
            ImageCodes,
            TextCodes,
            ImageIndex,
            TextIndex,
        ]
        .into_iter()
        .find(|kind| *kind as u32 == number)
    }
}

/// How many rows have a modality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Presence {
    None = 0,
    All = 1,
    /// A presence column says which.
    Some = 2,
}

impl Presence {
    /// When `count` rows of `rows` have the modality.
    pub(crate) fn of(count: usize, rows: usize) -> Self {
        match count {
            0 => Presence::None,
            count if count == rows => Presence::All,
            _ => Presence::Some,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Presence::None, Presence::All, Presence::Some].into_iter().find(|presence| *presence as u8 == number)
    }
}

/// The fixed part of a segment file's header.
///
/// | offset | bytes | field |
/// |---|---|---|
/// | 0 | 8 | magic |
/// | 8 | 4 | format version |
/// | 12 | 4 | segment number |
/// | 16 | 4 | collection |
/// | 20 | 4 | rows |
/// | 24 | 8 | base ordinal: the first row's |
/// | 32 | 16 | model id; zero in a rows file and for external codes |
/// | 48 | 4 | bits of a code |
/// | 52 | 1 | presence of images: 0 none, 1 all, 2 a column says which |
/// | 53 | 1 | presence of texts, the same |
/// | 54 | 2 | entries in the column table |
/// | 56 | 8 | zero |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: FileKind,
    pub(crate) number: u32,
    pub(crate) collection: CollectionId,
    pub(crate) rows: u32,
    pub(crate) base: u64,
    pub(crate) model: ModelId,
    pub(crate) bits: u32,
    pub(crate) presence: [Presence; 2],
    pub(crate) columns: u16,
}

/// Why a header was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Version(u32),
    Damaged { offset: u64, what: &'static str },
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend(self.kind.magic());
        out.extend(FORMAT_VERSION.to_le_bytes());
        out.extend(self.number.to_le_bytes());
        out.extend(self.collection.0.to_le_bytes());
        out.extend(self.rows.to_le_bytes());
        out.extend(self.base.to_le_bytes());
        out.extend(self.model.0);
        out.extend(self.bits.to_le_bytes());
        out.extend(self.presence.map(|presence| presence as u8));
        out.extend(self.columns.to_le_bytes());
        out.resize(HEADER_BYTES, 0);
        out
    }

    pub(crate) fn decode(kind: FileKind, bytes: &[u8]) -> Result<Self, HeaderFault> {
        let short = HeaderFault::Damaged { offset: 0, what: "the header is cut off" };
        let damaged = |offset, what| HeaderFault::Damaged { offset, what };
        let mut from = Cursor::new(bytes);
        let magic: [u8; 8] = from.array().ok_or(short)?;
        if magic != kind.magic() {
            return Err(damaged(0, "the first bytes are not those of such a file"));
        }
        let mut read = || -> Option<Result<Self, HeaderFault>> {
            let version = from.u32()?;
            if version > FORMAT_VERSION {
                return Some(Err(HeaderFault::Version(version)));
            }
            let number = from.u32()?;
            let collection = CollectionId(from.u32()?);
            let rows = from.u32()?;
            let base = from.u64()?;
            let model = ModelId(from.array()?);
            let bits = from.u32()?;
            let presence = [from.u8()?, from.u8()?].map(Presence::from_number);
            let columns = from.u16()?;
            let zeros: [u8; 8] = from.array()?;
            let [Some(image), Some(text)] = presence else {
                return Some(Err(damaged(52, "no such presence")));
            };
            if rows as usize > MAX_SEGMENT_ROWS {
                return Some(Err(damaged(20, "more rows than a segment may have")));
            }
            if usize::from(columns) > MAX_COLUMNS {
                return Some(Err(damaged(54, "more columns than a header may list")));
            }
            if zeros != [0; 8] {
                return Some(Err(damaged(56, "reserved bytes are not zero")));
            }
            Some(Ok(Header {
                kind,
                number,
                collection,
                rows,
                base,
                model,
                bits,
                presence: [image, text],
                columns,
            }))
        };
        read().unwrap_or(Err(damaged(0, "the header is cut off")))
    }
}

/// An entry of the column table: kind `u32`, parameter `u32`, offset `u64`, length `u64`, xxh3-64 `u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) kind: u32,
    pub(crate) parameter: u32,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) hash: u64,
}

impl Column {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.kind.to_le_bytes());
        out.extend(self.parameter.to_le_bytes());
        out.extend(self.offset.to_le_bytes());
        out.extend(self.length.to_le_bytes());
        out.extend(self.hash.to_le_bytes());
    }

    pub(crate) fn decode(from: &mut Cursor<'_>) -> Option<Self> {
        Some(Column {
            kind: from.u32()?,
            parameter: from.u32()?,
            offset: from.u64()?,
            length: from.u64()?,
            hash: from.u64()?,
        })
    }
}

/// The last bytes of a segment file: file length `u64`, xxh3-64 of the header page `u64`, magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) length: u64,
    pub(crate) header_hash: u64,
}

impl Footer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.extend(self.length.to_le_bytes());
        out.extend(self.header_hash.to_le_bytes());
        out.extend(END_MAGIC);
        out
    }

    /// `None` when the bytes are no footer.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Cursor::new(bytes);
        let (length, header_hash) = (from.u64()?, from.u64()?);
        let magic: [u8; 8] = from.array()?;
        (magic == END_MAGIC && from.is_done()).then_some(Footer { length, header_hash })
    }
}

/// The hash of columns and header pages.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// `offset` rounded up to the next page.
pub(crate) fn page_up(offset: u64) -> u64 {
    offset.next_multiple_of(PAGE as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            kind: FileKind::Codes,
            number: 0x0102_0304,
            collection: CollectionId(7),
            rows: 9,
            base: 0x1122_3344_5566_7788,
            model: ModelId([0xab; 16]),
            bits: 128,
            presence: [Presence::All, Presence::Some],
            columns: 2,
        }
    }

    #[test]
    fn header_bytes_are_fixed() {
        let bytes = header().encode();
        assert_eq!(bytes.len(), 64);
        assert_eq!(bytes[0..8], [0x89, b'T', b'B', b'C', 0x0d, 0x0a, 0x1a, 0x0a]);
        assert_eq!(bytes[8..12], [0, 0, 0, 0]);
        assert_eq!(bytes[12..16], [4, 3, 2, 1]);
        assert_eq!(bytes[16..20], [7, 0, 0, 0]);
        assert_eq!(bytes[20..24], [9, 0, 0, 0]);
        assert_eq!(bytes[24..32], [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
        assert_eq!(bytes[32..48], [0xab; 16]);
        assert_eq!(bytes[48..52], [128, 0, 0, 0]);
        assert_eq!(bytes[52..54], [1, 2]);
        assert_eq!(bytes[54..56], [2, 0]);
        assert_eq!(bytes[56..64], [0; 8]);
    }

    #[test]
    fn header_reads_what_it_wrote() {
        let bytes = header().encode();
        assert_eq!(Header::decode(FileKind::Codes, &bytes), Ok(header()));
        assert!(Header::decode(FileKind::Rows, &bytes).is_err());
        for cut in 0..HEADER_BYTES {
            assert!(Header::decode(FileKind::Codes, &bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn newer_version_is_named() {
        let mut bytes = header().encode();
        bytes[8] = 3;
        assert_eq!(Header::decode(FileKind::Codes, &bytes), Err(HeaderFault::Version(3)));
    }

    #[test]
    fn table_and_footer_bytes_are_fixed() {
        let column = Column { kind: 16, parameter: 2, offset: 4096, length: 3, hash: 4 };
        let mut bytes = Vec::new();
        column.encode(&mut bytes);
        assert_eq!(bytes.len(), COLUMN_BYTES);
        assert_eq!((bytes[0], bytes[4], bytes[9], bytes[16], bytes[24]), (16, 2, 16, 3, 4));
        assert_eq!(Column::decode(&mut Cursor::new(&bytes)), Some(column));

        let footer = Footer { length: 1, header_hash: 2 };
        let bytes = footer.encode();
        assert_eq!(bytes.len(), FOOTER_BYTES);
        assert_eq!((bytes[0], bytes[8]), (1, 2));
        assert_eq!(bytes[16..24], [0x89, b'T', b'B', b'E', b'N', b'D', 0x0d, 0x0a]);
        assert_eq!(Footer::decode(&bytes), Some(footer));
    }

    #[test]
    fn limits_and_names_are_fixed() {
        assert_eq!((PAGE, MAX_COLUMNS, MAX_SEGMENT_ROWS), (4096, 126, 1 << 27));
        assert_eq!((ORDINALS_PER_DEAD_CHUNK, ORDINALS_PER_COLUMN_CHUNK), (65_536, 4_096));
        assert_eq!(rows_name(0x2a), "0000002a.rows");
        assert_eq!(codes_name(1, ModelId::EXTERNAL), format!("00000001.codes.{}", "0".repeat(32)));
        assert_eq!(index_name(0x10, ModelId([0x0f; 16])), format!("00000010.index.{}", "0f".repeat(16)));
        assert_eq!(model_name(ModelId([0x0f; 16])), format!("{}.safetensors", "0f".repeat(16)));
    }

    #[test]
    fn column_numbers_are_fixed() {
        let numbers = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 17, 24, 25];
        for number in 0..100 {
            let kind = ColumnKind::from_number(number);
            assert_eq!(kind.is_some(), numbers.contains(&number), "{number}");
            assert!(kind.is_none_or(|kind| kind as u32 == number));
        }
    }

    #[test]
    fn hash_is_xxh3() {
        assert_eq!(hash(b""), 0x2d06_8005_38d3_94c2);
    }
}
