//! Files read line by line, with a bound on the length of a line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::error::SourceError;
use super::files::failed;
use super::{MAX_TEXT_BYTES, Position};

/// The lines of a file. A position counts lines and bytes.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    next: Position,
    line: Vec<u8>,
}

impl Lines {
    pub(super) fn open(path: &Path, start: Position) -> Result<Lines, SourceError> {
        let mut file = File::open(path).map_err(failed(path))?;
        file.seek(SeekFrom::Start(start.offset)).map_err(failed(path))?;
        let path = path.to_owned();
        Ok(Lines { path, file: BufReader::with_capacity(1 << 18, file), next: start, line: Vec::new() })
    }

    /// The file and the line read last, for messages.
    pub(super) fn name(&self) -> String {
        format!("{} line {}", self.path.display(), self.next.part)
    }

    /// Where the next line starts.
    pub(super) fn position(&self) -> Position {
        self.next
    }

    /// The next line without its end; `None` behind the last one. The outer error ends the file,
    /// the inner one concerns this line.
    pub(super) fn next(&mut self) -> Result<Option<Result<&str, SourceError>>, SourceError> {
        self.line.clear();
        let mut limited = (&mut self.file).take(MAX_TEXT_BYTES + 1);
        let read = limited.read_until(b'\n', &mut self.line).map_err(failed(&self.path))?;
        if read == 0 {
            return Ok(None);
        }
        self.next.part += 1;
        self.next.offset += read as u64;
        if read as u64 > MAX_TEXT_BYTES {
            let name = self.name();
            self.next.offset += skip_line(&mut self.file).map_err(failed(&self.path))?;
            return Ok(Some(Err(SourceError::TooLarge { name, limit: MAX_TEXT_BYTES })));
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(Some(match std::str::from_utf8(line) {
            Ok(line) if self.next.part == 1 => Ok(line.strip_prefix('\u{feff}').unwrap_or(line)),
            Ok(line) => Ok(line),
            Err(_) => Err(SourceError::Encoding { name: self.name() }),
        }))
    }

    /// Moves over `count` lines.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), SourceError> {
        for _ in 0..count {
            let read = skip_line(&mut self.file).map_err(failed(&self.path))?;
            if read == 0 {
                break;
            }
            self.next.part += 1;
            self.next.offset += read;
        }
        Ok(())
    }

    /// How many lines a file has; an end of line at the end of the file starts no other one.
    pub(super) fn count(path: &Path) -> Result<u64, SourceError> {
        let mut lines = Lines::open(path, Position::default())?;
        lines.skip(u64::MAX)?;
        Ok(lines.next.part)
    }
}

/// Reads up to the end of the line without keeping it; gives the bytes read.
fn skip_line(file: &mut BufReader<File>) -> std::io::Result<u64> {
    let mut read = 0;
    loop {
        let buffer = file.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(buffer.len(), |end| end + 1);
        file.consume(length);
        read += length as u64;
        if end.is_some() || length == 0 {
            return Ok(read);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_continued_where_they_were_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, "\u{feff}one\r\n\nthree\n\u{feff}four").unwrap();
        assert_eq!(Lines::count(&path).unwrap(), 4);
        let mut lines = Lines::open(&path, Position::default()).unwrap();
        assert_eq!(lines.next().unwrap().unwrap().unwrap(), "one");
        assert_eq!(lines.next().unwrap().unwrap().unwrap(), "");
        let mut continued = Lines::open(&path, lines.position()).unwrap();
        assert_eq!(continued.next().unwrap().unwrap().unwrap(), "three");
        assert!(continued.name().ends_with("line 3"));
        assert_eq!(continued.next().unwrap().unwrap().unwrap(), "\u{feff}four");
        assert!(continued.next().unwrap().is_none());
    }

    #[test]
    fn a_line_without_end_is_refused_and_the_next_one_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut bytes = vec![b'x'; MAX_TEXT_BYTES as usize + 10];
        bytes.extend(b"\n\xff\nlast");
        std::fs::write(&path, bytes).unwrap();
        let mut lines = Lines::open(&path, Position::default()).unwrap();
        assert!(matches!(lines.next().unwrap(), Some(Err(SourceError::TooLarge { .. }))));
        assert!(matches!(lines.next().unwrap(), Some(Err(SourceError::Encoding { .. }))));
        assert_eq!(lines.next().unwrap().unwrap().unwrap(), "last");
    }
}
