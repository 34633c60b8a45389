//! Features of a text, computed by a pretrained network from a local folder.

mod bert;
mod clip;
mod folder;
mod network;
mod tensors;
mod tokens;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde::Deserialize;
use twinbit_kernels::Modality;

use self::folder::Folder;
use self::network::Network;
use self::tensors::Tensors;
use self::tokens::{TokenizerConfig, Tokens};
use crate::Error;
use crate::transformer::Scratch;

/// Part of the id: raised when tokenizing or the forward pass changes its results.
const REVISION: u32 = 1;
/// Most layers, and most numbers a token has in any of them.
const MOST_LAYERS: usize = 1 << 10;
const MOST_WIDTH: usize = 1 << 16;
/// Tokens that go through the layers together, so that weights are read once for all of them.
const TOKENS_A_BLOCK: usize = 196;

/// Turns texts into features by a pretrained network from a folder: a BERT-like sentence encoder (MiniLM and
/// others), or the text side of CLIP.
///
/// Cloning is cheap; clones share the weights. One text's features do not depend on the other texts of a call
/// nor on the number of threads, and they are the same on every machine that has fused multiply-adds in its
/// vector unit, as with [`ImageEncoder`](crate::ImageEncoder).
#[derive(Clone)]
pub struct TextTower {
    tower: Arc<Tower>,
}

struct Tower {
    id: String,
    folder: PathBuf,
    tokens: Tokens,
    network: Network,
}

/// The part of `config.json` that tells what the folder holds.
#[derive(Deserialize)]
struct Kind {
    model_type: String,
}

/// The part of CLIP's `config.json` for texts.
#[derive(Default, Deserialize)]
struct ClipConfig {
    #[serde(default)]
    text_config: Option<clip::Config>,
}

/// What the networks have in common.
struct Sizes {
    name: &'static str,
    vocabulary: usize,
    width: usize,
    layers: usize,
    heads: usize,
    places: usize,
}

impl fmt::Debug for TextTower {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("TextTower").field(&self.id()).finish()
    }
}

impl TextTower {
    /// Reads a folder in the layout of Hugging Face: `config.json`, `model.safetensors` (float32, float16 or
    /// bfloat16; or the files that `model.safetensors.index.json` lists) and `tokenizer.json`, or for BERT
    /// `vocab.txt`.
    ///
    /// | `model_type` | features |
    /// |---|---|
    /// | `bert` | as sentence-transformers does by `modules.json`, `1_Pooling/config.json` and `sentence_bert_config.json`; without them the mean of all tokens at unit length |
    /// | `clip` | the end token's row, normalized and projected (`text_embeds`; not of unit length) |
    ///
    /// Texts that are too long lose their end, but not the token that ends a text. Tensors of other networks
    /// in the file are passed over.
    ///
    /// # Errors
    /// [`Error::EncoderFile`] for a file that is missing or damaged, [`Error::TextTower`] for a network that
    /// is not supported.
    pub fn from_folder(path: &Path) -> Result<Self, Error> {
        let folder = Folder::new(path);
        let kind: Kind = required(&folder)?;
        let tokenizer_config: TokenizerConfig = folder.json("tokenizer_config.json")?.unwrap_or_default();
        let description = tokens::description(&folder, &tokenizer_config)?;
        let (network, sizes, most, digest) = match kind.model_type.as_str() {
            "bert" => {
                let config: bert::Config = required(&folder)?;
                let sizes = config.sizes();
                sizes.check(&folder)?;
                let limit =
                    tokenizer_config.model_max_length.map_or(usize::MAX, |most| most.max(0.0) as usize);
                let most = bert::longest(&folder)?.unwrap_or(limit).min(sizes.places);
                let head = bert::head(&folder)?;
                let context = format!("{config:?}, {head:?}");
                let mut tensors = sizes.open(&folder, &context, most, &description)?;
                (bert::network(&folder, &config, head, &mut tensors)?, sizes, most, tensors.digest())
            }
            "clip" | "clip_text_model" => {
                let config = match kind.model_type.as_str() {
                    "clip" => required::<ClipConfig>(&folder)?.text_config.unwrap_or_default(),
                    _ => required(&folder)?,
                };
                let sizes = config.sizes();
                sizes.check(&folder)?;
                let most = sizes.places;
                let mut tensors = sizes.open(&folder, &format!("{config:?}"), most, &description)?;
                (clip::network(&folder, &config, &mut tensors)?, sizes, most, tensors.digest())
            }
            other => {
                let reason =
                    format!("config.json says that it is a {other:?}; supported are \"bert\" and \"clip\"");
                return Err(folder.invalid(reason));
            }
        };
        let tokens = Tokens::new(&folder, &description, sizes.vocabulary, most)?;
        let id = format!("{}-{}-r{REVISION}-{digest}", sizes.name, network.outputs());
        Ok(Self { tower: Arc::new(Tower { id, folder: path.to_path_buf(), tokens, network }) })
    }

