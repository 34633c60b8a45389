//! Sources of records: what [`ingest`](crate::Collection::ingest) reads.
//!
//! A [`Source`] hands out one [`Item`] after the other, with bounded memory, and says behind each
//! where the next one starts, so that an interrupted run continues there. An item is a record, and
//! perhaps further captions of its image; or the reason why this one cannot be had, which does not
//! end the source.

mod arrays;
mod clip_retrieval;
mod coco;
mod codes;
mod delimited;
mod error;
mod files;
mod folder;
mod json;
mod lines;
mod pairs;
mod parquet;
mod pattern;
mod position;
mod rows;
mod table;
mod webdataset;

use std::ops::ControlFlow;
use std::path::Path;

pub use arrays::ArraySource;
pub use clip_retrieval::ClipRetrievalSource;
pub use coco::CocoSource;
pub use codes::CodeSource;
pub use error::SourceError;
pub(crate) use files::read_picture;
pub use folder::FolderSource;
pub use pairs::PairsSource;
pub use parquet::ParquetSource;
pub use pattern::expand_pattern;
pub use position::Position;
pub(crate) use position::Progress;
pub use table::Columns;
pub use webdataset::WebDatasetSource;

use crate::{CodesBuf, Error, IdKind, ImageKind, Modality, Record, RecordId, Schema, TextKind};

/// The largest picture file that is read into memory.
pub(crate) const MAX_PICTURE_BYTES: u64 = 64 << 20;

/// The largest text file, and the longest line of a list, that is read into memory.
pub(crate) const MAX_TEXT_BYTES: u64 = 16 << 20;

/// Something records are read from.
///
/// ```
/// use std::ops::ControlFlow;
///
/// use twinbit::{CodeBits, Content, Database, Error, IdKind, Item, Modality, Position, Record, Schema, Source};
///
/// /// Numbers that are their own codes.
/// struct Numbers(Vec<u8>);
///
/// impl Source for Numbers {
///     fn name(&self) -> Result<String, Error> {
///         Ok("numbers".to_owned())
///     }
///
///     fn fingerprint(&self) -> Result<u64, Error> {
///         Ok(self.0.iter().fold(0, |sum, number| 31 * sum + u64::from(*number)))
///     }
///
///     fn items(&self, start: Position) -> Option<u64> {
///         Some(self.0.len() as u64 - start.offset)
///     }
///
///     fn check(&self, _schema: &Schema) -> Result<(), Error> {
///         Ok(())
///     }
///
///     fn read(
///         &mut self,
///         _schema: &Schema,
///         start: Position,
///         each: &mut dyn FnMut(Item) -> ControlFlow<()>,
///     ) -> Result<(), Error> {
///         for (offset, number) in (1..).zip(&self.0).skip(start.offset as usize) {
///             let record = Record::new(u64::from(*number)).code(Modality::Image, [*number]);
///             let content = Content { record, captions: Vec::new() };
///             let next = Position { part: 0, offset };
///             if each(Item { name: format!("number {number}"), next, content: Ok(content) }).is_break() {
///                 break;
///             }
///         }
///         Ok(())
///     }
/// }
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// let schema = Schema::new(CodeBits::new(8)?).ids(IdKind::U64).external_codes();
/// let numbers = database.create_collection("numbers", schema)?;
/// assert_eq!(numbers.ingest(Numbers(vec![3, 1, 4, 15])).run()?.ingested, 4);
/// // The position was committed with the records: nothing is read twice.
/// assert_eq!(numbers.ingest(Numbers(vec![3, 1, 4, 15])).run()?.ingested, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Source: Send {
    /// The name under which the collection remembers how far this source was read: the same for the
    /// same files.
    ///
    /// # Errors
    /// When the files are not there.
    fn name(&self) -> Result<String, Error>;

    /// A number that changes when the files do; a remembered position counts only while it stays.
    ///
    /// # Errors
    /// When the files are not there.
    fn fingerprint(&self) -> Result<u64, Error>;

    /// Number of items from `start` on, when it is known without reading them all.
    fn items(&self, start: Position) -> Option<u64>;

    /// Refuses a collection that cannot take what this source gives, before anything is written.
    ///
    /// # Errors
    /// Says what does not fit.
    fn check(&self, schema: &Schema) -> Result<(), Error>;

    /// Hands the items from `start` on to `each`, in an order that never changes, until the end or
    /// until `each` breaks off.
    ///
    /// # Errors
    /// When the source cannot go on; what concerns one item alone is handed out as its content.
    fn read(
        &mut self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error>;

    /// Hands the rows from `start` on to `each` as whole columns, where they are ready codes and
    /// nothing else and the collection numbers its records itself; that is many times faster. Says
    /// whether it did: `false`, as always unless a source says otherwise, leaves it to
    /// [`read`](Self::read).
    ///
    /// # Errors
    /// When the source cannot go on.
    fn read_codes(
        &mut self,
        _schema: &Schema,
        _start: Position,
        _each: &mut dyn FnMut(CodeBlock) -> ControlFlow<()>,
    ) -> Result<bool, Error> {
        Ok(false)
    }
}

