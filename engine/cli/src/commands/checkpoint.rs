//! `twinbit checkpoint`.

use std::path::PathBuf;

use clap::Args;

use super::copied;
use crate::failure::Result;
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
    copied::print("checkpoint", "holds", &arguments.target, &copied?, session)
}
