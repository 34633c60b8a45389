//! `twinbit train`.

mod hyper;
mod split;
mod watch;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use twinbit::{Collection, Model, Outcome, PictureArray, Precision, Scores};

use crate::commands::pictures::features;
use crate::curves;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::output::count;
use crate::replace::replace;
use crate::session::Session;
pub use hyper::Hyper;
use split::SplitArguments;
pub use split::read_labels;
use watch::scores_line;
pub use watch::{Trouble, Watch};

/// What an interrupt leaves.
const MODEL_KEPT: &str = "the collection keeps the model it had";

/// Arguments of `train`.
#[derive(Args)]
#[command(after_help = "Examples:
  On what the collection holds:
    twinbit train photos.db --epochs 20
  On arrays, with a test on held-out rows:
    twinbit train features.db --image image.npy --text tags.npz:tags --label labels.npy --test 2000 \\
      --alpha 0.7 --layers 3 2 --save model.safetensors
  A long run that may be broken off; the same line goes on where it was:
    twinbit train photos.db --preset paper --checkpoint run.ckpt --resume")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// Image features to train on instead of what the collection holds; or raw pictures for its encoder, as `ingest`
    /// takes them
    #[arg(long, value_name = "X.npy", requires = "text")]
    image: Option<PathBuf>,
    /// Text features, row by row the partners of the image features
    #[arg(long, value_name = "Y.npy", requires = "image")]
    text: Option<PathBuf>,
    /// Writes the model to this file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Draws loss and validation scores by epoch
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Writes weights, optimizer and memory bank to this file after every epoch
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Goes on from the checkpoint when there is one; give the same pairs and settings
    #[arg(long, requires = "checkpoint")]
    resume: bool,
    /// Pairs held out to choose the epoch by when there are no labels; 0 keeps the last epoch
    /// [default: a tenth, at most 2000, of 4000 pairs or more]
    #[arg(long, value_name = "N", conflicts_with = "label")]
    held_out: Option<usize>,
    /// What a card rounds the factors of its matrix products to: float32 (not at all), tf32 or bf16
    #[arg(long, value_name = "NAME", default_value_t)]
    precision: Precision,
    /// Leaves the collection's model as it is
    #[arg(long)]
    no_install: bool,
    /// Labels and test rows
    #[command(flatten)]
    split: SplitArguments,
    /// Hyper-parameters
    #[command(flatten)]
    hyper: Hyper,
}

/// The last line of `train --json`.
#[derive(Serialize)]
struct Finished {
    best_epoch: u32,
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<Scores>,
    installed: bool,
    device: String,
}

/// Trains a model and installs it.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    curves::check_name(arguments.plot.as_deref())?;
    folder_exists("--save", arguments.save.as_deref())?;
    let checkpoint = arguments.checkpoint.as_deref();
    check_checkpoint(checkpoint, arguments.resume)?;
    let database = session.open(&arguments.db)?;
    let collection = session.collection(&database)?;
    let config = arguments.hyper.config(collection.schema()?.bits())?;
    if !arguments.no_install {
        collection.check_installable()?;
    }
    interrupt::listen();
    let trouble = Trouble::default();
    let watch = Watch::new(session, config.epochs, &trouble);
    let mut trainer = collection.trainer().config(config).precision(arguments.precision).observer(watch);
    if let Some(pairs) = arguments.held_out {
        trainer = trainer.held_out(pairs);
    }
    if let Some(path) = checkpoint {
        trainer = trainer.checkpoint(path);
    }
    if arguments.resume {
        trainer = trainer.resume();
    }
    let (outcome, test) = match (&arguments.image, &arguments.text) {
        (Some(image), Some(text)) => {
            let encoded = |pictures: &PictureArray| {
                let made = features(pictures, session, |watch| collection.picture_features(pictures, watch));
                made.map_err(|error| match error {
                    twinbit::Error::Canceled => Failure::new("interrupted before training began"),
                    other => other.into(),
                })
            };
            let pairs = arguments.split.open(image, text, encoded)?.device_of(&session.builder())?;
            let trainer = match pairs.label_matrix() {
                Some(labels) => trainer.labels(labels.of(&pairs.split().training)?),
                None => trainer,
            };
            let outcome = finished(trainer.fit_source(&pairs.training()?), &trouble, checkpoint, MODEL_KEPT)?;
            let spinner = session.progress.spinner("testing");
            let test = pairs.scores(&outcome.model);
            spinner.finish_and_clear();
            (outcome, test?)
        }
        _ => {
            let snapshot = collection.snapshot()?;
            let trainer = match arguments.split.stored_labels(snapshot.pair_ids()?.len())? {
                Some(labels) => trainer.labels(labels.all()?),
                None => trainer,
            };
            (finished(trainer.fit(&snapshot), &trouble, checkpoint, MODEL_KEPT)?, None)
        }
    };
    if let Some(scores) = &test {
        session.output.say(scores_line("Test", scores))?;
    }
    // Whatever of these fails, the others are done: a trained model is not lost for a full disk.
    let saved = arguments.save.as_deref().map_or(Ok(()), |path| save(path, &outcome.model, session));
    let installed = match arguments.no_install {
        true => Ok(()),
        false => install(&collection, &outcome.model, session),
    };
    let plotted = match (&arguments.plot, outcome.model.training()) {
        (Some(path), Some(training)) => curves::write_training(path, training),
        _ => Ok(()),
    };
    installed.and(saved).and(plotted)?;
    report(&outcome, test, !arguments.no_install, session)
}

