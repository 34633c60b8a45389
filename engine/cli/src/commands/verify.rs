//! `twinbit verify`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use twinbit::Problem;

use crate::failure::{Failure, Result};
use crate::output::{bytes, count};
use crate::session::Session;

/// Arguments of `verify`.
#[derive(Args)]
#[command(after_help = "Example:\n  twinbit verify photos.db\n  twinbit verify photos.db --repair")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// First make indexes and statistics anew where they are wrong, and remove files that belong to
    /// nothing; records are not touched
    #[arg(long)]
    repair: bool,
}

/// Reads everything and compares it with its checksums.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let database = match arguments.repair {
        true => session.open(&arguments.db)?,
        false => session.read(&arguments.db)?,
    };
    let spinner = session.progress.spinner("verifying");
    let repaired = arguments.repair.then(|| database.repair()).transpose();
    let report = repaired.and_then(|repaired| Ok((repaired, database.verify()?)));
    spinner.finish_and_clear();
    let (repaired, report) = report?;
    let problems: Vec<_> = report
        .problems
        .iter()
        .map(|problem| {
            json!({
                "path": problem.path, "offset": problem.offset, "what": problem.what,
                "repairable": problem.repairable,
            })
        })
        .collect();
    if session.output.is_json() {
        let mut object = json!({
            "files": report.files, "bytes": report.bytes, "rows": report.rows, "problems": problems,
        });
        if let Some(repaired) = &repaired {
            object["repaired"] = json!({
                "index_entries_added": repaired.index_entries_added,
                "index_entries_removed": repaired.index_entries_removed,
                "search_indexes_dropped": repaired.search_indexes_dropped,
                "search_indexes_built": repaired.search_indexes_built,
                "statistics_rebuilt": repaired.statistics_rebuilt,
                "files_removed": repaired.files_removed,
                "fields_left": repaired.fields_left,
            });
        }
        session.output.object(&object)?;
    }
    if let Some(repaired) = &repaired {
        session.output.line(format!(
            "repaired: {} index entries added, {} removed, statistics of {} fields rebuilt, {} indexes of codes \
             dropped and {} made anew, {} files removed; {} fields left as they are, because their values are \
             damaged",
            count(repaired.index_entries_added),
            count(repaired.index_entries_removed),
            count(repaired.statistics_rebuilt),
            count(repaired.search_indexes_dropped),
            count(repaired.search_indexes_built),
            count(repaired.files_removed),
            count(repaired.fields_left),
        ))?;
    }
    for problem in &report.problems {
        session.output.line(format!(
            "{} at byte {}: {}; {}",
            problem.path.display(),
            problem.offset,
            problem.what,
            if problem.repairable { "verify --repair puts it right" } else { "restore it from a backup" },
        ))?;
    }
    let checked =
        format!("{} files, {}, {} rows", count(report.files), bytes(report.bytes), count(report.rows));
    match report.problems.as_slice() {
        [] => session.output.say(format!("{checked}: everything is as it was written")),
        [first, ..] => Err(Failure::new(format!(
            "{checked}: {} place{} damaged, the first in {} at byte {}; {}",
            report.problems.len(),
            if report.problems.len() == 1 { " is" } else { "s are" },
            first.path.display(),
            first.offset,
            advice(&report.problems)
        ))),
    }
}

/// What to do about all of them together.
fn advice(problems: &[Problem]) -> &'static str {
    match problems.iter().filter(|problem| problem.repairable).count() {
        0 => "restore from a backup",
        some if some == problems.len() => "verify --repair puts it right",
        _ => "restore from a backup: verify --repair puts only some of it right",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repair_is_advised_where_it_helps() {
        let told = |repairable: &[bool]| {
            let problem = |repairable: &bool| Problem {
                path: PathBuf::from("catalog"),
                offset: 0,
                what: String::new(),
                repairable: *repairable,
            };
            advice(&repairable.iter().map(problem).collect::<Vec<_>>())
        };
        assert_eq!(told(&[true, true]), "verify --repair puts it right");
        assert_eq!(told(&[false]), "restore from a backup");
        assert!(told(&[true, false]).contains("backup") && told(&[true, false]).contains("only some"));
    }
}
