//! Elements: tags, and what a matrix says of itself before its numbers.

use std::io::{self, ErrorKind, Read};

/// Types of elements.
pub(super) const MATRIX: u32 = 14;
pub(super) const COMPRESSED: u32 = 15;
/// Longest name and longest list of dimensions that are read.
const MAX_HEAD_BYTES: u32 = 4096;

/// What an element begins with.
pub(super) struct Tag {
    pub(super) kind: u32,
    pub(super) bytes: u32,
    /// The data, where it is small enough to stand in the tag.
    pub(super) small: Option<[u8; 4]>,
}

pub(super) fn read_tag(reader: &mut dyn Read) -> io::Result<Tag> {
    let [kind, bytes] = [read_u32(reader)?, read_u32(reader)?];
    match kind >> 16 {
        0 => Ok(Tag { kind, bytes, small: None }),
        small @ 1..=4 => Ok(Tag { kind: kind & 0xffff, bytes: small, small: Some(bytes.to_le_bytes()) }),
        _ => Err(invalid("an element with more data in its tag than fits there")),
    }
}

fn read_u32(reader: &mut dyn Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// The data of a short element.
fn read_short(reader: &mut dyn Read) -> io::Result<Vec<u8>> {
    let tag = read_tag(reader)?;
    if let Some(small) = tag.small {
        return Ok(small.iter().copied().take(tag.bytes as usize).collect());
    }
    if tag.bytes > MAX_HEAD_BYTES {
        return Err(invalid("a name or a list of dimensions is too long"));
    }
    let mut data = vec![0; tag.bytes.next_multiple_of(8) as usize];
    reader.read_exact(&mut data)?;
    data.truncate(tag.bytes as usize);
    Ok(data)
}

/// What a matrix says of itself before its numbers.
pub(super) struct Head {
    pub(super) class: u8,
    pub(super) complex: bool,
    pub(super) dimensions: Vec<i32>,
    pub(super) name: String,
}

impl Head {
    pub(super) fn read(reader: &mut dyn Read) -> io::Result<Head> {
        let flags = read_short(reader)?;
        let &[class, flags, ..] = flags.as_slice() else { return Err(invalid("a matrix without a class")) };
        let dimensions = read_short(reader)?;
        let (dimensions, _) = dimensions.as_chunks::<4>();
        let name = read_short(reader)?;
        Ok(Head {
            class,
            complex: flags & 0x08 != 0,
            dimensions: dimensions.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect(),
            name: String::from_utf8_lossy(&name).into_owned(),
        })
    }
}

pub(super) fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}
