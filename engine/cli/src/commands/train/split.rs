//! Which rows of the given arrays are trained on and which are the queries of the test.

use std::path::{Path, PathBuf};

use clap::Args;
use twinbit::{Array, ArrayPairs, ImageArray, LabelMatrix, PairSource, PictureArray, Split, SplitPairs};

use crate::failure::{Failure, Result};

/// How the rows are divided, and their labels.
#[derive(Args)]
#[command(next_help_heading = "Scores")]
pub struct SplitArguments {
    /// Labels, 0 or 1, one row a pair: they choose the epoch and score the test, never the weights
    #[arg(long, value_name = "L.npy")]
    pub label: Option<PathBuf>,
    /// The last N rows are the queries of the test and are not trained on
    #[arg(long, value_name = "N", conflicts_with = "split", requires = "image")]
    test: Option<usize>,
    /// One value a row: 0 trains and is the database of the test, 1 is a query, 2 is ignored
    #[arg(long, value_name = "S.npy", requires = "image")]
    split: Option<PathBuf>,
}

impl SplitArguments {
    /// The pairs of two arrays, divided and labeled as asked; `features` makes those of raw pictures.
    pub fn open(
        &self,
        image: &Path,
        text: &Path,
        features: impl FnOnce(&PictureArray) -> Result<Array>,
    ) -> Result<SplitPairs> {
        let (image, text) = (ImageArray::open(image)?, Array::open(text)?);
        let image = match image {
            ImageArray::Features(array) => array,
            ImageArray::Pictures(pictures) => {
                pictures.check_partner(&text)?;
                // It takes long: what else is wrong is told before.
                self.split(pictures.rows())?;
                self.stored_labels(pictures.rows())?;
                features(&pictures)?
            }
        };
        // Rows that hold nothing cost nothing to announce: refused before there is a list of them.
        let pairs = ArrayPairs::new(image, text)?;
        let split = self.split(pairs.pairs())?;
        let pairs = SplitPairs::new(pairs, split)?;
        Ok(match &self.label {
            Some(path) => pairs.labels(read_labels(path)?)?,
            None => pairs,
        })
    }

    fn split(&self, rows: usize) -> Result<Split> {
        Ok(match (self.test, &self.split) {
            (Some(test), _) => Split::last(rows, test)?,
            (None, Some(path)) => Split::from_array(&Array::open(path)?, rows)?,
            (None, None) => Split::all(rows)?,
        })
    }

    /// Labels of this many pairs.
    pub fn stored_labels(&self, pairs: usize) -> Result<Option<LabelMatrix>> {
        let Some(path) = &self.label else { return Ok(None) };
        let labels = read_labels(path)?;
        if labels.rows() != pairs {
            let (name, rows) = (labels.name(), labels.rows());
            return Err(Failure::new(format!("{name} has {rows} rows, expected {pairs}: one a pair")));
        }
        Ok(Some(labels))
    }
}

/// Labels in a file.
pub fn read_labels(path: &Path) -> Result<LabelMatrix> {
    Ok(LabelMatrix::new(&Array::open(path)?)?)
}
