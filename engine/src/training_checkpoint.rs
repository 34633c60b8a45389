//! Checkpoints of training as files: replaced as a whole after every epoch, or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use twinbit_hashing::{Checkpoint, EpochReport, Observer, Progress};

use crate::{Error, Result};

/// Bytes gathered before they go to the disk.
const BUFFER_BYTES: usize = 1 << 20;

/// The checkpoint in a file; `None` when there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Checkpoint>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, "open the training checkpoint", error)),
    };
    match Checkpoint::read_from(&mut BufReader::with_capacity(BUFFER_BYTES, file)) {
        Ok(checkpoint) => Ok(Some(checkpoint)),
        Err(twinbit_hashing::Error::CheckpointIo(error)) => {
            Err(failed(path, "read the training checkpoint", error))
        }
        Err(source) => Err(Error::TrainingCheckpoint { path: path.to_path_buf(), source: Box::new(source) }),
    }
}

/// Writes a checkpoint after every epoch and passes everything else on.
pub(crate) struct Keeper<'a> {
    pub(crate) path: PathBuf,
    pub(crate) observer: &'a mut dyn Observer,
}

impl Observer for Keeper<'_> {
    fn on_step(&mut self, step: usize, steps: usize, loss: f64) -> ControlFlow<()> {
        self.observer.on_step(step, steps, loss)
    }

    fn on_checkpoint(
        &mut self,
        progress: &Progress<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        write(&self.path, progress)?;
        self.observer.on_checkpoint(progress)
    }

    fn on_epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
        self.observer.on_epoch(report)
    }
}

/// Replaces the file: a new one beside it is written and synced, then takes its name.
fn write(path: &Path, progress: &Progress<'_>) -> Result<()> {
    let partial = partial(path);
    let written = write_file(&partial, progress).and_then(|()| {
        fs::rename(&partial, path)?;
        sync_folder(path)
    });
    written.map_err(|error| {
        // What was begun is of no use; the checkpoint of the epoch before stays.
        let _ = fs::remove_file(&partial);
        failed(path, "write the training checkpoint", error)
    })
}

fn write_file(path: &Path, progress: &Progress<'_>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
    progress.write_to(&mut file).map_err(|error| match error {
        twinbit_hashing::Error::CheckpointIo(error) => error,
        other => io::Error::other(other),
    })?;
    file.flush()?;
    file.get_ref().sync_all()
}

/// `run.ckpt` is written as `.run.ckpt.partial`.
fn partial(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".partial");
    path.with_file_name(name)
}

/// Makes a change of names in the folder of `path` durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn failed(path: &Path, operation: &'static str, source: io::Error) -> Error {
    Error::Io { path: path.to_path_buf(), operation, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CodeBits, Collection, Database, Model, Record, Schema, TextEncoding, TrainConfig, Trainer};

    fn collection(folder: &Path) -> Collection {
        let schema = Schema::new(CodeBits::B16).image_features(3).text_encoder(TextEncoding::Ngram);
        let database = Database::builder().threads(1).open(folder.join("db")).unwrap();
        let collection = database.create_collection("things", schema).unwrap();
        let mut writer = collection.writer().unwrap();
        let word = |number: u16| ["red", "green", "blue"][usize::from(number % 3)];
        let records = (0..60_u16).map(|number| {
            let image = [f32::from(number % 3), f32::from(number % 7), 1.0];
            Record::auto().image(image).text(format!("a {} thing {number}", word(number)))
        });
        writer.extend(records).unwrap();
        writer.commit().unwrap();
        collection
    }

    fn trainer(collection: &Collection) -> Trainer<'_> {
        let config = TrainConfig { hidden: 8, batch: 16, negatives: 16, epochs: 4, ..TrainConfig::default() };
        collection.trainer().config(config)
    }

    fn fit(trainer: Trainer<'_>, collection: &Collection) -> Result<Model> {
        Ok(trainer.fit(&collection.snapshot()?)?.model)
    }

    #[test]
    fn a_run_that_was_broken_off_goes_on_to_the_same_model() {
        let folder = tempfile::tempdir().unwrap();
        let collection = collection(folder.path());
        let unbroken = fit(trainer(&collection), &collection).unwrap();
        let path = folder.path().join("run.ckpt");
        for last in 1..=4 {
            let flow = move |report: &EpochReport| match report.epoch == last {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            };
            let broken = fit(trainer(&collection).checkpoint(&path).on_epoch(flow), &collection);
            assert!(matches!(broken, Err(Error::Canceled)));
            let resumed = fit(trainer(&collection).checkpoint(&path).resume(), &collection).unwrap();
            assert_eq!(resumed.to_bytes(), unbroken.to_bytes(), "after epoch {last}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "a partial file stayed");
        }
    }

    #[test]
    fn a_file_that_cannot_be_gone_on_from_is_named_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let collection = collection(folder.path());
        let path = folder.path().join("run.ckpt");
        let resume = |seed| fit(trainer(&collection).seed(seed).checkpoint(&path).resume(), &collection);
        let refused = |seed| match resume(seed) {
            Err(Error::TrainingCheckpoint { path, source }) => (path, source.to_string()),
            other => panic!("{other:?}"),
        };
        std::fs::write(&path, "my notes").unwrap();
        assert_eq!(refused(1).0, path);
        assert_eq!(std::fs::read(&path).unwrap(), b"my notes");
        std::fs::remove_file(&path).unwrap();
        resume(1).unwrap();
        assert!(refused(2).1.contains("seed"));
        collection.put(Record::auto().image([1.0, 2.0, 3.0]).text("one more")).unwrap();
        assert!(refused(1).1.contains("another run"));
    }

    #[test]
    fn a_checkpoint_that_cannot_be_written_ends_training() {
        let folder = tempfile::tempdir().unwrap();
        let collection = collection(folder.path());
        let path = folder.path().join("no folder").join("run.ckpt");
        let trained = fit(trainer(&collection).checkpoint(&path), &collection);
        assert!(matches!(trained, Err(Error::Io { path: named, .. }) if named == path));
    }
}
