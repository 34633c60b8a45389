//! What every command starts from: the global options, the output, and how databases are opened.

use std::path::Path;

use twinbit::{Builder, Collection, Database, Device, Indexing, ReadMode, TrainingMachine};

use crate::arguments::Global;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::progress::Progress;

/// One run of the program.
pub struct Session {
    global: Global,
    /// Standard output.
    pub output: Output,
    /// Bars on standard error.
    pub progress: Progress,
}

impl Session {
    /// A run with these options.
    pub fn new(global: Global) -> Self {
        match (global.verbose, global.quiet) {
            (true, _) => crate::log::to_standard_error(tracing::Level::TRACE),
            (false, false) => crate::log::to_standard_error(tracing::Level::WARN),
            (false, true) => {}
        }
        let output = Output::new(global.json, global.quiet);
        let progress = Progress::new(global.quiet);
        Self { global, output, progress }
    }

    /// The collection named on the command line.
    pub fn collection_name(&self) -> Option<&str> {
        self.global.collection.as_deref()
    }

    /// The number of threads asked for; 0 is one a processor.
    pub fn threads(&self) -> usize {
        self.global.threads
    }

    /// What the work runs on.
    pub fn device(&self) -> Device {
        self.global.device
    }

    /// The device that computed a training run, as `--device` names it.
    pub fn trained_on(&self, machine: TrainingMachine) -> String {
        match (machine, self.global.device) {
            (TrainingMachine::Processor, _) => Device::Cpu.to_string(),
            (TrainingMachine::Card(_), device @ Device::Cuda(_)) => device.to_string(),
            (TrainingMachine::Card(_), _) => Device::Cuda(0).to_string(),
        }
    }

    /// Opens a database for writing.
    ///
    /// Only `create` makes one: elsewhere a mistyped path must not leave an empty database behind.
    pub fn open(&self, path: &Path) -> Result<Database> {
        must_exist(path)?;
        self.open_or_create(path)
    }

    /// Opens a database for writing, creating it when there is none.
    pub fn open_or_create(&self, path: &Path) -> Result<Database> {
        Ok(self.builder().open(path)?)
    }

    /// Opens a database for writing, with a say in which segments get an index.
    pub fn open_indexing(&self, path: &Path, indexing: Indexing) -> Result<Database> {
        must_exist(path)?;
        Ok(self.builder().indexing(indexing).open(path)?)
    }

    /// Opens a database for reading, beside a process that may be writing to it.
    pub fn read(&self, path: &Path) -> Result<Database> {
        must_exist(path)?;
        Ok(self.builder().open_read_only(path)?)
    }

    /// The options that the global ones ask for.
    pub fn builder(&self) -> Builder {
        let mode = match self.global.no_mmap {
            true => ReadMode::Read,
            false => ReadMode::Mapped,
        };
        Database::builder().threads(self.global.threads).device(self.global.device).read_mode(mode)
    }

    /// The collection named, or the only one.
    pub fn collection(&self, database: &Database) -> Result<Collection> {
        let collection = match self.collection_name() {
            Some(name) => database.collection(name),
            None => database.only_collection(),
        };
        collection.map_err(|error| match error {
            twinbit::Error::WhichCollection { names } if names.is_empty() => Failure::new(format!(
                "{}: there is no collection yet; make one with `twinbit create`",
                database.path().display()
            )),
            twinbit::Error::WhichCollection { names } => Failure::new(format!(
                "{}: which collection is meant? Name one with -c: {}",
                database.path().display(),
                names.join(", ")
            )),
            other => other.into(),
        })
    }
}

fn must_exist(path: &Path) -> Result {
    if path.join("catalog").is_dir() {
        return Ok(());
    }
    let path = path.display();
    Err(Failure::new(format!(
        "{path}: there is no database here; make one with `twinbit create {path} --bits 128`"
    )))
}
