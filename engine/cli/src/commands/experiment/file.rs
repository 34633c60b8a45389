//! The file that says what an experiment runs.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use twinbit::{
    Array, ArrayPairs, CodeBits, ImageArray, ImageEncoding, LabelMatrix, PairSource, PictureArray,
    PublishedData, Split, SplitPairs, TrainConfig,
};

use super::beside;
use super::runs::state_of;
use crate::commands::pictures::features;
use crate::commands::train::Hyper;
use crate::failure::{Failure, Result};
use crate::session::Session;

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
    folder: Option<PathBuf>,
    image: Option<PathBuf>,
    #[serde(rename = "image-encoder")]
    image_encoder: Option<String>,
    text: Option<PathBuf>,
    label: Option<PathBuf>,
    test: Option<usize>,
    split: Option<PathBuf>,
}

/// Where the pairs come from.
enum Source<'a> {
    /// The authors' files.
    Published(&'static PublishedData, &'a Path),
    /// Arrays: images, texts and labels, and which rows are queries.
    Arrays([&'a Path; 3], Queries<'a>),
}

/// Which rows are queries.
enum Queries<'a> {
    /// So many, the last ones.
    Last(usize),
    /// A file says it.
    File(&'a Path),
}

impl Data {
    /// What the table means, or what is wrong with it.
    fn source(&self) -> std::result::Result<Source<'_>, String> {
        let Self { name, folder, image, text, label, test, split, .. } = self;
        if let Some(folder) = folder {
            if image.is_some() || text.is_some() || label.is_some() || test.is_some() || split.is_some() {
                return Err(
                    "[data] names a folder of published files, so image, text, label, test and split \
                            follow from it; leave them out"
                        .to_owned(),
                );
            }
            let data = PublishedData::named(name).ok_or_else(|| {
                let known: Vec<&str> = PublishedData::all().iter().map(PublishedData::name).collect();
                format!(
                    "[data] names a folder, but {name:?} is none of the published sets: {}",
                    known.join(", ")
                )
            })?;
            return Ok(Source::Published(data, folder));
        }
        let (Some(image), Some(text), Some(label)) = (image, text, label) else {
            return Err("[data] needs image, text and label, or the folder of a published set".to_owned());
        };
        let queries = match (test, split) {
            (Some(count), None) => Queries::Last(*count),
            (None, Some(file)) => Queries::File(file),
            _ => {
                return Err(
                    "[data] needs either test, a number of rows, or split, a file, to test with".to_owned()
                );
            }
        };
        Ok(Source::Arrays([image, text, label], queries))
    }
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
        if let Err(what) = experiment.data.source() {
            return refuse(&what);
        }
        if let Some(bits) = twice(&experiment.run.bits) {
            return refuse(&format!("[run] names {bits} bits twice; name each code length once"));
        }
        if let Some(seed) = twice(&experiment.run.seeds) {
            return refuse(&format!("[run] names seed {seed} twice; the same seed gives the same run"));
        }
        let names: Vec<&str> = experiment.methods().collect();
        if twice(&names).is_some() {
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

    /// Opens the arrays, and makes features of raw pictures; returns with the pairs what tells these data apart
    /// from others.
    pub fn pairs(&self, file: &Path, session: &Session) -> Result<(SplitPairs, String)> {
        let encoder = self.data.image_encoder.as_deref().map(|name| encoding(file, name));
        let pairs =
            match self.data.source().map_err(|what| Failure::new(format!("{}: {what}", file.display())))? {
                Source::Published(data, folder) => {
                    let folder = beside(file, folder);
                    let mut features = String::new();
                    let pairs = match &encoder {
                        None => data.open(&folder)?,
                        Some(encoder) => data
                            .open_pictures(&folder, |pictures| {
                                let array = encoded(pictures, encoder, session)?;
                                features = array.name().to_owned();
                                Ok(array)
                            })
                            .map_err(told)?,
                    };
                    let files = data.files(&folder);
                    let state = state_of(files.iter().map(PathBuf::as_path))?;
                    (pairs, format!("{state}{}{features}", data.name()))
                }
                Source::Arrays(arrays, queries) => open(file, arrays, &queries, encoder.as_ref(), session)?,
            };
        Ok(pairs)
    }

    /// Every run: the method's name, and its settings.
    pub fn trials(&self) -> Result<Vec<(String, TrainConfig)>> {
        let mut trials = Vec::new();
        for method in &self.method {
            for &bits in &self.run.bits {
                for &seed in &self.run.seeds {
                    let bits = CodeBits::new(bits).map_err(twinbit::Error::from)?;
                    let mut config = TrainConfig { bits, seed, ..TrainConfig::default() };
                    self.settings.change(&Hyper::default(), &mut config);
                    method.settings.change(&self.settings, &mut config);
                    config.validate().map_err(twinbit::Error::from)?;
                    trials.push((method.name.clone(), config));
                }
            }
        }
        Ok(trials)
    }
}

