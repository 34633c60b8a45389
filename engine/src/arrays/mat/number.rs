//! Numbers: how they are stored, what their class says they are, and as what they come out.

use super::super::npy::ElementType;

/// The class of a matrix of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Double,
    Single,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
}

impl Class {
    /// A class by its number; 15 (uint64) has no type of ours.
    pub(super) fn of(class: u8) -> Option<Self> {
        Some(match class {
            6 => Self::Double,
            7 => Self::Single,
            8 => Self::I8,
            9 => Self::U8,
            10 => Self::I16,
            11 => Self::U16,
            12 => Self::I32,
            13 => Self::U32,
            14 => Self::I64,
            _ => return None,
        })
    }

    /// As what its numbers come out: the smallest type of ours that holds all of them exactly. Doubles that
    /// are stored in at most 16 bits are float32 then.
    pub(super) fn element_type(self, stored: Stored) -> ElementType {
        match self {
            Self::Double => match stored {
                Stored::I8 | Stored::U8 | Stored::I16 | Stored::U16 | Stored::F32 => ElementType::F32,
                Stored::I32 | Stored::U32 | Stored::F64 | Stored::I64 => ElementType::F64,
            },
            Self::Single => ElementType::F32,
            Self::I8 => ElementType::I8,
            Self::U8 => ElementType::U8,
            Self::I16 | Self::U16 | Self::I32 => ElementType::I32,
            Self::U32 | Self::I64 => ElementType::I64,
        }
    }
}

/// How numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
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

/// A number on its way.
#[derive(Clone, Copy)]
enum Value {
    Whole(i64),
    Real(f64),
}

impl Stored {
    /// A type by its number; 13 (uint64) has no type of ours.
    pub(super) fn of(kind: u32) -> Option<Self> {
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

    pub(super) fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// Whether the stored bytes are those of an element.
    pub(super) fn is(self, element_type: ElementType) -> bool {
        matches!(
            (self, element_type),
            (Self::I8, ElementType::I8)
                | (Self::U8, ElementType::U8)
                | (Self::I32, ElementType::I32)
                | (Self::I64, ElementType::I64)
                | (Self::F32, ElementType::F32)
                | (Self::F64, ElementType::F64)
        )
    }

    /// Writes a stored number as an element; `None` when it is none of that type.
    pub(super) fn convert(self, stored: &[u8], element_type: ElementType, out: &mut [u8]) -> Option<()> {
        let value = match self {
            Self::I8 => Value::Whole(i8::from_le_bytes(stored.try_into().ok()?).into()),
            Self::U8 => Value::Whole(u8::from_le_bytes(stored.try_into().ok()?).into()),
            Self::I16 => Value::Whole(i16::from_le_bytes(stored.try_into().ok()?).into()),
            Self::U16 => Value::Whole(u16::from_le_bytes(stored.try_into().ok()?).into()),
            Self::I32 => Value::Whole(i32::from_le_bytes(stored.try_into().ok()?).into()),
            Self::U32 => Value::Whole(u32::from_le_bytes(stored.try_into().ok()?).into()),
            Self::I64 => Value::Whole(i64::from_le_bytes(stored.try_into().ok()?)),
            Self::F32 => Value::Real(f32::from_le_bytes(stored.try_into().ok()?).into()),
            Self::F64 => Value::Real(f64::from_le_bytes(stored.try_into().ok()?)),
        };
        match element_type {
            ElementType::F32 => out.copy_from_slice(&(value.real() as f32).to_le_bytes()),
            ElementType::F64 => out.copy_from_slice(&value.real().to_le_bytes()),
            ElementType::I8 => out.copy_from_slice(&i8::try_from(value.whole()?).ok()?.to_le_bytes()),
            ElementType::U8 => out.copy_from_slice(&[u8::try_from(value.whole()?).ok()?]),
            ElementType::I32 => out.copy_from_slice(&i32::try_from(value.whole()?).ok()?.to_le_bytes()),
            ElementType::I64 => out.copy_from_slice(&value.whole()?.to_le_bytes()),
            // No class comes out as these.
            ElementType::F16 | ElementType::Bool => return None,
        }
        Some(())
    }
}

impl Value {
    fn real(self) -> f64 {
        match self {
            Value::Whole(value) => value as f64,
            Value::Real(value) => value,
        }
    }

    fn whole(self) -> Option<i64> {
        match self {
            Value::Whole(value) => Some(value),
            Value::Real(_) => None,
        }
    }
}
