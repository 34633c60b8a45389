//! The header of an `.npy` file, versions 1 to 3.
//!
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>: the magic
//! `\x93NUMPY`, two bytes of version, the length of the header (16 bits in version 1, 32 after),
//! then a Python dictionary literal with the keys `descr`, `fortran_order` and `shape`.

use std::io::Read;

use super::error::ArrayError;

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// numpy itself refuses headers beyond 10,000 bytes.
const MAX_HEADER_BYTES: u32 = 65_536;

/// The type of an array's elements; always little-endian.
///
/// ```
/// use twinbit::ElementType;
///
/// assert_eq!(ElementType::F32.bytes(), 4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ElementType {
    /// 16-bit floats.
    F16,
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
    /// Signed bytes.
    I8,
    /// Signed 32-bit integers.
    I32,
    /// Signed 64-bit integers.
    I64,
    /// Unsigned bytes.
    U8,
    /// One byte each, 0 or 1.
    Bool,
}

impl ElementType {
    /// numpy's name of the type, such as `float16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "float16",
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::I8 => "int8",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U8 => "uint8",
            Self::Bool => "bool",
        }
    }

    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    fn from_description(description: &str) -> Option<Self> {
        Some(match description {
            "<f2" => Self::F16,
            "<f4" => Self::F32,
            "<f8" => Self::F64,
            "|i1" => Self::I8,
            "<i4" => Self::I32,
            "<i8" => Self::I64,
            "|u1" => Self::U8,
            "|b1" => Self::Bool,
            _ => return None,
        })
    }
}

/// What a header says, checked: one or two dimensions, or the four of pictures, in row order of a readable type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) element_type: ElementType,
    pub(super) shape: Vec<usize>,
    /// Bytes of the header: where the data starts.
    pub(super) bytes: u64,
    /// Bytes of data announced.
    pub(super) data_bytes: u64,
}

/// Dimensions of an array of pictures.
pub(super) const PICTURES: usize = 4;

/// Refuses what is neither values, nor rows of values, nor pictures.
pub(super) fn check_dimensions(dimensions: usize, name: impl Fn() -> String) -> Result<(), ArrayError> {
    match dimensions {
        1 | 2 | PICTURES => Ok(()),
        _ => Err(ArrayError::Dimensions { name: name(), dimensions }),
    }
}

impl Header {
    /// Reads the header from the start of a file; the reader then stands at the data.
    pub(super) fn read(reader: &mut impl Read, name: &str) -> Result<Header, ArrayError> {
        let damaged = |reason| ArrayError::Header { name: name.to_owned(), reason };
        let mut fill = |buffer: &mut [u8]| {
            reader.read_exact(buffer).map_err(|source| match source.kind() {
                std::io::ErrorKind::UnexpectedEof => damaged("it ends early"),
                _ => ArrayError::Io { name: name.to_owned(), source },
            })
        };
        let mut start = [0; 8];
        fill(&mut start)?;
        let Some([major, _minor]) = start.strip_prefix(MAGIC) else {
            return Err(damaged("it does not start like an .npy file"));
        };
        let (length, length_bytes) = match major {
            1 => {
                let mut length = [0; 2];
                fill(&mut length)?;
                (u32::from(u16::from_le_bytes(length)), 2)
            }
            2 | 3 => {
                let mut length = [0; 4];
                fill(&mut length)?;
                (u32::from_le_bytes(length), 4)
            }
            _ => return Err(damaged("its version is not 1, 2 or 3")),
        };
        if length > MAX_HEADER_BYTES {
            return Err(damaged("it is longer than 65,536 bytes"));
        }
        let mut text = vec![0; length as usize];
        fill(&mut text)?;
        let bytes = 8 + length_bytes + u64::from(length);
        let text = std::str::from_utf8(&text).map_err(|_| damaged("it is not text"))?;
        let literal = Literal::parse(text).map_err(damaged)?;
        literal.into_header(bytes, name)
    }
}

/// The dictionary of the header.
struct Literal {
    description: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

impl Literal {
    fn parse(text: &str) -> Result<Literal, &'static str> {
        let mut cursor = Cursor(text);
        let (mut description, mut fortran_order, mut shape) = (None, None, None);
        cursor.expect('{')?;
        while !cursor.take('}') {
            let key = cursor.string()?;
            cursor.expect(':')?;
            match key {
                // Anything but a string is a record type: a list of names and types.
                "descr" => description = Some(cursor.string().unwrap_or("a structure").to_owned()),
                "fortran_order" => fortran_order = Some(cursor.boolean()?),
                "shape" => shape = Some(cursor.tuple()?),
                _ => return Err("it has a key other than descr, fortran_order and shape"),
            }
            if description.as_deref() == Some("a structure") {
                // What follows is not read further: the type is refused anyway.
                return Ok(Literal {
                    description: "structure".to_owned(),
                    fortran_order: false,
                    shape: vec![0],
                });
            }
            if !cursor.take(',') {
                cursor.expect('}')?;
                break;
            }
        }
        if !cursor.0.trim().is_empty() {
            return Err("something follows its dictionary");
        }
        Ok(Literal {
            description: description.ok_or("it lacks descr")?,
            fortran_order: fortran_order.ok_or("it lacks fortran_order")?,
            shape: shape.ok_or("it lacks shape")?,
        })
    }

