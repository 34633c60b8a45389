//! CLIP's image tower with Hugging Face's names: a vision transformer and its projection.
//!
//! Radford and others, "Learning Transferable Visual Models From Natural Language Supervision", ICML
//! 2021; Dosovitskiy and others, "An Image is Worth 16x16 Words", ICLR 2021. Features are the projected
//! embeddings, not normalized.

use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;

use super::backbone::Backbone;
use super::convolution::Convolution;
use super::picture::Picture;
use super::pointwise::{Activation, Pointwise};
use super::preparation::{Middle, Preparation};
use super::resample::Filter;
use super::scratch::{Scratches, sized};
use super::weights::{Weights, invalid};
use crate::Error;
use crate::transformer::{self, Gate, Layer, LayerNorm, LayerPlan, Mask, NormPlace, layer_norm};

/// Part of the id: raised when the forward pass or the preparation changes its results.
const REVISION: u32 = 1;
/// Pictures that go through the layers at once: whole groups of rows for the product, whatever the
/// number of tokens.
const TOGETHER: usize = 7;
/// Largest picture side and number of layers accepted.
const MOST_SIDE: usize = 1024;
const MOST_LAYERS: usize = 256;

/// The image tower's part of `config.json`. What is missing is as in Hugging Face's defaults, which
/// are ViT-B/32's.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Config {
    num_hidden_layers: usize,
    num_attention_heads: usize,
    image_size: usize,
    patch_size: usize,
    layer_norm_eps: f64,
    hidden_act: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            num_hidden_layers: 12,
            num_attention_heads: 12,
            image_size: 224,
            patch_size: 32,
            layer_norm_eps: 1e-5,
            hidden_act: "quick_gelu".into(),
        }
    }
}

/// The layers with their weights.
pub(super) struct Clip {
    preparation: Preparation,
    patches: Convolution,
    /// The first token of every picture.
    class: Vec<f32>,
    /// Added to the tokens, row after row.
    positions: Vec<f32>,
    before: LayerNorm,
    layers: Vec<Layer>,
    after: LayerNorm,
    projection: Pointwise,
    scratches: Scratches<Scratch>,
}

/// Activations.
#[derive(Default)]
struct Scratch {
    prepared: Vec<f32>,
    rows: Vec<f32>,
    /// Of all pictures, one after the other.
    tokens: Vec<f32>,
    layer: transformer::Scratch,
    /// The tokens that stand for the pictures.
    classes: Vec<f32>,
}

impl Clip {
    /// Takes the weights out of a file of Hugging Face's, sizes as in `config`, a `config.json`.
    pub(super) fn new(weights: &Weights, config: &[u8]) -> Result<Self, Error> {
        let config = Config::read(config)?;
        let name = "vision_model.embeddings";
        let tensor = format!("{name}.patch_embedding.weight");
        let [width, ..] = weights.sizes::<4>(&tensor)?;
        let side = config.image_size / config.patch_size;
        if !width.is_multiple_of(config.num_attention_heads) {
            let heads = config.num_attention_heads;
            return Err(invalid(format!(
                "{heads} attention heads of config.json do not divide the width {width}"
            )));
        }
        let patch = weights.read(&tensor, &[width, 3, config.patch_size, config.patch_size])?;
        let [hidden, _] = weights.sizes("vision_model.encoder.layers.0.mlp.fc1.weight")?;
        let plan = LayerPlan {
            names: transformer::CLIP,
            place: NormPlace::Before,
            gate: Gate::QuickGelu,
            heads: config.num_attention_heads,
            width,
            hidden,
            epsilon: config.layer_norm_eps as f32,
        };
        let mut source = weights;
        let layers = (0..config.num_hidden_layers)
            .map(|at| plan.read(&mut source, &format!("vision_model.encoder.layers.{at}")))
            .collect::<Result<_, _>>()?;
        let mut norm = |name: &str| layer_norm(&mut source, name, width, plan.epsilon);
        let [outputs, _] = weights.sizes("visual_projection.weight")?;
        let projection = weights.read("visual_projection.weight", &[outputs, width])?;
        let positions = format!("{name}.position_embedding.weight");
        Ok(Self {
            preparation: Preparation {
                resized: Some(config.image_size),
                side: config.image_size,
                filter: Filter::Bicubic,
                middle: Middle::Down,
                mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
                deviation: [0.268_629_54, 0.261_302_6, 0.275_777_1],
            },
            patches: Convolution::new(
                [3, config.patch_size],
                [config.patch_size, 0],
                &patch,
                &vec![0.0; width],
            ),
            class: weights.read(&format!("{name}.class_embedding"), &[width])?,
            positions: weights.read(&positions, &[1 + side * side, width])?,
            // The name is misspelled in the files.
            before: norm("vision_model.pre_layrnorm")?,
            layers,
            after: norm("vision_model.post_layernorm")?,
            projection: Pointwise::new(width, outputs, &projection, &vec![0.0; outputs]),
            scratches: Scratches::default(),
        })
    }

