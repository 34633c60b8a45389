//! `twinbit eval`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use twinbit::{DirectionScores, Model, Queries, RecordId, Schema, Snapshot};

use crate::commands::model;
use crate::commands::search::features;
use crate::commands::train::read_labels;
use crate::curves;
use crate::failure::{Failure, Result};
use crate::output::Table;
use crate::session::Session;
use crate::values::{parse_filter, parse_id};

/// Cut-offs that are always measured.
const CUTOFFS: [usize; 3] = [1, 5, 10];

/// Arguments of `eval`.
#[derive(Args)]
#[command(after_help = "Examples:
  twinbit eval features.db --image query-image.npy --text query-tags.npy \\
    --label query-labels.npy --database-label database-labels.npy --ids query-ids.txt --k 50 --json
  twinbit eval photos.db --where 'split = \"test\"'
  twinbit eval photos.db --model spring.safetensors

Without arrays it measures recall on what is stored: how often a text finds its own
image among the first k, and an image one of its texts.

With arrays, recall@k appears where it is known which record a query belongs to: with
--ids, or when there are as many queries as records, which then belong together by
their order. Other scores go by the labels.")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// Image features of the queries
    #[arg(long, value_name = "X.npy", requires_all = ["text", "label", "database_label"])]
    image: Option<PathBuf>,
    /// Text features of the queries
    #[arg(long, value_name = "Y.npy", requires = "image")]
    text: Option<PathBuf>,
    /// Labels of the queries, 0 or 1
    #[arg(long, value_name = "L.npy", requires = "image")]
    label: Option<PathBuf>,
    /// Labels of the records: row i belongs to the i-th record in the order of writing
    #[arg(long, value_name = "D.npy", requires = "image")]
    database_label: Option<PathBuf>,
    /// For each query the id of the record it belongs to, one a line: adds recall@k
    #[arg(long, value_name = "IDS.txt", requires = "image")]
    ids: Option<PathBuf>,
    /// Without arrays: only the images that match take part, with their texts
    #[arg(long = "where", value_name = "EXPR", conflicts_with = "image")]
    filter: Option<String>,
    /// Measures the model in this file, too, beside the installed one: what is kept of the records is
    /// encoded by it, and nothing that is stored changes; may be given several times
    #[arg(long, value_name = "FILE", conflicts_with = "plot")]
    model: Vec<PathBuf>,
    /// Cut-off of MAP@k, precision@k and recall@k, beside 1, 5 and 10
    #[arg(long, value_name = "N", default_value_t = 50)]
    k: usize,
    /// Draws precision over recall, both ways, by ranking and by hash lookup
    #[arg(long, value_name = "FILE.svg", requires = "image")]
    plot: Option<PathBuf>,
}

/// Measures retrieval both ways.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    curves::check_name(arguments.plot.as_deref())?;
    let database = session.read(&arguments.db)?;
    let snapshot = session.collection(&database)?.snapshot()?;
    let models = models(arguments, &snapshot)?;
    let mut ks = CUTOFFS.to_vec();
    ks.push(arguments.k);
    ks.sort_unstable();
    ks.dedup();
    let spinner = session.progress.spinner("measuring");
    let Arguments {
        image: Some(image), text: Some(text), label: Some(label), database_label: Some(all), ..
    } = arguments
    else {
        let filter = parse_filter(arguments.filter.as_deref())?;
        let recalls = models.iter().map(|(_, model)| match model {
            Some(model) => snapshot.recall_with(model, filter.as_ref(), &ks),
            None => snapshot.recall(filter.as_ref(), &ks),
        });
        let recalls = recalls.collect::<twinbit::Result<Vec<_>>>();
        spinner.finish_and_clear();
        return print(session, &models, &recalls?, |recall| {
            let named = |direction: &[(usize, f64)]| {
                direction.iter().map(|(k, value)| (format!("recall@{k}"), *value)).collect()
            };
            [named(&recall.image_to_text), named(&recall.text_to_image)]
        });
    };
    let mut queries = Queries::new(features(image)?, features(text)?);
    if let Some(path) = &arguments.ids {
        queries = queries.ids(ids(path, snapshot.schema())?);
    }
    let query_labels = read_labels(label)?.all()?;
    let database_labels = read_labels(all)?.all()?;
    let evaluations = models.iter().map(|(_, model)| match model {
        Some(model) => snapshot.evaluate_with(model, &queries, &query_labels, &database_labels, &ks),
        None => snapshot.evaluate(&queries, &query_labels, &database_labels, &ks),
    });
    let evaluations = evaluations.collect::<twinbit::Result<Vec<_>>>();
    spinner.finish_and_clear();
    let evaluations = evaluations?;
    if let (Some(path), [evaluation]) = (&arguments.plot, evaluations.as_slice()) {
        curves::write_precision_recall(path, evaluation, snapshot.schema().bits().bits())?;
    }
    print(session, &models, &evaluations, |scores| [rows(&scores.image_to_text), rows(&scores.text_to_image)])
}

