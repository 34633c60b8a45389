//! `twinbit set`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::session::Session;
use crate::values::{id_json, parse_assignment, parse_id};

/// Arguments of `set`.
#[derive(Args)]
#[command(after_help = "Example:\n  twinbit set photos.db kitten.jpg year=2021 lang=en")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// Id of the record
    #[arg(value_name = "ID")]
    id: String,
    /// New values of fields
    #[arg(value_name = "field=value", required_unless_present = "unset")]
    assignments: Vec<String>,
    /// A field whose value is removed; may be given several times
    #[arg(long, value_name = "FIELD")]
    unset: Vec<String>,
}

/// Changes fields of a record.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let database = session.open(&arguments.db)?;
    let collection = session.collection(&database)?;
    let schema = collection.schema()?;
    let id = parse_id(&arguments.id, &schema)?;
    let mut fields = Vec::new();
    for assignment in &arguments.assignments {
        let (name, value) = parse_assignment(assignment, &schema)?;
        fields.push((name, Some(value)));
    }
    fields.extend(arguments.unset.iter().map(|name| (name.clone(), None)));
    if !collection.set(id.clone(), fields)? {
        return Err(Failure::new(format!("there is no record {id} in collection \"{}\"", collection.name())));
    }
    if session.output.is_json() {
        return session.output.object(&json!({ "id": id_json(&id), "set": true }));
    }
    session.output.say(format!("changed record {id}"))
}
