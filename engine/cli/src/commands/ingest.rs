//! `twinbit ingest`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use twinbit::{
    Array, ArraySource, CodeSource, Collection, ImageArray, Ingest, IngestObserver, IngestOutcome,
    IngestProgress, IngestReport, Modality, OnError,
};

use crate::commands::sources::{PairFiles, WhenWrong};
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::output::count;
use crate::session::Session;

/// Arguments of `ingest`.
#[derive(Args)]
#[command(after_help = "Examples:
  A folder of pictures with same-named .txt files, each line a caption:
    twinbit ingest photos.db my-photos
  A list with the columns id, image, text and fields, as JSON Lines, CSV or TSV:
    twinbit ingest photos.db pairs.jsonl
  A table whose columns are called otherwise:
    twinbit ingest photos.db captions.csv --column image=file --column text=caption
  WebDataset shards:
    twinbit ingest photos.db 'images-{00..12}.tar'
  Parquet files of img2dataset, LAION or Hugging Face:
    twinbit ingest photos.db 'data/*.parquet'
  COCO captions:
    twinbit ingest photos.db annotations/captions_val2017.json --images val2017
  What clip-retrieval wrote:
    twinbit ingest features.db embeddings-folder
  Features in arrays:
    twinbit ingest features.db --image image.npy --text tags.npz:tags --ids ids.txt --fields meta.jsonl
  Raw pictures in an array:
    twinbit ingest photos.db --image mirflickr25k-iall.mat:IAll --text mirflickr25k-yall.mat:YAll
  Ready-made codes:
    twinbit ingest codes.db --codes image=image-codes.npy --codes text=text-codes.npy")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// Folders, lists (.jsonl, .csv, .tsv), WebDataset shards (.tar), Parquet files or COCO captions
    /// (.json); {00..12}, {a,b} and * stand for many
    #[arg(value_name = "SOURCE", required_unless_present_any = ["image", "text", "codes"])]
    sources: Vec<PathBuf>,
    /// What the sources are.
    #[command(flatten)]
    files: PairFiles,
    /// Image features: rows of float16, float32 or uint8, in a .npy, .npz, .safetensors or MATLAB .mat file;
    /// FILE:KEY names an array of several. Or raw pictures, which the collection's encoder makes features of:
    /// uint8 of four dimensions, (pictures, height, width, 3), in MATLAB 7.3 files (height, width, 3, pictures)
    #[arg(long, value_name = "X.npy", conflicts_with_all = ["sources", "codes"])]
    image: Option<PathBuf>,
    /// Text features, row by row the partners of the image features
    #[arg(long, value_name = "Y.npy", conflicts_with_all = ["sources", "codes"])]
    text: Option<PathBuf>,
    /// Ready-made codes, uint8 rows in the order of numpy.packbits; once for each modality
    #[arg(long, value_name = "image|text=C.npy", conflicts_with = "sources")]
    codes: Vec<String>,
    /// Ids of the rows of arrays, one a line
    #[arg(long, value_name = "IDS.txt", conflicts_with = "sources")]
    ids: Option<PathBuf>,
    /// Fields of the rows of arrays, one JSON object a line
    #[arg(long, value_name = "META.jsonl", conflicts_with = "sources")]
    fields: Option<PathBuf>,
    /// Records that are read and encoded at once
    #[arg(long, value_name = "N", default_value_t = 256)]
    batch: usize,
    /// Makes what was taken in durable at least every so many records, for runs that may be cut short;
    /// where ids are automatic, a run is one piece
    #[arg(long, value_name = "N", default_value_t = 250_000)]
    commit_every: usize,
    /// What to do with a record that cannot be taken in; skipped ones are listed in a file
    #[arg(long, value_enum, default_value_t = WhenWrong::Stop)]
    on_error: WhenWrong,
    /// Where skipped records are listed with the reason
    #[arg(long, value_name = "FILE", default_value = "skipped.jsonl")]
    skipped: PathBuf,
    /// Replaces records whose id is there already
    #[arg(long)]
    upsert: bool,
    /// Reads from the start even when an earlier run got further
    #[arg(long)]
    from_start: bool,
}

