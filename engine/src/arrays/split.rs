//! Pairs in arrays, divided into those trained on and the queries of a test.

use std::sync::Arc;

use twinbit_hashing::{Observer, Outcome, PairSource, RetrievalScores, Scores, TrainConfig};
use twinbit_kernels::CodesBuf;

use super::array::Array;
use super::error::ArrayError;
use super::labels::LabelMatrix;
use super::pairs::ArrayPairs;
use crate::accelerator::Accelerator;
use crate::training_run::TrainingRun;
use crate::{Builder, Error, Modality, Model, Precision, Result};

/// Rows that are read and encoded at once.
const ROWS_A_BLOCK: usize = 4096;

/// Which rows are trained on, and are the database of the test, and which are its queries.
///
/// ```
/// use twinbit::Split;
///
/// let split = Split::last(5, 2)?;
/// assert_eq!((split.training, split.queries), (vec![0, 1, 2], vec![3, 4]));
/// # Ok::<(), twinbit::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Split {
    /// Rows trained on, ascending.
    pub training: Vec<u32>,
    /// Rows that are queries, ascending.
    pub queries: Vec<u32>,
}

impl Split {
    /// Trains on all rows; there is nothing to test with.
    ///
    /// # Errors
    /// [`ArrayError::TooManyRows`].
    pub fn all(rows: usize) -> Result<Self> {
        Self::last(rows, 0)
    }

    /// The last `queries` rows are the queries, as in the published data sets.
    ///
    /// # Errors
    /// [`ArrayError::NothingToTrainOn`] when that leaves no row, [`ArrayError::TooManyRows`].
    pub fn last(rows: usize, queries: usize) -> Result<Self> {
        let count = u32::try_from(rows).map_err(|_| ArrayError::TooManyRows { rows })?;
        let training = u32::try_from(queries).ok().and_then(|queries| count.checked_sub(queries));
        match training.filter(|training| *training > 0 || queries == 0) {
            Some(training) => {
                Ok(Self { training: (0..training).collect(), queries: (training..count).collect() })
            }
            None => Err(ArrayError::NothingToTrainOn { rows, queries }.into()),
        }
    }

    /// One value a row: 0 is trained on, 1 is a query, 2 is ignored.
    ///
    /// # Errors
    /// [`ArrayError::Value`] at the first other value, [`ArrayError::RowValues`] when the array has not
    /// one value for each of `rows` rows.
    pub fn from_array(array: &Array, rows: usize) -> Result<Self> {
        let name = || array.name().to_owned();
        if array.rows() != rows || array.width() != 1 {
            let (found, width) = (array.rows(), array.width());
            return Err(ArrayError::RowValues { name: name(), found, width, rows }.into());
        }
        let count = u32::try_from(rows).map_err(|_| ArrayError::TooManyRows { rows })?;
        let uses = array.to_u8()?;
        if let Some(row) = uses.iter().position(|value| *value > 2) {
            let wanted = "the expected 0, 1 or 2";
            return Err(ArrayError::Value { name: name(), row, column: 0, wanted }.into());
        }
        let of = |wanted: u8| {
            (0..count).zip(&uses).filter(|(_, value)| **value == wanted).map(|(row, _)| row).collect()
        };
        Ok(Self { training: of(0), queries: of(1) })
    }
}

/// Labeled pairs in arrays, divided: enough to train a model and to test it, without a database.
///
/// ```no_run
/// use twinbit::{Array, ArrayPairs, LabelMatrix, PairSource, Split, SplitPairs, TrainConfig};
///
/// # fn main() -> twinbit::Result<()> {
/// let pairs = ArrayPairs::new(Array::open("image.npy")?, Array::open("text.npy")?)?;
/// let split = Split::last(pairs.pairs(), 2000)?;
/// let labels = LabelMatrix::new(&Array::open("labels.npy")?)?;
/// let pairs = SplitPairs::new(pairs, split)?.labels(labels)?;
/// let outcome = pairs.train(TrainConfig::default(), &mut ())?;
/// if let Some(scores) = pairs.scores(&outcome.model)? {
///     println!("MAP image to text: {:.4}", scores.image_to_text);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SplitPairs {
    pairs: ArrayPairs,
    split: Split,
    labels: Option<LabelMatrix>,
    accelerator: Arc<Accelerator>,
    precision: Precision,
}

impl SplitPairs {
    /// Divides all rows of the pairs' arrays; there are no labels yet.
    ///
    /// # Errors
    /// [`ArrayError::Rows`] when the split names a row that is not there.
    pub fn new(pairs: ArrayPairs, split: Split) -> Result<Self> {
        // Both parts are checked once, so that they may be read without a doubt.
        pairs.clone().rows(split.queries.clone())?;
        pairs.clone().rows(split.training.clone())?;
        let accelerator = Arc::new(Accelerator::processor());
        Ok(Self { pairs, split, labels: None, accelerator, precision: Precision::default() })
    }

