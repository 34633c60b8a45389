//! The table of an experiment, as Markdown and as CSV.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use twinbit::{Scores, TrainingMachine};

use super::file::Experiment;
use super::published::{Published, published};
use crate::failure::{Failure, Result};
use crate::replace::replace;

/// First lines, by which tables of ours are known: nothing else is ever replaced.
const MARKDOWN_MARK: &str = "<!-- written by twinbit experiment -->";
const CSV_HEAD: &str = "data,method,source,task,bits,runs,map,deviation";

/// One run and its scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Name of the method.
    pub method: String,
    /// Bits of a code.
    pub bits: usize,
    /// Seed.
    pub seed: u64,
    /// The epoch kept, counted from 1.
    pub best_epoch: u32,
    /// Wall time of training and test.
    pub seconds: f64,
    /// MAP over all ranks.
    pub test: Scores,
    /// What computed the training; unknown of runs of programs that did not write it down.
    pub machine: Option<TrainingMachine>,
}

impl Trial {
    /// The name of the machine in files: `processor`, or `card-` and the precision; empty where it is unknown.
    pub fn machine_name(&self) -> String {
        self.machine.map_or_else(String::new, String::from)
    }
}

/// The runs so far, and where their tables go.
pub struct Table {
    data: String,
    bits: Vec<usize>,
    methods: Vec<String>,
    published: Vec<Published>,
    trials: Vec<Trial>,
    markdown: PathBuf,
    csv: PathBuf,
}

/// The mean of some runs at one place of the table.
struct Cell {
    runs: usize,
    mean: f64,
    /// Sample standard deviation; 0 of a single run.
    deviation: f64,
}

impl Table {
    /// A table without runs that will be written to `out` with `.md` and `.csv` added. Files of these
    /// names that are no such tables are refused.
    pub fn new(experiment: &Experiment, out: &Path) -> Result<Self> {
        let (markdown, csv) = (named(out, ".md"), named(out, ".csv"));
        for (path, mark) in [(&markdown, MARKDOWN_MARK), (&csv, CSV_HEAD)] {
            let there = std::fs::read(path).ok();
            if there.is_some_and(|content| !content.starts_with(mark.as_bytes())) {
                let name = path.display();
                return Err(Failure::new(format!(
                    "{name} is no table of an experiment; name another by --out"
                )));
            }
        }
        Ok(Self {
            data: experiment.data_name().to_owned(),
            bits: experiment.bits().to_vec(),
            methods: experiment.methods().map(str::to_owned).collect(),
            published: published(experiment.data_name()),
            trials: Vec::new(),
            markdown,
            csv,
        })
    }

    /// The Markdown file.
    pub fn markdown(&self) -> &Path {
        &self.markdown
    }

    /// The CSV file.
    pub fn csv(&self) -> &Path {
        &self.csv
    }

    /// Adds a run.
    pub fn add(&mut self, trial: Trial) {
        self.trials.push(trial);
    }

    /// Writes both files anew, each whole or not at all.
    pub fn write(&self) -> Result {
        for (path, text) in [(&self.markdown, self.to_markdown()), (&self.csv, self.to_csv())] {
            replace(path, text.as_bytes()).map_err(|error| Failure::file(path, "write the table", &error))?;
        }
        Ok(())
    }

    fn cell(&self, method: &str, from_image: bool, bits: usize) -> Option<Cell> {
        let of = |trial: &&Trial| trial.method == method && trial.bits == bits;
        let score = |trial: &Trial| match from_image {
            true => trial.test.image_to_text,
            false => trial.test.text_to_image,
        };
        let scores: Vec<f64> = self.trials.iter().filter(of).map(score).collect();
        let runs = scores.len();
        let mean = scores.iter().sum::<f64>() / runs as f64;
        let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
        let deviation = if runs > 1 { (squares / (runs - 1) as f64).sqrt() } else { 0.0 };
        (runs > 0).then_some(Cell { runs, mean, deviation })
    }

