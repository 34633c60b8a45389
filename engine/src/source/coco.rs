//! COCO's captions: a JSON file that lists images and captions, and a folder of pictures.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::error::SourceError;
use super::files::{self, failed};
use super::{Content, Item, Position, Source, check_raw, json, record};
use crate::{Error, Input, Schema};

/// The largest list that is read; it is held in memory, in several times its size.
const MAX_LIST_BYTES: u64 = 1 << 30;

/// Records from a list in the format of COCO's captions: `images` of `id` and `file_name`, and
/// `annotations` of `image_id` and `caption`.
///
/// An image is a record, whose id is the image's; its captions follow the order of the list, see
/// [`Content`]. Of the other keys of an image those are taken that are declared fields. The list is
/// held in memory.
///
/// ```
/// use twinbit::{CocoSource, Position, Source};
///
/// # let folder = tempfile::tempdir()?;
/// # let list = folder.path().join("captions_val2017.json");
/// # std::fs::write(&list, r#"{"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": []}"#)?;
/// let source = CocoSource::open(&list, CocoSource::usual_folder(&list))?;
/// assert_eq!(source.items(Position::default()), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CocoSource {
    list: PathBuf,
    folder: PathBuf,
    entries: Vec<Entry>,
}

/// An image with its captions.
#[derive(Debug)]
struct Entry {
    image: Image,
    captions: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Image {
    id: u64,
    file_name: String,
    #[serde(flatten)]
    others: Map<String, Json>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    caption: String,
}

#[derive(Deserialize)]
struct List {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
}

impl CocoSource {
    /// Reads the list; the paths in it start in `folder`.
    ///
    /// # Errors
    /// When the list cannot be read, lists an image twice, or has a caption of an image that it does
    /// not list.
    pub fn open(list: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Result<Self, SourceError> {
        let (path, mut folder): (PathBuf, PathBuf) = (list.into(), folder.into());
        if folder.as_os_str().is_empty() {
            // The parent of a bare name.
            folder.push(".");
        }
        let file = File::open(&path).map_err(failed(&path))?;
        if file.metadata().map_err(failed(&path))?.len() > MAX_LIST_BYTES {
            return Err(SourceError::TooLarge { name: path.display().to_string(), limit: MAX_LIST_BYTES });
        }
        let wrong = |source: Box<dyn std::error::Error + Send + Sync>| SourceError::Coco {
            path: path.clone(),
            source,
        };
        let list: List = serde_json::from_reader(BufReader::new(file.take(MAX_LIST_BYTES)))
            .map_err(|error| wrong(error.into()))?;
        let mut places = HashMap::with_capacity(list.images.len());
        let mut entries: Vec<Entry> = Vec::with_capacity(list.images.len());
        for image in list.images {
            if places.insert(image.id, entries.len()).is_some() {
                return Err(wrong(format!("image {} is listed twice", image.id).into()));
            }
            entries.push(Entry { image, captions: Vec::new() });
        }
        for Annotation { image_id, caption } in list.annotations {
            let entry = places.get(&image_id).and_then(|place| entries.get_mut(*place));
            let Some(entry) = entry else {
                return Err(wrong(
                    format!("a caption belongs to image {image_id}, which is not listed").into(),
                ));
            };
            let caption = caption.trim();
            if !caption.is_empty() {
                entry.captions.push(caption.to_owned());
            }
        }
        if entries.is_empty() {
            return Err(wrong("it lists no image".into()));
        }
        Ok(CocoSource { list: path, folder, entries })
    }

    /// The folder in which the pictures of COCO's own lists lie, beside the folder of the list:
    /// `val2017` for `annotations/captions_val2017.json`; where there is none, that of the list.
    pub fn usual_folder(list: &Path) -> PathBuf {
        let beside = list.parent().unwrap_or(Path::new(""));
        let name = list.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let usual = name.strip_prefix("captions_").map(|name| beside.join("..").join(name));
        usual.filter(|folder| folder.is_dir()).unwrap_or_else(|| beside.to_owned())
    }
}

fn content(schema: &Schema, folder: &Path, entry: &Entry) -> Result<Content, SourceError> {
    let Entry { image, captions } = entry;
    let picture = files::read_picture(&folder.join(&image.file_name))?;
    let mut record = record(schema.id_kind(), &image.id.to_string())?.image(Input::picture(picture));
    for (field, _) in schema.fields() {
        if let Some(value) = image.others.get(field)
            && let Some(value) = json::scalar(field, value.clone())?
        {
            record = record.set(field, value);
        }
    }
    Ok(Content::new(record, captions.iter().cloned()))
}

impl Source for CocoSource {
    fn name(&self) -> Result<String, Error> {
        Ok(files::name("coco", [("list", self.list.as_path()), ("folder", self.folder.as_path())])?)
    }

    fn fingerprint(&self) -> Result<u64, Error> {
        Ok(files::fingerprint([self.list.as_path()])?)
    }

    fn items(&self, start: Position) -> Option<u64> {
        Some((self.entries.len() as u64).saturating_sub(start.offset))
    }

    fn check(&self, schema: &Schema) -> Result<(), Error> {
        let texts = self.entries.iter().any(|entry| !entry.captions.is_empty());
        Ok(check_raw(schema, &self.list, true, texts)?)
    }

    fn read(
        &mut self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let skipped = usize::try_from(start.offset).unwrap_or(usize::MAX);
        for (number, entry) in self.entries.iter().enumerate().skip(skipped) {
            let item = Item {
                name: format!("{} image {}", self.list.display(), entry.image.id),
                next: Position { part: 0, offset: number as u64 + 1 },
                content: content(schema, &self.folder, entry).map_err(Error::from),
            };
            if each(item).is_break() {
                break;
            }
        }
        Ok(())
    }
}
