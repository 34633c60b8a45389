//! `twinbit eval`.

use std::path::PathBuf;

use clap::Args;
use twinbit::{DirectionScores, Queries};

use crate::commands::search::features;
use crate::commands::train::LabelMatrix;
use crate::failure::Result;
use crate::output::Table;
use crate::session::Session;

/// Cut-offs that are always measured.
const CUTOFFS: [usize; 3] = [1, 5, 10];

/// Arguments of `eval`.
#[derive(Args)]
#[command(after_help = "Example:
  twinbit eval features.db --image query-image.npy --text query-tags.npy \\
    --label query-labels.npy --database-label database-labels.npy --k 50 --json")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// Image features of the queries
    #[arg(long, value_name = "X.npy")]
    image: PathBuf,
    /// Text features of the queries
    #[arg(long, value_name = "Y.npy")]
    text: PathBuf,
    /// Labels of the queries, 0 or 1
    #[arg(long, value_name = "L.npy")]
    label: PathBuf,
    /// Labels of the records: row i belongs to the i-th record in the order of writing
    #[arg(long, value_name = "D.npy")]
    database_label: PathBuf,
    /// Cut-off of MAP@k, precision@k and recall@k, beside 1, 5 and 10
    #[arg(long, value_name = "N", default_value_t = 50)]
    k: usize,
}

/// Measures retrieval both ways.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let database = session.read(&arguments.db)?;
    let snapshot = session.collection(&database)?.snapshot()?;
    let queries = Queries::new(features(&arguments.image)?, features(&arguments.text)?);
    let query_labels = LabelMatrix::read(&arguments.label)?.all()?;
    let database_labels = LabelMatrix::read(&arguments.database_label)?.all()?;
    let mut ks = CUTOFFS.to_vec();
    ks.push(arguments.k);
    ks.sort_unstable();
    ks.dedup();
    let spinner = session.progress.spinner("measuring");
    let evaluation = snapshot.evaluate(&queries, &query_labels, &database_labels, &ks);
    spinner.finish_and_clear();
    let evaluation = evaluation?;
    if session.output.is_json() {
        return session.output.object(&evaluation);
    }
    let mut table = Table::new(["", ">image to text", ">text to image"]);
    let (image, text) = (rows(&evaluation.image_to_text), rows(&evaluation.text_to_image));
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
