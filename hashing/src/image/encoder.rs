//! Features of pictures, computed on the CPU by one of several networks.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use twinbit_kernels::Modality;

use super::backbone::{self, Backbone};
use super::efficientnet::EfficientNet;
use super::picture::Picture;
use super::preparation::Preparation;
use super::weights::{Weights, invalid};
use crate::Error;
use crate::weight_files::weight_files;

/// The file that holds the sizes of a CLIP model.
const CONFIG: &str = "config.json";
/// Most bytes of weights accepted: eight times the largest network supported (VGG-19, float32).
const MAX_WEIGHTS: u64 = 4 << 30;
/// Largest configuration accepted.
const MAX_CONFIG: u64 = 1 << 20;

/// Turns pictures into features with a network whose classifier was left out: the EfficientNet-Lite0
/// that comes with the program, or a ResNet, a VGG or CLIP's image tower from a folder.
///
/// Cloning is cheap; clones share the weights. One picture's features do not depend on the other
/// pictures of a call nor on the number of threads, and they are the same on every machine that
/// has fused multiply-adds in its vector unit (x86-64 with AVX2 and FMA or with AVX-512, AArch64);
/// older machines round differently in the last digits, as `id` does not tell: do not mix them.
#[derive(Clone)]
pub struct ImageEncoder {
    id: Arc<str>,
    backbone: Arc<dyn Backbone>,
}

impl std::fmt::Debug for ImageEncoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("ImageEncoder").field(&self.id()).finish()
    }
}

impl ImageEncoder {
    /// EfficientNet-Lite0 brings pictures to a square of this side.
    pub const INPUT_SIDE: u32 = super::architecture::INPUT_SIDE as u32;

    /// The encoder that comes with the program: ImageNet-1k weights, rounded to float16.
    ///
    /// # Errors
    /// None that a program which passed its tests would see; the weights are checked like any.
    #[cfg(feature = "efficientnet-lite0")]
    pub fn efficientnet_lite0() -> Result<Self, Error> {
        static ENCODER: std::sync::OnceLock<ImageEncoder> = std::sync::OnceLock::new();
        if let Some(encoder) = ENCODER.get() {
            return Ok(encoder.clone());
        }
        let encoder =
            Self::from_safetensors(include_bytes!("../../weights/efficientnet_lite0_f16.safetensors"))?;
        Ok(ENCODER.get_or_init(|| encoder).clone())
    }

