//! `twinbit tune`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use twinbit::{IngestObserver, IngestProgress, OnError, Tuned, Tuner};

use crate::commands::create::{Ids, text_encoding};
use crate::commands::sources::{PairFiles, WhenWrong};
use crate::commands::train::{Hyper, Trouble, Watch, check_checkpoint, finished, folder_exists};
use crate::curves;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::output::count;
use crate::session::Session;

/// Arguments of `tune`.
#[derive(Args)]
#[command(after_help = "Examples:
  A ResNet that learns from your photos, then a collection that uses it:
    twinbit tune my-photos --image-encoder models/resnet18 --out models/tuned --bits 128 --epochs 10
    twinbit create photos.db --bits 128 --image-encoder models/tuned
    twinbit model import photos.db models/tuned/hash-model.safetensors
    twinbit ingest photos.db my-photos
  A long run that may be broken off; the same line goes on where it was:
    twinbit tune my-photos --image-encoder models/resnet18 --out models/tuned --checkpoint run.ckpt --resume
  The hash networks alone, on pictures that are another part each epoch:
    twinbit tune my-photos --image-encoder models/resnet18 --out models/tuned --freeze

Pictures are trained on at 224 x 224 pixels by the processor; a batch's activations stay in memory.")]
pub struct Arguments {
    /// Folders, lists (.jsonl, .csv, .tsv), WebDataset shards (.tar), Parquet files or COCO captions
    /// (.json), as of ingest
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<PathBuf>,
    /// What the sources are.
    #[command(flatten)]
    files: PairFiles,
    /// Folder with the ResNet or VGG to begin with
    #[arg(long, value_name = "FOLDER")]
    image_encoder: PathBuf,
    /// How texts become features: ngram, bow, or a folder with MiniLM, another BERT or CLIP
    #[arg(long, value_name = "NAME|FOLDER", default_value = "ngram")]
    text_encoder: String,
    /// New folder for the tuned encoder and its hash model
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Type of the records' ids, as of the collection that will take them
    #[arg(long, value_enum, default_value_t = Ids::Auto)]
    ids: Ids,
    /// Leaves the encoder as it is and trains the hash networks alone, on augmented pictures
    #[arg(long)]
    freeze: bool,
    /// Pairs held out to choose the epoch by; 0 keeps the last epoch
    /// [default: a tenth, at most 2000, of 4000 pairs or more]
    #[arg(long, value_name = "N")]
    held_out: Option<usize>,
    /// What to do with a record that cannot be had; skipped ones are listed in a file
    #[arg(long, value_enum, default_value_t = WhenWrong::Stop)]
    on_error: WhenWrong,
    /// Where skipped records are listed with the reason
    #[arg(long, value_name = "FILE", default_value = "skipped.jsonl")]
    skipped: PathBuf,
    /// Draws loss and validation scores by epoch
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Writes encoder, networks, optimizers and memory bank to this file after every epoch
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Goes on from the checkpoint when there is one; give the same pairs and settings
    #[arg(long, requires = "checkpoint")]
    resume: bool,
    /// Hyper-parameters; the batch is 32 unless given
    #[command(flatten)]
    hyper: Hyper,
}

/// The last line of `tune --json`.
#[derive(Serialize)]
struct Finished<'a> {
    best_epoch: u32,
    model: String,
    image_encoder: &'a str,
    pairs: usize,
    skipped: u64,
    out: String,
}

/// Tunes an encoder and writes its folder.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    curves::check_name(arguments.plot.as_deref())?;
    let checkpoint = arguments.checkpoint.as_deref();
    check_checkpoint(checkpoint, arguments.resume)?;
    check_out(&arguments.out)?;
    let config = arguments.hyper.of_pictures()?;
    interrupt::listen();
    let trouble = Trouble::default();
    let bar = session.progress.counter("reading");
    let mut tuner = Tuner::new(&arguments.image_encoder)
        .text_encoder(text_encoding(&arguments.text_encoder)?)
        .ids(arguments.ids.kind())
        .threads(session.threads())
        .device(session.device())
        .observer(Watch::new(session, config.epochs, &trouble))
        .on_reading(Reading { bar: bar.clone() })
        .config(config);
    for (_, source) in arguments.files.open(&arguments.sources)? {
        tuner = tuner.source(source);
    }
    if arguments.on_error == WhenWrong::Skip {
        tuner = tuner.on_error(OnError::Skip).skipped_file(&arguments.skipped);
    }
    if arguments.freeze {
        tuner = tuner.frozen();
    }
    if let Some(pairs) = arguments.held_out {
        tuner = tuner.held_out(pairs);
    }
    if let Some(path) = checkpoint {
        tuner = tuner.checkpoint(path);
    }
    if arguments.resume {
        tuner = tuner.resume();
    }
    let tuned = tuner.run();
    bar.finish_and_clear();
    let tuned = finished(tuned, &trouble, checkpoint, "nothing was written")?;
    // Whichever of these fails, the other is done.
    let written = tuned.write(&arguments.out);
    let plotted = match (&arguments.plot, tuned.outcome.model.training()) {
        (Some(path), Some(training)) => curves::write_training(path, training),
        _ => Ok(()),
    };
    written?;
    plotted?;
    report(&tuned, arguments, session)
}

/// Refuses a folder that holds something, before training and not after.
fn check_out(folder: &Path) -> Result {
    folder_exists("--out", Some(folder))?;
    let is_free = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => !folder.exists(),
    };
    match is_free {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "--out: there is something in {} already; name a new folder",
            folder.display()
        ))),
    }
}

fn report(tuned: &Tuned, arguments: &Arguments, session: &Session) -> Result {
    let (outcome, out) = (&tuned.outcome, arguments.out.display());
    let model = outcome.model.id().to_string();
    if session.output.is_json() {
        return session.output.object(&Finished {
            best_epoch: outcome.best_epoch,
            model,
            image_encoder: &outcome.model.spec().image_featurizer,
            pairs: tuned.pairs,
            skipped: tuned.skipped,
            out: out.to_string(),
        });
    }
    if tuned.skipped > 0 {
        let skipped = arguments.skipped.display();
        session.output.say(format!("{} records skipped: see {skipped}", count(tuned.skipped)))?;
    }
    session.output.say(format!(
        "trained on {} pairs; encoder and model {model} of epoch {} written to {out}",
        count(outcome.training_pairs as u64),
        outcome.best_epoch
    ))
}

/// A bar, once it is known how much there is to read.
struct Reading {
    bar: ProgressBar,
}

impl IngestObserver for Reading {
    fn on_progress(&mut self, progress: &IngestProgress) -> ControlFlow<()> {
        if let (Some(total), None) = (progress.total, self.bar.length()) {
            crate::progress::make_bar(&self.bar, total);
        }
        self.bar.set_position(progress.items);
        self.bar.set_message(format!("reading {}", indicatif::DecimalBytes(progress.bytes)));
        interrupt::flow()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
