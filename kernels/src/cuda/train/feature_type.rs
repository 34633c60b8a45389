//! How the values of features are stored on a card.

use crate::Error;

/// The type in which [`DeviceFeatures`](super::DeviceFeatures) hold values, the narrowest first. A step
/// computes with the float32 number of the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum FeatureType {
    /// Whole numbers from 0 to 255, as those of tags: one byte.
    Byte,
    /// IEEE binary16: two bytes.
    Float16,
    /// IEEE binary32: four bytes.
    #[default]
    Float32,
}

impl FeatureType {
    /// Bytes of a value.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Float16 => 2,
            Self::Float32 => 4,
        }
    }

    /// The narrowest type that holds each of these values exactly. Of several batches the widest of
    /// their types does.
    #[must_use]
    pub fn holding(values: &[f32]) -> Self {
        if values.iter().all(|&value| to_byte(value).is_some()) {
            Self::Byte
        } else if values.iter().all(|&value| to_half(value).is_some()) {
            Self::Float16
        } else {
            Self::Float32
        }
    }

    /// Values as they are stored, little-endian; rows of `width` values, from row `first` on.
    ///
    /// # Errors
    /// [`Error::Inexact`] names the first one that the type does not hold.
    pub(super) fn narrow(self, values: &[f32], first: usize, width: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(values.len() * self.bytes());
        for (place, &value) in values.iter().enumerate() {
            let inexact = || Error::Inexact { row: first + place / width, column: place % width };
            match self {
                Self::Byte => bytes.push(to_byte(value).ok_or_else(inexact)?),
                Self::Float16 => bytes.extend(to_half(value).ok_or_else(inexact)?.to_le_bytes()),
                Self::Float32 => bytes.extend(value.to_le_bytes()),
            }
        }
        Ok(bytes)
    }
}

/// The byte of the same value; none for -0, which no byte is.
fn to_byte(value: f32) -> Option<u8> {
    let byte = value as u8;
    (f32::from(byte).to_bits() == value.to_bits()).then_some(byte)
}

/// The bits of the float16 number of the same value.
fn to_half(value: f32) -> Option<u16> {
    const FRACTION: u32 = 23;
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let size = bits & 0x7fff_ffff;
    let exponent = (size >> FRACTION) as i32 - 127;
    if size == 0 {
        return Some(sign);
    }
    // Below 2^-14 all float16 numbers are multiples of 2^-24.
    let dropped = match exponent {
        -14..=15 => 13,
        -24..=-15 => 13 + (-14 - exponent) as u32,
        _ => return None,
    };
    let whole = size & 0x7f_ffff | 1 << FRACTION;
    let kept = (whole >> dropped) as u16;
    let biased = if exponent < -14 { kept } else { ((exponent + 15) as u16) << 10 | kept & 0x3ff };
    (whole.trailing_zeros() >= dropped).then_some(sign | biased)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a finite float16 number by its definition.
    fn value_of(half: u16) -> f32 {
        let (exponent, fraction) = (i32::from(half >> 10 & 31), f32::from(half & 0x3ff));
        let size = match exponent {
            0 => fraction * 2_f32.powi(-24),
            _ => (1024.0 + fraction) * 2_f32.powi(exponent - 25),
        };
        if half >> 15 == 1 { -size } else { size }
    }

    #[test]
    fn every_float16_number_is_found_and_none_between() {
        for half in (0..=u16::MAX).filter(|half| half >> 10 & 31 != 31) {
            let value = value_of(half);
            assert_eq!(to_half(value), Some(half), "{value:e}");
            let beside = f32::from_bits(value.to_bits() + 1);
            assert_eq!(to_half(beside), None, "{beside:e}");
        }
        for value in [65_520.0, 1e30, 1e-8, f32::NAN, f32::INFINITY] {
            assert_eq!(to_half(value), None, "{value}");
        }
    }

    #[test]
    fn the_narrowest_type_is_found() {
        assert_eq!(FeatureType::holding(&[0.0, 1.0, 255.0]), FeatureType::Byte);
        assert_eq!(FeatureType::holding(&[0.0, 256.0]), FeatureType::Float16);
        assert_eq!(FeatureType::holding(&[-0.0]), FeatureType::Float16);
        assert_eq!(FeatureType::holding(&[0.5, -1.0]), FeatureType::Float16);
        assert_eq!(FeatureType::holding(&[0.1]), FeatureType::Float32);
        assert_eq!(FeatureType::holding(&[f32::NAN]), FeatureType::Float32);
    }
}
