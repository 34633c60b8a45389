//! The owned matrix of codes, grown row by row.

use crate::codes::{check_rows, word_offsets};
use crate::{CodeBits, Codes, Error, Line};

/// An owned matrix of binary codes in the layout of [`Codes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodesBuf {
    bits: CodeBits,
    rows: usize,
    lines: Vec<Line>,
}

impl CodesBuf {
    /// An empty matrix of codes of this length.
    #[must_use]
    pub const fn new(bits: CodeBits) -> Self {
        Self { bits, rows: 0, lines: Vec::new() }
    }

    /// A matrix of `rows` codes whose bits are all zero.
    ///
    /// # Errors
    /// [`Error::TooManyRows`] beyond `u32::MAX` rows.
    pub fn with_rows(bits: CodeBits, rows: usize) -> Result<Self, Error> {
        check_rows(rows)?;
        Ok(Self { bits, rows, lines: vec![Line::default(); Codes::line_count(bits, rows)] })
    }

    /// A matrix from packed codes, row after row, `bits / 8` bytes each.
    ///
    /// # Errors
    /// [`Error::Shape`] when the bytes are not a whole number of codes, [`Error::TooManyRows`]
    /// beyond `u32::MAX` rows.
    pub fn from_packed(bits: CodeBits, packed: &[u8]) -> Result<Self, Error> {
        let bytes = bits.bytes();
        let rows = packed.len() / bytes;
        if !packed.len().is_multiple_of(bytes) {
            return Err(Error::Shape {
                what: "bytes of packed codes, whole rows",
                expected: (rows + 1) * bytes,
                got: packed.len(),
            });
        }
        let mut codes = Self::with_rows(bits, rows)?;
        for (row, code) in packed.chunks_exact(bytes).enumerate() {
            codes.write(row, code);
        }
        Ok(codes)
    }

    /// Append one packed code of `bits / 8` bytes.
    ///
    /// # Errors
    /// [`Error::Shape`] when the code has another length, [`Error::TooManyRows`] when the matrix
    /// already has `u32::MAX` rows.
    pub fn push(&mut self, code: &[u8]) -> Result<(), Error> {
        if code.len() != self.bits.bytes() {
            return Err(Error::Shape {
                what: "bytes of a packed code",
                expected: self.bits.bytes(),
                got: code.len(),
            });
        }
        self.push_zero()?;
        self.write(self.rows - 1, code);
        Ok(())
    }

    /// Append one code whose bits are all zero, the place of a row without this modality.
    ///
    /// # Errors
    /// [`Error::TooManyRows`] when the matrix already has `u32::MAX` rows.
    pub fn push_zero(&mut self) -> Result<(), Error> {
        let rows = self.rows + 1;
        check_rows(rows)?;
        self.lines.resize(Codes::line_count(self.bits, rows), Line::default());
        self.rows = rows;
        Ok(())
    }

    /// Append all codes of another matrix.
    ///
    /// # Errors
    /// [`Error::Shape`] when the codes have another length, [`Error::TooManyRows`] when both
    /// together have more than `u32::MAX` rows; then nothing is appended.
    pub fn append(&mut self, other: Codes<'_>) -> Result<(), Error> {
        if other.bits() != self.bits {
            return Err(Error::Shape {
                what: "bits of the codes to append",
                expected: self.bits.bits(),
                got: other.bits().bits(),
            });
        }
        let first = self.rows;
        let rows = first + other.rows();
        check_rows(rows)?;
        // Whole blocks keep their lines when they land on a block boundary; other rows are moved
        // one at a time, which also leaves behind what lies after the other matrix's last row.
        let per_block = self.bits.rows_per_block();
        let whole = if first.is_multiple_of(per_block) { other.rows() / per_block * per_block } else { 0 };
        self.lines.extend_from_slice(&other.lines()[..Codes::line_count(self.bits, whole)]);
        self.lines.resize(Codes::line_count(self.bits, rows), Line::default());
        self.rows = rows;
        let mut code = vec![0; self.bits.bytes()];
        for row in whole..other.rows() {
            other.row_into(row, &mut code);
            self.write(first + row, &code);
        }
        Ok(())
    }

