//! `twinbit restore`.

use std::path::PathBuf;

use clap::Args;
use twinbit::Database;

use super::copied;
use crate::failure::Result;
use crate::session::Session;

/// Arguments of `restore`.
#[derive(Args)]
#[command(after_help = "Example:\n  twinbit restore backups/monday.db photos.db")]
pub struct Arguments {
    /// Folder of the checkpoint
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// Folder of the database to be made; must not be there, or be empty
    #[arg(value_name = "DB")]
    db: PathBuf,
}

/// Verifies a checkpoint and makes a database of it; the checkpoint stays.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let spinner = session.progress.spinner("verifying and copying");
    let copied = Database::restore(&arguments.source, &arguments.db);
    spinner.finish_and_clear();
    copied::print("restored", "is restored at", &arguments.db, &copied?, session)
}
