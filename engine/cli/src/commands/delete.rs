//! `twinbit delete`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::output::count;
use crate::session::Session;
use crate::values::parse_filter;
use crate::values::parse_ids;

/// Arguments of `delete`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  twinbit delete photos.db kitten.jpg puppy.jpg\n  twinbit delete photos.db --where 'year < 1990'"
)]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// Ids of the records
    #[arg(value_name = "ID", required_unless_present = "filter", conflicts_with = "filter")]
    ids: Vec<String>,
    /// Deletes every record that this filter selects
    #[arg(long = "where", value_name = "EXPR")]
    filter: Option<String>,
}

/// Deletes records, all of them or none.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let filter = parse_filter(arguments.filter.as_deref())?;
    let database = session.open(&arguments.db)?;
    let collection = session.collection(&database)?;
    let mut writer = collection.writer()?;
    let deleted = match filter {
        Some(filter) => writer.delete_where(filter)?,
        None => {
            let mut deleted = 0;
            for id in parse_ids(&arguments.ids, &collection.schema()?)? {
                if !writer.delete(id.clone())? {
                    return Err(Failure::new(format!(
                        "there is no record {id} in collection \"{}\"; nothing was deleted",
                        collection.name()
                    )));
                }
                deleted += 1;
            }
            deleted
        }
    };
    writer.commit()?;
    if session.output.is_json() {
        return session.output.object(&json!({ "deleted": deleted }));
    }
    session.output.say(format!("deleted {} record{}", count(deleted), if deleted == 1 { "" } else { "s" }))
}
