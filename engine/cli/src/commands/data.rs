//! `twinbit data`: the files of the published data sets.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use twinbit::PublishedData;

use crate::failure::{Failure, Result};
use crate::output::Table;
use crate::session::Session;

/// What to do with the files.
#[derive(Subcommand)]
pub enum Action {
    /// Read every value of the published data sets in a folder and compare their sizes
    Check(CheckArguments),
}

/// Arguments of `data check`.
#[derive(Args)]
#[command(after_help = "Example:
  twinbit data check data

It knows MIRFLICKR-25K, IAPR TC-12, NUS-WIDE and MS-COCO by the file names of the authors, in
DIR or in the folders of their layout below it; an .npz archive of the same name and keys does, too.
Of MIRFLICKR-25K and NUS-WIDE it knows the raw pictures as well (mirflickr25k-iall.mat and
nus-wide-tc10-iall.mat), which may be there instead of the image features.
An experiment names such a folder by `folder` (see `twinbit experiment --help`).")]
pub struct CheckArguments {
    /// Folder of the files
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// One matrix in `data check --json`.
#[derive(Serialize)]
struct Checked<'a> {
    data: &'a str,
    what: &'a str,
    files: &'a str,
    rows: usize,
    /// Nothing for pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<usize>,
    problem: Option<String>,
}

/// Does it.
pub fn run(action: &Action, session: &Session) -> Result {
    let Action::Check(CheckArguments { folder }) = action;
    let sets: Vec<&PublishedData> = PublishedData::all().iter().filter(|set| set.is_in(folder)).collect();
    if sets.is_empty() {
        let known: Vec<&str> = PublishedData::all().iter().map(PublishedData::name).collect();
        let (folder, known) = (folder.display(), known.join(", "));
        return Err(Failure::new(format!(
            "{folder}: there is no file of any of {known}; see `twinbit data check --help`"
        )));
    }
    let mut table = Table::new(["data set", "matrix", ">rows", ">columns", "state"]);
    let mut problems = 0;
    for set in sets {
        let spinner = session.progress.spinner(format!("reading {}", set.name()));
        let parts = set.check(folder);
        spinner.finish_and_clear();
        for part in parts {
            let (rows, columns) = (part.rows, part.columns);
            let problem = part.problem.map(|problem| Failure::from(problem).to_string());
            problems += usize::from(problem.is_some());
            if session.output.is_json() {
                let (data, what, files) = (set.name(), part.what, part.files.as_str());
                session.output.object(&Checked { data, what, files, rows, columns, problem })?;
                continue;
            }
            let state = problem.unwrap_or_else(|| format!("as published ({})", part.files));
            table.row([
                set.name().to_owned(),
                part.what.to_owned(),
                rows.to_string(),
                columns.map(|columns| columns.to_string()).unwrap_or_default(),
                state,
            ]);
        }
    }
    session.output.table(&table)?;
    match problems {
        0 => Ok(()),
        1 => Err(Failure::new("1 matrix is not as published")),
        count => Err(Failure::new(format!("{count} matrices are not as published"))),
    }
}
