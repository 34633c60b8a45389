//! The metadata at the end of a Parquet file, looked through before it is decoded.
//!
//! The decoder makes room for as many row groups as the file says it has; a few bytes can say two
//! thousand million. So what announces a length is compared with what is there first.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use parquet::errors::ParquetError;
use parquet::file::metadata::{FooterTail, ParquetMetaData, ParquetMetaDataReader};

/// The most bytes of metadata that are read.
const MAX_METADATA_BYTES: u64 = 16 << 20;
/// The most columns and groups of columns, and the most row groups: the decoder of the format goes
/// down the schema recursively, and numbers row groups with 16 bits.
const MAX_ELEMENTS: u64 = 2_000;
const MAX_ROW_GROUPS: u64 = i16::MAX as u64;
/// How deep structures may lie in one another.
const MAX_DEPTH: u32 = 32;

/// Reads the metadata of a file.
pub(super) fn read(file: &mut File) -> Result<ParquetMetaData, ParquetError> {
    let length = file.seek(SeekFrom::End(0))?;
    let Some(tail) = length.checked_sub(8) else {
        return Err(wrong("it is shorter than 8 bytes"));
    };
    file.seek(SeekFrom::Start(tail))?;
    let mut footer = [0; 8];
    file.read_exact(&mut footer)?;
    let footer = FooterTail::try_new(&footer)?;
    if footer.is_encrypted_footer() {
        return Err(wrong("it is encrypted"));
    }
    let bytes = footer.metadata_length() as u64;
    let Some(start) = tail.checked_sub(bytes) else {
        return Err(wrong("its metadata is longer than the file"));
    };
    if bytes > MAX_METADATA_BYTES {
        return Err(wrong(&format!("its metadata is larger than the {MAX_METADATA_BYTES} bytes allowed")));
    }
    file.seek(SeekFrom::Start(start))?;
    let mut metadata = Vec::new();
    file.take(bytes).read_to_end(&mut metadata)?;
    let mut thrift = Thrift { rest: &metadata };
    if thrift.file_metadata().is_none() {
        return Err(wrong("its metadata announces more than it holds, or than is allowed"));
    }
    ParquetMetaDataReader::decode_metadata(&metadata)
}

fn wrong(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

/// Steps over values of Thrift's compact protocol; `None` where they go beyond the end.
struct Thrift<'a> {
    rest: &'a [u8],
}

/// Types of the protocol.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

impl Thrift<'_> {
    /// The structure with all metadata: field 2 are the elements of the schema, 4 the row groups.
    fn file_metadata(&mut self) -> Option<()> {
        let mut field = 0;
        while let Some(kind) = self.field(&mut field)? {
            let limit = match field {
                2 => MAX_ELEMENTS,
                4 => MAX_ROW_GROUPS,
                _ => u64::MAX,
            };
            self.value(kind, limit, MAX_DEPTH)?;
        }
        Some(())
    }

    /// The type of the next field of a structure, whose number becomes `field`; `None` inside at the
    /// structure's end.
    fn field(&mut self, field: &mut i64) -> Option<Option<u8>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        match head >> 4 {
            0 => {
                let number = self.number()?;
                *field = (number >> 1) as i64 ^ -((number & 1) as i64);
            }
            step => *field = field.checked_add(i64::from(step))?,
        }
        Some(Some(head & 15))
    }

    /// Steps over a value of a structure. Lists may have `limit` elements.
    fn value(&mut self, kind: u8, limit: u64, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // Said by the type of the field.
            TRUE | FALSE => Some(()),
            BYTE => self.skip(1),
            I16 | I32 | I64 => self.number().map(|_| ()),
            DOUBLE => self.skip(8),
            BINARY => {
                let length = self.number()?;
                self.skip(length)
            }
            LIST | SET => {
                let head = self.byte()?;
                let length = match head >> 4 {
                    15 => self.number()?,
                    length => u64::from(length),
                };
                // An element takes at least a byte.
                if length > limit || length > self.rest.len() as u64 {
                    return None;
                }
                (0..length).try_for_each(|_| self.element(head & 15, depth))
            }
            MAP => {
                let length = self.number()?;
                if length > self.rest.len() as u64 {
                    return None;
                }
                let kinds = if length == 0 { 0 } else { self.byte()? };
                (0..length).try_for_each(|_| {
                    self.element(kinds >> 4, depth)?;
                    self.element(kinds & 15, depth)
                })
            }
            STRUCT => {
                let mut field = 0;
                while let Some(kind) = self.field(&mut field)? {
                    self.value(kind, u64::MAX, depth)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    /// Steps over an element of a list, where truth values take a byte.
    fn element(&mut self, kind: u8, depth: u32) -> Option<()> {
        match kind {
            TRUE | FALSE => self.skip(1),
            kind => self.value(kind, u64::MAX, depth),
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(number);
            }
        }
        None
    }

    fn skip(&mut self, bytes: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(bytes: &[u8]) -> bool {
        Thrift { rest: bytes }.file_metadata().is_some()
    }

    #[test]
    fn what_announces_too_much_is_refused() {
        // Field 1 a number, field 3 a number, the end.
        assert!(fits(&[0x15, 2, 0x26, 200, 1, 0]));
        // Field 4, a list of two million structures.
        assert!(!fits(&[0x49, 0xfc, 0x80, 0x89, 0x7a, 0, 0]));
        assert!(fits(&[0x49, 0x2c, 0, 0, 0]));
        // A binary value longer than what is left.
        assert!(!fits(&[0x18, 100, 1, 2, 0]));
        // Structures in structures without end.
        assert!(!fits(&[0x1c; 10_000]));
        // An end that is missing.
        assert!(!fits(&[0x15, 2]));
    }
}
