//! Pairs listed in a file: one JSON object a line, or a table of delimited text.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::delimited::{Delimited, Delimiter};
use super::error::SourceError;
use super::files;
use super::lines::Lines;
use super::table::{Cell, Columns, Ids, Names, Role, Table};
use super::{Item, Position, Source, check_first, json};
use crate::{Error, Schema};

/// Records from a list: a file with a JSON object a line, a CSV table (`.csv`) or one with tabs
/// (`.tsv`), whose first row names the columns.
///
/// Columns: `id` (text or a whole number; left out where ids are automatic), `image` (path of a
/// picture, relative to the file's folder), `text` (text, or in JSON also a list of captions, see
/// [`Content`](crate::Content)), `of` (the id of the record that this is a further caption of);
/// [`columns`](Self::columns) gives them other names. All others are fields. A column that is no
/// declared field ends the run, because it is more likely a slip than meant;
/// [`ignore_unknown`](Self::ignore_unknown) leaves such columns out instead. Null is as good as
/// nothing, and so is an empty cell of a table; empty lines are skipped.
///
/// In a CSV table cells may be quoted as in RFC 4180. Between tabs quotes are characters like others.
///
/// ```
/// use twinbit::{CodeBits, Database, IdKind, OnError, PairsSource, Schema, TextEncoding};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path().join("database"))?;
/// # let list = folder.path().join("pairs.csv");
/// # std::fs::write(&list, "id,text,year\na,a cat,2020\nb,a dog\n")?;
/// let schema = Schema::new(CodeBits::B64).ids(IdKind::Str).image_features(8).text_encoder(TextEncoding::Ngram);
/// let photos = database.create_collection("photos", schema)?;
/// let source = PairsSource::new(&list).ignore_unknown(true);
/// // The second row has a cell too few.
/// let report = photos.ingest(source).on_error(OnError::Skip).run()?;
/// assert_eq!((report.ingested, report.skipped), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PairsSource {
    path: PathBuf,
    format: Format,
    columns: Columns,
    names: &'static Names,
    ids: Ids,
    ignore_unknown: bool,
}

#[derive(Debug, Clone, Copy)]
enum Format {
    JsonLines,
    Delimited(Delimiter),
}

/// The columns of a list.
const LIST: Names = Names { id: &["id"], image: &["image"], text: &["text"], of: &["of"] };

/// The columns of the list in a folder of pictures as Hugging Face's `datasets` reads it.
const IMAGE_FOLDER: Names =
    Names { id: &["id"], image: &["file_name"], text: &["text", "caption", "captions"], of: &["of"] };

