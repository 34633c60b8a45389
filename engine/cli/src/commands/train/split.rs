//! Which rows of the given arrays are trained on and which are the queries of the test.

use std::path::PathBuf;

use clap::Args;
use twinbit::{Array, Labels};

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

/// Rows of the arrays by their use.
#[derive(Debug, PartialEq)]
pub struct Split {
    /// Rows trained on: the database of the test.
    pub training: Vec<u32>,
    /// Rows that are the queries of the test.
    pub queries: Vec<u32>,
}

impl SplitArguments {
    /// Divides this many rows.
    pub fn divide(&self, rows: usize) -> Result<Split> {
        let count = u32::try_from(rows)
            .map_err(|_| Failure::new(format!("{rows} rows are more than can be trained on")))?;
        match (self.test, &self.split) {
            (Some(test), _) => {
                let training =
                    count.checked_sub(u32::try_from(test).unwrap_or(u32::MAX)).filter(|rest| *rest > 0);
                let training = training.ok_or_else(|| {
                    Failure::new(format!(
                        "--test {test}: there are {rows} rows, so none would be left to train on"
                    ))
                })?;
                Ok(Split { training: (0..training).collect(), queries: (training..count).collect() })
            }
            (None, Some(path)) => {
                let array = Array::open(path)?;
                if array.rows() != rows || array.width() != 1 {
                    return Err(Failure::new(format!(
                        "{} has {} rows of {} values; one value for each of the {rows} rows is needed",
                        array.name(),
                        array.rows(),
                        array.width()
                    )));
                }
                let uses = array.to_u8()?;
                if let Some(row) = uses.iter().position(|value| *value > 2) {
                    return Err(Failure::new(format!(
                        "{}: row {row} is {}, expected 0, 1 or 2",
                        array.name(),
                        uses[row]
                    )));
                }
                let of = |wanted: u8| {
                    (0..count).zip(&uses).filter(|(_, value)| **value == wanted).map(|(row, _)| row).collect()
                };
                Ok(Split { training: of(0), queries: of(1) })
            }
            (None, None) => Ok(Split { training: (0..count).collect(), queries: Vec::new() }),
        }
    }
}

/// A matrix of labels, and the labels of some of its rows.
pub struct LabelMatrix {
    name: String,
    rows: usize,
    classes: usize,
    values: Vec<u8>,
}

impl LabelMatrix {
    /// Reads a matrix that must have this many rows.
    pub fn open(path: &std::path::Path, rows: usize) -> Result<Self> {
        let matrix = Self::read(path)?;
        if matrix.rows != rows {
            return Err(Failure::new(format!(
                "{} has {} rows, expected {rows}: one a pair",
                matrix.name, matrix.rows
            )));
        }
        Ok(matrix)
    }

    /// Reads a matrix.
    pub fn read(path: &std::path::Path) -> Result<Self> {
        let array = Array::open(path)?;
        if array.width() == 0 {
            return Err(Failure::new(format!("{} has rows of no labels", array.name())));
        }
        Ok(Self {
            name: array.name().to_owned(),
            rows: array.rows(),
            classes: array.width(),
            values: array.to_u8()?,
        })
    }

    /// The labels of all rows.
    pub fn all(&self) -> Result<Labels> {
        self.labels(self.rows, &self.values)
    }

    /// The labels of these rows, in this order.
    pub fn of(&self, rows: &[u32]) -> Result<Labels> {
        let values: Vec<u8> = rows
            .iter()
            .flat_map(|&row| &self.values[row as usize * self.classes..(row as usize + 1) * self.classes])
            .copied()
            .collect();
        self.labels(rows.len(), &values)
    }

    fn labels(&self, rows: usize, values: &[u8]) -> Result<Labels> {
        Labels::from_dense(rows, self.classes, values).map_err(|error| {
            Failure::new(format!("{}: {}", self.name, Failure::from(twinbit::Error::from(error))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(test: Option<usize>) -> SplitArguments {
        SplitArguments { label: None, test, split: None }
    }

    #[test]
    fn the_last_rows_are_the_queries() {
        let split = arguments(Some(2)).divide(5).unwrap();
        assert_eq!(split, Split { training: vec![0, 1, 2], queries: vec![3, 4] });
        assert!(arguments(Some(5)).divide(5).is_err());
        assert!(arguments(Some(usize::MAX)).divide(5).is_err());
    }

    #[test]
    fn without_a_split_everything_is_trained_on() {
        assert_eq!(arguments(None).divide(2).unwrap(), Split { training: vec![0, 1], queries: vec![] });
    }
}
