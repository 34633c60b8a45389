//! Reading a checkpoint with suspicion: nothing is allocated that the file does not hold.

use std::io::{ErrorKind, Read};

use safetensors::tensor::Metadata;
use sha2::{Digest, Sha256};

use super::backbone::{SavedBackbone, orders};
use super::header::Header;
use super::{DIGEST_BYTES, METADATA, REPORT_NUMBERS, groups, layout, malformed};
use crate::Error;
use crate::machine::TrainingMachine;
use crate::model::HashModel;
use crate::report::{EpochReport, Scores};
use crate::spec::ModelSpec;

/// Longest header accepted; a checkpoint's own is some kilobytes.
const MAX_HEADER: u64 = 1 << 20;
/// Bytes read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// A run read back, to be gone on with by [`Trainer::resume`](crate::Trainer::resume).
pub struct Checkpoint {
    pub(super) header: Header,
    pub(super) reports: Vec<EpochReport>,
    /// Weights and moments, each in the order of the networks' parameters.
    pub(super) weights: Vec<Vec<f32>>,
    pub(super) first: Vec<Vec<f32>>,
    pub(super) second: Vec<Vec<f32>>,
    pub(super) bank: Vec<f32>,
    pub(super) best_model: Option<HashModel>,
    pub(super) backbone: Option<SavedBackbone>,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// Reads a checkpoint to its end.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] says what is wrong with a damaged or foreign file,
    /// [`Error::CheckpointVersion`] when a newer program wrote it, [`Error::CheckpointIo`] when it
    /// cannot be read.
    pub fn read_from(input: &mut dyn Read) -> Result<Self, Error> {
        let mut input = Hashing { input, digest: Sha256::new() };
        let (metadata, header) = read_header(&mut input)?;
        let best_model_bytes = metadata.info("best_model").and_then(|info| info.shape.first().copied());
        if best_model_bytes.is_some() != header.best_epoch.is_some() {
            return Err(malformed("it has a best epoch without its model, or the other way round"));
        }
        check_layout(&metadata, &header, best_model_bytes)?;

        let reports = read_reports(&mut input, header.epochs)?;
        let sizes: Vec<usize> = layout(&header, None)
            .into_iter()
            .filter(|(name, ..)| name.starts_with("image.") || name.starts_with("text."))
            .map(|(_, _, shape)| shape.iter().product())
            .collect();
        let mut parameters = Vec::new();
        for _ in groups(header.config.optimizer) {
            let group = sizes.iter().map(|&count| read_numbers(&mut input, count));
            parameters.push(group.collect::<Result<Vec<_>, Error>>()?);
        }
        let mut parameters = parameters.into_iter();
        let mut group = || parameters.next().unwrap_or_default();
        let (weights, first, second) = (group(), group(), group());
        let bank = read_numbers(&mut input, header.origin.training_pairs * header.spec.bits.bits())?;
        let best_model = best_model_bytes.map(|bytes| input.take(bytes)).transpose()?;
        let backbone = read_backbone(&mut input, &header)?;
        let digest = input.digest.clone().finalize();
        if input.take(DIGEST_BYTES)? != digest.as_slice() {
            return Err(malformed("its digest is not that of its content"));
        }
        if !input.at_end()? {
            return Err(malformed("more bytes follow than it announces"));
        }
        let best_model = best_model.map(|bytes| HashModel::from_bytes(&bytes)).transpose()?;
        let has_shapes = |model: &HashModel| match &backbone {
            None => *model.spec() == header.spec,
            // It names the backbone of its epoch, the run the one that it began with.
            Some(_) => {
                let image_featurizer = header.spec.image_featurizer.clone();
                ModelSpec { image_featurizer, ..model.spec().clone() } == header.spec
            }
        };
        if !best_model.as_ref().is_none_or(has_shapes) {
            return Err(malformed("its best model has other shapes than its networks"));
        }
        Ok(Self { header, reports, weights, first, second, bank, best_model, backbone })
    }

    /// What computed its epochs, and must compute those that follow.
    pub fn machine(&self) -> TrainingMachine {
        self.header.machine
    }

    /// Epochs that had ended when it was written.
    pub fn epochs(&self) -> u32 {
        self.header.epochs
    }
}