impl<T: Source + ?Sized> Source for Box<T> {
    fn name(&self) -> Result<String, Error> {
        (**self).name()
    }

    fn fingerprint(&self) -> Result<u64, Error> {
        (**self).fingerprint()
    }

    fn items(&self, start: Position) -> Option<u64> {
        (**self).items(start)
    }

    fn check(&self, schema: &Schema) -> Result<(), Error> {
        (**self).check(schema)
    }

    fn read(
        &mut self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        (**self).read(schema, start, each)
    }

    fn read_codes(
        &mut self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(CodeBlock) -> ControlFlow<()>,
    ) -> Result<bool, Error> {
        (**self).read_codes(schema, start, each)
    }
}

/// Rows of ready codes, image first; where there are both, as many of the one as of the other.
///
/// ```
/// use twinbit::{CodeBits, CodeBlock, CodesBuf, Position};
///
/// let images = CodesBuf::from_packed(CodeBits::B16, &[0, 1, 0, 2])?;
/// let block = CodeBlock { codes: [Some(images), None], next: Position { part: 0, offset: 2 } };
/// assert_eq!(block.codes[0].as_ref().map(CodesBuf::rows), Some(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CodeBlock {
    /// The codes.
    pub codes: [Option<CodesBuf>; 2],
    /// Where the rows after these start.
    pub next: Position,
}

impl CodeBlock {
    pub(crate) fn rows(&self) -> u64 {
        self.codes.iter().flatten().map(|codes| codes.rows() as u64).next().unwrap_or(0)
    }

    /// Bytes of input that the block holds.
    pub(crate) fn bytes(&self) -> u64 {
        self.codes.iter().flatten().map(|codes| (codes.rows() * codes.bits().bytes()) as u64).sum()
    }
}

/// One item of a source.
///
/// ```
/// use twinbit::{Content, Item, Position, Record};
///
/// let content = Content { record: Record::new("dog").text("a dog"), captions: Vec::new() };
/// let next = Position { part: 0, offset: 1 };
/// let item = Item { name: "line 1".to_owned(), next, content: Ok(content) };
/// assert!(item.content.is_ok());
/// ```
#[derive(Debug)]
pub struct Item {
    /// What to call it in messages: a file and a line, a row, a key.
    pub name: String,
    /// Where the item after this one starts.
    pub next: Position,
    /// What it is, or why it cannot be had.
    pub content: Result<Content, Error>,
}

impl Item {
    /// Bytes of input that the item holds.
    pub(crate) fn bytes(&self) -> usize {
        match &self.content {
            Ok(content) => content.record.bytes() + content.captions.iter().map(String::len).sum::<usize>(),
            Err(_) => 0,
        }
    }
}

/// A record and the further captions of its image.
///
/// Captions become text-only records whose field `of` is the record's id. In collections with text
/// ids they are called `ID#2`, `ID#3`, ...; where ids are automatic they get the next ones; ids of
/// type u64 cannot be derived, so that there an item with further captions is an error.
///
/// ```
/// use twinbit::{Content, Record};
///
/// let record = Record::new("dog").text("a dog");
/// let content = Content { record, captions: vec!["a dog on grass".to_owned()] };
/// assert_eq!(content.captions.len(), 1);
/// ```
#[derive(Debug)]
pub struct Content {
    /// The record.
    pub record: Record,
    /// Further captions.
    pub captions: Vec<String>,
}

impl Content {
    /// A record with the first of `texts` as its text; the others are its further captions.
    pub(crate) fn new(mut record: Record, texts: impl IntoIterator<Item = String>) -> Content {
        let mut texts = texts.into_iter();
        if let Some(text) = texts.next() {
            record = record.text(text);
        }
        Content { record, captions: texts.collect() }
    }
}