/// Takes records in.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let database = session.open(&arguments.db)?;
    let collection = session.collection(&database)?;
    let mut watches = Vec::new();
    let runs = runs(arguments, &collection)?;
    let several = runs.len() > 1;
    watches.extend(runs.iter().map(|_| Watch { bar: ProgressBar::hidden(), known: false }));
    // The sources of one command share the list of what was skipped.
    let mut append = false;
    interrupt::listen();
    for ((name, run), watch) in runs.into_iter().zip(&mut watches) {
        let bar = session.progress.counter("ingesting");
        watch.bar = bar.clone();
        let run = run
            .batch(arguments.batch)
            .upsert(arguments.upsert)
            .from_start(arguments.from_start)
            .commit_rows(arguments.commit_every);
        let run = match arguments.on_error {
            WhenWrong::Stop => run.on_error(OnError::Stop),
            WhenWrong::Skip => {
                run.on_error(OnError::Skip).skipped_file(&arguments.skipped).append_skipped(append)
            }
        };
        let report = run.observer(watch).run();
        bar.finish_and_clear();
        let report = report?;
        // Also where this list began with an earlier command, which was interrupted.
        append |= report.skipped > 0
            || report.resumed_from.is_some()
            || report.outcome == IngestOutcome::AlreadyComplete;
        tell(&report, several.then_some(name.as_str()), arguments, session)?;
    }
    Ok(())
}

/// The runs that the arguments ask for, each with its name.
fn runs<'a>(arguments: &Arguments, collection: &Collection) -> Result<Vec<(String, Ingest<'a>)>> {
    if !arguments.codes.is_empty() {
        let mut source = CodeSource::new();
        let mut given = [false; 2];
        for codes in &arguments.codes {
            let (modality, path) = named_array(codes)?;
            if std::mem::replace(&mut given[modality.index()], true) {
                return Err(Failure::usage(format!(
                    "--codes {modality}=… is given twice; a modality has one array"
                )));
            }
            source = source.codes(modality, Array::open(path)?);
        }
        if let Some(path) = &arguments.ids {
            source = source.ids(path);
        }
        if let Some(path) = &arguments.fields {
            source = source.fields(path);
        }
        return Ok(vec![("codes".to_owned(), collection.ingest(source))]);
    }
    if arguments.sources.is_empty() {
        let mut source = ArraySource::new();
        if let Some(path) = &arguments.image {
            source = match ImageArray::open(path)? {
                ImageArray::Features(array) => source.image(array),
                ImageArray::Pictures(pictures) => source.pictures(pictures),
            };
        }
        if let Some(path) = &arguments.text {
            source = source.text(Array::open(path)?);
        }
        if let Some(path) = &arguments.ids {
            source = source.ids(path);
        }
        if let Some(path) = &arguments.fields {
            source = source.fields(path);
        }
        return Ok(vec![("arrays".to_owned(), collection.ingest(source))]);
    }
    let sources = arguments.files.open(&arguments.sources)?;
    Ok(sources.into_iter().map(|(name, source)| (name, collection.ingest(source))).collect())
}

/// `image=codes.npy` in its parts.
fn named_array(text: &str) -> Result<(Modality, &Path)> {
    let parts = text.split_once('=').and_then(|(name, path)| Some((name.parse().ok()?, Path::new(path))));
    parts.ok_or_else(|| {
        Failure::usage(format!("\"{text}\": codes are given as image=FILE.npy or text=FILE.npy"))
    })
}

fn tell(report: &IngestReport, source: Option<&str>, arguments: &Arguments, session: &Session) -> Result {
    let output = session.output;
    if output.is_json() {
        output.object(report)?;
    } else if report.outcome == IngestOutcome::AlreadyComplete {
        output.say("this source was ingested to its end before; --from-start reads it again")?;
    } else {
        let source = source.map(|name| format!("{name}: ")).unwrap_or_default();
        let skipped = match report.skipped {
            0 => String::new(),
            number => format!(", {} skipped: see {}", count(number), arguments.skipped.display()),
        };
        output.say(format!(
            "{source}{} records in {:.1} s, {:.0} a second{skipped}",
            count(report.ingested),
            report.seconds,
            report.records_per_second
        ))?;
    }
    match report.outcome {
        IngestOutcome::Interrupted => Err(Failure::new(format!(
            "interrupted; {} records of this run are stored, and the same command goes on from there",
            count(report.ingested)
        ))),
        _ => Ok(()),
    }
}

/// A bar, once it is known how much there is to do.
struct Watch {
    bar: ProgressBar,
    known: bool,
}

impl IngestObserver for Watch {
    fn on_progress(&mut self, progress: &IngestProgress) -> ControlFlow<()> {
        if let (Some(total), false) = (progress.total, self.known) {
            crate::progress::make_bar(&self.bar, total);
            self.known = true;
        }
        self.bar.set_position(progress.items);
        self.bar.set_message(format!("ingesting {}", indicatif::DecimalBytes(progress.bytes)));
        interrupt::flow()
    }
}
