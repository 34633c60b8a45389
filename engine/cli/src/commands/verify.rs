//! `twinbit verify`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::output::{bytes, count};
use crate::session::Session;

/// Arguments of `verify`.
#[derive(Args)]
#[command(after_help = "Example:\n  twinbit verify photos.db")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
}

/// Reads everything and compares it with its checksums.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let database = session.read(&arguments.db)?;
    let spinner = session.progress.spinner("verifying");
    let report = database.verify();
    spinner.finish_and_clear();
    let report = report?;
    let problems: Vec<_> = report
        .problems
        .iter()
        .map(|problem| json!({ "path": problem.path, "offset": problem.offset, "what": problem.what }))
        .collect();
    if session.output.is_json() {
        session.output.object(&json!({
            "files": report.files, "bytes": report.bytes, "rows": report.rows, "problems": problems,
        }))?;
    }
    for problem in &report.problems {
        session.output.line(format!(
            "{} at byte {}: {}",
            problem.path.display(),
            problem.offset,
            problem.what
        ))?;
    }
    let checked =
        format!("{} files, {}, {} rows", count(report.files), bytes(report.bytes), count(report.rows));
    match report.problems.as_slice() {
        [] => session.output.say(format!("{checked}: everything is as it was written")),
        [first, ..] => Err(Failure::new(format!(
            "{checked}: {} place{} damaged, the first in {} at byte {}; restore from a backup",
            report.problems.len(),
            if report.problems.len() == 1 { " is" } else { "s are" },
            first.path.display(),
            first.offset
        ))),
    }
}
