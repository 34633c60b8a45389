//! The runs of an experiment one by one, in a file from which it can be gone on with.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use twinbit::{Scores, TrainConfig};
use xxhash_rust::xxh3::xxh3_64;

use super::table::Trial;
use crate::failure::{Failure, Result};
use crate::replace::replace;

/// First line, by which such a file is known: nothing else is ever replaced.
const HEAD: &str = "run,bits,seed,best_epoch,seconds,image_to_text,text_to_image,method";

/// The finished runs, and where they are written.
pub struct Runs {
    path: PathBuf,
    data: String,
    runs: Vec<(Key, Trial)>,
}

/// Stands for all settings of a run and the data that it was made on.
type Key = u64;

impl Runs {
    /// The runs that the file holds, if it is to be gone on with; else none, and the first run to be
    /// added takes the file's place. `data` tells the data apart from others.
    pub fn open(path: PathBuf, data: String, resumes: bool) -> Result<Self> {
        let refuse = |what: &str| Err(Failure::new(format!("{} {what}", path.display())));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Failure::file(&path, "read the runs so far", &error)),
        };
        let mut lines = text.lines();
        if lines.next().is_some_and(|head| head != HEAD) {
            return refuse("holds no runs of an experiment; name another by --out");
        }
        let mut runs = Vec::new();
        for (at, line) in lines.enumerate().filter(|_| resumes) {
            match run_of(line) {
                Some(run) => runs.push(run),
                None => return refuse(&format!("is damaged in line {}; start without --resume", at + 2)),
            }
        }
        Ok(Self { path, data, runs })
    }

    /// The run of these settings, if it is finished.
    pub fn find(&self, method: &str, config: &TrainConfig) -> Result<Option<Trial>> {
        let key = self.key(config)?;
        let found = self.runs.iter().find(|(of, _)| *of == key);
        Ok(found.map(|(_, trial)| Trial { method: method.to_owned(), ..trial.clone() }))
    }

    /// Adds a finished run and writes the file anew.
    pub fn add(&mut self, trial: &Trial, config: &TrainConfig) -> Result {
        self.runs.push((self.key(config)?, trial.clone()));
        let mut text = format!("{HEAD}\n");
        for (key, trial) in &self.runs {
            let Trial { method, bits, seed, best_epoch, seconds, test } = trial;
            let (image_to_text, text_to_image) = (test.image_to_text, test.text_to_image);
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{key:016x},{bits},{seed},{best_epoch},{seconds},{image_to_text},{text_to_image},{}",
                method.replace('\n', " ")
            );
        }
        replace(&self.path, text.as_bytes())
            .map_err(|error| Failure::file(&self.path, "write the runs so far", &error))
    }

    fn key(&self, config: &TrainConfig) -> Result<Key> {
        let settings = serde_json::to_string(config).map_err(|error| Failure::new(error.to_string()))?;
        Ok(xxh3_64(format!("{}\n{settings}", self.data).as_bytes()))
    }
}

/// A line of the file. The method comes last, as it may hold commas.
fn run_of(line: &str) -> Option<(Key, Trial)> {
    let mut cells = line.splitn(8, ',');
    let key = Key::from_str_radix(cells.next()?, 16).ok()?;
    let (bits, seed) = (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?);
    let (best_epoch, seconds) = (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?);
    let (image_to_text, text_to_image) = (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?);
    let method = cells.next()?.to_owned();
    Some((
        key,
        Trial { method, bits, seed, best_epoch, seconds, test: Scores { image_to_text, text_to_image } },
    ))
}

/// Tells the state of some files apart from others: their paths, lengths and times.
pub fn state_of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<String> {
    let mut state = String::new();
    for path in files {
        let failed = |error| Failure::file(path, "read the state", &error);
        let (absolute, metadata) = (path.canonicalize().map_err(failed)?, path.metadata().map_err(failed)?);
        let _ = writeln!(state, "{} {} {:?}", absolute.display(), metadata.len(), metadata.modified().ok());
    }
    Ok(state)
}
