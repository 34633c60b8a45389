//! `twinbit search`.

mod page;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use serde::Serialize;
use serde_json::Value as Json;
use twinbit::{Against, Array, ElementType, Fields, Hit, Input, Method, Modality, Query, Snapshot};

use crate::commands::list::shortened;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::output::{Table, to_standard_error};
use crate::session::Session;
use crate::values::{fields_json, fields_text, id_json, parse_filter, parse_id};

/// Arguments of `search`.
#[derive(Args)]
#[command(group = ArgGroup::new("query").required(true).args(["text", "image", "features", "codes", "id"]))]
#[command(after_help = "Examples:
  twinbit search photos.db --text \"a dog on the beach\" -k 5 --show found.html --pictures my-photos
  twinbit search photos.db --image dog.jpg --filter 'year >= 2015 and lang = \"en\"'
  twinbit search features.db --features queries.npy --modality text --against image --json")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// Asks for what is near this text
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Asks for what is near this picture: a JPEG, PNG or WebP file
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Asks for what is near these features, one query a row
    #[arg(long, value_name = "F.npy", requires = "modality")]
    features: Option<PathBuf>,
    /// Asks for what is near these codes, one query a row
    #[arg(long, value_name = "C.npy", requires = "modality")]
    codes: Option<PathBuf>,
    /// Asks for what is near this record
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// What the features, the codes or the record's code stand for
    #[arg(long, value_enum)]
    modality: Option<ModalityName>,
    /// Which codes of the records to compare with; the other modality when not given
    #[arg(long, value_enum)]
    against: Option<AgainstName>,
    /// Hits of each query; 10, or with --radius all, when not given
    #[arg(short, value_name = "N")]
    k: Option<usize>,
    /// Only hits whose codes differ in at most R bits
    #[arg(long, value_name = "R")]
    radius: Option<u32>,
    /// Only records that this expression selects
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// How to search; the answer is the same
    #[arg(long, value_enum, default_value_t = MethodName::Auto)]
    method: MethodName,
    /// Tells on standard error how the answer was found
    #[arg(long)]
    explain: bool,
    /// Gives up after this many milliseconds
    #[arg(long, value_name = "MS")]
    deadline: Option<u64>,
    /// Writes a page with the pictures found; a record's picture is looked for at the path in its field `path`
    #[arg(long, value_name = "PAGE.html")]
    show: Option<PathBuf>,
    /// A folder whose pictures are called by the records' ids, for --show
    #[arg(long, value_name = "FOLDER", requires = "show")]
    pictures: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModalityName {
    Image,
    Text,
}

#[derive(Clone, Copy, ValueEnum)]
enum AgainstName {
    Image,
    Text,
    Both,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MethodName {
    /// As is expected to take less time, for each segment
    Auto,
    /// Compare all codes
    Scan,
    /// By the index of the codes, where there is one
    Index,
}

/// A line of `search --json`.
#[derive(Serialize)]
struct Answer {
    query: usize,
    hits: Vec<ShownHit>,
}

#[derive(Serialize)]
struct ShownHit {
    id: Json,
    distance: u32,
    modality: &'static str,
    fields: Json,
}

/// Finds the nearest records.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    if let Some(path) = &arguments.show
        && !path.extension().is_some_and(|end| end == "html" || end == "htm")
    {
        return Err(Failure::new(format!(
            "--show {}: the page is written over what is there, so its name must end in .html",
            path.display()
        )));
    }
    let filter = parse_filter(arguments.filter.as_deref())?;
    let database = session.read(&arguments.db)?;
    let snapshot = session.collection(&database)?.snapshot()?;
    let (mut query, title) = question(arguments, &snapshot)?;
    if let Some(against) = arguments.against {
        query = query.against(match against {
            AgainstName::Image => Against::Image,
            AgainstName::Text => Against::Text,
            AgainstName::Both => Against::Both,
        });
    }
    if let Some(filter) = filter {
        query = query.filter(filter);
    }
    if let Some(k) = arguments.k {
        query = query.limit(k);
    }
    if let Some(radius) = arguments.radius {
        query = query.within(radius);
    }
    query = match arguments.method {
        MethodName::Auto => query,
        MethodName::Scan => query.method(Method::Scan),
        MethodName::Index => query.method(Method::MultiIndex),
    };
    if let Some(milliseconds) = arguments.deadline {
        query = query.deadline(Duration::from_millis(milliseconds));
    }
    let spinner = session.progress.spinner("searching");
    interrupt::listen();
    let answered = query.cancel(interrupt::flag()).explain();
    spinner.finish_and_clear();
    let answered = answered?;
    if arguments.explain {
        to_standard_error(&answered.plan.to_string());
    }
    for (number, hits) in answered.hits.iter().enumerate() {
        let fields = snapshot.fields_of(hits)?;
        if session.output.is_json() {
            session.output.object(&answer(number, hits, &fields))?;
        } else {
            if answered.hits.len() > 1 {
                session.output.line(session.output.bold(&format!("query {number}")))?;
            }
            print(hits, &fields, &snapshot, session)?;
        }
    }
    match &arguments.show {
        Some(path) => {
            page::write(path, &title, &answered.hits, &snapshot, arguments.pictures.as_deref())?;
            session.output.say(format!("page written to {}", path.display()))
        }
        None => Ok(()),
    }
}

