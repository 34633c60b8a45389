//! The numbers of a matrix: columns in, rows out.

use std::io::{self, ErrorKind, Read};

use super::super::error::ArrayError;
use super::super::npy::ElementType;
use super::element::{Head, invalid, read_tag};
use super::number::{Class, Stored};

/// Columns turned into rows at once take about this many bytes.
const BLOCK_BYTES: usize = 4 << 20;

/// The numbers of a matrix that are to be read.
pub(super) struct Numbers {
    class: Class,
    stored: Stored,
    /// Rows and columns.
    shape: [usize; 2],
    /// The numbers themselves, where they fit into their tag.
    small: Option<[u8; 4]>,
}

/// Why a matrix is not read, though its file is sound.
pub(super) enum Refused {
    Elements(&'static str),
    Dimensions(usize),
    TooLarge { bytes: u128, limit: u64 },
}

impl Refused {
    /// The error for the array of this name.
    pub(super) fn of(self, name: String) -> ArrayError {
        match self {
            Self::Elements(found) => ArrayError::Elements { name, found: found.to_owned() },
            Self::Dimensions(dimensions) => ArrayError::Dimensions { name, dimensions },
            Self::TooLarge { bytes, limit } => ArrayError::TooLarge { name, bytes, limit },
        }
    }
}

impl Numbers {
    /// Type and shape of a matrix of `matrix_bytes`, when it is one of real numbers. The reader then
    /// stands at the numbers.
    pub(super) fn read(
        head: &Head,
        matrix_bytes: u32,
        reader: &mut dyn Read,
    ) -> io::Result<Result<Numbers, Refused>> {
        let class = match (head.class, Class::of(head.class)) {
            (6..=15, _) if head.complex => return Ok(Err(Refused::Elements("complex"))),
            (_, Some(class)) => class,
            (1..=4, _) => return Ok(Err(Refused::Elements("cell, struct, object or char"))),
            (5, _) => return Ok(Err(Refused::Elements("sparse"))),
            (15, _) => return Ok(Err(Refused::Elements("uint64"))),
            _ => return Ok(Err(Refused::Elements("unknown"))),
        };
        let &[rows, columns] = head.dimensions.as_slice() else {
            return Ok(Err(Refused::Dimensions(head.dimensions.len())));
        };
        let tag = read_tag(reader)?;
        let Some(stored) = Stored::of(tag.kind) else { return Ok(Err(Refused::Elements("uint64"))) };
        let (Ok(rows), Ok(columns)) = (usize::try_from(rows), usize::try_from(columns)) else {
            return Err(invalid("a matrix with a negative dimension"));
        };
        let bytes = rows.checked_mul(columns).and_then(|count| count.checked_mul(stored.bytes()));
        if bytes != Some(tag.bytes as usize) {
            return Err(invalid("a matrix with more or fewer numbers than its dimensions call for"));
        }
        if tag.bytes > matrix_bytes {
            return Err(invalid("a matrix with more numbers than it has room for"));
        }
        Ok(Ok(Numbers { class, stored, shape: [rows, columns], small: tag.small }))
    }

    pub(super) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    pub(super) fn element_type(&self) -> ElementType {
        self.class.element_type(self.stored)
    }

    /// Bytes of the numbers as they are stored; an element has less than 4 GiB.
    pub(super) fn stored_bytes(&self) -> usize {
        let [rows, columns] = self.shape;
        rows * columns * self.stored.bytes()
    }

    /// Bytes of the numbers as they come out: at most four times as many.
    pub(super) fn bytes(&self) -> usize {
        let [rows, columns] = self.shape;
        rows * columns * self.element_type().bytes()
    }

    /// Reads columns and gives rows.
    pub(super) fn rows(&self, reader: &mut dyn Read) -> io::Result<Vec<u8>> {
        match &self.small {
            Some(small) => self.turn(&mut small.as_slice()),
            None => self.turn(reader),
        }
    }

    fn turn(&self, reader: &mut dyn Read) -> io::Result<Vec<u8>> {
        let [rows, columns] = self.shape;
        let (element_type, stored) = (self.element_type(), self.stored.bytes());
        let (size, is_same) = (element_type.bytes(), self.stored.is(element_type));
        let mut out = Vec::new();
        out.try_reserve_exact(self.bytes()).map_err(|_| ErrorKind::OutOfMemory)?;
        out.resize(self.bytes(), 0);
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
                    if is_same {
                        place.copy_from_slice(value);
                    } else if self.stored.convert(value, element_type, place).is_none() {
                        return Err(invalid("a number that is none of the matrix's class"));
                    }
                }
            }
            done += count;
        }
        Ok(out)
    }
}
