//! `twinbit checkpoint`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::failure::Result;
use crate::output::{bytes, count};
use crate::session::Session;

/// Arguments of `checkpoint`.
#[derive(Args)]
#[command(after_help = "Example:\n  twinbit checkpoint photos.db backups/monday.db")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// Folder of the copy; must not be there, or be empty
    #[arg(value_name = "TARGET")]
    target: PathBuf,
}

/// Copies a database; on the same file system the copy shares its immutable files.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let database = session.open(&arguments.db)?;
    let spinner = session.progress.spinner("copying");
    let copied = database.checkpoint(&arguments.target);
    spinner.finish_and_clear();
    let copied = copied?;
    if session.output.is_json() {
        return session.output.object(&json!({
            "checkpoint": arguments.target, "version": copied.version, "files": copied.files, "bytes": copied.bytes,
        }));
    }
    session.output.say(format!(
        "{} holds version {}: {} files, {}",
        arguments.target.display(),
        count(copied.version),
        count(copied.files),
        bytes(copied.bytes)
    ))
}
