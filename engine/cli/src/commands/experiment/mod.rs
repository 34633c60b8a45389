//! `twinbit experiment`: a table of scores, as papers print them.

mod file;
mod published;
mod runs;
mod table;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use twinbit::{Observer, Precision, Scores, SplitPairs, TrainConfig, TrainingMachine};

use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::session::Session;
use file::Experiment;
use runs::{Machines, Runs};
use table::{Table, Trial};

/// Arguments of `experiment`.
#[derive(Args)]
#[command(after_help = "Example:
  twinbit experiment mirflickr.toml

The file, with paths relative to it:
  [data]
  name = \"MIRFLICKR-25K\"        # chooses the published numbers that stand beside
  image = \"image.npy\"
  text = \"tags.npz:tags\"
  label = \"labels.npy\"
  test = 2000                   # the last rows are queries; or split = \"split.npy\"

  # or the authors' files (see `twinbit data check`), divided as published:
  # name = \"MIRFLICKR-25K\"
  # folder = \"MIRFLICKR25K\"

  # with either, where the images are raw pictures (uint8; mirflickr25k-iall.mat of a published set),
  # what makes features of them, once, before the first run:
  # image-encoder = \"efficientnet-lite0\"   # or a folder, such as \"models/vgg19\"

  [run]
  bits = [16, 32, 64, 128]
  seeds = [1, 2, 3]

  [settings]                    # options of train, for every method
  epochs = 20

  [[method]]
  name = \"UCCH\"

  [[method]]
  name = \"only L_r\"
  settings = { alpha = 0.0 }

It writes mirflickr.md, mirflickr.csv and, run by run, mirflickr.runs.csv, anew after every run, so
that breaking off loses one run at most; the same line with --resume goes on with the others. A run is
kept only if the --device and --precision given could have made it: a card trains other models than the
processor. By default (--device auto) either may; a file from before runs named their machine is kept
then, too.")]
pub struct Arguments {
    /// What to run
    #[arg(value_name = "FILE.toml")]
    file: PathBuf,
    /// Name of the tables without its end, instead of the file's
    #[arg(long, value_name = "NAME")]
    out: Option<PathBuf>,
    /// Keeps the runs that are there already: those of the same settings and machine, on the same unchanged files
    #[arg(long)]
    resume: bool,
    /// What a card rounds the factors of its matrix products to: float32 (not at all), tf32 or bf16
    #[arg(long, value_name = "NAME", default_value_t)]
    precision: Precision,
}

/// One line of `experiment --json`.
#[derive(Serialize)]
struct Finished<'a> {
    method: &'a str,
    bits: usize,
    seed: u64,
    best_epoch: u32,
    seconds: f64,
    test: Scores,
    machine: Option<TrainingMachine>,
}

/// Trains and tests every method at every code length with every seed.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let experiment = Experiment::read(&arguments.file)?;
    let out = arguments.out.clone().unwrap_or_else(|| arguments.file.with_extension(""));
    let mut table = Table::new(&experiment, &out)?;
    // Fails when a pool is there already, which nothing before this starts.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(session.threads()).build_global();
    interrupt::listen();
    let (pairs, data) = experiment.pairs(&arguments.file, session)?;
    let pairs = pairs.device_of(&session.builder())?.precision(arguments.precision);
    let machines = Machines { device: session.device(), precision: arguments.precision };
    let resumed = arguments.resume.then_some(machines);
    let mut runs = Runs::open(table::named(&out, ".runs.csv"), data, resumed)?;
    let trials = experiment.trials()?;
    let bar = session.progress.bar("experiment", trials.len() as u64);
    for (method, config) in trials {
        let trial = match runs.find(&method, &config)? {
            Some(trial) => trial,
            None => {
                let trial = run_one(&pairs, &method, config.clone())?;
                runs.add(&trial, &config)?;
                trial
            }
        };
        bar.inc(1);
        bar.suspend(|| print(&trial, session))?;
        table.add(trial);
        table.write()?;
    }
    bar.finish_and_clear();
    session.output.say(format!(
        "tables written to {} and {}",
        table.markdown().display(),
        table.csv().display()
    ))
}

fn run_one(pairs: &SplitPairs, method: &str, config: TrainConfig) -> Result<Trial> {
    let begin = Instant::now();
    let (bits, seed) = (config.bits.bits(), config.seed);
    let outcome = match pairs.train(config, &mut Interruptible) {
        Err(twinbit::Error::Canceled) => {
            let told = "the experiment was interrupted; the tables hold the runs before, --resume goes on with the others";
            return Err(Failure::new(told));
        }
        other => other?,
    };
    // Experiment::pairs() refuses data without labels or without queries.
    let test = pairs.scores(&outcome.model)?.ok_or_else(|| Failure::new("there is nothing to test with"))?;
    let (best_epoch, seconds) = (outcome.best_epoch, begin.elapsed().as_secs_f64());
    let machine = Some(outcome.machine);
    Ok(Trial { method: method.to_owned(), bits, seed, best_epoch, seconds, test, machine })
}

fn print(trial: &Trial, session: &Session) -> Result {
    let Trial { ref method, bits, seed, best_epoch, seconds, test, machine } = *trial;
    if session.output.is_json() {
        return session.output.object(&Finished { method, bits, seed, best_epoch, seconds, test, machine });
    }
    session.output.say(format!(
        "{method}, {bits} bits, seed {seed}: Img2Txt: {:.4} Txt2Img: {:.4} (epoch {best_epoch}, {seconds:.0} s)",
        test.image_to_text, test.text_to_image
    ))
}

/// Stops training on Ctrl-C.
struct Interruptible;

impl Observer for Interruptible {
    fn on_step(&mut self, _step: usize, _steps: usize, _loss: f64) -> std::ops::ControlFlow<()> {
        interrupt::flow()
    }
}

/// A path as the file means it: relative to the file's own folder.
fn beside(file: &Path, path: &Path) -> PathBuf {
    file.parent().map_or_else(|| path.to_path_buf(), |folder| folder.join(path))
}
