//! Names of things: records, collections, models.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::format::MAX_ID_BYTES;
use crate::schema::IdKind;

/// The id of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordId {
    /// A number, assigned by the database or given by the application.
    U64(u64),
    /// A string of 1 to 1024 bytes.
    Str(String),
}

impl RecordId {
    /// Checks that the id is of the collection's kind and within its limits.
    pub(crate) fn check(&self, kind: IdKind) -> Result<(), Error> {
        match (kind, self) {
            (IdKind::Auto | IdKind::U64, RecordId::U64(_)) => Ok(()),
            (IdKind::Auto | IdKind::U64, RecordId::Str(_)) => {
                Err(Error::Id("the collection's ids are numbers"))
            }
            (IdKind::Str, RecordId::U64(_)) => Err(Error::Id("the collection's ids are strings")),
            (IdKind::Str, RecordId::Str(id)) if id.is_empty() => Err(Error::Id("it is empty")),
            (IdKind::Str, RecordId::Str(id)) if id.len() > MAX_ID_BYTES => {
                Err(Error::Id("it has more than 1024 bytes"))
            }
            (IdKind::Str, RecordId::Str(_)) => Ok(()),
        }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordId::U64(id) => id.fmt(f),
            RecordId::Str(id) => id.fmt(f),
        }
    }
}

impl From<u64> for RecordId {
    fn from(id: u64) -> Self {
        RecordId::U64(id)
    }
}

impl From<&str> for RecordId {
    fn from(id: &str) -> Self {
        RecordId::Str(id.to_owned())
    }
}

impl From<String> for RecordId {
    fn from(id: String) -> Self {
        RecordId::Str(id)
    }
}

/// The number of a collection. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionId(pub u32);

impl fmt::Display for CollectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The content hash of a model, opaque to this crate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId(pub [u8; 16]);

impl ModelId {
    /// The id that stands for codes brought by the application.
    pub(crate) const EXTERNAL: ModelId = ModelId([0; 16]);
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelId({self})")
    }
}

impl FromStr for ModelId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = Error::Id("a model id is 32 hexadecimal digits");
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return Err(refused);
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair =
                std::str::from_utf8(pair).map_err(|_| Error::Id("a model id is 32 hexadecimal digits"))?;
            if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(refused);
            }
            *byte =
                u8::from_str_radix(pair, 16).map_err(|_| Error::Id("a model id is 32 hexadecimal digits"))?;
        }
        Ok(ModelId(bytes))
    }
}

impl Serialize for ModelId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModelId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_ids_read_what_they_print() {
        let id = ModelId([0, 1, 2, 3, 0xfe, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]);
        assert_eq!(id.to_string(), "00010203fe05060708090a0b0c0d0eff");
        assert_eq!(id.to_string().parse::<ModelId>().unwrap(), id);
        for bad in ["", "00", &"g".repeat(32), &"+1".repeat(16), &"é".repeat(16)] {
            assert!(matches!(bad.parse::<ModelId>(), Err(Error::Id(_))), "{bad}");
        }
    }

    #[test]
    fn ids_are_checked_against_the_kind() {
        assert!(RecordId::from(7).check(IdKind::U64).is_ok());
        assert!(RecordId::from("a").check(IdKind::Str).is_ok());
        assert!(matches!(RecordId::from("a").check(IdKind::Auto), Err(Error::Id(_))));
        assert!(matches!(RecordId::from(7).check(IdKind::Str), Err(Error::Id(_))));
        assert!(matches!(RecordId::from("").check(IdKind::Str), Err(Error::Id(_))));
        assert!(matches!(RecordId::from("x".repeat(1025)).check(IdKind::Str), Err(Error::Id(_))));
        assert!(RecordId::from("x".repeat(1024)).check(IdKind::Str).is_ok());
    }
}
