//! Reading of whole small files, and telling whether files are still the same.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use xxhash_rust::xxh3::Xxh3;

use super::MAX_PICTURE_BYTES;
use super::error::SourceError;

pub(super) fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> SourceError + '_ {
    |source| SourceError::Io { path: path.to_owned(), source }
}

/// The bytes of a file of at most `limit` bytes.
pub(super) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, SourceError> {
    let file = File::open(path).map_err(failed(path))?;
    read_limited(file, limit, || path.display().to_string(), failed(path))
}

/// The bytes of a file with a picture.
pub(crate) fn read_picture(path: &Path) -> Result<Vec<u8>, SourceError> {
    read_file(path, MAX_PICTURE_BYTES)
}

/// Everything `reader` gives, when that is at most `limit` bytes.
pub(super) fn read_limited(
    reader: impl Read,
    limit: u64,
    name: impl FnOnce() -> String,
    failed: impl FnOnce(std::io::Error) -> SourceError,
) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(SourceError::TooLarge { name: name(), limit });
    }
    Ok(bytes)
}

/// The captions in a text file: its lines without surrounding blanks, empty ones left out.
pub(super) fn captions(bytes: Vec<u8>, name: impl FnOnce() -> String) -> Result<Vec<String>, SourceError> {
    let text = String::from_utf8(bytes).map_err(|_| SourceError::Encoding { name: name() })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// A name for a set of files that stays the same wherever it is asked from.
pub(super) fn name<'a>(
    kind: &str,
    files: impl IntoIterator<Item = (&'a str, &'a Path)>,
) -> Result<String, SourceError> {
    let mut first: Option<PathBuf> = None;
    let mut hash = Xxh3::new();
    for (role, path) in files {
        let absolute = path.canonicalize().map_err(failed(path))?;
        hash.update(role.as_bytes());
        hash.update(absolute.as_os_str().as_encoded_bytes());
        first.get_or_insert(absolute);
    }
    let first = first.unwrap_or_default();
    Ok(format!("{kind}:{}:{:016x}", first.display(), hash.digest()))
}

/// A number that changes when one of the files is replaced or changes its length or time.
pub(super) fn fingerprint<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<u64, SourceError> {
    let mut hash = Xxh3::new();
    for path in files {
        let metadata = path.metadata().map_err(failed(path))?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update(&metadata.len().to_le_bytes());
        hash.update(&modified.map_or(0, |time| time.as_nanos()).to_le_bytes());
    }
    Ok(hash.digest())
}