/// An empty record with the id that `text` stands for; where ids are automatic, none.
pub(crate) fn record(ids: IdKind, text: &str) -> Result<Record, SourceError> {
    Ok(match ids {
        IdKind::Auto => Record::auto(),
        IdKind::U64 | IdKind::Str => Record::new(record_id(ids, text)?),
    })
}

/// The id that `text` stands for.
pub(crate) fn record_id(ids: IdKind, text: &str) -> Result<RecordId, SourceError> {
    match ids {
        IdKind::Str => Ok(RecordId::from(text)),
        IdKind::Auto | IdKind::U64 => match text.parse::<u64>() {
            Ok(id) => Ok(RecordId::from(id)),
            Err(_) => Err(SourceError::IdNumber { text: text.chars().take(80).collect() }),
        },
    }
}

/// Refuses collections that do not take pictures, or texts, as they are.
pub(crate) fn check_raw(
    schema: &Schema,
    name: &Path,
    pictures: bool,
    texts: bool,
) -> Result<(), SourceError> {
    let refuse = |modality, gives: &str| {
        let (name, gives) = (name.display().to_string(), gives.to_owned());
        Err(SourceError::Takes { name, modality, gives, takes: schema.expects(modality) })
    };
    if pictures && !matches!(schema.image_kind(), ImageKind::Pictures(_)) {
        return refuse(Modality::Image, "pictures");
    }
    if texts && !matches!(schema.text_kind(), TextKind::Text(_)) {
        return refuse(Modality::Text, "text");
    }
    Ok(())
}

/// [`check_raw`] for what the first sound item of a source holds.
pub(crate) fn check_first(
    schema: &Schema,
    name: &Path,
    read: impl FnOnce(&mut dyn FnMut(Item) -> ControlFlow<()>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut found = [false, false];
    read(&mut |item| match item.content {
        Ok(content) => {
            found = content.record.inputs.map(|input| input.is_some());
            ControlFlow::Break(())
        }
        Err(_) => ControlFlow::Continue(()),
    })?;
    let [picture, text] = found;
    Ok(check_raw(schema, name, picture, text)?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{CodeBits, Field, ImageEncoding, Input, TextEncoding};

    /// A collection of pictures and texts with a field of each common type.
    pub(crate) fn raw_schema(ids: IdKind) -> Schema {
        Schema::new(CodeBits::B64)
            .ids(ids)
            .image_encoder(ImageEncoding::EfficientNetLite0)
            .text_encoder(TextEncoding::Ngram)
            .field("year", Field::u64())
            .field("split", Field::str())
    }

    /// All items from `start` on.
    pub(crate) fn items(
        source: &mut impl Source,
        schema: &Schema,
        start: Position,
    ) -> Result<Vec<Item>, Error> {
        let mut items = Vec::new();
        source.read(schema, start, &mut |item| {
            items.push(item);
            ControlFlow::Continue(())
        })?;
        Ok(items)
    }

    /// An item in few words: id, picture, captions, fields; or its error.
    pub(crate) fn brief(item: &Item) -> String {
        let content = match &item.content {
            Ok(content) => content,
            Err(error) => return error.to_string(),
        };
        let [image, text] = &content.record.inputs;
        let image = match image {
            Some(Input::Picture(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            _ => "-".to_owned(),
        };
        let text = match text {
            Some(Input::Text(text)) => text,
            _ => "-",
        };
        let id = match content.record.id() {
            Some(RecordId::Str(id)) => id.clone(),
            Some(RecordId::U64(id)) => id.to_string(),
            None => "auto".to_owned(),
        };
        format!("{id}|{image}|{text}|{}|{:?}", content.captions.join(","), content.record.fields)
    }

    /// Reading may start behind every item and then gives the rest.
    pub(crate) fn assert_continues(source: &mut impl Source, schema: &Schema) {
        let all = items(source, schema, Position::default()).unwrap();
        for (count, item) in all.iter().enumerate() {
            let rest: Vec<String> = items(source, schema, item.next).unwrap().iter().map(brief).collect();
            let expected: Vec<String> = all.iter().skip(count + 1).map(brief).collect();
            assert_eq!(rest, expected, "behind {}", item.name);
        }
    }
}
