//! Storage end to end: bulk ingest, records with ids and fields, durable commits, opening, single
//! changes and checksums, each beside what the same disk does with the same bytes in the same run.
//!
//! `cargo bench --bench storage -- [MEASUREMENT ...] [--folder F] [--rows N] [--rounds N] [--json FILE]`
//!
//! Without a measurement all of them run, at small sizes. `--folder` should be on a real disk: on
//! tmpfs nothing is durable. Answers are checked (counts, and sampled records after reopening)
//! before a figure counts.

mod bulk;
mod checksum;
mod commits;
mod data;
mod disk;
mod figure;
mod open;
mod records;
mod rocks;
mod set;
mod side;

use std::path::PathBuf;
use std::process::ExitCode;

use figure::Report;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What one run measures, and where.
pub(crate) struct Settings {
    /// Everything that is written lies in here and is removed again.
    pub(crate) folder: PathBuf,
    /// Rows, where a measurement does not have its own default.
    pub(crate) rows: Option<usize>,
    /// Alternating rounds, of which the median counts.
    pub(crate) rounds: usize,
}

impl Settings {
    pub(crate) fn rows_or(&self, default: usize) -> usize {
        self.rows.unwrap_or(default).max(1)
    }
}

type Measure = fn(&Settings, &mut Report) -> Outcome<()>;

const MEASUREMENTS: [(&str, Measure); 6] = [
    ("bulk", bulk::measure),
    ("records", records::measure),
    ("commits", commits::measure),
    ("open", open::measure),
    ("set", set::measure),
    ("checksum", checksum::measure),
];

#[expect(clippy::print_stderr, reason = "a program says why it failed")]
fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storage: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a program prints its results")]
fn run(arguments: Vec<String>) -> Outcome<()> {
    let (mut folder, mut rows, mut rounds, mut json) = (std::env::temp_dir(), None, 3, None);
    let mut words = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            // Cargo says so to every bench.
            "--bench" => {}
            "--folder" => folder = PathBuf::from(value()?),
            "--rows" => rows = Some(value()?.replace('_', "").parse()?),
            "--rounds" => rounds = value()?.parse::<usize>()?.max(1),
            "--json" => json = Some(PathBuf::from(value()?)),
            _ => words.push(argument),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["open-child", path] => return open::child(path.as_ref()),
        ["side", what, engine, path] => {
            return side::run(what, engine, path.as_ref(), rows.unwrap_or(100_000));
        }
        _ => {}
    }
    if let Some(unknown) = words.iter().find(|word| MEASUREMENTS.iter().all(|(name, _)| name != *word)) {
        let known = MEASUREMENTS.map(|(name, _)| name).join(", ");
        return Err(format!("there is no measurement \"{unknown}\"; there are {known}").into());
    }
    std::fs::create_dir_all(&folder)?;
    let scratch = tempfile::Builder::new().prefix("twinbit-bench-").tempdir_in(&folder)?;
    let settings = Settings { folder: scratch.path().to_path_buf(), rows, rounds };
    let mut report = Report::new(disk::file_system(&settings.folder));
    for (name, measure) in MEASUREMENTS {
        if words.is_empty() || words.contains(&name) {
            measure(&settings, &mut report)?;
        }
    }
    println!("{}", report.to_markdown());
    if let Some(path) = json {
        std::fs::write(path, report.to_json())?;
    }
    Ok(())
}
