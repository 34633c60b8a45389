//! Training the hash networks of a collection.

use std::ops::ControlFlow;
use std::path::PathBuf;

use twinbit_hashing::{EpochReport, Labels, Observer, PairSource, TextFeaturizer, TrainConfig};

use crate::collection::Collection;
use crate::featurizers::Featurizers;
use crate::pairs::StoredPairs;
use crate::snapshot::Snapshot;
use crate::text_encoder::TextEncoder;
use crate::training_checkpoint::{self, Keeper};
use crate::training_run::TrainingRun;
use crate::{
    Error, Mismatch, Modality, Outcome, Precision, RecordId, Result, Schema, TextEncoding, TextKind,
};

/// Trains a pair of hash networks with UCCH; made by [`Collection::trainer`].
///
/// It trains on the database's [`Device`](crate::Device). The same seed gives the same model on the same kind of
/// machine; a card and the processor give different ones, equally good.
///
/// The model is not installed by training: look at the outcome, then
/// [`install`](Collection::install) it.
///
/// ```no_run
/// # let database = twinbit::Database::open("photos.twinbit")?;
/// let photos = database.collection("photos")?;
/// let outcome = photos.trainer().epochs(20).seed(1).fit(&photos.snapshot()?)?;
/// println!("best epoch: {}", outcome.best_epoch);
/// photos.install(&outcome.model)?;
/// # Ok::<(), twinbit::Error>(())
/// ```
#[must_use = "a trainer does nothing until `fit` is called"]
pub struct Trainer<'a> {
    collection: &'a Collection,
    config: TrainConfig,
    precision: Precision,
    labels: Option<Labels>,
    held_out: Option<usize>,
    checkpoint: Option<PathBuf>,
    resumes: bool,
    observer: Option<Box<dyn Observer + Send + 'a>>,
}

impl std::fmt::Debug for Trainer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<'a> Trainer<'a> {
    pub(crate) fn new(collection: &'a Collection) -> Self {
        Self {
            collection,
            config: TrainConfig::default(),
            precision: Precision::default(),
            labels: None,
            held_out: None,
            checkpoint: None,
            resumes: false,
            observer: None,
        }
    }

    /// All hyper-parameters at once; the number of bits is the collection's, whatever is given.
    pub fn config(mut self, config: TrainConfig) -> Self {
        self.config = config;
        self
    }

    /// Epochs in all.
    pub fn epochs(mut self, epochs: u32) -> Self {
        self.config.epochs = epochs;
        self
    }

    /// Decides every random draw: the same seed gives the same model.
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// Width of the hidden layers.
    pub fn hidden(mut self, hidden: usize) -> Self {
        self.config.hidden = hidden;
        self
    }

    /// Pairs of a batch.
    pub fn batch(mut self, batch: usize) -> Self {
        self.config.batch = batch;
        self
    }

    /// Learning rate.
    pub fn learning_rate(mut self, rate: f64) -> Self {
        self.config.learning_rate = rate;
        self
    }