    /// EfficientNet-Lite0 with the weights of a safetensors file: float16 or float32, batch norm
    /// folded, tensors named `stem`, `block0.expand` to `block15.project`, and `head`, each with
    /// `.weight` (outputs, inputs, rows, columns) and `.bias`. Others, such as a classifier, are
    /// ignored.
    ///
    /// # Errors
    /// [`Error::ImageWeights`] when the bytes are anything else, or hold a NaN or an infinity.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, Error> {
        let backbone = EfficientNet::new(&Weights::new(bytes)?)?;
        Ok(Self::new(Box::new(backbone), &hash(&[bytes])))
    }

    /// The network of a folder: `model.safetensors` with float16 or float32 weights, named as
    /// torchvision names those of its ResNets (ResNeXt and wide ones, too) and VGGs, or as Hugging
    /// Face names those of CLIP (`vision_model.…`), beside which a `config.json` lies; or the several
    /// files that a `model.safetensors.index.json` lists. The names and
    /// shapes tell which network it is, and tensors that it does not need are ignored; see
    /// `docs/backbones.md`.
    ///
    /// # Errors
    /// [`Error::EncoderFile`] when a file cannot be read or is too large, [`Error::ImageWeights`]
    /// naming the tensor or key that is missing, of a wrong shape or type, or not finite.
    pub fn from_folder(folder: &Path) -> Result<Self, Error> {
        Self::prepared(folder, Preparation::TORCHVISION)
    }

    /// [`from_folder`](Self::from_folder), but a ResNet or a VGG sees the middle 224 x 224 pixels of a
    /// picture without any resizing, as the public code of UCCH evaluates them; pictures smaller than that
    /// are enlarged to it. The id tells. Other networks prepare pictures as always.
    ///
    /// # Errors
    /// As [`from_folder`](Self::from_folder).
    pub fn from_folder_unresized(folder: &Path) -> Result<Self, Error> {
        Self::prepared(folder, Preparation::UCCH)
    }

    fn prepared(folder: &Path, preparation: Preparation) -> Result<Self, Error> {
        let files = read_weights(folder)?;
        let weights = Weights::of_files(&files)?;
        let config = match backbone::has_config(&weights) {
            true => read(&folder.join(CONFIG), MAX_CONFIG)?,
            false => Vec::new(),
        };
        let backbone = backbone::recognize(&weights, &config, preparation)?;
        let parts: Vec<&[u8]> = files.iter().chain([&config]).map(Vec::as_slice).collect();
        Ok(Self::new(backbone, &hash(&parts)))
    }

    /// The ResNet or VGG with these weights.
    pub(crate) fn from_weights(bytes: &[u8]) -> Result<Self, Error> {
        let backbone = backbone::recognize(&Weights::new(bytes)?, &[], Preparation::TORCHVISION)?;
        Ok(Self::new(backbone, &hash(&[bytes])))
    }

    fn new(backbone: Box<dyn Backbone>, hash: &str) -> Self {
        Self { id: format!("{}-{hash}", backbone.name()).into(), backbone: backbone.into() }
    }

    /// Names the weights and everything that is done to a picture: features with different ids
    /// cannot be compared.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Numbers of one picture's features, such as 1280 for EfficientNet-Lite0.
    pub fn width(&self) -> usize {
        self.backbone.width()
    }

    /// The features of each picture, row after row. Pictures of any size are brought to the size of
    /// the network, as `docs/backbones.md` tells, and are spread over the current rayon pool.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when weights of extreme size made a feature overflow.
    pub fn encode(&self, pictures: &[Picture]) -> Result<Vec<f32>, Error> {
        self.features(pictures.len(), |pictures_of, features| {
            self.backbone.features(&pictures[pictures_of], features);
        })
    }

    /// The features of squares as a ResNet or a VGG sees them: `side` pixels, 3 bytes a pixel.
    ///
    /// # Errors
    /// [`Error::ImageWeights`] for another network, and as [`encode`](Self::encode).
    pub(crate) fn encode_squares(&self, colors: &[u8], side: usize) -> Result<Vec<f32>, Error> {
        let Some(backbone) = self.backbone.of_squares() else {
            return Err(invalid("only ResNets and VGGs can be tuned".into()));
        };
        let bytes = side * side * 3;
        self.features(colors.len() / bytes, |squares, features| {
            let colors = &colors[squares.start * bytes..squares.end * bytes];
            backbone.square_features(colors, side, features);
        })
    }

    /// Has `write` write the features of ranges of `count` pictures, spread over the current rayon pool.
    fn features(
        &self,
        count: usize,
        write: impl Fn(Range<usize>, &mut [f32]) + Sync,
    ) -> Result<Vec<f32>, Error> {
        let width = self.width();
        let share = count.div_ceil(rayon::current_num_threads());
        let together = share.clamp(1, self.backbone.together());
        let mut features = vec![0.0; count * width];
        features.par_chunks_mut(together * width).enumerate().for_each(|(part, features)| {
            let first = part * together;
            write(first..first + features.len() / width, features);
        });
        match features.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(Error::NotFinite { modality: Modality::Image, row: at / width }),
            None => Ok(features),
        }
    }
}

/// The weights of a folder, file by file.
pub(super) fn read_weights(folder: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let mut left = MAX_WEIGHTS;
    let mut files = Vec::new();
    for path in weight_files(folder)? {
        let file = read(&path, left)?;
        left = left.saturating_sub(file.len() as u64);
        files.push(file);
    }
    Ok(files)
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::EncoderFile { path: path.into(), source };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > most {
        let reason = format!("it has {length} bytes, more than {most}");
        return Err(unreadable(std::io::Error::new(std::io::ErrorKind::FileTooLarge, reason)));
    }
    fs::read(path).map_err(unreadable)
}

/// The first 16 hexadecimal digits of the SHA-256 of `parts`, one after the other.
fn hash(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
