//! The length of a code and what follows from it for the layout.

use std::fmt;

use crate::Error;

/// The length of a binary code: 8 to 4096 bits, a multiple of 8.
///
/// It decides the layout (see [`Codes`](crate::Codes)): 16- and 32-bit codes are packed several to
/// a word, every other length is padded with zero bits to whole 64-bit words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CodeBits(u16);

impl CodeBits {
    /// 16 bits.
    pub const B16: Self = Self(16);
    /// 32 bits.
    pub const B32: Self = Self(32);
    /// 64 bits.
    pub const B64: Self = Self(64);
    /// 128 bits.
    pub const B128: Self = Self(128);
    /// 256 bits.
    pub const B256: Self = Self(256);
    /// 512 bits.
    pub const B512: Self = Self(512);
    /// The longest code, 4096 bits.
    pub const MAX: Self = Self(4096);

    /// A code length.
    ///
    /// # Errors
    /// [`Error::Bits`] unless `bits` is a multiple of 8 between 8 and 4096.
    pub const fn new(bits: usize) -> Result<Self, Error> {
        if bits >= 8 && bits <= Self::MAX.bits() && bits.is_multiple_of(8) {
            Ok(Self(bits as u16))
        } else {
            Err(Error::Bits { bits })
        }
    }

    /// The number of bits in a code.
    #[must_use]
    pub const fn bits(self) -> usize {
        self.0 as usize
    }

    /// The number of bytes in a packed code.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.bits() / 8
    }

    /// The number of 64-bit words a code is padded to; 1 for the packed 16- and 32-bit codes.
    #[must_use]
    pub const fn words(self) -> usize {
        self.bits().div_ceil(64)
    }

    /// The number of codes in a block of the layout: 8, or 16 and 32 for 32- and 16-bit codes.
    #[must_use]
    pub const fn rows_per_block(self) -> usize {
        match self.0 {
            16 => 32,
            32 => 16,
            _ => 8,
        }
    }

    /// The number of 64-byte lines in a block of the layout, as many as a code has words.
    #[must_use]
    pub const fn lines_per_block(self) -> usize {
        self.words()
    }

    /// Whether several codes share a word, so that a line is simply the codes in order.
    pub(crate) const fn is_packed(self) -> bool {
        self.rows_per_block() != 8
    }
}

impl TryFrom<usize> for CodeBits {
    type Error = Error;

    fn try_from(bits: usize) -> Result<Self, Error> {
        Self::new(bits)
    }
}

impl fmt::Display for CodeBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_multiples_of_eight_in_range_are_accepted() {
        for bits in [8, 16, 24, 128, 1000, 4096] {
            assert_eq!(CodeBits::new(bits).unwrap().bits(), bits);
        }
        for bits in [0, 1, 7, 9, 60, 4095, 4104, 65_536, 65_544, usize::MAX] {
            assert!(matches!(CodeBits::new(bits), Err(Error::Bits { bits: b }) if b == bits));
        }
    }

    #[test]
    fn block_shapes_follow_the_length() {
        let shape = |bits| {
            let bits = CodeBits::new(bits).unwrap();
            (bits.bytes(), bits.words(), bits.rows_per_block(), bits.lines_per_block())
        };
        assert_eq!(shape(8), (1, 1, 8, 1));
        assert_eq!(shape(16), (2, 1, 32, 1));
        assert_eq!(shape(24), (3, 1, 8, 1));
        assert_eq!(shape(32), (4, 1, 16, 1));
        assert_eq!(shape(64), (8, 1, 8, 1));
        assert_eq!(shape(72), (9, 2, 8, 2));
        assert_eq!(shape(4096), (512, 64, 8, 64));
    }
}
