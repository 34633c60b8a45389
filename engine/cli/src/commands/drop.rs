//! `twinbit drop`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::session::Session;

/// Arguments of `drop`.
#[derive(Args)]
#[command(after_help = "Example:\n  twinbit drop photos.db -c main --yes")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// Confirms that everything in the collection may go
    #[arg(long)]
    yes: bool,
}

/// Removes a collection.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    // Named always, even when there is only one: this cannot be undone.
    let name = session
        .collection_name()
        .ok_or_else(|| Failure::usage("drop needs -c NAME: the collection to remove"))?;
    if !arguments.yes {
        return Err(Failure::usage(format!(
            "drop removes collection \"{name}\" for good; add --yes to confirm"
        )));
    }
    session.open(&arguments.db)?.drop_collection(name)?;
    if session.output.is_json() {
        return session.output.object(&json!({ "dropped": name }));
    }
    session.output.say(format!("removed collection \"{name}\" from {}", arguments.db.display()))
}
