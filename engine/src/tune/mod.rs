//! Tuning an image encoder on pairs, before there is a collection.

mod gathering;
mod pairs;
mod tuned;

use std::ops::ControlFlow;
use std::path::PathBuf;

use twinbit_hashing::{EpochReport, Observer, PictureTrainer, TrainConfig};

use crate::source::Source;
use crate::train::{EveryEpoch, fit_text, told_as_ours};
use crate::training_checkpoint::{self, Keeper};
use crate::{
    Device, Error, IdKind, ImageEncoding, IngestObserver, OnError, Result, Schema, TextEncoding,
    encoder_folder, text_encoder::TextEncoder,
};
use gathering::Gathering;
pub use tuned::Tuned;

/// Tunes a ResNet or a VGG together with a pair of hash networks, on the pairs of sources.
///
/// A collection keeps features and no pictures, so that its encoder cannot learn from it: tuning comes
/// before. What it leaves is [written](Tuned::write) as a folder, from which a collection is created as
/// from any other, and whose model is installed there without training again.
///
/// The compressed pictures stay in memory until training ends, decoded ones only while they are used;
/// most memory takes a batch's activations (`docs/backbones.md`). Only the processor does it.
///
/// ```no_run
/// use twinbit::{CodeBits, Database, FolderSource, IdKind, ImageEncoding, Schema, TextEncoding, TrainConfig, Tuner};
///
/// let config = TrainConfig { bits: CodeBits::B64, batch: 32, epochs: 10, ..TrainConfig::default() };
/// let tuned = Tuner::new("models/resnet18").source(FolderSource::open("photos")?).config(config).run()?;
/// tuned.write("models/tuned")?;
///
/// let database = Database::open("photos.twinbit")?;
/// let schema = Schema::new(CodeBits::B64)
///     .ids(IdKind::Str)
///     .image_encoder(ImageEncoding::Folder("models/tuned".into()))
///     .text_encoder(TextEncoding::Ngram);
/// let photos = database.create_collection("photos", schema)?;
/// photos.install(&tuned.outcome.model)?;
/// photos.ingest(FolderSource::open("photos")?).run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a tuner does nothing until `run` is called"]
pub struct Tuner<'a> {
    folder: PathBuf,
    sources: Vec<Box<dyn Source + 'a>>,
    ids: IdKind,
    text: TextEncoding,
    config: TrainConfig,
    is_frozen: bool,
    held_out: Option<usize>,
    threads: usize,
    device: Device,
    on_error: OnError,
    skipped_file: Option<PathBuf>,
    reading: Option<Box<dyn IngestObserver + Send + 'a>>,
    checkpoint: Option<PathBuf>,
    resumes: bool,
    observer: Option<Box<dyn Observer + Send + 'a>>,
}

impl std::fmt::Debug for Tuner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Tuner");
        shown.field("folder", &self.folder).field("config", &self.config).finish_non_exhaustive()
    }
}

impl<'a> Tuner<'a> {
    /// Begins with the ResNet or VGG in this folder, which stays as it is.
    pub fn new(image_encoder: impl Into<PathBuf>) -> Self {
        Self {
            folder: image_encoder.into(),
            sources: Vec::new(),
            ids: IdKind::Auto,
            text: TextEncoding::Ngram,
            config: TrainConfig::default(),
            is_frozen: false,
            held_out: None,
            threads: 0,
            device: Device::default(),
            on_error: OnError::default(),
            skipped_file: None,
            reading: None,
            checkpoint: None,
            resumes: false,
            observer: None,
        }
    }

    /// Adds pairs: the records of a source that have a picture, each with its own texts and those of the
    /// records whose `of` names it, one of which is drawn for each epoch.
    pub fn source(mut self, source: impl Source + 'a) -> Self {
        self.sources.push(Box::new(source));
        self
    }

    /// Kind of the records' ids, as of the collection that is to take them (default: [`IdKind::Auto`]).
    pub fn ids(mut self, ids: IdKind) -> Self {
        self.ids = ids;
        self
    }

    /// How texts become features (default: [`TextEncoding::Ngram`]); the collection's must be the same.
    pub fn text_encoder(mut self, encoding: TextEncoding) -> Self {
        self.text = encoding;
        self
    }

    /// Bits and all hyper-parameters. The default batch of 256 pictures takes much memory.
    pub fn config(mut self, config: TrainConfig) -> Self {
        self.config = config;
        self
    }

    /// Leaves the image encoder as it is: the hash networks alone train, on augmented pictures.
    pub fn frozen(mut self) -> Self {
        self.is_frozen = true;
        self
    }

    /// Pairs to hold out for choosing the epoch; 0 keeps the last one.
    pub fn held_out(mut self, pairs: usize) -> Self {
        self.held_out = Some(pairs);
        self
    }

