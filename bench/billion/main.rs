//! A database of very many ready codes, from ingest to answers: how long each step takes and how much
//! memory, every step in a process of its own.
//!
//! `cargo bench --bench billion -- [--rows N] [--bits B] [--folder F] [--queries N] [--threads N] [--keep]`
//!
//! Without options a million rows. A billion codes of 64 bits take 21 GB of disk below `--folder`, which
//! should be on a real one; as much memory as that keeps all of it in the system's cache.
//! `--keep` leaves the database, and with `--only STEP` a step is run on one that is there: `ingest`,
//! `compact`, `index`, `verify`, `open`, `search`.
//!
//! Codes lie around 1,000 random centers, every bit flipped with a probability of 26/256, and so do the
//! queries; clusters are spread over all segments. Answers are compared with those of the scan.

mod codes;
mod process;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use twinbit::CodeBits;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What one run measures, and where.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) rows: u64,
    pub(crate) bits: CodeBits,
    /// The database.
    pub(crate) path: PathBuf,
    pub(crate) queries: usize,
    /// Hits of each query.
    pub(crate) k: usize,
    pub(crate) threads: usize,
    pub(crate) memory_bytes: usize,
}

#[expect(clippy::print_stderr, reason = "a program says why it failed")]
fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("billion: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Outcome<()> {
    let mut settings = Settings {
        rows: 1_000_000,
        bits: CodeBits::B64,
        path: std::env::temp_dir(),
        queries: 200,
        k: 10,
        threads: 0,
        memory_bytes: 1 << 30,
    };
    let (mut keep, mut only, mut child) = (false, None, None);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value =
            || words.next().map(|text| text.replace('_', "")).ok_or(format!("{word} needs a value"));
        match word.as_str() {
            // Cargo says so to every bench.
            "--bench" => {}
            "--rows" => settings.rows = value()?.parse()?,
            "--bits" => settings.bits = CodeBits::new(value()?.parse()?)?,
            "--queries" => settings.queries = value()?.parse()?,
            "--k" => settings.k = value()?.parse()?,
            "--threads" => settings.threads = value()?.parse()?,
            "--memory" => settings.memory_bytes = value()?.parse::<usize>()?.saturating_mul(1 << 20),
            "--folder" => settings.path = PathBuf::from(words.next().ok_or("--folder needs a value")?),
            "--keep" => keep = true,
            "--only" => only = Some(value()?),
            "--child" => child = Some(value()?),
            other => return Err(format!("what is {other}?").into()),
        }
    }
    settings.path = settings.path.join("billion.twinbit");
    if let Some(step) = child {
        return steps::run(&step, &settings);
    }
    let chosen = |step: &&&str| only.as_ref().is_none_or(|only| only == **step);
    let result = steps::NAMES.iter().filter(chosen).try_for_each(|step| process::run(step, &arguments));
    if !keep && only.is_none() && settings.path.exists() {
        std::fs::remove_dir_all(&settings.path)?;
    }
    result
}
