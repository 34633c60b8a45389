//! Folders with small random text towers, as `tests/fixtures/text_towers/make.py` makes them.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

/// Names and shapes of tensors.
type Shapes = Vec<(String, Vec<usize>)>;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../fixtures/text_towers/", $name))
    };
}

/// Texts, and what the small towers make of them.
pub fn expected() -> Value {
    serde_json::from_str(fixture!("expected.json")).unwrap()
}

/// Which file tells the tokens of the small BERT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// `tokenizer.json`
    Tokenizer,
    /// `vocab.txt`
    List,
}

/// Writes the small BERT: 32 numbers, 2 layers, at most 48 tokens. Tensors are named with `prefix` before.
pub fn write_bert(folder: &Path, prefix: &str, words: Words) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), fixture!("bert/config.json")).unwrap();
    match words {
        Words::Tokenizer => fs::write(folder.join("tokenizer.json"), fixture!("bert/tokenizer.json")),
        Words::List => fs::write(folder.join("vocab.txt"), fixture!("bert/vocab.txt")),
    }
    .unwrap();
    fs::write(folder.join("model.safetensors"), safetensors(&bert_shapes(), prefix)).unwrap();
}

/// Writes the text side of the small CLIP: 32 numbers, projected to 24, 2 layers, at most 16 tokens.
pub fn write_clip(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), fixture!("clip/config.json")).unwrap();
    fs::write(folder.join("tokenizer.json"), fixture!("clip/tokenizer.json")).unwrap();
    fs::write(folder.join("model.safetensors"), safetensors(&clip_shapes(), "")).unwrap();
}

/// Writes both sides of the small CLIP: pictures of 32 by 32 pixels in 16 patches, projected to 24, too.
pub fn write_whole_clip(folder: &Path) {
    write_clip(folder);
    let mut config: Value = serde_json::from_str(fixture!("clip/config.json")).unwrap();
    config["vision_config"] = json!({
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "image_size": 32, "patch_size": 8, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let shapes = [clip_shapes(), vision_shapes()].concat();
    fs::write(folder.join("model.safetensors"), safetensors(&shapes, "")).unwrap();
}

/// Numbers in -0.25..0.25 that follow from the tensor's name; near 1 for the weights of layer norms.
fn numbers(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let seed = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let is_norm = name.ends_with("weight") && name.to_lowercase().contains("norm");
    (1..=count as u64).map(move |step| {
        let mut z = seed.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let value = (z >> 40) as f32 / (1 << 23) as f32 - 1.0;
        if is_norm { 1.0 + value / 8.0 } else { value / 4.0 }
    })
}

fn safetensors(shapes: &Shapes, prefix: &str) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, shape) in shapes {
        let start = data.len();
        data.extend(numbers(name, shape.iter().product()).flat_map(f32::to_le_bytes));
        let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] });
        header.insert(format!("{prefix}{name}"), entry);
    }
    let header = Value::Object(header).to_string().into_bytes();
    [(header.len() as u64).to_le_bytes().as_slice(), &header, &data].concat()
}

fn bert_shapes() -> Shapes {
    let mut shapes = Shapes::new();
    let words = fixture!("bert/vocab.txt").lines().count();
    for (part, rows) in [("word", words), ("position", 48), ("token_type", 2)] {
        shapes.push((format!("embeddings.{part}_embeddings.weight"), vec![rows, 32]));
    }
    linear(&mut shapes, "embeddings.LayerNorm", None, 32);
    for layer in 0..2 {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        for part in ["query", "key", "value"] {
            linear(&mut shapes, &name(&format!("attention.self.{part}")), Some(32), 32);
        }
        linear(&mut shapes, &name("attention.output.dense"), Some(32), 32);
        linear(&mut shapes, &name("attention.output.LayerNorm"), None, 32);
        linear(&mut shapes, &name("intermediate.dense"), Some(32), 64);
        linear(&mut shapes, &name("output.dense"), Some(64), 32);
        linear(&mut shapes, &name("output.LayerNorm"), None, 32);
    }
    shapes
}

fn clip_shapes() -> Shapes {
    let mut shapes = Shapes::new();
    for (part, rows) in [("token", 522), ("position", 16)] {
        shapes.push((format!("text_model.embeddings.{part}_embedding.weight"), vec![rows, 32]));
    }
    clip_layers(&mut shapes, "text_model");
    linear(&mut shapes, "text_model.final_layer_norm", None, 32);
    shapes.push(("text_projection.weight".to_owned(), vec![24, 32]));
    shapes
}

fn vision_shapes() -> Shapes {
    let embedding = |part: &str| format!("vision_model.embeddings.{part}");
    let mut shapes = vec![
        (embedding("class_embedding"), vec![32]),
        (embedding("patch_embedding.weight"), vec![32, 3, 8, 8]),
        (embedding("position_embedding.weight"), vec![17, 32]),
    ];
    // The name is misspelled in CLIP's files.
    linear(&mut shapes, "vision_model.pre_layrnorm", None, 32);
    clip_layers(&mut shapes, "vision_model");
    linear(&mut shapes, "vision_model.post_layernorm", None, 32);
    shapes.push(("visual_projection.weight".to_owned(), vec![24, 32]));
    shapes
}

fn clip_layers(shapes: &mut Shapes, side: &str) {
    for layer in 0..2 {
        let name = |part: &str| format!("{side}.encoder.layers.{layer}.{part}");
        for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            linear(shapes, &name(&format!("self_attn.{part}")), Some(32), 32);
        }
        linear(shapes, &name("layer_norm1"), None, 32);
        linear(shapes, &name("mlp.fc1"), Some(32), 64);
        linear(shapes, &name("mlp.fc2"), Some(64), 32);
        linear(shapes, &name("layer_norm2"), None, 32);
    }
}

/// Weight and bias of a linear layer, or, without inputs, of a layer norm.
fn linear(shapes: &mut Shapes, name: &str, inputs: Option<usize>, outputs: usize) {
    shapes.push((format!("{name}.weight"), [Some(outputs), inputs].into_iter().flatten().collect()));
    shapes.push((format!("{name}.bias"), vec![outputs]));
}

/// Spreads the tensors of a folder's `model.safetensors` over several files, with the list that names them.
pub fn divide_weights(folder: &Path, files: usize) {
    let whole = fs::read(folder.join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let tensors: Map<String, Value> = serde_json::from_slice(&whole[8..8 + length]).unwrap();
    let mut parts = vec![(Map::new(), Vec::new()); files];
    let mut list = Map::new();
    for (number, (name, mut tensor)) in tensors.into_iter().enumerate() {
        let (header, data) = &mut parts[number % files];
        let [begin, end] = [0, 1].map(|at| tensor["data_offsets"][at].as_u64().unwrap() as usize);
        let start = data.len();
        data.extend(&whole[8 + length + begin..8 + length + end]);
        tensor["data_offsets"] = json!([start, data.len()]);
        list.insert(name.clone(), json!(format!("part-{}.safetensors", number % files)));
        header.insert(name, tensor);
    }
    for (number, (header, data)) in parts.iter().enumerate() {
        let header = serde_json::to_vec(header).unwrap();
        let file = [(header.len() as u64).to_le_bytes().as_slice(), &header, data].concat();
        fs::write(folder.join(format!("part-{number}.safetensors")), file).unwrap();
    }
    let list = json!({ "metadata": {}, "weight_map": list }).to_string();
    fs::write(folder.join("model.safetensors.index.json"), list).unwrap();
    fs::remove_file(folder.join("model.safetensors")).unwrap();
}
