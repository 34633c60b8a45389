//! Writing a checkpoint, tensor by tensor, without a second copy of the weights.

use std::collections::HashMap;
use std::io::{self, Write};

use safetensors::tensor::{Metadata, TensorInfo};
use sha2::{Digest, Sha256};
use twinbit_kernels::Modality;

use super::backbone::{BackboneHeader, BackboneProgress, orders};
use super::header::Header;
use super::origin::LazyOrigin;
use super::{METADATA, REPORT_NUMBERS, VERSION, layout, malformed};
use crate::Error;
use crate::config::TrainConfig;
use crate::in_place::read;
use crate::learner::Learner;
use crate::machine::TrainingMachine;
use crate::report::EpochReport;
use crate::run::Run;
use crate::spec::ModelSpec;
use crate::step::TrainingState;

/// Numbers converted to bytes at once.
const NUMBERS_AT_ONCE: usize = 1 << 14;

/// A run that has just ended an epoch, to be written down.
pub struct Progress<'a> {
    config: &'a TrainConfig,
    spec: &'a ModelSpec,
    origin: &'a LazyOrigin<'a>,
    run: &'a Run,
    learner: &'a dyn Learner,
    machine: TrainingMachine,
    backbone: Option<BackboneProgress<'a>>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(
        config: &'a TrainConfig,
        spec: &'a ModelSpec,
        origin: &'a LazyOrigin<'a>,
        run: &'a Run,
        learner: &'a dyn Learner,
        machine: TrainingMachine,
    ) -> Self {
        Self { config, spec, origin, run, learner, machine, backbone: None }
    }

    /// The same with the backbone that trains along; the specification names the one it began with.
    pub(crate) fn with_backbone(self, backbone: BackboneProgress<'a>) -> Self {
        Self { backbone: Some(backbone), ..self }
    }

    /// Epochs that have ended.
    pub fn epochs(&self) -> u32 {
        self.run.epochs()
    }

    /// Writes the checkpoint: the weights three times (with Adam's moments) as float32, the memory
    /// bank, and the best model so far; of a backbone that trains along the same.
    ///
    /// # Errors
    /// [`Error::CheckpointIo`] with what `out` said. The first checkpoint of a run reads all its pairs, for
    /// their fingerprint, and fails as [`Trainer::fit`](crate::Trainer::fit) does when the source does.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<(), Error> {
        let best_model = self.run.best.as_ref().map(|best| best.model.to_bytes());
        let state = self.learner.state()?;
        let header = self.header(&state, best_model.as_ref().map(Vec::len))?;
        let mut out = Hashing { out, digest: Sha256::new() };
        let written = self.write_parts(&mut out, &state, &header, best_model.as_deref())?;
        written.and_then(|()| out.out.write_all(&out.digest.finalize())).map_err(Error::CheckpointIo)
    }

    /// The length of the safetensors header and the header, padded so that the data is aligned.
    fn header(&self, state: &TrainingState<f32>, best_model_bytes: Option<usize>) -> Result<Vec<u8>, Error> {
        let header = Header {
            version: VERSION,
            spec: self.spec.clone(),
            config: self.config.clone(),
            origin: self.origin.get()?.clone(),
            machine: self.machine,
            epochs: self.run.epochs(),
            updates: state.optimizer().updates(),
            best_epoch: self.run.best.as_ref().map(|best| best.epoch),
            backbone: self.backbone.as_ref().map(BackboneHeader::new),
        };
        let mut end = 0;
        let tensors = layout(&header, best_model_bytes).into_iter().map(|(name, dtype, shape)| {
            let start = end;
            end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
            (name, TensorInfo { dtype, shape, data_offsets: (start, end) })
        });
        let tensors = tensors.collect();
        let unwritable = |error: &dyn std::fmt::Display| malformed(error.to_string());
        let ours = serde_json::to_string(&header).map_err(|error| unwritable(&error))?;
        let metadata = Metadata::new(Some(HashMap::from([(METADATA.to_owned(), ours)])), tensors)
            .map_err(|error| unwritable(&error))?;
        let mut json = serde_json::to_vec(&metadata).map_err(|error| unwritable(&error))?;
        json.resize(json.len().next_multiple_of(8), b' ');
        Ok([&(json.len() as u64).to_le_bytes(), json.as_slice()].concat())
    }

    /// Everything but the digest, in the order of [`layout`].
    fn write_parts(
        &self,
        out: &mut dyn Write,
        state: &TrainingState<f32>,
        header: &[u8],
        best_model: Option<&[u8]>,
    ) -> Result<io::Result<()>, Error> {
        let mut written = out.write_all(header).and_then(|()| write_reports(out, &self.run.reports));
        for tensor in Modality::ALL.into_iter().flat_map(|side| state.network(side).parameters()) {
            written = written.and(read(tensor, |values: &[f32]| write_numbers(out, values))?);
        }
        for order in 0..2 {
            for moments in state.optimizer().moments() {
                written = written.and_then(|()| write_numbers(out, &moments[order]));
            }
        }
        Ok(written
            .and_then(|()| write_numbers(out, state.bank().values()))
            .and_then(|()| out.write_all(best_model.unwrap_or_default()))
            .and_then(|()| self.write_backbone(out)))
    }

    fn write_backbone(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(backbone) = &self.backbone else { return Ok(()) };
        out.write_all(backbone.file)?;
        for order in 0..orders(self.config.optimizer) {
            for moments in backbone.optimizer.moments() {
                write_numbers(out, &moments[order])?;
            }
        }
        out.write_all(backbone.best.unwrap_or_default())
    }
}

fn write_reports(out: &mut dyn Write, reports: &[EpochReport]) -> io::Result<()> {
    for report in reports {
        let scores = report.validation;
        let numbers: [f64; REPORT_NUMBERS] = [
            report.epoch.into(),
            report.loss,
            report.seconds,
            report.step_ms,
            report.learning_rate,
            f64::from(u8::from(scores.is_some())),
            scores.map_or(0.0, |scores| scores.image_to_text),
            scores.map_or(0.0, |scores| scores.text_to_image),
        ];
        for number in numbers {
            out.write_all(&number.to_le_bytes())?;
        }
    }
    Ok(())
}

fn write_numbers(out: &mut dyn Write, values: &[f32]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(4 * NUMBERS_AT_ONCE.min(values.len()));
    for values in values.chunks(NUMBERS_AT_ONCE) {
        bytes.clear();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Passes bytes on and takes their digest.
struct Hashing<'a> {
    out: &'a mut dyn Write,
    digest: Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