fn read_header(input: &mut Hashing<'_>) -> Result<(Metadata, Header), Error> {
    let length = input.take(8)?.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if length > MAX_HEADER {
        return Err(malformed("its header is too long, so it is another kind of file"));
    }
    let json = input.take(length as usize)?;
    let metadata: Metadata = serde_json::from_slice(&json)
        .map_err(|error| malformed(format!("its header is not readable: {error}")))?;
    let ours = metadata.metadata().as_ref().and_then(|metadata| metadata.get(METADATA));
    let header = Header::parse(ours.ok_or_else(|| malformed("it has no twinbit-checkpoint metadata"))?)?;
    Ok((metadata, header))
}

/// The tensors must be exactly those that the specification calls for.
fn check_layout(metadata: &Metadata, header: &Header, best_model_bytes: Option<usize>) -> Result<(), Error> {
    let names = metadata.offset_keys();
    let expected = layout(header, best_model_bytes);
    if names.len() != expected.len() {
        return Err(malformed(format!("it holds {} tensors instead of {}", names.len(), expected.len())));
    }
    for (name, (wanted, dtype, shape)) in names.iter().zip(&expected) {
        let fits = metadata.info(name).is_some_and(|info| info.dtype == *dtype && info.shape == *shape);
        if name != wanted || !fits {
            return Err(malformed(format!("where {wanted} ({dtype:?} {shape:?}) should be there is {name}")));
        }
    }
    Ok(())
}

fn read_reports(input: &mut Hashing<'_>, epochs: u32) -> Result<Vec<EpochReport>, Error> {
    let mut reports = Vec::new();
    for epoch in 1..=epochs {
        let bytes = input.take(8 * REPORT_NUMBERS)?;
        let (numbers, _) = bytes.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes));
        let mut next = || numbers.next().filter(|number| number.is_finite());
        let report = (|| {
            let numbered = next()?;
            let (loss, seconds, step_ms, learning_rate) = (next()?, next()?, next()?, next()?);
            let validated = next()?;
            let scores = Scores { image_to_text: next()?, text_to_image: next()? };
            let validation = (validated != 0.0).then_some(scores);
            let report = EpochReport { epoch, loss, seconds, step_ms, learning_rate, validation };
            (numbered == f64::from(epoch)).then_some(report)
        })();
        reports.push(report.ok_or_else(|| malformed("its reports are not those of its epochs"))?);
    }
    Ok(reports)
}

fn read_backbone(input: &mut Hashing<'_>, header: &Header) -> Result<Option<SavedBackbone>, Error> {
    let Some(backbone) = &header.backbone else { return Ok(None) };
    let file = input.take(backbone.bytes)?;
    let mut moments = [Vec::new(), Vec::new()];
    for moments in moments.iter_mut().take(orders(header.config.optimizer)) {
        *moments = read_numbers(input, backbone.numbers)?;
    }
    let best = backbone.best_bytes.map(|bytes| input.take(bytes)).transpose()?;
    Ok(Some(SavedBackbone { header: backbone.clone(), file, moments, best }))
}

fn read_numbers(input: &mut Hashing<'_>, count: usize) -> Result<Vec<f32>, Error> {
    let mut values = Vec::new();
    let mut left =
        count.checked_mul(4).ok_or_else(|| malformed("it announces more than can be addressed"))?;
    while left > 0 {
        let block = input.take(left.min(BLOCK_BYTES))?;
        left -= block.len();
        let (numbers, _) = block.as_chunks::<4>();
        values.extend(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    }
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(malformed("it holds a NaN or an infinity")),
    }
}

/// Takes the digest of what it reads.
struct Hashing<'a> {
    input: &'a mut dyn Read,
    digest: Sha256,
}

impl Hashing<'_> {
    /// Exactly this many bytes; memory grows with what is really there.
    fn take(&mut self, bytes: usize) -> Result<Vec<u8>, Error> {
        let mut taken = Vec::new();
        (&mut *self.input).take(bytes as u64).read_to_end(&mut taken).map_err(Error::CheckpointIo)?;
        if taken.len() < bytes {
            return Err(malformed("it ends early"));
        }
        self.digest.update(&taken);
        Ok(taken)
    }

    fn at_end(&mut self) -> Result<bool, Error> {
        loop {
            match self.input.read(&mut [0]) {
                Ok(count) => return Ok(count == 0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::CheckpointIo(error)),
            }
        }
    }
}
