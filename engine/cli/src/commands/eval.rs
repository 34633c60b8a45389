//! `twinbit eval`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use twinbit::{DirectionScores, Queries, RecordId, Schema};

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
    session.remark_processor("scores are computed");
    let snapshot = session.collection(&database)?.snapshot()?;
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
        let recall = snapshot.recall(filter.as_ref(), &ks);
        spinner.finish_and_clear();
        return print(session, &recall?, |recall| {
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
    let evaluation = snapshot.evaluate(&queries, &query_labels, &database_labels, &ks);
    spinner.finish_and_clear();
    let evaluation = evaluation?;
    if let Some(path) = &arguments.plot {
        curves::write_precision_recall(path, &evaluation, snapshot.schema().bits().bits())?;
    }
    print(session, &evaluation, |scores| [rows(&scores.image_to_text), rows(&scores.text_to_image)])
}

/// The ids in a file, one a line.
fn ids(path: &Path, schema: &Schema) -> Result<Vec<RecordId>> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, "read the ids", &error))?;
    text.lines().map(|line| parse_id(line, schema)).collect()
}

/// The scores as JSON, or as a table of both directions' names and values.
fn print<S: Serialize>(
    session: &Session,
    scores: &S,
    directions: impl Fn(&S) -> [Vec<(String, f64)>; 2],
) -> Result {
    if session.output.is_json() {
        return session.output.object(scores);
    }
    let mut table = Table::new(["", ">image to text", ">text to image"]);
    let [image, text] = directions(scores);
    for ((name, image), (_, text)) in image.into_iter().zip(text) {
        table.row([name, format!("{image:.4}"), format!("{text:.4}")]);
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