    /// Weight of the contrastive loss; the ranking loss gets the rest.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.config.alpha = alpha;
        self
    }

    /// What a card rounds the factors of its matrix products to (default: [`Precision::Tf32`]). The processor
    /// never rounds them.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Labels of the pairs, row by row in the order of [`Snapshot::pair_ids`] or of the source.
    /// They only choose the epoch; training never sees them.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = Some(labels);
        self
    }

    /// Pairs to hold out for choosing the epoch when there are no labels; 0 keeps the last epoch.
    pub fn held_out(mut self, pairs: usize) -> Self {
        self.held_out = Some(pairs);
        self
    }

    /// Writes a checkpoint to this file after every epoch: weights, optimizer, memory bank, epoch and
    /// the best model so far. The file is replaced as a whole, and stays when training ends.
    pub fn checkpoint(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(path.into());
        self
    }

    /// Goes on from the file of [`checkpoint`](Self::checkpoint) when there is one. With the same
    /// pairs and settings the outcome is that of an unbroken run, bit for bit. A run goes on where it began:
    /// one of a card is refused by the processor, and the other way round.
    pub fn resume(mut self) -> Self {
        self.resumes = true;
        self
    }

    /// Watches training and may stop it.
    pub fn observer(mut self, observer: impl Observer + Send + 'a) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Calls `watch` after each epoch; `Break` ends training with nothing kept.
    pub fn on_epoch(self, watch: impl FnMut(&EpochReport) -> ControlFlow<()> + Send + 'a) -> Self {
        self.observer(EveryEpoch(watch))
    }

    /// Trains on the pairs of a snapshot: the records with an image, each with its own text and
    /// those of the records whose `of` names it, one of which is drawn for each epoch. The text
    /// encoder is fitted on these texts and travels in the model; one from a folder makes their features once,
    /// before the first epoch, into a temporary file.
    ///
    /// # Errors
    /// [`Error::InputsNotKept`] when there is nothing to train on by design, and what the trainer
    /// says: too few pairs, settings out of range, canceled.
    pub fn fit(self, snapshot: &Snapshot) -> Result<Outcome> {
        let schema = std::sync::Arc::clone(snapshot.shared_schema());
        self.trainable(&schema)?;
        let database = self.collection.database().clone();
        database.run(|| {
            let pairs = StoredPairs::of(snapshot, self.config.seed)?;
            let (pairs, featurizer) = match schema.text_kind() {
                TextKind::Text(TextEncoding::Folder(_)) => {
                    let tower = Featurizers::new(&database, &schema).tower()?;
                    (pairs.with_encoder(&TextEncoder::Tower(tower))?, None)
                }
                TextKind::Text(encoding @ (TextEncoding::Ngram | TextEncoding::Bow)) => {
                    let texts = pairs.texts()?;
                    let featurizer = fit_text(encoding, &texts)?;
                    (pairs.with_featurizer(featurizer.clone()), Some(featurizer))
                }
                TextKind::Features { .. } | TextKind::None => (pairs, None),
            };
            self.train(&schema, &pairs, featurizer)
        })
    }

    /// Trains on features from elsewhere, for collections into which features come.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] when the source's features have other widths than the collection's,
    /// and as [`fit`](Self::fit).
    pub fn fit_source(self, source: &dyn PairSource) -> Result<Outcome> {
        let schema = self.collection.schema()?;
        self.trainable(&schema)?;
        if matches!(schema.text_kind(), TextKind::Text(_)) {
            let reason = "this collection makes text features by itself, so it learns from stored texts; ingest the pairs and train on a snapshot";
            return Err(Error::Training { reason });
        }
        for modality in Modality::ALL {
            let got = source.width(modality);
            if let Some(expected) = schema.width(modality)
                && expected != got
            {
                let reason = Mismatch::Width { modality, expected, got };
                return Err(Error::ModelMismatch { reason });
            }
        }
        let database = self.collection.database().clone();
        database.run(|| self.train(&schema, source, None))
    }

    fn trainable(&self, schema: &Schema) -> Result<()> {
        if schema.has_external_codes() {
            return Err(Error::ExternalCodes { collection: self.collection.name() });
        }
        self.collection.database().accelerator().check_training()
    }

    fn train(
        mut self,
        schema: &Schema,
        source: &dyn PairSource,
        text: Option<TextFeaturizer>,
    ) -> Result<Outcome> {
        self.config.bits = schema.bits();
        let mut trainer =
            twinbit_hashing::Trainer::new(self.config).featurizers(schema.featurizer(Modality::Image), text);
        trainer = trainer.text_tower(schema.featurizer(Modality::Text));
        if let Some(labels) = &self.labels {
            if labels.rows() != source.pairs() {
                return Err(Error::Rows {
                    what: "the label matrix",
                    expected: source.pairs() as u64,
                    got: labels.rows() as u64,
                });
            }
            trainer = trainer.validation_labels(labels);
        }
        if let Some(pairs) = self.held_out {
            trainer = trainer.held_out(pairs);
        }
        let mut nobody = ();
        let observer = match self.observer.as_mut() {
            Some(observer) => observer.as_mut() as &mut dyn Observer,
            None => &mut nobody,
        };
        let saved = match &self.checkpoint {
            Some(path) if self.resumes => training_checkpoint::read(path)?,
            _ => None,
        };
        let run = TrainingRun { trainer, precision: self.precision, source, saved };
        let accelerator = self.collection.database().accelerator();
        let trained = match &self.checkpoint {
            None => run.run(accelerator, observer)?,
            Some(path) => run.run(accelerator, &mut Keeper { path: path.clone(), observer })?,
        };
        trained.map_err(|error| told_as_ours(error, self.checkpoint))
    }
}

/// A checkpoint that is of another run is told with its file.
pub(crate) fn told_as_ours(error: twinbit_hashing::Error, checkpoint: Option<PathBuf>) -> Error {
    match (error, checkpoint) {
        (source @ twinbit_hashing::Error::CheckpointMismatch { .. }, Some(path)) => {
            Error::TrainingCheckpoint { path, source: Box::new(source) }
        }
        (error, _) => Error::from_training(error),
    }
}

/// Calls a function after each epoch.
pub(crate) struct EveryEpoch<F>(pub(crate) F);

impl<F: FnMut(&EpochReport) -> ControlFlow<()>> Observer for EveryEpoch<F> {
    fn on_epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
        (self.0)(report)
    }
}

/// Fits the text encoder of a collection on the texts it is to learn from.
pub(crate) fn fit_text(encoding: &TextEncoding, texts: &[String]) -> Result<TextFeaturizer> {
    let kind = match encoding {
        TextEncoding::Bow => twinbit_hashing::TextKind::Bow,
        _ => twinbit_hashing::TextKind::Ngram,
    };
    Ok(TextFeaturizer::fit(kind, TextFeaturizer::DEFAULT_WIDTH, texts)?)
}

/// Ids of the pairs that training uses, in its order.
pub(crate) fn pair_ids(snapshot: &Snapshot) -> Result<Vec<RecordId>> {
    StoredPairs::of(snapshot, 0)?.ids()
}