/// Writes the model whole or not at all: an older one of that name stays until then.
pub fn save(path: &Path, model: &Model, session: &Session) -> Result {
    replace(path, &model.to_bytes()).map_err(|error| Failure::file(path, "write the model", &error))?;
    session.output.say(format!("model written to {}", path.display()))
}

/// Refuses a checkpoint that would be overwritten, or that there is no folder for.
pub fn check_checkpoint(file: Option<&Path>, resumes: bool) -> Result {
    folder_exists("--checkpoint", file)?;
    match file.filter(|path| !resumes && path.exists()) {
        Some(path) => Err(Failure::new(format!(
            "--checkpoint: {} exists already; add --resume to go on from it, or name another file",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// Refuses a file to be written where there is no folder for it, before training and not after.
pub fn folder_exists(option: &str, file: Option<&Path>) -> Result {
    match file.and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        Some(folder) => {
            Err(Failure::new(format!("{option}: there is no folder {}; make it first", folder.display())))
        }
        None => Ok(()),
    }
}

/// What was trained, or why it was not; `kept` says what an interrupt leaves as it was.
pub fn finished<T>(
    outcome: twinbit::Result<T>,
    trouble: &Trouble,
    checkpoint: Option<&Path>,
    kept: &str,
) -> Result<T> {
    match (outcome, trouble.take()) {
        (Ok(outcome), _) => Ok(outcome),
        (Err(_), Some(failure)) => Err(failure),
        // Another error may come after Ctrl-C, of the checkpoint for one: then it is told.
        (Err(twinbit::Error::Canceled), None) if interrupt::requested() => {
            Err(Failure::new(match checkpoint {
                Some(path) => format!(
                    "training was interrupted; {kept}; go on with --checkpoint {} --resume",
                    path.display()
                ),
                None => format!("training was interrupted; {kept}"),
            }))
        }
        (Err(error), None) => Err(error.into()),
    }
}

/// Installs a model under a bar.
pub fn install(collection: &Collection, model: &Model, session: &Session) -> Result {
    let bar = session.progress.bar("installing", 0);
    let installed = collection.install_with(model, |done, all| -> ControlFlow<()> {
        bar.set_length(all);
        bar.set_position(done);
        interrupt::flow()
    });
    bar.finish_and_clear();
    match installed {
        Err(twinbit::Error::Canceled) if interrupt::requested() => {
            Err(Failure::new("installing was interrupted; the collection keeps the model it had"))
        }
        other => Ok(other?),
    }
}

fn report(outcome: &Outcome, test: Option<Scores>, installed: bool, session: &Session) -> Result {
    let model = outcome.model.id().to_string();
    if session.output.is_json() {
        let (best_epoch, device) = (outcome.best_epoch, session.trained_on(outcome.machine));
        return session.output.object(&Finished { best_epoch, model, test, installed, device });
    }
    let place = if installed { "installed" } else { "not installed" };
    session.output.say(format!(
        "trained on {} pairs by {}; model {model} of epoch {} {place}",
        count(outcome.training_pairs as u64),
        outcome.machine,
        outcome.best_epoch
    ))
}
