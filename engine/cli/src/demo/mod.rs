//! `twinbit demo`: the whole path on the emoji set that comes with the program.

mod chance;
mod emoji;
mod experiment;
mod report;
mod samples;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use twinbit::{Collection, Database, Field, IdKind, ImageEncoding, Schema, TextEncoding};

use crate::demo::experiment::{BITS, Experiment};
use crate::demo::report::Report;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::output::{Table, count};
use crate::session::Session;

/// The demonstration's collection.
const COLLECTION: &str = "emoji";
/// Hits of a sample query that are named on the terminal.
const NAMED: usize = 5;

/// Arguments of `demo`.
#[derive(Args)]
#[command(after_help = "Example:\n  twinbit demo && xdg-open twinbit-demo/report.html")]
pub struct Arguments {
    /// Where the database and the report go
    #[arg(value_name = "DIR", default_value = "twinbit-demo")]
    folder: PathBuf,
}

/// Runs the demonstration.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let begin = Instant::now();
    interrupt::listen();
    std::fs::create_dir_all(&arguments.folder)
        .map_err(|error| Failure::file(&arguments.folder, "create the folder", &error))?;
    let path = arguments.folder.join("db");
    let database = session.open_or_create(&path)?;
    let collection = fresh_collection(&database, &path)?;
    let page = arguments.folder.join("report.html");
    let mut report = Experiment::new(&collection, session).run(begin)?;
    report.database = path.display().to_string();
    report.report = page.display().to_string();
    std::fs::write(&page, report.html()).map_err(|error| Failure::file(&page, "write the report", &error))?;
    if session.output.is_json() {
        return session.output.object(&report);
    }
    summarize(&report, session)
}

/// An empty collection. One from an earlier run is replaced; another one of that name is not ours
/// to remove.
fn fresh_collection(database: &Database, path: &Path) -> Result<Collection> {
    let schema = Schema::new(BITS)
        .ids(IdKind::Str)
        .image_encoder(ImageEncoding::EfficientNetLite0)
        .text_encoder(TextEncoding::Ngram)
        .field("group", Field::str().indexed())
        .field("glyph", Field::str());
    if database.collections().iter().any(|name| name == COLLECTION) {
        let there = database.collection(COLLECTION)?.schema()?;
        let fields = |schema: &Schema| {
            schema.fields().map(|(name, field)| (name.to_owned(), field)).collect::<Vec<_>>()
        };
        if fields(&there) != fields(&schema) {
            return Err(Failure::new(format!(
                "{}: there is a collection \"{COLLECTION}\" that the demonstration did not make; give another folder",
                path.display()
            )));
        }
        database.drop_collection(COLLECTION)?;
    }
    Ok(database.create_collection(COLLECTION, schema)?)
}

fn summarize(report: &Report, session: &Session) -> Result {
    let output = session.output;
    output.line("")?;
    for query in &report.texts {
        let names: Vec<&str> = query.hits.iter().take(NAMED).map(|hit| hit.id.as_str()).collect();
        output.line(format!("{}  {}", output.bold(&format!("{:<22}", query.text)), names.join(", ")))?;
    }
    output.line("")?;
    let mut table = Table::new([
        "MAP with held-out queries",
        ">queries",
        ">picture to text",
        ">text to picture",
        ">chance",
    ]);
    let score = |value: f64| format!("{value:.3}");
    for group in &report.groups {
        table.row([
            group.group.clone(),
            group.queries.to_string(),
            score(group.map.image_to_text),
            score(group.map.text_to_image),
            score(group.map.chance),
        ]);
    }
    table.row([
        "mean over the groups".to_owned(),
        report.held_out.to_string(),
        score(report.map.image_to_text),
        score(report.map.text_to_image),
        score(report.map.chance),
    ]);
    output.table(&table)?;
    output.line("")?;
    output.line(format!(
        "{} pairs, {} bits a code, {:.0} seconds. The pictures found: {}",
        count(report.pairs as u64),
        report.bits,
        report.seconds,
        output.bold(&report.report)
    ))
}
