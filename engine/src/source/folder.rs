//! A folder of pictures with captions beside them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::error::SourceError;
use super::files::{self, failed};
use super::{Content, Item, MAX_TEXT_BYTES, Position, Source, check_raw, record};
use crate::{Error, Input, Schema};

/// Records from a folder: pictures (`.jpg`, `.jpeg`, `.png`, `.webp`) and texts (`.txt`) of the same
/// name are one record, in the order of their names.
///
/// A record may have only one of the two. Folders inside are read too, links to folders and names
/// that start with a dot are not. Its id is its path inside the folder without the extension; in
/// collections with u64 ids that must be a number. Each line of a text is a caption, see
/// [`Content`].
///
/// ```
/// use twinbit::{FolderSource, Position, Source};
///
/// # let folder = tempfile::tempdir()?;
/// # let my_photos = folder.path();
/// # std::fs::write(my_photos.join("beach.txt"), "two dogs\nwet dogs\n")?;
/// let source = FolderSource::open(my_photos)?;
/// assert_eq!(source.items(Position::default()), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FolderSource {
    folder: PathBuf,
    entries: Vec<(String, Entry)>,
}

/// The files of one record.
#[derive(Debug, Default)]
struct Entry {
    picture: Option<PathBuf>,
    text: Option<PathBuf>,
}

impl FolderSource {
    /// Lists the folder.
    ///
    /// # Errors
    /// When it cannot be listed, holds nothing to read, or two pictures of one name.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, SourceError> {
        let folder = folder.into();
        let mut entries = BTreeMap::new();
        let mut pending = vec![folder.clone()];
        while let Some(inside) = pending.pop() {
            for file in inside.read_dir().map_err(failed(&inside))? {
                let file = file.map_err(failed(&inside))?;
                let path = file.path();
                if file.file_name().as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                // The type of the entry itself: a link is no folder, so that links cannot go round.
                if file.file_type().map_err(failed(&path))?.is_dir() {
                    pending.push(path);
                } else {
                    add(&mut entries, &folder, path)?;
                }
            }
        }
        if entries.is_empty() {
            return Err(SourceError::EmptyFolder { path: folder });
        }
        Ok(FolderSource { folder, entries: entries.into_iter().collect() })
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        self.entries
            .iter()
            .flat_map(|(_, entry)| [&entry.picture, &entry.text])
            .flatten()
            .map(PathBuf::as_path)
    }
}

/// Sorts a file into the records, when it is one that is read.
fn add(entries: &mut BTreeMap<String, Entry>, folder: &Path, path: PathBuf) -> Result<(), SourceError> {
    let extension =
        path.extension().and_then(|extension| extension.to_str()).unwrap_or("").to_ascii_lowercase();
    let picture = match extension.as_str() {
        "jpg" | "jpeg" | "png" | "webp" => true,
        "txt" => false,
        _ => return Ok(()),
    };
    let stem = path.strip_prefix(folder).unwrap_or(&path).with_extension("");
    let Some(stem) = stem.to_str() else {
        return Err(SourceError::Name { path });
    };
    let entry = entries.entry(stem.replace(std::path::MAIN_SEPARATOR, "/")).or_default();
    let slot = if picture { &mut entry.picture } else { &mut entry.text };
    match slot {
        Some(first) => Err(SourceError::SameName { first: first.clone(), second: path }),
        None => {
            *slot = Some(path);
            Ok(())
        }
    }
}

fn content(schema: &Schema, key: &str, entry: &Entry) -> Result<Content, SourceError> {
    let mut record = record(schema.id_kind(), key)?;
    if let Some(path) = &entry.picture {
        record = record.image(Input::picture(files::read_picture(path)?));
    }
    let texts = match &entry.text {
        Some(path) => {
            files::captions(files::read_file(path, MAX_TEXT_BYTES)?, || path.display().to_string())?
        }
        None => Vec::new(),
    };
    Ok(Content::new(record, texts))
}

impl Source for FolderSource {
    fn name(&self) -> Result<String, Error> {
        Ok(files::name("folder", [("folder", self.folder.as_path())])?)
    }

    fn fingerprint(&self) -> Result<u64, Error> {
        Ok(files::fingerprint(self.files())?)
    }

    fn items(&self, start: Position) -> Option<u64> {
        Some((self.entries.len() as u64).saturating_sub(start.offset))
    }

    fn check(&self, schema: &Schema) -> Result<(), Error> {
        let pictures = self.entries.iter().any(|(_, entry)| entry.picture.is_some());
        let texts = self.entries.iter().any(|(_, entry)| entry.text.is_some());
        Ok(check_raw(schema, &self.folder, pictures, texts)?)
    }

    fn read(
        &mut self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let skipped = usize::try_from(start.offset).unwrap_or(usize::MAX);
        for (number, (key, entry)) in self.entries.iter().enumerate().skip(skipped) {
            let item = Item {
                name: format!("{}/{key}", self.folder.display()),
                next: Position { part: 0, offset: number as u64 + 1 },
                content: content(schema, key, entry).map_err(Error::from),
            };
            if each(item).is_break() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::{assert_continues, brief, items, raw_schema};
    use super::*;
    use crate::IdKind;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn files_of_one_name_are_one_record_in_the_order_of_names() {
        let folder = folder(&[
            ("b.JPG", "B"),
            ("b.txt", "\u{feff}one\ntwo\n\nthree"),
            ("a/x.y.webp", "X"),
            ("c.txt", "only text"),
            ("notes.md", "-"),
            (".hidden.jpg", "-"),
        ]);
        let mut source = FolderSource::open(folder.path()).unwrap();
        let schema = raw_schema(IdKind::Str);
        let briefs: Vec<String> =
            items(&mut source, &schema, Position::default()).unwrap().iter().map(brief).collect();
        assert_eq!(briefs, ["a/x.y|X|-||[]", "b|B|one|two,three|[]", "c|-|only text||[]"]);
        assert_eq!(source.items(Position { part: 0, offset: 1 }), Some(2));
        assert_continues(&mut source, &schema);
    }

    #[test]
    fn folders_without_pairs_and_names_that_clash_are_refused() {
        assert!(matches!(
            FolderSource::open(folder(&[("a.md", "")]).path()),
            Err(SourceError::EmptyFolder { .. })
        ));
        assert!(matches!(
            FolderSource::open(folder(&[("a.jpg", ""), ("a.png", "")]).path()),
            Err(SourceError::SameName { .. })
        ));
        assert!(matches!(FolderSource::open("/no/such/folder"), Err(SourceError::Io { .. })));
    }

    #[test]
    fn the_fingerprint_follows_the_files() {
        let folder = folder(&[("a.txt", "one")]);
        let fingerprint = || FolderSource::open(folder.path()).unwrap().fingerprint().unwrap();
        let before = fingerprint();
        assert_eq!(before, fingerprint());
        fs::write(folder.path().join("a.txt"), "three").unwrap();
        assert_ne!(before, fingerprint());
    }

    #[test]
    fn a_collection_of_features_takes_no_folder() {
        let folder = folder(&[("a.jpg", "A")]);
        let source = FolderSource::open(folder.path()).unwrap();
        let error = source.check(&raw_schema(IdKind::Str).image_features(8)).unwrap_err();
        assert!(error.to_string().contains("gives pictures as image"), "{error}");
    }
}
