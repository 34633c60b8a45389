//! The file that says what an experiment runs.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use twinbit::{Array, ArrayPairs, CodeBits, LabelMatrix, PairSource, Split, SplitPairs, TrainConfig};

use super::beside;
use crate::commands::train::Hyper;
use crate::failure::{Failure, Result};

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    data: Data,
    run: Runs,
    #[serde(default)]
    settings: Hyper,
    #[serde(default)]
    method: Vec<Method>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    #[serde(default)]
    name: String,
    image: PathBuf,
    text: PathBuf,
    label: PathBuf,
    test: Option<usize>,
    split: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Runs {
    bits: Vec<usize>,
    seeds: Vec<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Method {
    name: String,
    #[serde(default)]
    settings: Hyper,
}

impl Experiment {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::file(path, "read the experiment", &error))?;
        let mut experiment: Self = toml::from_str(&text)
            .map_err(|error| Failure::new(format!("{}: {}", path.display(), error.to_string().trim_end())))?;
        if experiment.method.is_empty() {
            experiment.method.push(Method { name: "UCCH".to_owned(), settings: Hyper::default() });
        }
        let refuse = |what: &str| Err(Failure::new(format!("{}: {what}", path.display())));
        if experiment.run.bits.is_empty() || experiment.run.seeds.is_empty() {
            return refuse("[run] names no bits or no seeds; give at least one of each");
        }
        if experiment.data.test.is_some() == experiment.data.split.is_some() {
            return refuse("[data] needs either test, a number of rows, or split, a file, to test with");
        }
        let names: Vec<&str> = experiment.methods().collect();
        if (1..names.len()).any(|at| names[..at].contains(&names[at])) {
            return refuse("two methods have the same name; the table could not tell them apart");
        }
        // Settings out of range are told before the first run.
        experiment.trials()?;
        Ok(experiment)
    }

    /// Name of the data set; may be empty.
    pub fn data_name(&self) -> &str {
        &self.data.name
    }

    /// Code lengths, in the order of the table.
    pub fn bits(&self) -> &[usize] {
        &self.run.bits
    }

    /// Names of the methods, in the order of the table.
    pub fn methods(&self) -> impl Iterator<Item = &str> {
        self.method.iter().map(|method| method.name.as_str())
    }

    /// Opens the arrays.
    pub fn pairs(&self, file: &Path) -> Result<SplitPairs> {
        let open = |path: &Path| Array::open(beside(file, path));
        let pairs = ArrayPairs::new(open(&self.data.image)?, open(&self.data.text)?)?;
        let split = match (&self.data.split, self.data.test) {
            (Some(path), _) => Split::from_array(&open(path)?, pairs.pairs())?,
            (None, test) => Split::last(pairs.pairs(), test.unwrap_or(0))?,
        };
        if split.queries.is_empty() {
            return Err(Failure::new(format!("{}: the split names no queries to test with", file.display())));
        }
        Ok(SplitPairs::new(pairs, split)?.labels(LabelMatrix::new(&open(&self.data.label)?)?)?)
    }

    /// Every run: the method's name, and its settings.
    pub fn trials(&self) -> Result<Vec<(String, TrainConfig)>> {
        let mut trials = Vec::new();
        for method in &self.method {
            for &bits in &self.run.bits {
                for &seed in &self.run.seeds {
                    let bits = CodeBits::new(bits).map_err(twinbit::Error::from)?;
                    let mut config = TrainConfig { bits, seed, ..TrainConfig::default() };
                    self.settings.change(&mut config);
                    method.settings.change(&mut config);
                    config.validate().map_err(twinbit::Error::from)?;
                    trials.push((method.name.clone(), config));
                }
            }
        }
        Ok(trials)
    }
}
