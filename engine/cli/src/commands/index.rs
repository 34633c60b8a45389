//! `twinbit index`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use twinbit::Indexing;

use crate::failure::Result;
use crate::interrupt;
use crate::output::{bytes, count};
use crate::session::Session;

/// Arguments of `index`.
#[derive(Args)]
#[command(after_help = "Example:\n  twinbit index photos.db")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// Rows of a segment from which on its codes get an index
    #[arg(long, value_name = "N", default_value_t = Indexing::default().rows)]
    rows: u32,
    /// Memory for making one, in MiB
    #[arg(long, value_name = "MIB", default_value_t = Indexing::default().memory_bytes >> 20)]
    memory: usize,
}

/// Makes the indexes of codes that segments lack.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let indexing = Indexing { rows: arguments.rows, memory_bytes: arguments.memory.saturating_mul(1 << 20) };
    let database = session.open_indexing(&arguments.db, indexing)?;
    let collection = session.collection(&database)?;
    interrupt::listen();
    let bar = session.progress.bar("indexing codes", 0);
    let indexed = collection.build_indexes_with(|done, all| {
        bar.set_length(all);
        bar.set_position(done);
        interrupt::flow()
    });
    bar.finish_and_clear();
    let indexed = indexed?;
    if session.output.is_json() {
        return session.output.object(&json!({
            "collection": collection.name(),
            "segments": indexed.segments,
            "rows": indexed.rows,
            "bytes": indexed.bytes,
        }));
    }
    session.output.say(format!(
        "{} segments with {} rows indexed, {}",
        count(indexed.segments),
        count(indexed.rows),
        bytes(indexed.bytes)
    ))
}
