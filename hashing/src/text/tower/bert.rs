//! BERT (Devlin et al., 2019) with the pooling of sentence-transformers (Reimers and Gurevych, "Sentence-BERT",
//! EMNLP 2019).

use serde::Deserialize;

use super::Sizes;
use super::folder::Folder;
use super::network::{Network, Pooling};
use super::tensors::Tensors;
use crate::Error;
use crate::transformer::{self, Gate, LayerPlan, Mask, NormPlace, TensorSource, layer_norm};

/// What `config.json` says.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    hidden_act: String,
    layer_norm_eps: f32,
    #[serde(default)]
    position_embedding_type: Option<String>,
}

impl Config {
    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            name: "bert",
            vocabulary: self.vocab_size,
            width: self.hidden_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            places: self.max_position_embeddings,
        }
    }
}

/// What follows the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) pooling: Pooling,
    pub(super) is_unit: bool,
}

/// An entry of `modules.json`.
#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: String,
}

/// What a pooling module's `config.json` says: a flag for each way, or, in newer files, a name.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolingConfig {
    pooling_mode: Option<String>,
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_mean_sqrt_len_tokens: bool,
    pooling_mode_weightedmean_tokens: bool,
    pooling_mode_lasttoken: bool,
}

#[derive(Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
}

/// How sentence-transformers pools; without its files, the mean of all tokens at unit length.
pub(super) fn head(folder: &Folder<'_>) -> Result<Head, Error> {
    let Some(modules) = folder.json::<Vec<Module>>("modules.json")? else {
        return Ok(Head { pooling: pooling(folder, "1_Pooling")?, is_unit: true });
    };
    let mut head = Head { pooling: Pooling::Mean, is_unit: false };
    for Module { kind, path } in &modules {
        match kind.rsplit('.').next().unwrap_or(kind) {
            "Transformer" if path.is_empty() => {}
            "Pooling" if path.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') => {
                head.pooling = pooling(folder, path)?;
            }
            "Normalize" => head.is_unit = true,
            other => {
                return Err(folder
                    .invalid(format!("modules.json names {other:?} at {path:?}, which is not supported")));
            }
        }
    }
    Ok(head)
}

fn pooling(folder: &Folder<'_>, path: &str) -> Result<Pooling, Error> {
    let name = format!("{path}/config.json");
    let Some(config) = folder.json::<PoolingConfig>(&name)? else { return Ok(Pooling::Mean) };
    let flags = [
        ("cls", config.pooling_mode_cls_token),
        ("mean", config.pooling_mode_mean_tokens),
        ("max", config.pooling_mode_max_tokens),
        ("mean_sqrt_len", config.pooling_mode_mean_sqrt_len_tokens),
        ("weightedmean", config.pooling_mode_weightedmean_tokens),
        ("lasttoken", config.pooling_mode_lasttoken),
    ];
    let set: Vec<&str> = flags.into_iter().filter(|(_, is_set)| *is_set).map(|(mode, _)| mode).collect();
    let mode = config.pooling_mode.unwrap_or_else(|| set.join("+"));
    match mode.as_str() {
        "mean" => Ok(Pooling::Mean),
        "cls" => Ok(Pooling::First),
        _ => Err(folder.invalid(format!("{name} asks for pooling by {mode:?}; supported are mean and cls"))),
    }
}

/// The longest sequence that sentence-transformers gives the network, where its file says so.
pub(super) fn longest(folder: &Folder<'_>) -> Result<Option<usize>, Error> {
    Ok(folder.json::<SentenceConfig>("sentence_bert_config.json")?.and_then(|config| config.max_seq_length))
}

/// Reads the weights.
pub(super) fn network(
    folder: &Folder<'_>,
    config: &Config,
    head: Head,
    tensors: &mut Tensors,
) -> Result<Network, Error> {
    let Config {
        vocab_size,
        hidden_size: width,
        max_position_embeddings: places,
        layer_norm_eps: epsilon,
        ..
    } = *config;
    let Some(gate) = Gate::named(&config.hidden_act) else {
        return Err(folder.invalid(format!("the activation {:?} is not supported", config.hidden_act)));
    };
    if config.position_embedding_type.as_deref().is_some_and(|kind| kind != "absolute") {
        return Err(folder.invalid("its position embeddings are not absolute, which is not supported"));
    }
    let prefix = if tensors.has("bert.embeddings.word_embeddings.weight") { "bert." } else { "" };
    let embedding = |part: &str| format!("{prefix}embeddings.{part}.weight");
    let tokens = tensors.read(&embedding("word_embeddings"), &[vocab_size, width])?;
    let mut places = tensors.read(&embedding("position_embeddings"), &[places, width])?;
    // All tokens are of the first of two sentences.
    let kinds = tensors.read(&embedding("token_type_embeddings"), &[config.type_vocab_size, width])?;
    for place in places.chunks_exact_mut(width) {
        place.iter_mut().zip(&kinds).for_each(|(place, kind)| *place += kind);
    }
    let first_norm = Some(layer_norm(tensors, &format!("{prefix}embeddings.LayerNorm"), width, epsilon)?);
    let plan = LayerPlan {
        names: transformer::BERT,
        place: NormPlace::After,
        gate,
        heads: config.num_attention_heads,
        width,
        hidden: config.intermediate_size,
        epsilon,
    };
    let layers = (0..config.num_hidden_layers)
        .map(|number| plan.read(tensors, &format!("{prefix}encoder.layer.{number}")))
        .collect::<Result<_, _>>()?;
    Ok(Network {
        width,
        tokens,
        places,
        first_norm,
        layers,
        mask: Mask::Whole,
        pooling: head.pooling,
        last_norm: None,
        projection: None,
        is_unit: head.is_unit,
    })
}
