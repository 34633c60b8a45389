//! `twinbit stats`.

use std::path::PathBuf;

use clap::Args;

use crate::failure::Result;
use crate::output::{Table, bytes, count};
use crate::session::Session;

/// Arguments of `stats`.
#[derive(Args)]
#[command(after_help = "Example:\n  twinbit stats photos.db")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
}

/// Prints sizes and counts.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let database = session.read(&arguments.db)?;
    let stats = session.collection(&database)?.stats()?;
    if session.output.is_json() {
        return session.output.object(&stats);
    }
    let mut table = Table::new([stats.collection.as_str(), ""]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("bits", stats.bits.to_string());
    row("records", count(stats.rows));
    row("deleted, not yet removed", count(stats.deleted));
    row("segments", count(stats.segments));
    row("rows not yet in a segment", count(stats.fresh_rows));
    row("rows on disk", bytes(stats.bytes.rows));
    row("codes on disk", bytes(stats.bytes.codes));
    row("indexes of codes on disk", bytes(stats.bytes.search_index));
    row("indexes of fields on disk", bytes(stats.bytes.index));
    row("catalog on disk", bytes(stats.bytes.catalog));
    row("models on disk", bytes(stats.bytes.models));
    row("model", stats.model.map_or_else(|| "none".to_owned(), |model| model.to_string()));
    row("kernel", stats.kernel.to_owned());
    session.output.table(&table)
}
