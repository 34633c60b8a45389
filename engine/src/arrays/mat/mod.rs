//! Matrices in MATLAB files of version 5 (MATLAB's `-v7` and before, scipy's `savemat`).
//!
//! A file is a header of 128 bytes and a row of elements: type, length, data padded to 8 bytes. A
//! matrix is an element made of elements: class, dimensions, name, numbers. It may be compressed
//! (zlib) as a whole. Numbers are stored column by column and often in a smaller type than the
//! matrix's class; here they come out row by row, in memory, as what the class says.

mod element;
mod matrix;
mod number;
#[cfg(test)]
pub(super) mod tests;

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};

use flate2::read::ZlibDecoder;

use self::element::{COMPRESSED, Head, MATRIX, invalid, read_tag};
use self::matrix::{Numbers, Refused};
use super::array::Data;
use super::error::ArrayError;
use super::npy::Header;
use super::npz::choose;

/// What the text at the start of a file begins with.
pub(super) const MAGIC: &[u8] = b"MATLAB";
/// Length of the header.
pub(super) const HEADER_BYTES: usize = 128;
/// What a compressed matrix may take in memory without regard to its size in the file ...
pub(super) const FREE_BYTES: u64 = 1 << 30;
/// ... and how much beyond that for each byte in the file. Matrices of a few ones among zeros are
/// packed a hundredfold.
pub(super) const MAX_RATIO: u64 = 200;
/// No byte of a zlib stream stands for more.
const ZLIB_RATIO: u64 = 1032;

/// The matrix `key` of a file, or its only one.
pub(super) fn open(file: File, key: Option<&str>, name: &str) -> Result<(Header, Data), ArrayError> {
    let mut file = Elements::open(file, name)?;
    let (at, key) = choose(file.names()?, key, name)?;
    file.name = format!("{name}:{key}");
    let (header, rows) = file.matrix(at)?;
    Ok((header, Data::Memory(rows)))
}

/// Where an element starts, its length, and whether it is compressed.
#[derive(Clone, Copy)]
struct Place {
    start: u64,
    bytes: u32,
    compressed: bool,
}

impl Place {
    /// Refuses a matrix that would take much more memory than its size in the file speaks for.
    fn check(self, numbers: &Numbers) -> Result<(), Refused> {
        let packed = u64::from(self.bytes);
        let limits = [
            (numbers.stored_bytes(), ZLIB_RATIO * packed),
            (numbers.bytes(), FREE_BYTES.max(MAX_RATIO * packed)),
        ];
        match limits.into_iter().find(|(bytes, limit)| *bytes as u64 > *limit) {
            Some((bytes, limit)) if self.compressed => Err(Refused::TooLarge { bytes: bytes as u128, limit }),
            _ => Ok(()),
        }
    }
}

/// The elements of a file.
struct Elements {
    file: BufReader<File>,
    length: u64,
    name: String,
}

impl Elements {
    fn open(file: File, name: &str) -> Result<Self, ArrayError> {
        let name = name.to_owned();
        let length = match file.metadata() {
            Ok(metadata) => metadata.len(),
            Err(source) => return Err(ArrayError::Io { name, source }),
        };
        let mut elements = Self { file: BufReader::new(file), length, name };
        let mut header = [0; HEADER_BYTES];
        elements.file.read_exact(&mut header).map_err(|source| elements.failed(source))?;
        match header.split_at(HEADER_BYTES - 4).1 {
            [0, 1, b'I', b'M'] => Ok(elements),
            [_, _, b'M', b'I'] => Err(elements.damaged("it was written on a big-endian machine")),
            _ => Err(elements.damaged("it does not start like a MATLAB file of version 5")),
        }
    }

    /// Places and names of all matrices.
    fn names(&mut self) -> Result<Vec<(Place, String)>, ArrayError> {
        let mut names = Vec::new();
        let mut at = HEADER_BYTES as u64;
        while at < self.length {
            self.seek(at)?;
            let tag = read_tag(&mut self.file).map_err(|source| self.failed(source))?;
            let place = Place { start: at + 8, bytes: tag.bytes, compressed: tag.kind == COMPRESSED };
            at = place.start + u64::from(place.bytes);
            if at > self.length {
                return Err(self.damaged("it ends early"));
            }
            if tag.kind == MATRIX || tag.kind == COMPRESSED {
                let name = self.with(place, |reader, _| Ok(Head::read(reader)?.name))?;
                names.push((place, name));
            }
        }
        Ok(names)
    }

    /// Hands the content of a matrix, uncompressed, and its length to `read`.
    fn with<R>(
        &mut self,
        place: Place,
        read: impl FnOnce(&mut dyn Read, u32) -> io::Result<R>,
    ) -> Result<R, ArrayError> {
        self.seek(place.start)?;
        let mut content = (&mut self.file).take(place.bytes.into());
        let result = if place.compressed {
            let mut unpacked = ZlibDecoder::new(content);
            match read_tag(&mut unpacked) {
                Ok(tag) if tag.kind == MATRIX => read(&mut unpacked, tag.bytes),
                Ok(_) => Err(invalid("compressed data that is no matrix")),
                Err(error) => Err(error),
            }
        } else {
            read(&mut content, place.bytes)
        };
        result.map_err(|source| self.failed(source))
    }

    /// Reads a matrix as rows.
    fn matrix(&mut self, place: Place) -> Result<(Header, Vec<u8>), ArrayError> {
        let read = self.with(place, |reader, bytes| {
            let head = Head::read(reader)?;
            let numbers = match Numbers::read(&head, bytes, reader)? {
                Ok(numbers) => numbers,
                Err(refused) => return Ok(Err(refused)),
            };
            if let Err(refused) = place.check(&numbers) {
                return Ok(Err(refused));
            }
            let rows = numbers.rows(reader)?;
            // Behind the padding the checksum of compressed data is compared.
            io::copy(&mut reader.take(64), &mut io::sink())?;
            let (element_type, shape) = (numbers.element_type(), numbers.shape().to_vec());
            Ok(Ok((Header { element_type, shape, bytes: 0, data_bytes: rows.len() as u64 }, rows)))
        })?;
        read.map_err(|refused| refused.of(self.name.clone()))
    }

    fn seek(&mut self, at: u64) -> Result<(), ArrayError> {
        self.file.seek(SeekFrom::Start(at)).map_err(|source| self.failed(source))?;
        Ok(())
    }

    fn damaged(&self, reason: &'static str) -> ArrayError {
        ArrayError::Header { name: self.name.clone(), reason }
    }

    fn failed(&self, source: io::Error) -> ArrayError {
        match source.kind() {
            ErrorKind::UnexpectedEof => self.damaged("it ends early"),
            ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                ArrayError::Archive { name: self.name.clone(), source: source.into() }
            }
            _ => ArrayError::Io { name: self.name.clone(), source },
        }
    }
}
