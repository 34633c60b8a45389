//! The list of items that were left out.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use crate::Error;

/// A file of JSON lines, made when there is something to write.
pub(crate) struct SkippedFile {
    path: PathBuf,
    append: bool,
    file: Option<BufWriter<File>>,
}

impl SkippedFile {
    /// `append`: whether to add to what is there instead of replacing it.
    pub(crate) fn new(path: PathBuf, append: bool) -> Self {
        SkippedFile { path, append, file: None }
    }

    pub(crate) fn add(&mut self, item: &str, reason: &Error) -> Result<(), Error> {
        let line = serde_json::json!({ "item": item, "reason": reason.to_string() });
        let file = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        let file = self.file.insert(file);
        writeln!(file, "{line}").map_err(failed(&self.path))
    }

    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        match &mut self.file {
            Some(file) => file.flush().map_err(failed(&self.path)),
            None => Ok(()),
        }
    }

    fn open(&self) -> Result<BufWriter<File>, Error> {
        let mut options = OpenOptions::new();
        options.create(true).write(true).append(self.append).truncate(!self.append);
        Ok(BufWriter::new(options.open(&self.path).map_err(failed(&self.path))?))
    }
}

fn failed(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    |source| Error::Io { path: path.to_owned(), operation: "write", source }
}
