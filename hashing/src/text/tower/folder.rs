//! The files of a text tower's folder.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::Error;
use crate::weight_files::weight_files;

/// Longest file of settings or of a tokenizer that is read.
const LONGEST: u64 = 256 << 20;

/// A folder as Hugging Face's tools write it.
pub(super) struct Folder<'a> {
    path: &'a Path,
}

impl<'a> Folder<'a> {
    pub(super) fn new(path: &'a Path) -> Self {
        Self { path }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The files with the weights.
    pub(super) fn weights(&self) -> Result<Vec<PathBuf>, Error> {
        weight_files(self.path)
    }

    /// A file's bytes; `None` where there is no such file.
    pub(super) fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(name);
        let unreadable = |source| Error::EncoderFile { path: path.clone(), source };
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let mut bytes = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        match bytes.len() as u64 > LONGEST {
            true => Err(unreadable(io::Error::other("it is too long"))),
            false => Ok(Some(bytes)),
        }
    }

    /// A JSON file; `None` where there is no such file.
    pub(super) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let parse = |bytes: Vec<u8>| {
            serde_json::from_slice(&bytes)
                .map_err(|error| self.invalid(format!("{name} is not as expected: {error}")))
        };
        self.bytes(name)?.map(parse).transpose()
    }

    /// What is wrong with the folder.
    pub(super) fn invalid(&self, reason: impl Into<String>) -> Error {
        Error::TextTower { folder: self.path.to_path_buf(), reason: reason.into() }
    }
}
