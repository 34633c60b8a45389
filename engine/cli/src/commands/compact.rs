//! `twinbit compact`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::failure::Result;
use crate::interrupt;
use crate::output::{Table, bytes, count};
use crate::session::Session;

/// Arguments of `compact`.
#[derive(Args)]
#[command(after_help = "Example:\n  twinbit compact photos.db")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
}

/// Merges the segments of a collection, gives the space of removed records back, and indexes the codes of
/// large segments.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let database = session.open(&arguments.db)?;
    let collection = session.collection(&database)?;
    interrupt::listen();
    let bar = session.progress.bar("merging segments", 0);
    let compacted = collection.compact_with(|done, all| {
        bar.set_length(all);
        bar.set_position(done);
        interrupt::flow()
    });
    bar.finish_and_clear();
    let compacted = compacted?;
    if session.output.is_json() {
        return session.output.object(&json!({
            "collection": collection.name(),
            "segments_before": compacted.segments_before,
            "segments_after": compacted.segments_after,
            "rows_dropped": compacted.rows_dropped,
            "indexes_built": compacted.indexes_built,
            "bytes_before": compacted.bytes_before,
            "bytes_after": compacted.bytes_after,
        }));
    }
    let name = collection.name();
    let mut table = Table::new([name.as_str(), "before", "after"]);
    let mut row = |name: &str, before: String, after: String| table.row([name.to_owned(), before, after]);
    row("segments", count(compacted.segments_before), count(compacted.segments_after));
    row("segments and catalog", bytes(compacted.bytes_before), bytes(compacted.bytes_after));
    session.output.table(&table)?;
    session.output.say(format!("{} deleted records removed", count(compacted.rows_dropped)))
}
