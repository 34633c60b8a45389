//! The steps that change a backbone and the hash networks together.

use std::time::Instant;

use rayon::prelude::*;
use twinbit_kernels::Modality;

use super::PictureOf;
use crate::Error;
use crate::dropout::Dropout;
use crate::epoch::{Epoch, TrainingPairs, read};
use crate::image::{CLASSIFIER_DROPOUT, ImageEncoder, Mode, TunableBackbone, augment};
use crate::optimizer::{OptimizerState, Update, clip_factor, gradient_norm};
use crate::random::{Purpose, stream};
use crate::step::{Batch, Keys, TrainingState};

/// The backbone under training, and what it trains on.
pub(super) struct Tuning<'a> {
    pub(super) seed: u64,
    pub(super) side: usize,
    pub(super) pictures: &'a PictureOf<'a>,
    pub(super) backbone: TunableBackbone<f32>,
    pub(super) optimizer: OptimizerState<f32>,
}

impl Tuning<'_> {
    /// Runs the steps of an epoch, whose pairs are texts, on the networks' state and the backbone; on the
    /// networks alone where the backbone is `frozen`.
    pub(super) fn steps(
        &mut self,
        state: &mut TrainingState<f32>,
        epoch: &mut Epoch<'_>,
        frozen: Option<&ImageEncoder>,
    ) -> Result<(), Error> {
        let TrainingPairs { source: texts, sampler, neighbors, .. } = *epoch.pairs;
        let (number, rate) = (epoch.number, epoch.rate);
        let draws_keys = epoch.draws_keys();
        let mut keys = Vec::new();
        for (index, rows) in sampler.order(number).chunks_exact(epoch.config.batch).enumerate() {
            let begin = Instant::now();
            let step = number as usize * sampler.steps() + index;
            let pairs = epoch.pairs.of(rows);
            if draws_keys {
                sampler.keys(rows, step as u64, neighbors, &mut keys);
            }
            let text = read(texts, Modality::Text, &pairs, number)?;
            let colors = self.augmented(&pairs, number)?;
            let keys = if draws_keys { Keys::Bank(&keys) } else { Keys::Batch };
            let batch = |image| Batch { pairs: rows, image, text, keys };
            let pass = if let Some(encoder) = frozen {
                let pass = state.differentiate(batch(encoder.encode_squares(&colors, self.side)?))?;
                epoch.check(pass.losses.total, pass.gradient_norm)?;
                pass
            } else {
                let forward = self.backbone.forward(&colors, self.side, Mode::Training(self.dropout()))?;
                let features = forward.features().to_vec();
                let (mut pass, gradient) = state.differentiate_to_features(batch(features))?;
                let gradients = self.backbone.backward(&forward, gradient)?;
                // All gradients are clipped together.
                pass.gradient_norm = pass.gradient_norm.hypot(gradient_norm::<f32>(gradients.iter())?);
                epoch.check(pass.losses.total, pass.gradient_norm)?;
                let settings = state.settings();
                let update = Update {
                    learning_rate: rate,
                    weight_decay: settings.weight_decay,
                    clip: clip_factor(pass.gradient_norm, settings.clip_norm),
                };
                self.optimizer.update(self.backbone.parameters().zip(&gradients), &update)?;
                let statistics = forward.into_statistics();
                self.backbone.keep_statistics(statistics);
                pass
            };
            state.apply(&pass, rate)?;
            epoch.stepped(pass.losses.total, begin.elapsed())?;
        }
        Ok(())
    }

    /// What a VGG's classifier leaves out in the next step; other numbers than the networks do.
    fn dropout(&self) -> Option<Dropout> {
        let seed = self.seed.wrapping_add(1);
        Dropout::new(CLASSIFIER_DROPOUT, seed, self.optimizer.updates(), Modality::Image)
    }

    /// Squares of the pictures, another one each epoch, 3 bytes a pixel.
    fn augmented(&self, pairs: &[u32], epoch: u32) -> Result<Vec<u8>, Error> {
        let squares: Vec<Vec<u8>> = pairs
            .par_iter()
            .map(|&pair| {
                let picture = (self.pictures)(pair)
                    .map_err(|source| Error::Source { modality: Modality::Image, source })?;
                // 24 bits for the epoch, 32 for the pair.
                let counter = u64::from(epoch & 0xff_ffff) << 32 | u64::from(pair);
                Ok(augment(&picture, self.side, &mut stream(self.seed, Purpose::Augmentation, counter)))
            })
            .collect::<Result<_, Error>>()?;
        Ok(squares.concat())
    }
}
