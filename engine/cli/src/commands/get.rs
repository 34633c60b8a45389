//! `twinbit get`, and how a record is printed.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::Value as Json;
use twinbit::{Entry, Modality, Value};

use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::session::Session;
use crate::values::{fields_json, id_json, parse_ids, value_json};

/// Arguments of `get`.
#[derive(Args)]
#[command(after_help = "Example:\n  twinbit get photos.db kitten.jpg --json")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// Ids of the records
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

/// A record in JSON.
#[derive(Serialize)]
pub struct Shown {
    id: Json,
    modalities: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<Json>,
    fields: Json,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    codes: serde_json::Map<String, Json>,
}

impl Shown {
    /// What is printed of a record; codes as hexadecimal bytes.
    pub fn new(entry: &Entry) -> Self {
        let code = |modality: Modality| {
            let code = entry.code(modality)?;
            let digits = code.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            Some((modality.name().to_owned(), Json::String(digits)))
        };
        Self {
            id: id_json(entry.id()),
            modalities: modalities(entry),
            text: entry.text().map(str::to_owned),
            of: entry.of().map(id_json),
            fields: fields_json(named(entry)),
            codes: Modality::ALL.into_iter().filter_map(code).collect(),
        }
    }
}

/// The modalities that a record has, by name.
pub fn modalities(entry: &Entry) -> Vec<&'static str> {
    Modality::ALL.into_iter().filter(|modality| entry.has(*modality)).map(Modality::name).collect()
}

/// The fields of a record as pairs of name and value.
pub fn named(entry: &Entry) -> impl Iterator<Item = (&str, &Value)> {
    entry.fields().iter().map(|(name, value)| (name.as_str(), value))
}

/// Prints records.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let database = session.read(&arguments.db)?;
    let collection = session.collection(&database)?;
    let snapshot = collection.snapshot()?;
    let mut missing = Vec::new();
    for id in parse_ids(&arguments.ids, snapshot.schema())? {
        match snapshot.get(id.clone())? {
            Some(entry) if session.output.is_json() => session.output.object(&Shown::new(&entry))?,
            Some(entry) => print(&entry, session.output)?,
            None => missing.push(id.to_string()),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let what = if missing.len() == 1 { "record" } else { "records" };
    Err(Failure::new(format!(
        "there is no {what} {} in collection \"{}\"",
        missing.join(", "),
        collection.name()
    )))
}

fn print(entry: &Entry, output: Output) -> Result {
    output.line(output.bold(&entry.id().to_string()))?;
    let row =
        |name: &str, value: &str| output.line(format!("  {}  {value}", output.soft(&format!("{name:<8}"))));
    row("has", &modalities(entry).join(" and "))?;
    if let Some(text) = entry.text() {
        row("text", text)?;
    }
    if let Some(of) = entry.of() {
        row("of", &of.to_string())?;
    }
    for (name, value) in named(entry) {
        match value_json(value) {
            Json::String(text) => row(name, &text)?,
            other => row(name, &other.to_string())?,
        }
    }
    for modality in Modality::ALL {
        if let Some(values) = entry.features(modality) {
            row(modality.name(), &format!("{} features", values.len()))?;
        }
    }
    Ok(())
}
