//! Tables of delimited text, CSV and TSV, read row by row with a bound on the length of a row.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::error::SourceError;
use super::files::failed;
use super::{MAX_TEXT_BYTES, Position};

/// The most columns of a row.
const MAX_COLUMNS: usize = 4096;

/// What stands between the cells of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delimiter {
    /// Cells may be quoted as in RFC 4180.
    Comma,
    /// Quotes are characters like others, as files of captions have it.
    Tab,
}

impl Delimiter {
    fn parser(self) -> Reader {
        match self {
            Delimiter::Comma => Reader::new(),
            Delimiter::Tab => ReaderBuilder::new().delimiter(b'\t').quoting(false).build(),
        }
    }
}

/// The rows of a file whose first row names the columns. A position counts rows, the first
/// included, and bytes.
pub(super) struct Delimited {
    path: PathBuf,
    file: BufReader<File>,
    parser: Reader,
    header: Vec<String>,
    next: Position,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// What reading a row met.
enum Row {
    Cells(usize),
    TooLarge,
}

impl Delimited {
    pub(super) fn open(path: &Path, delimiter: Delimiter, start: Position) -> Result<Self, SourceError> {
        let file = File::open(path).map_err(failed(path))?;
        let mut table = Delimited {
            path: path.to_owned(),
            file: BufReader::with_capacity(1 << 18, file),
            parser: delimiter.parser(),
            header: Vec::new(),
            next: Position::default(),
            bytes: vec![0; 1 << 12],
            ends: vec![0; 64],
        };
        table.header = table.next_row(None)?.unwrap_or_else(|| Ok(Vec::new()))?;
        if let Some(column) = repeated(&table.header) {
            let name = path.display().to_string();
            return Err(SourceError::RepeatedColumn { name, column: column.to_owned() });
        }
        if start.offset > table.next.offset {
            table.file.seek(SeekFrom::Start(start.offset)).map_err(failed(path))?;
            table.parser = delimiter.parser();
            table.next = start;
        }
        Ok(table)
    }

    /// The names of the columns.
    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// The file and the row read last, for messages.
    pub(super) fn name(&self) -> String {
        format!("{} row {}", self.path.display(), self.next.part)
    }

    /// Where the next row starts.
    pub(super) fn position(&self) -> Position {
        self.next
    }

    /// The cells of the next row, as many as columns; `None` behind the last one. The outer error ends
    /// the file, the inner one concerns this row.
    pub(super) fn next(&mut self) -> Result<Option<Result<Vec<String>, SourceError>>, SourceError> {
        self.next_row(Some(self.header.len()))
    }

    fn next_row(
        &mut self,
        columns: Option<usize>,
    ) -> Result<Option<Result<Vec<String>, SourceError>>, SourceError> {
        let Some(row) = self.read().map_err(failed(&self.path))? else { return Ok(None) };
        self.next.part += 1;
        let Row::Cells(cells) = row else {
            return Ok(Some(Err(SourceError::TooLarge { name: self.name(), limit: MAX_TEXT_BYTES })));
        };
        if let Some(columns) = columns
            && cells != columns
        {
            return Ok(Some(Err(SourceError::Cells { cells, columns })));
        }
        let mut start = 0;
        let mut texts = Vec::with_capacity(cells);
        for end in self.ends.iter().take(cells) {
            let cell = self.bytes.get(start..*end).unwrap_or_default();
            let Ok(text) = std::str::from_utf8(cell) else {
                return Ok(Some(Err(SourceError::Encoding { name: "the row".to_owned() })));
            };
            texts.push(text.to_owned());
            start = *end;
        }
        Ok(Some(Ok(texts)))
    }