    fn into_header(self, bytes: u64, name: &str) -> Result<Header, ArrayError> {
        let name = || name.to_owned();
        let Some(element_type) = ElementType::from_description(&self.description) else {
            return Err(ArrayError::Elements { name: name(), found: self.description });
        };
        check_dimensions(self.shape.len(), name)?;
        if self.fortran_order && self.shape.len() > 1 {
            return Err(ArrayError::FortranOrder { name: name() });
        }
        let mut shape = Vec::with_capacity(self.shape.len());
        let mut announced = element_type.bytes() as u128;
        for length in &self.shape {
            // Four lengths below 2^64 and 8 bytes may be more than fits: saturate, then refuse.
            announced = announced.saturating_mul(u128::from(*length));
            let too_large =
                || ArrayError::TooLarge { name: name(), bytes: announced, limit: i64::MAX as u64 };
            shape.push(usize::try_from(*length).map_err(|_| too_large())?);
        }
        let data_bytes = i64::try_from(announced).map_err(|_| ArrayError::TooLarge {
            name: name(),
            bytes: announced,
            limit: i64::MAX as u64,
        })?;
        Ok(Header { element_type, shape, bytes, data_bytes: data_bytes.unsigned_abs() })
    }
}

/// The part of a Python literal that is still to be read.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn take(&mut self, wanted: char) -> bool {
        self.0 = self.0.trim_start();
        match self.0.strip_prefix(wanted) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), &'static str> {
        if self.take(wanted) { Ok(()) } else { Err("it is no dictionary as numpy writes it") }
    }

    fn string(&mut self) -> Result<&'a str, &'static str> {
        for quote in ['\'', '"'] {
            if self.take(quote) {
                let (inside, rest) = self.0.split_once(quote).ok_or("a quote is never closed")?;
                self.0 = rest;
                return Ok(inside);
            }
        }
        Err("a text in quotes is missing")
    }

    fn boolean(&mut self) -> Result<bool, &'static str> {
        self.0 = self.0.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.0.strip_prefix(word) {
                self.0 = rest;
                return Ok(value);
            }
        }
        Err("fortran_order is neither True nor False")
    }

    /// `(3, 4)`, `(3,)` or `()`; Python 2 wrote `3L`.
    fn tuple(&mut self) -> Result<Vec<u64>, &'static str> {
        let mut lengths = Vec::new();
        self.expect('(')?;
        while !self.take(')') {
            self.0 = self.0.trim_start();
            let end = self.0.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(self.0.len());
            let (digits, rest) = self.0.split_at(end);
            lengths.push(digits.parse().map_err(|_| "shape holds something else than lengths")?);
            self.0 = rest.strip_prefix('L').unwrap_or(rest);
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(lengths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, dictionary: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        let length = dictionary.len() as u32;
        match version {
            1 => bytes.extend((length as u16).to_le_bytes()),
            _ => bytes.extend(length.to_le_bytes()),
        }
        bytes.extend(dictionary.as_bytes());
        bytes
    }

    fn read(dictionary: &str) -> Result<Header, ArrayError> {
        Header::read(&mut file(1, dictionary).as_slice(), "x.npy")
    }

    #[test]
    fn headers_of_all_versions_are_read() {
        let dictionary = "{'descr': '<f2', 'fortran_order': False, 'shape': (12599, 1280), }          \n";
        for version in 1..=3 {
            let bytes = file(version, dictionary);
            let header = Header::read(&mut bytes.as_slice(), "x.npy").unwrap();
            assert_eq!((header.element_type, header.shape), (ElementType::F16, vec![12_599, 1280]));
            assert_eq!((header.bytes, header.data_bytes), (bytes.len() as u64, 12_599 * 1280 * 2));
        }
        assert!(matches!(
            Header::read(&mut file(4, dictionary).as_slice(), "x"),
            Err(ArrayError::Header { .. })
        ));
    }

    #[test]
    fn shapes_and_quotes_may_be_written_in_every_way_python_does() {
        assert_eq!(read("{\"shape\":(7L,),'fortran_order':True,'descr':\"|b1\"}").unwrap().shape, [7]);
        assert_eq!(read("{'descr':'<i8','fortran_order':False,'shape':(2,0)}").unwrap().data_bytes, 0);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let with = |description: &str, order: &str, shape: &str| {
            read(&format!("{{'descr': {description}, 'fortran_order': {order}, 'shape': {shape}}}"))
                .unwrap_err()
        };
        assert!(
            matches!(with("'>f4'", "False", "(1,)"), ArrayError::Elements { found, .. } if found == ">f4")
        );
        assert!(matches!(with("'|O'", "False", "(1,)"), ArrayError::Elements { .. }));
        assert!(matches!(with("[('a', '<f4')]", "False", "(1,)"), ArrayError::Elements { .. }));
        assert!(matches!(with("'<f4'", "True", "(1, 2)"), ArrayError::FortranOrder { .. }));
        assert!(matches!(with("'<f4'", "False", "()"), ArrayError::Dimensions { dimensions: 0, .. }));
        assert!(matches!(with("'<f4'", "False", "(1, 2, 3)"), ArrayError::Dimensions { dimensions: 3, .. }));
        let huge = u64::MAX;
        assert!(matches!(with("'<f8'", "False", &format!("({huge}, {huge})")), ArrayError::TooLarge { .. }));
        assert!(matches!(with("'<f4'", "False", "(-1, 2)"), ArrayError::Header { .. }));
        for dictionary in ["", "{", "{}", "{'descr': '<f4'}", "{'descr: 1", "{'x': 1}", "[]"] {
            assert!(matches!(read(dictionary), Err(ArrayError::Header { .. })), "{dictionary}");
        }
    }

    #[test]
    fn a_header_that_announces_gigabytes_is_refused_before_anything_is_allocated() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([2, 0, 0xff, 0xff, 0xff, 0xff]);
        assert!(matches!(Header::read(&mut bytes.as_slice(), "x"), Err(ArrayError::Header { .. })));
    }
}