/// The models to measure, each with its name: the installed one, which needs no encoding, and those
/// in files.
fn models(arguments: &Arguments, snapshot: &Snapshot) -> Result<Vec<(String, Option<Model>)>> {
    let mut models = Vec::new();
    // Where there is no model and none is given, the engine says so.
    if snapshot.model_id().is_some() || arguments.model.is_empty() {
        models.push(("installed".to_owned(), None));
    }
    for path in &arguments.model {
        models.push((path.display().to_string(), Some(model::read(path)?)));
    }
    Ok(models)
}

/// The ids in a file, one a line.
fn ids(path: &Path, schema: &Schema) -> Result<Vec<RecordId>> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, "read the ids", &error))?;
    text.lines().map(|line| parse_id(line, schema)).collect()
}

/// One of several models with its scores, as JSON.
#[derive(Serialize)]
struct Measured<'a, S> {
    model: &'a str,
    #[serde(flatten)]
    scores: &'a S,
}

/// The scores as JSON, or as a table of both directions' names and values; models side by side.
fn print<S: Serialize>(
    session: &Session,
    models: &[(String, Option<Model>)],
    scores: &[S],
    directions: impl Fn(&S) -> [Vec<(String, f64)>; 2],
) -> Result {
    if session.output.is_json() {
        return match scores {
            [scores] if models.iter().all(|(_, model)| model.is_none()) => session.output.object(scores),
            _ => {
                let measured = |((model, _), scores)| Measured { model, scores };
                let all: Vec<_> = models
                    .iter()
                    .map(|(name, model)| (name.as_str(), model))
                    .zip(scores)
                    .map(measured)
                    .collect();
                session.output.object(&serde_json::json!({ "models": all }))
            }
        };
    }
    let mut heads = vec![String::new()];
    for (name, _) in models {
        let name = if models.len() > 1 { format!("{name}: ") } else { String::new() };
        heads.extend([format!(">{name}image to text"), ">text to image".to_owned()]);
    }
    let mut table = Table::new(heads.iter().map(String::as_str));
    // A side has no line for what it has no value of.
    let sides: Vec<Vec<(String, f64)>> = scores.iter().flat_map(directions).collect();
    let names = sides.iter().max_by_key(|side| side.len()).into_iter().flatten().map(|(name, _)| name);
    for name in names {
        let value =
            |side: &Vec<(String, f64)>| side.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
        let values =
            sides.iter().map(|side| value(side).map_or_else(String::new, |value| format!("{value:.4}")));
        table.row(std::iter::once(name.clone()).chain(values));
    }
    session.output.table(&table)
}

/// Names and values of the scores.
fn rows(direction: &DirectionScores) -> Vec<(String, f64)> {
    let scores = &direction.scores;
    let mut rows =
        vec![("MAP".to_owned(), scores.map), ("MAP, ties averaged".to_owned(), scores.map_tie_aware)];
    rows.extend(scores.map_at.iter().map(|(k, value)| (format!("MAP@{k}"), *value)));
    rows.extend(scores.precision_at.iter().map(|(k, value)| (format!("precision@{k}"), *value)));
    rows.extend(direction.recall_at.iter().map(|(k, value)| (format!("recall@{k}"), *value)));
    for point in scores.lookup.iter().take(3) {
        if let Some(precision) = point.precision {
            rows.push((format!("precision within {}", point.radius), precision));
        }
        rows.push((format!("recall within {}", point.radius), point.recall));
    }
    rows
}