    /// Threads for all work; 0 (the default) takes one a processor.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// What it runs on: the processor, also for [`Device::Auto`]; a card is refused.
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// What to do with an item that cannot be had or whose picture cannot be decoded (default: stop).
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// A file in which items that were left out are listed, as [`Ingest::skipped_file`](crate::Ingest::skipped_file).
    pub fn skipped_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.skipped_file = Some(path.into());
        self
    }

    /// Watches the reading of the sources and may stop it.
    pub fn on_reading(mut self, observer: impl IngestObserver + Send + 'a) -> Self {
        self.reading = Some(Box::new(observer));
        self
    }

    /// Writes a checkpoint to this file after every epoch: image encoder, hash networks, optimizers, memory
    /// bank, and the best of each so far. The file is replaced as a whole, and stays when training ends.
    pub fn checkpoint(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(path.into());
        self
    }

    /// Goes on from the file of [`checkpoint`](Self::checkpoint) when there is one. With the same encoder,
    /// pairs and settings the outcome is that of an unbroken run, bit for bit.
    pub fn resume(mut self) -> Self {
        self.resumes = true;
        self
    }

    /// Watches training and may stop it.
    pub fn observer(mut self, observer: impl Observer + Send + 'a) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Calls `watch` after each epoch; `Break` ends training with nothing kept but checkpoints.
    pub fn on_epoch(self, watch: impl FnMut(&EpochReport) -> ControlFlow<()> + Send + 'a) -> Self {
        self.observer(EveryEpoch(watch))
    }

    /// Reads the sources to their ends, then trains.
    ///
    /// # Errors
    /// Before anything is read what is wrong with the settings, the device or the folder. Then
    /// [`Error::Source`] when a source cannot be read, [`Error::Item`] for an item that is unsound,
    /// [`Error::Canceled`], and what the trainer says: too few pairs, diverged, a checkpoint of another run.
    pub fn run(mut self) -> Result<Tuned> {
        if let Device::Cuda(_) = self.device {
            return Err(twinbit_hashing::Error::BackboneOnCard.into());
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build();
        let pool = pool.map_err(|source| Error::Threads { source: Box::new(source) })?;
        let trainer = twinbit_hashing::Trainer::new(self.config.clone());
        PictureTrainer::new(trainer, &self.folder).check().map_err(Error::from_training)?;
        let tower = match &self.text {
            TextEncoding::Folder(folder) => Some(encoder_folder::read_text(folder)?),
            TextEncoding::Ngram | TextEncoding::Bow => None,
        };
        let saved = match &self.checkpoint {
            Some(path) if self.resumes => training_checkpoint::read(path)?,
            _ => None,
        };
        let (pairs, skipped) = self.gather(&pool)?;
        pool.install(|| {
            let mut trainer = twinbit_hashing::Trainer::new(self.config.clone());
            if let Some(count) = self.held_out {
                trainer = trainer.held_out(count);
            }
            let (pairs, trainer) = match tower {
                Some(tower) => {
                    let trainer = trainer.text_tower(tower.id());
                    (pairs.with_encoder(&TextEncoder::Tower(tower))?, trainer)
                }
                None => {
                    let text = fit_text(&self.text, pairs.texts())?;
                    (pairs.with_featurizer(text.clone()), trainer.featurizers("none", Some(text)))
                }
            };
            let mut trainer = PictureTrainer::new(trainer, &self.folder);
            if self.is_frozen {
                trainer = trainer.frozen();
            }
            let mut nobody = ();
            let observer = match self.observer.as_mut() {
                Some(observer) => observer.as_mut() as &mut dyn Observer,
                None => &mut nobody,
            };
            let picture = |pair| pairs.picture(pair);
            let fit = |observer: &mut dyn Observer| match saved {
                Some(saved) => trainer.resume(saved, &pairs, &picture, observer),
                None => trainer.fit(&pairs, &picture, observer),
            };
            let trained = match self.checkpoint.clone() {
                Some(path) => fit(&mut Keeper { path, observer }),
                None => fit(observer),
            };
            let trained = trained.map_err(|error| told_as_ours(error, self.checkpoint))?;
            let (pairs, began_with) = (pairs.count(), self.folder);
            Ok(Tuned { outcome: trained.outcome, pairs, skipped, weights: trained.backbone, began_with })
        })
    }

    /// The pairs of all sources, and how many items were left out.
    fn gather(&mut self, pool: &rayon::ThreadPool) -> Result<(pairs::PicturePairs, u64)> {
        let schema = Schema::new(self.config.bits)
            .ids(self.ids)
            .image_encoder(ImageEncoding::Folder(self.folder.clone()))
            .text_encoder(self.text.clone());
        let mut gathering =
            Gathering::new(self.on_error, self.skipped_file.take(), self.reading.take(), pool, &self.sources);
        for source in &mut self.sources {
            source.check(&schema)?;
            gathering.read(source.as_mut(), &schema)?;
        }
        gathering.finish(self.config.seed)
    }
}
