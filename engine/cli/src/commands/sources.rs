//! Sources of pairs: folders, lists, tables and shards, told by their names.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use twinbit::{
    ClipRetrievalSource, CocoSource, Columns, FolderSource, PairsSource, ParquetSource, Source,
    WebDatasetSource, expand_pattern,
};

use crate::failure::{Failure, Result};

/// What the sources are, beyond their names.
#[derive(Args)]
pub struct PairFiles {
    /// What a column of a list or table is: id, image, text or of
    #[arg(long, value_name = "id|image|text|of=COLUMN", value_parser = named_column)]
    column: Vec<(Role, String)>,
    /// Leaves columns of lists out that are no declared fields, instead of ending with an error
    #[arg(long)]
    ignore_unknown: bool,
    /// The folder in which the pictures of COCO captions lie
    #[arg(long, value_name = "FOLDER")]
    images: Option<PathBuf>,
    /// Kind of the sources, where their names do not tell
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Pictures with same-named texts
    Folder,
    /// One JSON object a line, or a table when the name ends in .csv or .tsv
    Pairs,
    /// WebDataset shards
    Webdataset,
    /// Parquet files
    Parquet,
    /// A folder of pictures with a metadata.jsonl, .csv or .parquet, as Hugging Face has it
    ImageFolder,
    /// Captions in COCO's JSON
    Coco,
    /// A folder that clip-retrieval wrote
    ClipRetrieval,
}

/// A column that is no field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Id,
    Image,
    Text,
    Of,
}

/// What to do with a record that is wrong.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhenWrong {
    /// Ends the command
    Stop,
    /// Leaves it out
    Skip,
}

impl PairFiles {
    /// The sources, each with its name.
    pub fn open(&self, sources: &[PathBuf]) -> Result<Vec<(String, Box<dyn Source>)>> {
        let columns = columns(&self.column);
        let mut opened: Vec<(String, Box<dyn Source>)> = Vec::new();
        // Shards and Parquet files are one source, whatever their number.
        let (mut shards, mut tables) = (Vec::new(), Vec::new());
        for path in expanded(sources)? {
            let name = path.display().to_string();
            let source: Box<dyn Source> = match kind(&path, self.format)? {
                Format::Folder => Box::new(FolderSource::open(&path).map_err(twinbit::Error::from)?),
                Format::Pairs => {
                    let list = PairsSource::new(&path).columns(columns.clone());
                    Box::new(list.ignore_unknown(self.ignore_unknown))
                }
                Format::ImageFolder if path.join(METADATA_TABLE).is_file() => {
                    let table = ParquetSource::new([path.join(METADATA_TABLE)]);
                    Box::new(table.columns(columns.clone()))
                }
                Format::ImageFolder => {
                    let list = PairsSource::image_folder(&path).map_err(twinbit::Error::from)?;
                    Box::new(list.columns(columns.clone()))
                }
                Format::Coco => {
                    let folder = self.images.clone().unwrap_or_else(|| CocoSource::usual_folder(&path));
                    Box::new(CocoSource::open(&path, folder).map_err(twinbit::Error::from)?)
                }
                Format::ClipRetrieval => Box::new(ClipRetrievalSource::open(&path)?),
                Format::Webdataset => {
                    shards.push(path);
                    continue;
                }
                Format::Parquet => {
                    tables.push(path);
                    continue;
                }
            };
            opened.push((name, source));
        }
        if !shards.is_empty() {
            opened.push(("shards".to_owned(), Box::new(WebDatasetSource::new(shards))));
        }
        if !tables.is_empty() {
            let tables = ParquetSource::new(tables).columns(columns);
            opened.push(("parquet".to_owned(), Box::new(tables)));
        }
        Ok(opened)
    }
}

/// The list of an image folder that is a table.
const METADATA_TABLE: &str = "metadata.parquet";

/// The files and folders that the sources name, patterns expanded.
fn expanded(sources: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::with_capacity(sources.len());
    for source in sources {
        match source.to_str() {
            Some(pattern) if pattern.contains(['{', '*', '?', '[']) => {
                paths.extend(expand_pattern(pattern).map_err(twinbit::Error::from)?);
            }
            _ => paths.push(source.clone()),
        }
    }
    Ok(paths)
}

fn columns(named: &[(Role, String)]) -> Columns {
    named.iter().fold(Columns::new(), |columns, (role, name)| match role {
        Role::Id => columns.id(name),
        Role::Image => columns.image(name),
        Role::Text => columns.text(name),
        Role::Of => columns.of(name),
    })
}

/// `text=caption` in its parts.
fn named_column(text: &str) -> std::result::Result<(Role, String), String> {
    let parts = text.split_once('=').filter(|(_, column)| !column.is_empty());
    let (role, column) = parts.ok_or("columns are named as in text=caption")?;
    let role = match role {
        "id" => Role::Id,
        "image" => Role::Image,
        "text" => Role::Text,
        "of" => Role::Of,
        other => return Err(format!("{other:?} is none of id, image, text and of")),
    };
    Ok((role, column.to_owned()))
}

/// What a source is, by its name.
fn kind(path: &Path, format: Option<Format>) -> Result<Format> {
    if let Some(format) = format {
        return Ok(format);
    }
    if path.is_dir() {
        let lists = ["metadata.jsonl", "metadata.csv", METADATA_TABLE];
        return Ok(if lists.iter().any(|list| path.join(list).is_file()) {
            Format::ImageFolder
        } else if ClipRetrievalSource::is_in(path) {
            Format::ClipRetrieval
        } else {
            Format::Folder
        });
    }
    if !path.exists() {
        return Err(Failure::new(format!("{}: there is no such file or folder", path.display())));
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    match ending.as_deref() {
        Some("jsonl" | "ndjson" | "csv" | "tsv") => Ok(Format::Pairs),
        Some("tar") => Ok(Format::Webdataset),
        Some("parquet") => Ok(Format::Parquet),
        Some("json") => Ok(Format::Coco),
        Some("npy" | "npz" | "mat" | "safetensors") => Err(Failure::usage(format!(
            "{}: say what the array holds, with --image, --text or --codes",
            path.display()
        ))),
        _ => Err(Failure::new(format!(
            "{}: this is no folder, list (.jsonl, .csv, .tsv), .tar shard, .parquet file or .json of COCO captions; \
             --format tells the kind when the name does not",
            path.display()
        ))),
    }
}
