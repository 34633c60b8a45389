//! Arrays inside `.npz` archives, which are zip files with one `KEY.npy` member for each array.

use std::fs::File;
use std::io::Read;

use zip::{CompressionMethod, ZipArchive};

use super::array::Data;
use super::error::ArrayError;
use super::npy::Header;

/// A compressed array is unpacked into memory, and a few bytes can unpack to thousands.
const MAX_UNPACKED_BYTES: u64 = 2 << 30;

/// The member `key` of an archive, or its only one.
pub(super) fn open(file: File, key: Option<&str>, name: &str) -> Result<(Header, Data), ArrayError> {
    let broken =
        |source: zip::result::ZipError| ArrayError::Archive { name: name.to_owned(), source: source.into() };
    let mut archive = ZipArchive::new(file).map_err(broken)?;
    let (index, key) = find(&archive, key, name)?;
    let name = format!("{name}:{key}");
    let mut member = archive.by_index(index).map_err(broken)?;
    let header = Header::read(&mut member, &name)?;
    let truncated = |got| ArrayError::Truncated { name: name.clone(), expected: header.data_bytes, got };
    if member.compression() == CompressionMethod::Stored
        && let Some(start) = member.data_start()
    {
        let got = member.size().saturating_sub(header.bytes);
        drop(member);
        if got < header.data_bytes {
            return Err(truncated(got));
        }
        let data = Data::in_file(archive.into_inner(), start.saturating_add(header.bytes), &header, &name)?;
        return Ok((header, data));
    }
    if header.data_bytes > MAX_UNPACKED_BYTES {
        let (bytes, limit) = (u128::from(header.data_bytes), MAX_UNPACKED_BYTES);
        return Err(ArrayError::TooLarge { name, bytes, limit });
    }
    // One byte more than announced: reading to the end makes the archive's checksum count.
    let mut unpacked = Vec::new();
    let read = (&mut member).take(header.data_bytes + 1).read_to_end(&mut unpacked);
    read.map_err(|source| ArrayError::Io { name: name.clone(), source })?;
    if unpacked.len() as u64 > header.data_bytes {
        return Err(ArrayError::Header { name, reason: "more data follows than it announces" });
    }
    if (unpacked.len() as u64) < header.data_bytes {
        return Err(truncated(unpacked.len() as u64));
    }
    Ok((header, Data::Memory(unpacked)))
}

/// Index and key of the member meant.
fn find(archive: &ZipArchive<File>, key: Option<&str>, name: &str) -> Result<(usize, String), ArrayError> {
    let mut members = Vec::new();
    for index in 0..archive.len() {
        if let Some(Ok(file_name)) = archive.name_for_index(index)
            && let Some(key) = file_name.strip_suffix(".npy")
        {
            members.push((index, key.to_owned()));
        }
    }
    choose(members, key, name)
}

/// The member called `key`, or the only one there is.
pub(super) fn choose<M>(
    mut members: Vec<(M, String)>,
    key: Option<&str>,
    name: &str,
) -> Result<(M, String), ArrayError> {
    let name = name.to_owned();
    let chosen = match key {
        Some(wanted) => members.iter().position(|(_, key)| key == wanted),
        None => (members.len() == 1).then_some(0),
    };
    if let Some(at) = chosen {
        return Ok(members.swap_remove(at));
    }
    let keys = members.into_iter().map(|(_, key)| key).collect();
    Err(match key {
        Some(wanted) => ArrayError::Key { name, key: wanted.to_owned(), keys },
        None => ArrayError::WhichKey { name, keys },
    })
}