    /// Names the weights, the tokenizer and everything that is done to a text: features with different ids
    /// cannot be compared.
    pub fn id(&self) -> &str {
        &self.tower.id
    }

    /// Numbers of one text's features.
    pub fn width(&self) -> usize {
        self.tower.network.outputs()
    }

    /// The features of each text, row after row. Texts are spread over the current rayon pool.
    ///
    /// # Errors
    /// [`Error::TextTower`] when the tokenizer fails, [`Error::NotFinite`] when weights of extreme size made a
    /// feature overflow.
    pub fn encode(&self, texts: &[&str]) -> Result<Vec<f32>, Error> {
        let Tower { folder, tokens, network, .. } = &*self.tower;
        let tokens: Vec<Vec<u32>> = texts
            .par_iter()
            .map(|text| tokens.of(text).map_err(|reason| Folder::new(folder).invalid(reason)))
            .collect::<Result<_, _>>()?;
        let width = self.width();
        let blocks: Vec<Vec<f32>> = blocks(&tokens)
            .into_par_iter()
            .map_init(Scratch::default, |scratch, block| {
                let mut features = vec![0.0; block.len() * width];
                network.features(&tokens[block], scratch, &mut features);
                features
            })
            .collect();
        let features = blocks.concat();
        match features.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(Error::NotFinite { modality: Modality::Text, row: at / width }),
            None => Ok(features),
        }
    }
}

/// Texts that go through the network together.
fn blocks(texts: &[Vec<u32>]) -> Vec<Range<usize>> {
    let (mut blocks, mut start, mut tokens) = (Vec::new(), 0, 0);
    for (number, text) in texts.iter().enumerate() {
        if tokens > 0 && tokens + text.len() > TOKENS_A_BLOCK {
            blocks.push(start..number);
            (start, tokens) = (number, 0);
        }
        tokens += text.len();
    }
    if start < texts.len() {
        blocks.push(start..texts.len());
    }
    blocks
}

fn required<T: serde::de::DeserializeOwned>(folder: &Folder<'_>) -> Result<T, Error> {
    folder.json("config.json")?.ok_or_else(|| folder.invalid("it has no config.json"))
}

impl Sizes {
    fn check(&self, folder: &Folder<'_>) -> Result<(), Error> {
        let Self { width, layers, heads, places, vocabulary, .. } = *self;
        let fits = (1..=MOST_WIDTH).contains(&width) && (1..=MOST_LAYERS).contains(&layers);
        if fits && heads > 0 && width.is_multiple_of(heads) && places > 2 && vocabulary > 0 {
            return Ok(());
        }
        Err(folder.invalid("the sizes in config.json cannot be"))
    }

    /// Opens the weights, whose digest begins with all else that decides about features.
    fn open(
        &self,
        folder: &Folder<'_>,
        settings: &str,
        most: usize,
        description: &[u8],
    ) -> Result<Tensors, Error> {
        let context = format!("{}, {settings}, {most} tokens;", self.name);
        Tensors::open(&folder.weights()?, &[context.as_bytes(), description].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_all_texts_in_order_and_few_tokens() {
        let texts: Vec<Vec<u32>> = [3, 190, 4, 300, 1, 1].iter().map(|count| vec![0; *count]).collect();
        assert_eq!(blocks(&texts), [0..2, 2..3, 3..4, 4..6]);
        assert!(blocks(&[]).is_empty());
    }
}