    /// Trains and encodes on the device of these options instead of the processor.
    ///
    /// # Errors
    /// [`Error::NoCuda`] when a device was demanded that cannot be used.
    pub fn device_of(mut self, options: &Builder) -> Result<Self> {
        self.accelerator = Arc::new(Accelerator::new(options)?);
        Ok(self)
    }

    /// What a card rounds the factors of its matrix products to in training (default: [`Precision::Tf32`]).
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Gives all rows labels: they choose the epoch and score the test.
    ///
    /// # Errors
    /// [`ArrayError::RowsDiffer`].
    pub fn labels(mut self, labels: LabelMatrix) -> Result<Self> {
        if labels.rows() != self.pairs.pairs() {
            let image = self.pairs.array(Modality::Image);
            return Err(ArrayError::RowsDiffer {
                first: image.name().to_owned(),
                first_rows: image.rows(),
                second: labels.name().to_owned(),
                second_rows: labels.rows(),
            }
            .into());
        }
        self.labels = Some(labels);
        Ok(self)
    }

    /// Which rows are what.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// The labels, when there are any.
    pub fn label_matrix(&self) -> Option<&LabelMatrix> {
        self.labels.as_ref()
    }

    /// The pairs trained on.
    ///
    /// # Errors
    /// None that [`new`](Self::new) has not told already.
    pub fn training(&self) -> Result<ArrayPairs> {
        Ok(self.pairs.clone().rows(self.split.training.clone())?)
    }

    /// Trains a model outside any collection, on the current rayon pool.
    ///
    /// # Errors
    /// [`Error::Hashing`] with what the trainer says, [`Error::Array`] when a row cannot be read,
    /// [`Error::NoCuda`] when a device was demanded that cannot train.
    pub fn train(&self, config: TrainConfig, observer: &mut dyn Observer) -> Result<Outcome> {
        self.accelerator.check_training()?;
        let mut trainer = twinbit_hashing::Trainer::new(config);
        if let Some(labels) = &self.labels {
            trainer = trainer.validation_labels(&labels.of(&self.split.training)?);
        }
        let (precision, source) = (self.precision, self.training()?);
        let run = TrainingRun { trainer, precision, source: &source, saved: None };
        run.run(&self.accelerator, observer)?.map_err(Error::from_training)
    }

    /// The codes of some rows under a model.
    ///
    /// # Errors
    /// When a row is not there or cannot be encoded.
    pub fn encode(&self, model: &Model, modality: Modality, rows: &[u32]) -> Result<CodesBuf> {
        let chosen = self.pairs.clone().rows(rows.to_vec())?;
        let width = chosen.width(modality);
        let mut codes = CodesBuf::new(model.spec().bits);
        let mut values = Vec::new();
        let positions: Vec<u32> = (0..).take(rows.len()).collect();
        for block in positions.chunks(ROWS_A_BLOCK) {
            values.resize(block.len() * width, 0.0);
            chosen.read_pairs(modality, block, &mut values)?;
            codes.append(self.accelerator.encode(model, modality, &values)?.as_codes())?;
        }
        Ok(codes)
    }

    /// MAP over all ranks of the queries against the rows trained on, both ways; none without labels
    /// or without queries.
    ///
    /// # Errors
    /// As [`encode`](Self::encode), and when no query has anything relevant.
    pub fn scores(&self, model: &Model) -> Result<Option<Scores>> {
        let measured = self.measure(|labels, from| {
            let [queries, database] = self.test_codes(model, from)?;
            let [query_labels, database_labels] = labels;
            Ok(twinbit_hashing::mean_average_precision(
                queries.as_codes(),
                query_labels,
                database.as_codes(),
                database_labels,
            )?)
        })?;
        Ok(measured.map(|[image_to_text, text_to_image]| Scores { image_to_text, text_to_image }))
    }

    /// All scores of the queries against the rows trained on, image to text and text to image; none
    /// without labels or without queries.
    ///
    /// # Errors
    /// As [`scores`](Self::scores).
    pub fn evaluate(&self, model: &Model, ks: &[usize]) -> Result<Option<[RetrievalScores; 2]>> {
        self.measure(|labels, from| {
            let [queries, database] = self.test_codes(model, from)?;
            let [query_labels, database_labels] = labels;
            Ok(twinbit_hashing::evaluate(
                queries.as_codes(),
                query_labels,
                database.as_codes(),
                database_labels,
                ks,
            )?)
        })
    }

