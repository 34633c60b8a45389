//! `twinbit collections`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::failure::Result;
use crate::output::{Table, count};
use crate::session::Session;

/// Arguments of `collections`.
#[derive(Args)]
#[command(after_help = "Example:\n  twinbit collections photos.db")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
}

/// Lists the collections.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let database = session.read(&arguments.db)?;
    let mut table = Table::new(["collection", ">bits", ">rows", "model"]);
    for name in database.collections() {
        let snapshot = database.collection(&name)?.snapshot()?;
        let (bits, rows) = (snapshot.schema().bits().bits(), snapshot.len());
        let model = snapshot.model_id().map(|model| model.to_string());
        if session.output.is_json() {
            session
                .output
                .object(&json!({ "collection": name, "bits": bits, "rows": rows, "model": model }))?;
        }
        table.row([name, bits.to_string(), count(rows), model.unwrap_or_else(|| "-".to_owned())]);
    }
    if table.is_empty() {
        return session.output.say("no collections yet; make one with `twinbit create`");
    }
    session.output.table(&table)
}