    /// Names of the published methods, in their order.
    fn published_methods(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for row in &self.published {
            if !names.contains(&row.method.as_str()) {
                names.push(&row.method);
            }
        }
        names
    }

    fn published_map(&self, method: &str, from_image: bool, bits: usize) -> Option<f64> {
        let of = |row: &&Published| row.method == method && row.from_image == from_image && row.bits == bits;
        self.published.iter().find(of).map(|row| row.map)
    }

    /// Both directions at every code length: the columns.
    fn columns(&self) -> impl Iterator<Item = (bool, usize)> {
        [true, false].into_iter().flat_map(|from_image| self.bits.iter().map(move |&bits| (from_image, bits)))
    }

    fn to_markdown(&self) -> String {
        let mut text = format!("{MARKDOWN_MARK}\n");
        let mut line = |content: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{content}");
        };
        let data = if self.data.is_empty() {
            "MAP over all ranks".to_owned()
        } else {
            format!("{}, MAP over all ranks", self.data)
        };
        line(format_args!("# {data}\n"));
        let head: Vec<String> = self
            .columns()
            .map(|(from_image, bits)| {
                format!("{} {bits}", if from_image { "image to text," } else { "text to image," })
            })
            .collect();
        line(format_args!("| method | {} |", head.join(" | ")));
        line(format_args!("|---|{}", "---|".repeat(head.len())));
        let mut row = |name: &str, cell: &dyn Fn(bool, usize) -> String| {
            let cells: Vec<String> =
                self.columns().map(|(from_image, bits)| cell(from_image, bits)).collect();
            line(format_args!("| {} | {} |", name.replace('|', "\\|"), cells.join(" | ")));
        };
        for method in &self.methods {
            row(method, &|from_image, bits| match self.cell(method, from_image, bits) {
                Some(Cell { runs: 1, mean, .. }) => format!("{mean:.4}"),
                Some(Cell { mean, deviation, .. }) => format!("{mean:.4} ± {deviation:.4}"),
                None => String::new(),
            });
        }
        for method in self.published_methods() {
            row(&format!("*{method}, as published*"), &|from_image, bits| {
                self.published_map(method, from_image, bits)
                    .map_or_else(String::new, |map| format!("*{map:.3}*"))
            });
        }
        line(format_args!(
            "\nMeasured: mean and standard deviation over the seeds; equal distances in row order."
        ));
        if !self.published.is_empty() {
            line(format_args!(
                "Published: the numbers of the paper, which are for its own features and split of this data set."
            ));
        }
        line(format_args!(
            "\n| method | bits | seed | epoch kept | seconds | machine |\n|---|---|---|---|---|---|"
        ));
        for trial in &self.trials {
            let Trial { method, bits, seed, best_epoch, seconds, .. } = trial;
            line(format_args!(
                "| {} | {bits} | {seed} | {best_epoch} | {seconds:.0} | {} |",
                method.replace('|', "\\|"),
                trial.machine_name()
            ));
        }
        text
    }

    fn to_csv(&self) -> String {
        let mut text = format!("{CSV_HEAD}\n");
        let mut line = |method: &str, source: &str, from_image: bool, bits: usize, rest: String| {
            let task = if from_image { "image_to_text" } else { "text_to_image" };
            let (data, method) = (quoted(&self.data), quoted(method));
            let _ = writeln!(text, "{data},{method},{source},{task},{bits},{rest}");
        };
        for method in &self.methods {
            for (from_image, bits) in self.columns() {
                if let Some(Cell { runs, mean, deviation }) = self.cell(method, from_image, bits) {
                    line(method, "measured", from_image, bits, format!("{runs},{mean},{deviation}"));
                }
            }
        }
        for row in self.published.iter().filter(|row| self.bits.contains(&row.bits)) {
            line(&row.method, "published", row.from_image, row.bits, format!(",{},", row.map));
        }
        text
    }
}

/// A file of an experiment: the name that all of its files begin with, and its own end.
pub fn named(out: &Path, end: &str) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// A cell of a CSV file.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