    /// The tokens of one picture, before the layers.
    fn embed(&self, picture: &Picture, scratch: &mut Scratch, tokens: &mut [f32]) {
        let side = self.preparation.side;
        let prepared = sized(&mut scratch.prepared, side * side * 3);
        self.preparation.prepare(picture, prepared);
        let width = self.class.len();
        let (class, patches) = tokens.split_at_mut(width);
        class.copy_from_slice(&self.class);
        self.patches.apply(side, prepared, &mut scratch.rows, patches, Activation::None);
        for (token, position) in tokens.iter_mut().zip(&self.positions) {
            *token += position;
        }
        self.before.apply(tokens);
    }
}

impl Backbone for Clip {
    fn name(&self) -> String {
        format!("clip-vision-{}-r{REVISION}", self.preparation.name())
    }

    fn width(&self) -> usize {
        self.projection.outputs()
    }

    fn together(&self) -> usize {
        TOGETHER
    }

    fn features(&self, pictures: &[Picture], features: &mut [f32]) {
        let width = self.class.len();
        let sequence = self.positions.len();
        self.scratches.lend(|scratch| {
            let mut tokens = std::mem::take(&mut scratch.tokens);
            let all = sized(&mut tokens, pictures.len() * sequence);
            for (picture, tokens) in pictures.iter().zip(all.chunks_exact_mut(sequence)) {
                self.embed(picture, scratch, tokens);
            }
            let length = sequence / width;
            let sequences: Vec<Range<usize>> =
                (0..pictures.len()).map(|at| at * length..(at + 1) * length).collect();
            for layer in &self.layers {
                layer.apply(all, &sequences, Mask::Whole, &mut scratch.layer);
            }
            let classes = sized(&mut scratch.classes, pictures.len() * width);
            for (tokens, class) in all.chunks_exact(sequence).zip(classes.chunks_exact_mut(width)) {
                class.copy_from_slice(&tokens[..width]);
            }
            self.after.apply(classes);
            self.projection.apply(classes, features, Activation::None);
            scratch.tokens = tokens;
        });
    }
}

impl Config {
    /// Reads a CLIP model's file, or that of its image tower alone.
    fn read(json: &[u8]) -> Result<Self, Error> {
        let unreadable = |error: serde_json::Error| invalid(format!("config.json is not readable: {error}"));
        let mut whole: Value = serde_json::from_slice(json).map_err(unreadable)?;
        let config = match whole.get_mut("vision_config").map(Value::take) {
            // Older files repeat the settings of the tower as null.
            Some(Value::Null) => Value::Object(serde_json::Map::new()),
            Some(vision) => vision,
            None => whole,
        };
        let config: Self = serde_json::from_value(config).map_err(unreadable)?;
        let range = |key: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                Ok(())
            } else {
                Err(invalid(format!("{key} of config.json is {value}, expected 1 to {most}")))
            }
        };
        range("image_size", config.image_size, MOST_SIDE)?;
        range("patch_size", config.patch_size, config.image_size)?;
        range("num_hidden_layers", config.num_hidden_layers, MOST_LAYERS)?;
        range("num_attention_heads", config.num_attention_heads, MOST_LAYERS)?;
        if !(config.layer_norm_eps > 0.0 && config.layer_norm_eps < 1.0) {
            let found = config.layer_norm_eps;
            return Err(invalid(format!("layer_norm_eps of config.json is {found}, expected 0 to 1")));
        }
        if config.hidden_act != "quick_gelu" {
            let found = &config.hidden_act;
            return Err(invalid(format!("hidden_act of config.json is {found:?}, expected quick_gelu")));
        }
        Ok(config)
    }
}