/// The encoder that a file names: one that comes with the program, or a folder.
fn encoding(file: &Path, name: &str) -> ImageEncoding {
    name.parse().unwrap_or_else(|_| ImageEncoding::Folder(beside(file, Path::new(name))))
}

fn encoded(pictures: &PictureArray, encoder: &ImageEncoding, session: &Session) -> twinbit::Result<Array> {
    features(pictures, session, |watch| pictures.features(encoder, watch))
}

fn told(error: twinbit::Error) -> Failure {
    match error {
        twinbit::Error::Canceled => Failure::new("the experiment was interrupted before its first run"),
        other => other.into(),
    }
}

/// Opens arrays that a file names.
fn open(
    file: &Path,
    arrays: [&Path; 3],
    queries: &Queries<'_>,
    encoder: Option<&ImageEncoding>,
    session: &Session,
) -> Result<(SplitPairs, String)> {
    let open = |path: &Path| Array::open(beside(file, path));
    let [image, text, label] = arrays;
    let (image, text, label) = (ImageArray::open(beside(file, image))?, open(text)?, open(label)?);
    let labels = LabelMatrix::new(&label)?;
    let (split, test) = match queries {
        Queries::File(path) => (Some(open(path)?), None),
        Queries::Last(count) => (None, Some(*count)),
    };
    let others = [&text, &label].into_iter().chain(&split).map(Array::path);
    let files = [image.path()].into_iter().chain(others);
    let mut state = format!("{}{arrays:?} {test:?}", state_of(files)?);
    let divided = |rows: usize| -> Result<Split> {
        let split = match &split {
            Some(split) => Split::from_array(split, rows)?,
            None => Split::last(rows, test.unwrap_or(0))?,
        };
        match split.queries.is_empty() {
            true => Err(Failure::new(format!("{}: the split names no queries to test with", file.display()))),
            false => Ok(split),
        }
    };
    let image = match (image, encoder) {
        (ImageArray::Features(array), None) => array,
        (ImageArray::Features(array), Some(_)) => {
            return Err(Failure::new(format!(
                "{}: {} holds features already; leave image-encoder out",
                file.display(),
                array.name()
            )));
        }
        (ImageArray::Pictures(pictures), None) => {
            return Err(Failure::new(format!(
                "{}: {} holds raw pictures; say by image-encoder what makes features of them",
                file.display(),
                pictures.name()
            )));
        }
        (ImageArray::Pictures(pictures), Some(encoder)) => {
            pictures.check_partner(&text)?;
            // It takes long: what else is wrong is told before.
            divided(pictures.rows())?;
            pictures.check_partner(&label)?;
            let array = encoded(&pictures, encoder, session).map_err(told)?;
            state.push_str(array.name());
            array
        }
    };
    let pairs = ArrayPairs::new(image, text)?;
    let split = divided(pairs.pairs())?;
    Ok((SplitPairs::new(pairs, split)?.labels(labels)?, state))
}

/// The first value that is there before.
fn twice<T: PartialEq>(values: &[T]) -> Option<&T> {
    values.iter().enumerate().find(|(at, value)| values[..*at].contains(value)).map(|(_, value)| value)
}
