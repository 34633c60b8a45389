//! `twinbit rename`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::failure::Result;
use crate::session::Session;

/// Arguments of `rename`.
#[derive(Args)]
#[command(after_help = "Example:\n  twinbit rename photos.db --to holidays")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// The new name
    #[arg(long, value_name = "NAME")]
    to: String,
}

/// Gives a collection another name.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let database = session.open(&arguments.db)?;
    let name = session.collection(&database)?.name();
    database.rename_collection(&name, &arguments.to)?;
    if session.output.is_json() {
        return session.output.object(&json!({ "renamed": name, "to": arguments.to }));
    }
    session.output.say(format!("collection \"{name}\" is now called \"{}\"", arguments.to))
}