/// The query, and what it is called on a page.
fn question(arguments: &Arguments, snapshot: &Snapshot) -> Result<(Query, String)> {
    let modality = arguments.modality.map(|name| match name {
        ModalityName::Image => Modality::Image,
        ModalityName::Text => Modality::Text,
    });
    if let Some(text) = &arguments.text {
        check_modality(modality, Modality::Text, "--text")?;
        return Ok((snapshot.query(Modality::Text, Input::text(text)), text.clone()));
    }
    if let Some(path) = &arguments.image {
        check_modality(modality, Modality::Image, "--image")?;
        let picture = Input::picture_file(path)?;
        return Ok((snapshot.query(Modality::Image, picture), path.display().to_string()));
    }
    if let Some(id) = &arguments.id {
        let id = parse_id(id, snapshot.schema())?;
        let modality = match modality {
            Some(modality) => modality,
            // The image of the record when it has one, unless that is not what is asked for.
            None => match snapshot.get(id.clone())? {
                Some(entry) if !entry.has(Modality::Image) => Modality::Text,
                _ => Modality::Image,
            },
        };
        let title = format!("record {id}");
        return Ok((snapshot.query_id(id, modality), title));
    }
    let modality = modality.ok_or_else(|| Failure::usage("--features and --codes need --modality"))?;
    let (inputs, path) = match (&arguments.features, &arguments.codes) {
        (Some(path), _) => (features(path)?, path),
        (None, Some(path)) => (codes(path, snapshot.schema().bits().bytes())?, path),
        (None, None) => return Err(Failure::usage("search needs a query")),
    };
    Ok((snapshot.query_many(modality, inputs), path.display().to_string()))
}

fn check_modality(given: Option<Modality>, expected: Modality, option: &str) -> Result {
    match given {
        Some(given) if given != expected => {
            Err(Failure::usage(format!("{option} is a query of modality {expected}, not {given}")))
        }
        _ => Ok(()),
    }
}

/// Each row of an array of features as a query. A single dimension is one row.
pub fn features(path: &Path) -> Result<Vec<Input>> {
    let array = Array::open(path)?;
    let width = row_width(&array)?;
    Ok(array.to_f32()?.chunks_exact(width).map(Input::features).collect())
}

/// Each row of an array of packed codes of so many bytes as a query. A single dimension is one row.
fn codes(path: &Path, bytes: usize) -> Result<Vec<Input>> {
    let array = Array::open(path)?;
    if array.element_type() != ElementType::U8 {
        let found = array.element_type().name();
        return Err(Failure::new(format!("{} holds {found}, codes are uint8", array.name())));
    }
    let width = row_width(&array)?;
    if width != bytes {
        return Err(Failure::new(format!(
            "{} has codes of {width} bytes, the collection's have {bytes}",
            array.name()
        )));
    }
    Ok(array.to_u8()?.chunks_exact(width).map(Input::code).collect())
}

/// Values of a query; an array without any asks nothing.
fn row_width(array: &Array) -> Result<usize> {
    let (rows, width) = match array.shape() {
        [values] => (1, *values),
        _ => (array.rows(), array.width()),
    };
    if rows == 0 || width == 0 {
        return Err(Failure::new(format!("{} holds no query: {rows} rows of {width} values", array.name())));
    }
    Ok(width)
}

fn answer(query: usize, hits: &[Hit], fields: &[Fields]) -> Answer {
    let shown = hits.iter().zip(fields).map(|(hit, fields)| ShownHit {
        id: id_json(hit.id()),
        distance: hit.distance(),
        modality: hit.modality().name(),
        fields: fields_json(fields.iter().map(|(name, value)| (name.as_str(), value))),
    });
    Answer { query, hits: shown.collect() }
}

fn print(hits: &[Hit], fields: &[Fields], snapshot: &Snapshot, session: &Session) -> Result {
    if hits.is_empty() {
        return session.output.say("nothing found");
    }
    let mut table = Table::new([">distance", "id", "found by", "text", "fields"]);
    for (hit, fields) in hits.iter().zip(fields) {
        let text = snapshot.get(hit.id().clone())?.and_then(|entry| entry.text().map(shortened));
        table.row([
            hit.distance().to_string(),
            hit.id().to_string(),
            hit.modality().name().to_owned(),
            text.unwrap_or_default(),
            fields_text(fields.iter().map(|(name, value)| (name.as_str(), value))),
        ]);
    }
    session.output.table(&table)
}
