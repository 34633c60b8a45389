//! `twinbit list`.

use std::path::PathBuf;

use clap::Args;

use crate::commands::get::{Shown, modalities, named};
use crate::failure::Result;
use crate::output::Table;
use crate::session::Session;
use crate::values::{fields_text, parse_id};

/// Characters of a text shown in the table.
const TEXT_SHOWN: usize = 60;

/// Arguments of `list`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  twinbit list photos.db --limit 5\n  twinbit list photos.db --after kitten.jpg --json"
)]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// Starts behind the record of this id
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// Records to print
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

/// Pages through the records.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let database = session.read(&arguments.db)?;
    let snapshot = session.collection(&database)?.snapshot()?;
    let after = arguments.after.as_deref().map(|id| parse_id(id, snapshot.schema())).transpose()?;
    let entries = snapshot.page(after.as_ref(), arguments.limit)?;
    if session.output.is_json() {
        return entries.iter().try_for_each(|entry| session.output.object(&Shown::new(entry)));
    }
    let mut table = Table::new(["id", "has", "text", "fields"]);
    for entry in &entries {
        table.row([
            entry.id().to_string(),
            modalities(entry).join("+"),
            shortened(entry.text().unwrap_or_default()),
            fields_text(named(entry)),
        ]);
    }
    session.output.table(&table)?;
    match entries.last() {
        Some(last) if entries.len() == arguments.limit => session
            .output
            .say(session.output.soft(&format!("the next page starts with --after {}", last.id()))),
        _ => Ok(()),
    }
}

/// The beginning of a text, where it is long.
pub fn shortened(text: &str) -> String {
    if text.chars().nth(TEXT_SHOWN).is_none() {
        return text.to_owned();
    }
    text.chars().take(TEXT_SHOWN - 3).chain("...".chars()).collect()
}