impl PairsSource {
    /// The pairs listed in the file at `path`: a table when its name ends in `.csv` or `.tsv`, JSON
    /// objects otherwise.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        let format = match ending.as_ref().and_then(|ending| ending.to_str()) {
            Some("csv") => Format::Delimited(Delimiter::Comma),
            Some("tsv") => Format::Delimited(Delimiter::Tab),
            _ => Format::JsonLines,
        };
        let columns = Columns::default();
        PairsSource { path, format, columns, names: &LIST, ids: Ids::Column, ignore_unknown: false }
    }

    /// The pictures of a folder that are listed in its `metadata.jsonl` or `metadata.csv`, as Hugging
    /// Face's `datasets` reads it.
    ///
    /// Columns: `file_name` (path of the picture in the folder), `text`, `caption` or `captions`, and
    /// `id`, without which a picture's id is its path without the extension; where ids are automatic
    /// they do not count. Columns that are no declared fields are left out.
    ///
    /// # Errors
    /// When the folder has no such list.
    pub fn image_folder(folder: impl AsRef<Path>) -> Result<Self, SourceError> {
        let folder = folder.as_ref();
        let listed = ["metadata.jsonl", "metadata.csv"].map(|name| folder.join(name));
        let Some(path) = listed.into_iter().find(|path| path.is_file()) else {
            return Err(SourceError::NoMetadata { path: folder.to_owned() });
        };
        let source = PairsSource::new(path);
        Ok(PairsSource { names: &IMAGE_FOLDER, ids: Ids::OrPath, ignore_unknown: true, ..source })
    }

    /// Whether columns that are no declared fields are left out instead of ending the run.
    pub fn ignore_unknown(mut self, ignore: bool) -> Self {
        self.ignore_unknown = ignore;
        self
    }

    /// The names of the columns that are no fields.
    pub fn columns(mut self, columns: Columns) -> Self {
        self.columns = columns;
        self
    }

    fn table<'a>(&'a self, schema: &'a Schema) -> Table<'a> {
        Table { schema, folder: self.path.parent().unwrap_or(Path::new("")), ids: self.ids }
    }

    /// What a column is; an error where it is none that is known.
    fn role(&self, schema: &Schema, column: &str, name: impl Fn() -> String) -> Result<Role, SourceError> {
        let role = self.columns.role(column, self.names);
        if role == Role::Field && !self.ignore_unknown {
            json::check_column(schema, column, name)?;
        }
        Ok(role)
    }

    fn records(
        &self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        match self.format {
            Format::JsonLines => self.lines(schema, start, each),
            Format::Delimited(delimiter) => self.rows(schema, delimiter, start, each),
        }
    }

    fn lines(
        &self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut lines = Lines::open(&self.path, start)?;
        let table = self.table(schema);
        loop {
            let line = match lines.next()? {
                None => return Ok(()),
                Some(Ok(line)) if line.trim().is_empty() => continue,
                Some(line) => line.map(str::to_owned),
            };
            let object = line.and_then(|line| json::object(line.as_bytes(), || "the line".to_owned()));
            let content = match object {
                Ok(object) => {
                    let mut cells = Vec::with_capacity(object.len());
                    for (column, value) in object {
                        let role = self.role(schema, &column, || lines.name())?;
                        cells.push((role, column, json::cell(value)));
                    }
                    let cells = cells.iter_mut().map(|(role, column, cell)| {
                        (*role, column.as_str(), std::mem::replace(cell, Cell::Null))
                    });
                    table.content(cells)
                }
                Err(error) => Err(error),
            };
            let content = content.map_err(Error::from);
            if each(Item { name: lines.name(), next: lines.position(), content }).is_break() {
                return Ok(());
            }
        }
    }

    fn rows(
        &self,
        schema: &Schema,
        delimiter: Delimiter,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut rows = Delimited::open(&self.path, delimiter, start)?;
        let table = self.table(schema);
        let header = rows.header().to_vec();
        let name = || format!("{} row 1", self.path.display());
        if let Some(column) = self.columns.named().find(|named| header.iter().all(|column| column != named)) {
            return Err(SourceError::ColumnMissing { name: name(), column: column.to_owned(), header }.into());
        }
        let roles: Vec<Role> =
            header.iter().map(|column| self.role(schema, column, name)).collect::<Result<_, _>>()?;
        if !roles.iter().any(|role| matches!(role, Role::Image | Role::Text)) {
            let column = format!("{} or {}", self.names.image.join(" or "), self.names.text.join(" or "));
            return Err(SourceError::ColumnMissing { name: name(), column, header }.into());
        }
        while let Some(cells) = rows.next()? {
            let content = cells.and_then(|cells| {
                let cells = header.iter().zip(&roles).zip(cells);
                table.content(cells.map(|((column, role), text)| {
                    let cell = if text.is_empty() { Cell::Null } else { Cell::Written(text) };
                    (*role, column.as_str(), cell)
                }))
            });
            let content = content.map_err(Error::from);
            if each(Item { name: rows.name(), next: rows.position(), content }).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Source for PairsSource {
    fn name(&self) -> Result<String, Error> {
        Ok(files::name("pairs", [("pairs", self.path.as_path())])?)
    }

    fn fingerprint(&self) -> Result<u64, Error> {
        Ok(files::fingerprint([self.path.as_path()])?)
    }

    fn items(&self, _start: Position) -> Option<u64> {
        None
    }

    fn check(&self, schema: &Schema) -> Result<(), Error> {
        check_first(schema, &self.path, |each| self.records(schema, Position::default(), each))
    }

    fn read(
        &mut self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.records(schema, start, each)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::{assert_continues, brief, items, raw_schema};
    use super::*;
    use crate::IdKind;

    /// A list beside a picture file `a.jpg`.
    fn list(text: &[u8]) -> (tempfile::TempDir, PairsSource) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.jpg"), "A").unwrap();
        let path = folder.path().join("pairs.jsonl");
        fs::write(&path, text).unwrap();
        (folder, PairsSource::new(path))
    }

    #[test]
    fn columns_become_records() {
        let text = concat!(
            "{\"id\": \"one\", \"image\": \"a.jpg\", \"text\": \"a\\nb\", \"year\": 1999}\n",
            "\n",
            "{\"id\": 2, \"text\": [\"x\", \" \", \"y\"], \"image\": null, \"split\": \"train\"}\r\n",
            "{\"id\": \"three\", \"of\": \"one\", \"text\": \"z\", \"year\": null}",
        );
        let (_folder, mut source) = list(text.as_bytes());
        let schema = raw_schema(IdKind::Str);
        let found = items(&mut source, &schema, Position::default()).unwrap();
        let briefs: Vec<String> = found.iter().map(brief).collect();
        assert_eq!(
            briefs,
            ["one|A|a\nb||[(\"year\", U64(1999))]", "2|-|x|y|[(\"split\", Str(\"train\"))]", "three|-|z||[]",]
        );
        assert!(found[1].name.ends_with("pairs.jsonl line 3"), "{}", found[1].name);
        assert_eq!(found[2].content.as_ref().unwrap().record.of, Some("one".into()));
        assert_continues(&mut source, &schema);
    }

    #[test]
    fn a_line_that_is_wrong_does_not_end_the_list() {
        let (_folder, mut source) = list(
            b"{\"text\": \"no id\"}\n[]\n{\"id\": 1.5}\n{\"id\": 1, \"image\": \"none.jpg\"}\n\
              {\"id\": 1, \"text\": [3]}\n{\"id\": 1, \"year\": []}\n\xff\n{\"id\": 7, \"text\": \"fine\"}",
        );
        let briefs: Vec<String> = items(&mut source, &raw_schema(IdKind::U64), Position::default())
            .unwrap()
            .iter()
            .map(brief)
            .collect();
        let wanted = [
            "column \"id\"",
            "the line is no JSON",
            "column \"id\"",
            "cannot read",
            "column \"text\"",
            "column \"year\"",
        ];
        for (brief, wanted) in briefs.iter().zip(wanted) {
            assert!(brief.starts_with(wanted), "{brief}");
        }
        assert!(briefs[6].contains("line 7 is not UTF-8"), "{}", briefs[6]);
        assert_eq!(briefs[7], "7|-|fine||[]");
    }

    #[test]
    fn an_unknown_column_ends_the_run_unless_it_is_ignored() {
        let (_folder, mut source) = list(b"{\"id\": 1, \"text\": \"x\", \"yeer\": 3}");
        let schema = raw_schema(IdKind::U64);
        let error = items(&mut source, &schema, Position::default()).unwrap_err();
        assert!(error.to_string().contains("line 1 has a column \"yeer\""), "{error}");
        assert!(error.to_string().contains("year, split"), "{error}");
        assert!(source.check(&schema).is_err());
        let mut source = source.ignore_unknown(true);
        let found = items(&mut source, &schema, Position::default()).unwrap();
        assert_eq!(brief(&found[0]), "1|-|x||[]");
    }

    #[test]
    fn ids_are_refused_where_they_are_automatic() {
        let (_folder, mut source) = list(b"{\"id\": 1, \"text\": \"x\"}\n{\"text\": \"y\"}");
        let found = items(&mut source, &raw_schema(IdKind::Auto), Position::default()).unwrap();
        assert!(brief(&found[0]).contains("numbers its records itself"));
        assert_eq!(brief(&found[1]), "auto|-|y||[]");
    }

    /// A table beside a picture file `a.jpg`.
    fn table(name: &str, text: &[u8]) -> (tempfile::TempDir, PairsSource) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.jpg"), "A").unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        (folder, PairsSource::new(path))
    }

    #[test]
    fn rows_of_tables_become_records() {
        let comma = "id,image,text,year,of\n1,a.jpg,\"one, two\",1999,\n2,,three,,1\n3,,x,MCM,\n4,,y\n";
        let tab = comma.replace(',', "\t").replace("\"one\t two\"", "one, two");
        for (name, text) in [("pairs.csv", comma.to_owned()), ("pairs.TSV", tab)] {
            let (_folder, mut source) = table(name, text.as_bytes());
            let schema = raw_schema(IdKind::U64);
            let found = items(&mut source, &schema, Position::default()).unwrap();
            let briefs: Vec<String> = found.iter().map(brief).collect();
            assert_eq!(briefs[..2], ["1|A|one, two||[(\"year\", U64(1999))]", "2|-|three||[]"]);
            assert_eq!(found[1].content.as_ref().unwrap().record.of, Some(1_u64.into()));
            assert!(briefs[2].contains("column \"year\" must hold a whole number"), "{}", briefs[2]);
            assert!(briefs[3].contains("has 3 cells"), "{}", briefs[3]);
            assert!(found[3].name.ends_with("row 5"), "{}", found[3].name);
            assert_continues(&mut source, &schema);
        }
    }

    #[test]
    fn columns_of_other_names_are_named() {
        let (_folder, source) = table("p.csv", b"file,caption,extra\na.jpg,a cat,7\n");
        let schema = raw_schema(IdKind::Auto);
        let named = Columns::new().image("file").text("caption");
        let mut source = source.columns(named.clone());
        let error = items(&mut source, &schema, Position::default()).unwrap_err();
        assert!(error.to_string().contains("column \"extra\""), "{error}");
        let mut source = source.ignore_unknown(true);
        let found = items(&mut source, &schema, Position::default()).unwrap();
        assert_eq!(brief(&found[0]), "auto|A|a cat||[]");
        let mut source = source.columns(named.text("title"));
        let error = items(&mut source, &schema, Position::default()).unwrap_err();
        assert!(error.to_string().contains("no column \"title\"; it has file, caption, extra"), "{error}");
        let (_folder, mut bare) = table("p.csv", b"year\n3\n");
        let error = items(&mut bare, &schema, Position::default()).unwrap_err();
        assert!(error.to_string().contains("no column \"image or text\""), "{error}");
    }

    #[test]
    fn image_folders_are_read_by_their_lists() {
        let lists: [(&str, &str); 2] = [
            (
                "metadata.jsonl",
                "{\"file_name\": \"train/7.jpg\", \"text\": \"a cat\", \"objects\": {\"bbox\": []}}\n",
            ),
            ("metadata.csv", "file_name,caption,objects\ntrain/7.jpg,a cat,3\n"),
        ];
        for (name, list) in lists {
            let folder = tempfile::tempdir().unwrap();
            assert!(matches!(PairsSource::image_folder(folder.path()), Err(SourceError::NoMetadata { .. })));
            fs::create_dir(folder.path().join("train")).unwrap();
            fs::write(folder.path().join("train/7.jpg"), "A").unwrap();
            fs::write(folder.path().join(name), list).unwrap();
            for (ids, id) in [(IdKind::Str, "train/7"), (IdKind::Auto, "auto")] {
                let mut source = PairsSource::image_folder(folder.path()).unwrap();
                let found = items(&mut source, &raw_schema(ids), Position::default()).unwrap();
                assert_eq!(brief(&found[0]), format!("{id}|A|a cat||[]"));
            }
        }
    }

    /// Lists made of pieces and noise are read or refused line by line; they never panic.
    #[test]
    fn mutated_lists_never_panic() {
        use rand::{Rng, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let sound = b"{\"id\": 1, \"image\": \"a.jpg\", \"text\": [\"x\", \"y\"], \"year\": 3}\n".repeat(3);
        let (_folder, mut source) = list(&sound);
        let (mut fine, mut wrong) = (0, 0);
        for _ in 0..800 {
            let mut bytes = sound.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                match random.random_range(0..4) {
                    0 => bytes.truncate(at.max(1)),
                    1 => bytes[at] = b"[]{}\",:0-e\n\\u\xff"[random.random_range(0..14)],
                    2 => bytes[at] ^= 1 << random.random_range(0..8),
                    _ => drop(bytes.splice(at..at, [b'['; 200])),
                }
            }
            // A new file each time: cutting off an old one makes some file systems wait for the disk.
            fs::remove_file(&source.path).unwrap();
            fs::write(&source.path, &bytes).unwrap();
            source.ignore_unknown = random.random();
            if let Ok(items) = items(&mut source, &raw_schema(IdKind::U64), Position::default()) {
                let sound = items.iter().filter(|item| item.content.is_ok()).count();
                fine += sound;
                wrong += items.len() - sound;
            }
        }
        assert!(fine > 200 && wrong > 200, "{fine} {wrong}");
    }
}