    /// Calls `score` for both directions, with the labels of queries and database.
    fn measure<R>(
        &self,
        score: impl Fn([&twinbit_hashing::Labels; 2], Modality) -> Result<R>,
    ) -> Result<Option<[R; 2]>> {
        let Some(labels) = self.labels.as_ref().filter(|_| !self.split.queries.is_empty()) else {
            return Ok(None);
        };
        let (queries, database) = (labels.of(&self.split.queries)?, labels.of(&self.split.training)?);
        let labels = [&queries, &database];
        Ok(Some([score(labels, Modality::Image)?, score(labels, Modality::Text)?]))
    }

    /// Codes of the queries, and of the other side of the rows they are looked for in.
    fn test_codes(&self, model: &Model, from: Modality) -> Result<[CodesBuf; 2]> {
        let queries = self.encode(model, from, &self.split.queries)?;
        Ok([queries, self.encode(model, from.other(), &self.split.training)?])
    }
}

#[cfg(test)]
mod tests {
    use super::super::array::tests::npy;
    use super::*;
    use crate::CodeBits;

    #[test]
    fn the_last_rows_are_the_queries() {
        let split = Split::last(5, 2).unwrap();
        assert_eq!(split, Split { training: vec![0, 1, 2], queries: vec![3, 4] });
        let all = Split { training: vec![0, 1], queries: vec![] };
        assert_eq!(Split::all(2).unwrap(), all);
        for queries in [5, 6, usize::MAX] {
            let refused = Split::last(5, queries);
            assert!(matches!(refused, Err(Error::Array(ArrayError::NothingToTrainOn { .. }))));
        }
    }

    fn array(folder: &std::path::Path, name: &str, shape: (usize, usize), data: &[u8]) -> Array {
        std::fs::write(folder.join(name), npy("|u1", &format!("{shape:?}"), data)).unwrap();
        Array::open(folder.join(name)).unwrap()
    }

    #[test]
    fn a_model_is_trained_and_tested_without_a_database() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str, width: usize, value: &dyn Fn(usize, usize) -> bool| {
            let data: Vec<u8> = (0..80 * width).map(|at| value(at / width, at % width).into()).collect();
            array(folder.path(), name, (80, width), &data)
        };
        let image = open("image", 6, &|row, column| row % 2 == column % 2 || (row * 7 + column) % 5 == 0);
        let text = open("text", 4, &|row, column| row % 2 == column / 2);
        let labels = LabelMatrix::new(&open("labels", 2, &|row, class| row % 2 == class)).unwrap();
        let uses: Vec<u8> = (0..80).map(|row| [0, 0, 0, 0, 1, 1, 2, 0][row % 8]).collect();
        let split = Split::from_array(&array(folder.path(), "split", (80, 1), &uses), 80).unwrap();
        assert_eq!((split.training.len(), &split.queries[..3]), (50, &[4, 5, 12][..]));

        let pairs = ArrayPairs::new(image, text).unwrap();
        let pairs = SplitPairs::new(pairs, split).unwrap().labels(labels).unwrap();
        let bits = CodeBits::B16;
        let config =
            TrainConfig { hidden: 16, batch: 16, negatives: 16, epochs: 8, ..TrainConfig::default() };
        let config = TrainConfig { bits, learning_rate: 1e-2, ..config };
        let outcome = pairs.train(config, &mut ()).unwrap();
        assert!(outcome.epochs.iter().all(|epoch| epoch.validation.is_some()));
        let scores = pairs.scores(&outcome.model).unwrap().unwrap();
        assert!(scores.mean() > 0.8, "{scores:?}");
        let [image_to_text, text_to_image] = pairs.evaluate(&outcome.model, &[5]).unwrap().unwrap();
        assert_eq!([image_to_text.map, text_to_image.map], [scores.image_to_text, scores.text_to_image]);
        assert_eq!(image_to_text.queries, 20);
    }

    #[test]
    fn rows_and_values_that_do_not_fit_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let three = || array(folder.path(), "three", (3, 1), &[1, 2, 3]);
        let outside = Split { training: vec![0, 3], queries: vec![] };
        let pairs = || ArrayPairs::new(three(), three()).unwrap();
        assert!(SplitPairs::new(pairs(), outside).is_err());
        let refused = Split::from_array(&three(), 3);
        assert!(matches!(refused, Err(Error::Array(ArrayError::Value { row: 2, .. }))));
        let refused = Split::from_array(&three(), 4);
        assert!(matches!(refused, Err(Error::Array(ArrayError::RowValues { found: 3, rows: 4, .. }))));
        let refused = LabelMatrix::new(&three());
        assert!(matches!(refused, Err(Error::Array(ArrayError::Value { row: 1, .. }))));
        let two = LabelMatrix::new(&array(folder.path(), "two", (2, 1), &[0, 1])).unwrap();
        let pairs = SplitPairs::new(pairs(), Split::all(3).unwrap()).unwrap();
        assert!(matches!(pairs.labels(two), Err(Error::Array(ArrayError::RowsDiffer { .. }))));
    }
}
