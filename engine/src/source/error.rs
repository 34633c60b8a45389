//! Why a source, or one item of it, cannot be read.

use std::io;
use std::path::PathBuf;

use crate::{IdKind, Modality};

/// A source of records that cannot be read, or does not fit the collection.
///
/// ```
/// use twinbit::{SourceError, expand_pattern};
///
/// let error = expand_pattern("shard-{00..}.tar").unwrap_err();
/// assert!(matches!(error, SourceError::Pattern { .. }));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The operating system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The source has neither images nor texts.
    #[error("the source names no {what}; name one for image, text, or both")]
    Nothing {
        /// What is missing.
        what: &'static str,
    },
    /// The collection takes something else.
    #[error("{name} gives {gives} as {modality}, this collection takes {takes}")]
    Takes {
        /// The file or the kind of source.
        name: String,
        /// The modality concerned.
        modality: Modality,
        /// What the source gives.
        gives: String,
        /// What the collection takes.
        takes: String,
    },
    /// Ids are missing.
    #[error("this collection has {ids} ids, and the source brings none; give a file of ids, one a line")]
    IdsMissing {
        /// The collection's ids.
        ids: IdKind,
    },
    /// Ids where the collection makes its own.
    #[error(
        "this collection numbers its records itself; leave out the ids, or create it with u64 or str ids"
    )]
    IdsNotTaken,
    /// An id that must be a number and is not.
    #[error("the id {text:?} is no whole number, and the ids of this collection are u64")]
    IdNumber {
        /// The id.
        text: String,
    },
    /// Further captions where ids cannot be derived.
    #[error(
        "it has further captions, for which no ids can be derived in a collection with u64 ids; use str or automatic ids, \
         or give each caption a record of its own with `of`"
    )]
    CaptionIds,
    /// A list that belongs to an array has another length.
    #[error("{} has {lines} lines, but the arrays have {rows} rows; they must have as many", path.display())]
    Lines {
        /// The list.
        path: PathBuf,
        /// Its lines.
        lines: u64,
        /// Rows of the arrays.
        rows: u64,
    },
    /// Something too large to be read into memory.
    #[error("{name} is larger than the {limit} bytes allowed")]
    TooLarge {
        /// The file, line or member.
        name: String,
        /// The limit.
        limit: u64,
    },
    /// Text that is not UTF-8.
    #[error("{name} is not UTF-8 text")]
    Encoding {
        /// The file, line or member.
        name: String,
    },
    /// JSON that is damaged or no object.
    #[error("{name} is no JSON object: {source}")]
    Json {
        /// The line or member.
        name: String,
        /// What the parser met.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A column holds something that does not belong there.
    #[error("column {column:?} must hold {wanted}")]
    Column {
        /// The column.
        column: String,
        /// What would be taken.
        wanted: &'static str,
    },
    /// A column that is no declared field.
    #[error("{name} has a column {column:?}, which is no field of this collection; it has {}. Declare it, or leave the column out", listed(.known))]
    UnknownColumn {
        /// The line.
        name: String,
        /// The column.
        column: String,
        /// The declared fields.
        known: Vec<String>,
    },
    /// A table has not the column that was asked for.
    #[error("{name}: there is no column {column:?}; it has {}. Say which column is which", listed(.header))]
    ColumnMissing {
        /// The file.
        name: String,
        /// The column.
        column: String,
        /// The columns there are.
        header: Vec<String>,
    },
    /// Two columns of one name.
    #[error("{name} has two columns {column:?}; rename one of them")]
    RepeatedColumn {
        /// The file.
        name: String,
        /// The column.
        column: String,
    },
    /// A row that is shorter or longer than the header.
    #[error("the row has {cells} cells, and the header {columns}")]
    Cells {
        /// Cells of the row.
        cells: usize,
        /// Cells of the header.
        columns: usize,
    },
    /// A folder without the list of its pictures.
    #[error("{} holds no metadata.jsonl, metadata.csv or metadata.parquet", path.display())]
    NoMetadata {
        /// The folder.
        path: PathBuf,
    },
    /// A folder without pictures and texts.
    #[error("{} holds no .jpg, .jpeg, .png, .webp or .txt files", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Two pictures that would be one record.
    #[error("{} and {} have the same name but for the extension; one record has one picture", first.display(), second.display())]
    SameName {
        /// One picture.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A sample has two members of a kind.
    #[error("{name} is the second member of its kind in one sample")]
    Repeated {
        /// The member.
        name: String,
    },
    /// A name that is not UTF-8.
    #[error("the name of {} is not UTF-8 and cannot be an id; rename it", path.display())]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// A list in the format of COCO that is damaged.
    #[error("{} is no list of captions as COCO has them: {source}", path.display())]
    Coco {
        /// The list.
        path: PathBuf,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A pattern that stands for no files.
    #[error("\"{pattern}\" names no files: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why not.
        reason: String,
    },
    /// A Parquet file without pairs.
    #[error("{} has no column of images or texts under a usual name; say which column is which", path.display())]
    NoPairs {
        /// The file.
        path: PathBuf,
    },
    /// A Parquet file that is damaged, or that goes beyond what is read.
    #[error("{} cannot be read as Parquet: {what}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// An archive that is damaged.
    #[error("{} is damaged at byte {offset}: {source}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Where the damaged member starts.
        offset: u64,
        /// What is wrong.
        source: io::Error,
    },
}

fn listed(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}
