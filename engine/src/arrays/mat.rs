//! Matrices in MATLAB files of version 5 (MATLAB's `-v7` and before, scipy's `savemat`).
//!
//! A file is a header of 128 bytes and a row of elements: type, length, data padded to 8 bytes. A
//! matrix is an element made of elements: class, dimensions, name, numbers. It may be compressed
//! (zlib) as a whole. Numbers are stored column by column and often in a smaller type than the
//! matrix's; here they come out row by row, in memory.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};

use flate2::read::ZlibDecoder;

use super::array::Data;
use super::error::ArrayError;
use super::npy::{ElementType, Header};
use super::npz::choose;

/// What the text at the start of a file begins with.
pub(super) const MAGIC: &[u8] = b"MATLAB";
/// The start of HDF5 files, which MATLAB 7.3 writes (some with a text of its own before it).
pub(super) const HDF5_MAGIC: &[u8] = b"\x89HDF\r\n";

const HEADER_BYTES: usize = 128;
/// Types of elements.
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
/// Longest name and longest list of dimensions that are read.
const MAX_HEAD_BYTES: u32 = 4096;
/// Columns turned into rows at once take about this many bytes.
const BLOCK_BYTES: usize = 4 << 20;

/// The matrix `key` of a file, or its only one.
pub(super) fn open(file: File, key: Option<&str>, name: &str) -> Result<(Header, Data), ArrayError> {
    let mut file = Elements::open(file, name)?;
    let (at, key) = choose(file.names()?, key, name)?;
    let name = format!("{name}:{key}");
    file.name.clone_from(&name);
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

/// The elements of a file.
struct Elements {
    file: BufReader<File>,
    length: u64,
    name: String,
}

/// What a matrix says of itself before its numbers.
struct Head {
    class: u8,
    complex: bool,
    dimensions: Vec<i32>,
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
            [_, 2, b'I', b'M'] => Err(ArrayError::Hdf5 { name: elements.name }),
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
            let (kind, bytes, _) = read_tag(&mut self.file).map_err(|source| self.failed(source))?;
            let place = Place { start: at + 8, bytes, compressed: kind == COMPRESSED };
            at = place.start + u64::from(bytes);
            if at > self.length {
                return Err(self.damaged("it ends early"));
            }
            if kind == MATRIX || kind == COMPRESSED {
                let head = self.with(place, |reader| Ok(read_head(reader)?.name))?;
                names.push((place, head));
            }
        }
        Ok(names)
    }

    /// Hands the content of a matrix to `read`, uncompressed.
    fn with<R>(
        &mut self,
        place: Place,
        read: impl FnOnce(&mut dyn Read) -> io::Result<R>,
    ) -> Result<R, ArrayError> {
        self.seek(place.start)?;
        let mut content = (&mut self.file).take(place.bytes.into());
        let result = if place.compressed {
            let mut unpacked = ZlibDecoder::new(content);
            match read_tag(&mut unpacked) {
                Ok((MATRIX, ..)) => read(&mut unpacked),
                Ok(_) => Err(invalid("compressed data that is no matrix")),
                Err(error) => Err(error),
            }
        } else {
            read(&mut content)
        };
        result.map_err(|source| self.failed(source))
    }

    /// Reads a matrix as rows.
    fn matrix(&mut self, place: Place) -> Result<(Header, Vec<u8>), ArrayError> {
        let name = self.name.clone();
        self.with(place, |reader| {
            let head = read_head(reader)?;
            let numbers = match describe(&head, reader, &name)? {
                Ok(numbers) => numbers,
                Err(refused) => return Ok(Err(refused)),
            };
            let rows = match numbers.small {
                Some(small) => read_rows(&mut small.as_slice(), &numbers)?,
                None => read_rows(reader, &numbers)?,
            };
            // Behind the padding the checksum of compressed data is compared.
            io::copy(&mut reader.take(64), &mut io::sink())?;
            let element_type = numbers.number.element_type();
            let data_bytes = rows.len() as u64;
            Ok(Ok((Header { element_type, shape: numbers.shape.to_vec(), bytes: 0, data_bytes }, rows)))
        })?
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

/// How numbers are stored.
#[derive(Clone, Copy)]
enum Number {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    F32,
    F64,
    I64,
}

impl Number {
    fn of(kind: u32) -> Option<Self> {
        Some(match kind {
            1 => Self::I8,
            2 => Self::U8,
            3 => Self::I16,
            4 => Self::U16,
            5 => Self::I32,
            6 => Self::U32,
            7 => Self::F32,
            9 => Self::F64,
            12 => Self::I64,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// The type it comes out as: the smallest of ours that holds every value.
    fn element_type(self) -> ElementType {
        match self {
            Self::I8 => ElementType::I8,
            Self::U8 => ElementType::U8,
            Self::I16 | Self::U16 | Self::I32 => ElementType::I32,
            Self::U32 | Self::I64 => ElementType::I64,
            Self::F32 => ElementType::F32,
            Self::F64 => ElementType::F64,
        }
    }

    /// Writes a stored number as one of the element type; the slices have their lengths.
    fn put(self, stored: &[u8], out: &mut [u8]) {
        match (self, stored) {
            (Self::I16, &[low, high]) => {
                out.copy_from_slice(&i32::from(i16::from_le_bytes([low, high])).to_le_bytes());
            }
            (Self::U16, &[low, high]) => {
                out.copy_from_slice(&i32::from(u16::from_le_bytes([low, high])).to_le_bytes());
            }
            (Self::U32, &[a, b, c, d]) => {
                out.copy_from_slice(&i64::from(u32::from_le_bytes([a, b, c, d])).to_le_bytes());
            }
            _ => out.copy_from_slice(stored),
        }
    }
}

/// Type and length of an element, and its data where that is small enough to stand in the tag.
fn read_tag(reader: &mut dyn Read) -> io::Result<(u32, u32, Option<[u8; 4]>)> {
    let [kind, length] = [read_u32(reader)?, read_u32(reader)?];
    match kind >> 16 {
        0 => Ok((kind, length, None)),
        small @ 1..=4 => Ok((kind & 0xffff, small, Some(length.to_le_bytes()))),
        _ => Err(invalid("an element with more data in its tag than fits there")),
    }
}

fn read_u32(reader: &mut dyn Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// The data of a short element.
fn read_short(reader: &mut dyn Read) -> io::Result<(u32, Vec<u8>)> {
    match read_tag(reader)? {
        (kind, length, Some(small)) => Ok((kind, small.iter().copied().take(length as usize).collect())),
        (_, length, None) if length > MAX_HEAD_BYTES => {
            Err(invalid("a name or a list of dimensions is too long"))
        }
        (kind, length, None) => {
            let mut data = vec![0; length.next_multiple_of(8) as usize];
            reader.read_exact(&mut data)?;
            data.truncate(length as usize);
            Ok((kind, data))
        }
    }
}

fn read_head(reader: &mut dyn Read) -> io::Result<Head> {
    let (_, flags) = read_short(reader)?;
    let &[class, flags, ..] = flags.as_slice() else { return Err(invalid("a matrix without a class")) };
    let (_, dimensions) = read_short(reader)?;
    let (dimensions, _) = dimensions.as_chunks::<4>();
    let (_, name) = read_short(reader)?;
    Ok(Head {
        class,
        complex: flags & 0x08 != 0,
        dimensions: dimensions.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect(),
        name: String::from_utf8_lossy(&name).into_owned(),
    })
}

/// The numbers of a matrix that are to be read.
struct Numbers {
    number: Number,
    /// Rows and columns.
    shape: [usize; 2],
    /// The numbers themselves, where they fit into their tag.
    small: Option<[u8; 4]>,
}

/// Type and shape of a matrix, when it is one of real numbers. The reader then stands at the numbers.
fn describe(head: &Head, reader: &mut dyn Read, name: &str) -> io::Result<Result<Numbers, ArrayError>> {
    let elements =
        |found: &str| Ok(Err(ArrayError::Elements { name: name.to_owned(), found: found.to_owned() }));
    match head.class {
        6..=15 if head.complex => return elements("complex"),
        6..=14 => {}
        1..=4 => return elements("cell, struct, object or char"),
        5 => return elements("sparse"),
        _ => return elements("unknown"),
    }
    let &[rows, columns] = head.dimensions.as_slice() else {
        let dimensions = head.dimensions.len();
        return Ok(Err(ArrayError::Dimensions { name: name.to_owned(), dimensions }));
    };
    let (kind, length, small) = read_tag(reader)?;
    let Some(number) = Number::of(kind) else { return elements("uint64") };
    let (Ok(rows), Ok(columns)) = (usize::try_from(rows), usize::try_from(columns)) else {
        return Err(invalid("a matrix with a negative dimension"));
    };
    let shape = [rows, columns];
    let bytes = rows.checked_mul(columns).and_then(|count| count.checked_mul(number.bytes()));
    if bytes != Some(length as usize) {
        return Err(invalid("a matrix with more or fewer numbers than its dimensions call for"));
    }
    Ok(Ok(Numbers { number, shape, small }))
}

/// Reads columns and gives rows.
fn read_rows(reader: &mut dyn Read, numbers: &Numbers) -> io::Result<Vec<u8>> {
    let &Numbers { number, shape: [rows, columns], .. } = numbers;
    let (stored, size) = (number.bytes(), number.element_type().bytes());
    // At most 2^32 bytes are announced and each grows twofold at most; memory that is never written is
    // not taken from the system, so a file that lies costs nothing.
    let mut out = vec![0; rows * columns * size];
    let column_bytes = (rows * stored).max(1);
    let at_once = (BLOCK_BYTES / column_bytes).clamp(1, 64);
    let mut block = Vec::new();
    let mut done = 0;
    while done < columns && rows > 0 {
        let count = at_once.min(columns - done);
        block.clear();
        (&mut *reader).take((count * column_bytes) as u64).read_to_end(&mut block)?;
        if block.len() < count * column_bytes {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        for (row, out) in out.chunks_exact_mut(columns * size).enumerate() {
            let places = out.chunks_exact_mut(size).skip(done);
            for (place, column) in places.zip(block.chunks_exact(column_bytes)) {
                let value = column.get(row * stored..(row + 1) * stored).unwrap_or_default();
                number.put(value, place);
            }
        }
        done += count;
    }
    Ok(out)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;
    use std::path::Path;

    use super::super::array::Array;
    use super::*;

    /// An element: its tag, its data, padding to 8 bytes.
    fn element(kind: u32, data: &[u8]) -> Vec<u8> {
        let small = data.len() <= 4 && !data.is_empty();
        let mut bytes = match small {
            true => (kind | (data.len() as u32) << 16).to_le_bytes().to_vec(),
            false => [kind.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat(),
        };
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    /// A matrix of float32, as scipy writes it: numbers of class single, column by column.
    pub(crate) fn singles(
        name: &str,
        rows: usize,
        columns: usize,
        value: impl Fn(usize, usize) -> f32,
    ) -> Vec<u8> {
        let data: Vec<u8> =
            (0..rows * columns).flat_map(|at| value(at % rows, at / rows).to_le_bytes()).collect();
        matrix(name, 7, [rows as i32, columns as i32], 7, &data)
    }

    /// A matrix of zeros and ones, as MATLAB writes it: of class double, packed as bytes.
    pub(crate) fn flags(
        name: &str,
        rows: usize,
        columns: usize,
        value: impl Fn(usize, usize) -> bool,
    ) -> Vec<u8> {
        let data: Vec<u8> = (0..rows * columns).map(|at| value(at % rows, at / rows).into()).collect();
        matrix(name, 6, [rows as i32, columns as i32], 2, &data)
    }

    fn matrix(name: &str, class: u32, shape: [i32; 2], kind: u32, data: &[u8]) -> Vec<u8> {
        let flags = [class.to_le_bytes(), [0; 4]].concat();
        let parts = [
            element(6, &flags),
            element(5, &shape.map(i32::to_le_bytes).concat()),
            element(1, name.as_bytes()),
            element(kind, data),
        ];
        element(MATRIX, &parts.concat())
    }

    pub(crate) fn compressed(matrix: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(matrix).unwrap();
        let data = encoder.finish().unwrap();
        [COMPRESSED.to_le_bytes().as_slice(), &(data.len() as u32).to_le_bytes(), &data].concat()
    }

    pub(crate) fn file(matrices: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"MATLAB 5.0 MAT-file, written by a test".to_vec();
        bytes.resize(HEADER_BYTES - 4, b' ');
        bytes.extend([0, 1, b'I', b'M']);
        bytes.extend(matrices.concat());
        bytes
    }

    fn opened(folder: &Path, bytes: &[u8], key: &str) -> Result<Array, ArrayError> {
        let path = folder.join("x.mat");
        std::fs::write(&path, bytes).unwrap();
        let spec = if key.is_empty() { path } else { folder.join(format!("x.mat:{key}")) };
        Array::open(spec)
    }

    #[test]
    fn columns_come_out_as_rows_compressed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let value = |row: usize, column: usize| (row * 1000 + column) as f32;
        // More columns than are turned at once.
        let plain = singles("XAll", 7, 200, value);
        let expected: Vec<f32> = (0..7 * 200).map(|at| value(at / 200, at % 200)).collect();
        for matrix in [plain.clone(), compressed(&plain)] {
            let array = opened(folder.path(), &file(&[matrix]), "").unwrap();
            assert_eq!((array.shape(), array.element_type()), (&[7, 200][..], ElementType::F32));
            assert_eq!(array.to_f32().unwrap(), expected);
        }
    }

    #[test]
    fn matrices_are_found_by_name_and_packed_numbers_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let labels = flags("databaseL", 5, 3, |row, column| row % 3 == column);
        let tiny = flags("tiny", 2, 2, |row, _| row == 1);
        let wide = matrix("wide", 6, [2, 2], 4, &[1_u16, 2, 3, 60_000].map(u16::to_le_bytes).concat());
        let file = file(&[compressed(&labels), tiny, compressed(&wide)]);
        let open = |key: &str| opened(folder.path(), &file, key);
        assert_eq!(
            open("databaseL").unwrap().to_u8().unwrap(),
            [1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0]
        );
        assert_eq!(open("tiny").unwrap().to_u8().unwrap(), [0, 0, 1, 1]);
        assert_eq!(open("wide").unwrap().to_f32().unwrap(), [1.0, 3.0, 2.0, 60_000.0]);
        assert!(
            matches!(open(""), Err(ArrayError::WhichKey { keys, .. }) if keys == ["databaseL", "tiny", "wide"])
        );
        assert!(matches!(open("testL"), Err(ArrayError::Key { .. })));
    }

    #[test]
    fn what_is_no_matrix_of_real_numbers_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |matrix: Vec<u8>| opened(folder.path(), &file(&[matrix]), "").unwrap_err();
        let sparse = refused(matrix("x", 5, [2, 2], 9, &[0; 32]));
        assert!(matches!(sparse, ArrayError::Elements { found, .. } if found == "sparse"));
        let complex = refused(matrix("x", 6 | 0x0800, [2, 2], 9, &[0; 32]));
        assert!(matches!(complex, ArrayError::Elements { found, .. } if found == "complex"));
        assert!(matches!(refused(matrix("x", 6, [2, 2], 9, &[0; 24])), ArrayError::Archive { .. }));
        assert!(matches!(
            refused(matrix("x", 6, [i32::MAX, i32::MAX], 9, &[0; 24])),
            ArrayError::Archive { .. }
        ));
        for shape in [[-1, 2], [-1, 0], [0, -1]] {
            assert!(matches!(refused(matrix("x", 6, shape, 9, &[0; 24])), ArrayError::Archive { .. }));
            assert!(matches!(refused(matrix("x", 6, shape, 9, &[])), ArrayError::Archive { .. }));
        }
        let hdf5 = opened(folder.path(), b"\x89HDF\r\n\x1a\n and so on", "");
        assert!(matches!(hdf5, Err(ArrayError::Hdf5 { .. })));
        let mut newer = file(&[]);
        newer[HEADER_BYTES - 3] = 2;
        assert!(matches!(opened(folder.path(), &newer, ""), Err(ArrayError::Hdf5 { .. })));
    }

    #[test]
    fn every_cut_is_refused_and_no_changed_byte_is_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let matrix = singles("XAll", 3, 4, |row, column| (row + column) as f32);
        for whole in [file(std::slice::from_ref(&matrix)), file(&[compressed(&matrix)])] {
            for length in 0..whole.len() {
                assert!(opened(folder.path(), &whole[..length], "XAll").is_err(), "{length} bytes");
            }
            for at in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= 0x51;
                let _ = opened(folder.path(), &damaged, "XAll");
            }
        }
    }

    #[test]
    fn damage_of_compressed_numbers_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let mut whole = file(&[compressed(&singles("XAll", 30, 4, |row, column| (row * column) as f32))]);
        *whole.last_mut().unwrap() ^= 1;
        assert!(matches!(opened(folder.path(), &whole, "XAll"), Err(ArrayError::Archive { .. })));
    }
}
