//! The pairs as validation sees them.

use rayon::prelude::*;
use twinbit_kernels::Modality;

use super::{Cause, PictureOf, TOGETHER};
use crate::image::{ImageEncoder, Picture};
use crate::source::PairSource;

/// Pairs whose image features are computed when they are read.
pub(super) struct Encoded<'a> {
    pub(super) texts: &'a dyn PairSource,
    pub(super) pictures: &'a PictureOf<'a>,
    pub(super) encoder: ImageEncoder,
}

impl PairSource for Encoded<'_> {
    fn pairs(&self) -> usize {
        self.texts.pairs()
    }

    fn width(&self, modality: Modality) -> usize {
        match modality {
            Modality::Image => self.encoder.width(),
            Modality::Text => self.texts.width(modality),
        }
    }

    fn read(&self, modality: Modality, pairs: &[u32], epoch: u32, out: &mut [f32]) -> Result<(), Cause> {
        if modality == Modality::Text {
            return self.texts.read(modality, pairs, epoch, out);
        }
        let width = self.encoder.width();
        for (pairs, out) in pairs.chunks(TOGETHER).zip(out.chunks_mut(TOGETHER * width)) {
            let pictures: Vec<Picture> =
                pairs.par_iter().map(|&pair| (self.pictures)(pair)).collect::<Result<_, _>>()?;
            out.copy_from_slice(&self.encoder.encode(&pictures)?);
        }
        Ok(())
    }
}