    /// The matrix, borrowed.
    #[must_use]
    pub fn as_codes(&self) -> Codes<'_> {
        Codes::new(self.bits, self.rows, &self.lines).expect("the lines always fit the rows")
    }

    /// The number of codes.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The length of a code.
    #[must_use]
    pub const fn bits(&self) -> CodeBits {
        self.bits
    }

    /// The column as it is stored: [`Codes::byte_len`] bytes, read back by [`Codes::from_bytes`].
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.lines)
    }

    /// Overwrite a row that exists and whose padding is zero.
    fn write(&mut self, row: usize, code: &[u8]) {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.lines);
        for (piece, start) in code.chunks(8).zip(word_offsets(self.bits, row)) {
            bytes[start..start + piece.len()].copy_from_slice(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The column of `rows` codes whose bytes count up from 1.
    fn counting(bits: usize, rows: usize) -> CodesBuf {
        let bits = CodeBits::new(bits).unwrap();
        let packed: Vec<u8> = (0..rows * bits.bytes()).map(|i| (i + 1) as u8).collect();
        CodesBuf::from_packed(bits, &packed).unwrap()
    }

    /// `bytes` followed by zeros up to a length.
    fn padded(bytes: &[u8], len: usize) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        bytes.resize(len, 0);
        bytes
    }

    // The next five tests pin the on-disk format of a codes column.

    #[test]
    fn sixteen_bit_codes_lie_in_order() {
        let codes = counting(16, 3);
        assert_eq!(codes.as_bytes(), padded(&[1, 2, 3, 4, 5, 6], 64));
        assert_eq!(counting(16, 32).as_bytes().len(), 64);
        let codes = counting(16, 33);
        assert_eq!(codes.as_bytes()[62..66], [63, 64, 65, 66]);
        assert_eq!(codes.as_bytes().len(), 128);
    }

    #[test]
    fn thirty_two_bit_codes_lie_in_order() {
        let codes = counting(32, 2);
        assert_eq!(codes.as_bytes(), padded(&[1, 2, 3, 4, 5, 6, 7, 8], 64));
        assert_eq!(counting(32, 16).as_bytes().len(), 64);
        assert_eq!(counting(32, 17).as_bytes()[64..], padded(&[65, 66, 67, 68], 64));
    }

    #[test]
    fn sixty_four_bit_codes_lie_in_order() {
        let codes = counting(64, 9);
        assert_eq!(codes.as_bytes()[..64], (1..=64).collect::<Vec<u8>>());
        assert_eq!(codes.as_bytes()[64..], padded(&[65, 66, 67, 68, 69, 70, 71, 72], 64));
    }

    #[test]
    fn twenty_four_bit_codes_are_padded_to_a_word() {
        let codes = counting(24, 2);
        assert_eq!(codes.as_bytes(), padded(&[1, 2, 3, 0, 0, 0, 0, 0, 4, 5, 6], 64));
        assert_eq!(codes.as_codes().lines()[0].0, [0x03_0201, 0x06_0504, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn longer_codes_are_blocks_of_eight_word_by_word() {
        let codes = counting(128, 9);
        let mut expected = Vec::new();
        // Block 0: the first words of codes 0 to 7, then their second words; block 1: code 8.
        for row in 0..8 {
            expected.extend(16 * row + 1..=16 * row + 8);
        }
        for row in 0..8 {
            expected.extend(16 * row + 9..=16 * row + 16);
        }
        expected.extend(padded(&[129, 130, 131, 132, 133, 134, 135, 136], 64));
        expected.extend(padded(&[137, 138, 139, 140, 141, 142, 143, 144], 64));
        assert_eq!(codes.as_bytes(), expected);

        // 72 bits: the second word holds one byte of the code.
        let codes = counting(72, 2);
        let mut expected = padded(&[1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17], 64);
        expected.extend(padded(&[9, 0, 0, 0, 0, 0, 0, 0, 18], 64));
        assert_eq!(codes.as_bytes(), expected);
    }

    #[test]
    fn pushing_equals_packing_at_once() {
        for bits in [8, 16, 24, 32, 64, 136] {
            let whole = counting(bits, 75);
            let mut pushed = CodesBuf::new(whole.bits());
            for row in 0..75 {
                pushed.push(&whole.as_codes().row(row)).unwrap();
            }
            assert_eq!(pushed, whole);
            pushed.push_zero().unwrap();
            assert_eq!(pushed.as_codes().row(75), vec![0; bits / 8]);
            assert!(matches!(pushed.push(&vec![0; bits / 8 + 1]), Err(Error::Shape { .. })));
            assert_eq!(pushed.rows(), 76);
        }
    }

    #[test]
    fn appending_equals_packing_at_once() {
        for bits in [8, 16, 24, 32, 64, 136] {
            let whole = counting(bits, 75);
            let packed = whole.as_codes().to_packed();
            for split in [0, 1, 8, 16, 31, 32, 64, 75] {
                let (left, right) = packed.split_at(split * bits / 8);
                let mut codes = CodesBuf::from_packed(whole.bits(), left).unwrap();
                let right = CodesBuf::from_packed(whole.bits(), right).unwrap();
                codes.append(right.as_codes()).unwrap();
                assert_eq!(codes, whole, "{bits} bits, split at {split}");
            }
        }
        let other = CodesBuf::new(CodeBits::B64);
        assert!(matches!(CodesBuf::new(CodeBits::B32).append(other.as_codes()), Err(Error::Shape { .. })));
    }

    #[test]
    fn appending_leaves_behind_what_follows_the_last_row() {
        let source = counting(128, 8);
        let five = Codes::new(source.bits(), 5, source.as_codes().lines()).unwrap();
        let mut codes = CodesBuf::new(source.bits());
        codes.append(five).unwrap();
        assert_eq!(codes, counting(128, 5));
    }

    #[test]
    fn packed_bytes_must_be_whole_codes() {
        assert!(matches!(
            CodesBuf::from_packed(CodeBits::B64, &[0; 20]),
            Err(Error::Shape { expected: 24, got: 20, .. })
        ));
    }
}