    /// Reads a row into `bytes` and `ends`; one that is too large is read over.
    fn read(&mut self) -> std::io::Result<Option<Row>> {
        let (mut written, mut cells) = (0, 0);
        let mut too_large = false;
        loop {
            let input = self.file.fill_buf()?;
            let (result, read, bytes, ends) = self.parser.read_record(
                input,
                self.bytes.get_mut(written..).unwrap_or_default(),
                self.ends.get_mut(cells..).unwrap_or_default(),
            );
            self.file.consume(read);
            self.next.offset += read as u64;
            (written, cells) = (written + bytes, cells + ends);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.bytes.len() as u64 >= MAX_TEXT_BYTES => {
                    (too_large, written) = (true, 0);
                }
                ReadRecordResult::OutputFull => self.bytes.resize(self.bytes.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= MAX_COLUMNS => {
                    (too_large, cells) = (true, 0);
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record if too_large => return Ok(Some(Row::TooLarge)),
                ReadRecordResult::Record => return Ok(Some(Row::Cells(cells))),
                ReadRecordResult::End => return Ok(None),
            }
        }
    }
}

/// A name that comes twice.
fn repeated(names: &[String]) -> Option<&str> {
    let mut seen = std::collections::HashSet::new();
    names.iter().map(String::as_str).find(|name| !seen.insert(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn rows_are_read_as_quoted_and_continued_where_they_were_left() {
        let (_folder, path) = table("\u{feff}a,b\r\n1,\"x, \"\"y\"\"\nz\"\r\n\r\n2,\n3,ö".as_bytes());
        let mut rows = Delimited::open(&path, Delimiter::Comma, Position::default()).unwrap();
        assert_eq!(rows.header(), ["a", "b"]);
        assert_eq!(rows.next().unwrap().unwrap().unwrap(), ["1", "x, \"y\"\nz"]);
        assert!(rows.name().ends_with("row 2"), "{}", rows.name());
        let mut continued = Delimited::open(&path, Delimiter::Comma, rows.position()).unwrap();
        for rows in [&mut rows, &mut continued] {
            assert_eq!(rows.next().unwrap().unwrap().unwrap(), ["2", ""]);
            assert_eq!(rows.next().unwrap().unwrap().unwrap(), ["3", "ö"]);
            assert!(rows.next().unwrap().is_none());
        }
    }

    #[test]
    fn quotes_mean_nothing_between_tabs() {
        let (_folder, path) = table(b"id\ttext\n1\t\"half a quote\n2\tthe rest\"\n");
        let mut rows = Delimited::open(&path, Delimiter::Tab, Position::default()).unwrap();
        assert_eq!(rows.next().unwrap().unwrap().unwrap(), ["1", "\"half a quote"]);
        assert_eq!(rows.next().unwrap().unwrap().unwrap(), ["2", "the rest\""]);
    }

    #[test]
    fn rows_that_are_wrong_do_not_end_the_table() {
        let mut content = b"a,b\n1\n1,2,3\n\xff,2\n".to_vec();
        content.extend(vec![b'x'; MAX_TEXT_BYTES as usize + 10]);
        content.extend(b",y\n");
        content.extend(vec![b','; 2 * MAX_COLUMNS]);
        content.extend(b"\n7,8\n");
        let (_folder, path) = table(&content);
        let mut rows = Delimited::open(&path, Delimiter::Comma, Position::default()).unwrap();
        let mut next = || rows.next().unwrap().unwrap();
        assert!(matches!(next(), Err(SourceError::Cells { cells: 1, columns: 2 })));
        assert!(matches!(next(), Err(SourceError::Cells { cells: 3, columns: 2 })));
        assert!(matches!(next(), Err(SourceError::Encoding { .. })));
        assert!(matches!(next(), Err(SourceError::TooLarge { .. })));
        assert!(matches!(next(), Err(SourceError::TooLarge { .. })));
        assert_eq!(next().unwrap(), ["7", "8"]);
        let (_folder, path) = table(b"a,b,a\n");
        let repeated = Delimited::open(&path, Delimiter::Comma, Position::default());
        assert!(matches!(repeated, Err(SourceError::RepeatedColumn { .. })));
    }
}
