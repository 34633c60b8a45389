//! Pairs listed in a file, one JSON object a line.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::error::SourceError;
use super::files;
use super::lines::Lines;
use super::{Content, Item, Position, Source, check_first, json};
use crate::{Error, IdKind, Input, Record, Schema};

/// Records from a file with a JSON object a line.
///
/// Columns: `id` (text or a whole number; left out where ids are automatic), `image` (path of a
/// picture, relative to the file's folder), `text` (text, or a list of captions, see
/// [`Content`](crate::Content)), `of` (the id of the record that this is a further caption of). All
/// others are fields. A column that is no declared field ends the run, because it is more likely a
/// slip than meant; [`ignore_unknown`](Self::ignore_unknown) leaves such columns out instead. Null is
/// as good as nothing; empty lines are skipped.
#[derive(Debug)]
pub struct PairsSource {
    path: PathBuf,
    ignore_unknown: bool,
}

impl PairsSource {
    /// The pairs listed in the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        PairsSource { path: path.into(), ignore_unknown: false }
    }

    /// Whether columns that are no declared fields are left out instead of ending the run.
    pub fn ignore_unknown(mut self, ignore: bool) -> Self {
        self.ignore_unknown = ignore;
        self
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    fn lines(
        &self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut lines = Lines::open(&self.path, start)?;
        loop {
            let line = match lines.next()? {
                None => return Ok(()),
                Some(Ok(line)) if line.trim().is_empty() => continue,
                Some(line) => line.map(str::to_owned),
            };
            let content = match line {
                Ok(line) => self.content(schema, &line, || lines.name())?,
                Err(error) => Err(error),
            };
            let item =
                Item { name: lines.name(), next: lines.position(), content: content.map_err(Error::from) };
            if each(item).is_break() {
                return Ok(());
            }
        }
    }

    /// What a line says. The outer error ends the source.
    fn content(
        &self,
        schema: &Schema,
        line: &str,
        name: impl Fn() -> String,
    ) -> Result<Result<Content, SourceError>, SourceError> {
        let object = match json::object(line.as_bytes(), || "the line".to_owned()) {
            Ok(object) => object,
            Err(error) => return Ok(Err(error)),
        };
        for column in object.keys() {
            let known = matches!(column.as_str(), "id" | "image" | "text" | "of");
            if !known && !self.ignore_unknown {
                json::check_column(schema, column, &name)?;
            }
        }
        Ok(self.columns(schema, object))
    }

    fn columns(
        &self,
        schema: &Schema,
        object: serde_json::Map<String, Json>,
    ) -> Result<Content, SourceError> {
        let ids = schema.id_kind();
        let mut record = match object.get("id") {
            None | Some(Json::Null) if ids == IdKind::Auto => Record::auto(),
            None | Some(Json::Null) => {
                return Err(SourceError::Column { column: "id".to_owned(), wanted: "the record's id" });
            }
            Some(_) if ids == IdKind::Auto => return Err(SourceError::IdsNotTaken),
            Some(id) => Record::new(json::id(ids, "id", id)?),
        };
        let mut texts = Vec::new();
        for (column, value) in object {
            match (column.as_str(), value) {
                ("id", _) | (_, Json::Null) => {}
                ("of", value) => record = record.of(json::id(ids, "of", &value)?),
                ("image", Json::String(path)) => {
                    let bytes = files::read_picture(&self.folder().join(path))?;
                    record = record.image(Input::picture(bytes));
                }
                ("image", _) => return Err(SourceError::Column { column, wanted: "the path of a picture" }),
                ("text", value) => texts = json::texts("text", value)?,
                (_, value) => {
                    if schema.fields().any(|(field, _)| field == column)
                        && let Some(value) = json::scalar(&column, value)?
                    {
                        record = record.set(column, value);
                    }
                }
            }
        }
        Ok(Content::new(record, texts))
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
        check_first(schema, &self.path, |each| self.lines(schema, Position::default(), each))
    }

    fn read(
        &mut self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.lines(schema, start, each)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::{assert_continues, brief, items, raw_schema};
    use super::*;

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
