//! Image backbones from folders against PyTorch, with weights and pictures made by rule.
//!
//! `fixtures/backbones/make.py` computed what is expected and holds the rules.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rayon::prelude::*;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::Value;
use tempfile::TempDir;
use twinbit_hashing::{Error, ImageEncoder, Picture};

/// Largest difference of a feature, as a share of the picture's largest feature.
const TOLERANCE: f32 = 1e-4;

#[derive(Clone, Debug)]
struct Case {
    name: String,
    width: usize,
    /// Names and shapes.
    tensors: BTreeMap<String, Vec<usize>>,
    /// The text of `config.json`.
    config: Option<String>,
    /// Every so many of a picture's features are known.
    every: usize,
    features: Vec<Vec<f32>>,
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/backbones/features.json");
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    cases.into_iter().map(Case::new).collect()
}

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

impl Case {
    fn new(case: Value) -> Self {
        Self {
            name: case["name"].as_str().unwrap().into(),
            width: case["width"].as_u64().unwrap() as usize,
            tensors: serde_json::from_value(case["tensors"].clone()).unwrap(),
            config: (!case["config"].is_null()).then(|| case["config"].to_string()),
            every: case["every"].as_u64().unwrap() as usize,
            features: serde_json::from_value(case["features"].clone()).unwrap(),
        }
    }

    /// A folder with the case's weights.
    fn folder(&self) -> TempDir {
        let tensors = self.tensors.par_iter();
        let bytes: Vec<_> = tensors
            .map(|(name, shape)| values(name, shape).iter().flat_map(|value| value.to_le_bytes()).collect())
            .collect();
        self.folder_with(Dtype::F32, &bytes)
    }

    fn folder_with(&self, dtype: Dtype, bytes: &[Vec<u8>]) -> TempDir {
        let views = self
            .tensors
            .iter()
            .zip(bytes)
            .map(|((name, shape), bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.safetensors"), serialize(views, None).unwrap()).unwrap();
        if let Some(config) = &self.config {
            fs::write(folder.path().join("config.json"), config).unwrap();
        }
        folder
    }

    /// What a folder with these weights is refused for.
    fn refusal(&self) -> String {
        match ImageEncoder::from_folder(self.folder().path()) {
            Err(Error::ImageWeights { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// The same with some tensors changed.
    fn refusal_with(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<usize>>)) -> String {
        let mut changed = self.clone();
        change(&mut changed.tensors);
        changed.refusal()
    }
}

/// Uniform in -1..1: SplitMix64 counting from the FNV-1a hash of the name.
fn numbers(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    (1..=count as u64).map(move |at| {
        let mut z = seed.wrapping_add(at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 23) - 1.0
    })
}

/// A parameter: near 1 for scales, positive for variances, smaller the more numbers a sum has.
fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let drawn = numbers(name, shape.iter().product());
    let bound = (3.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
    if name.ends_with("running_var") {
        drawn.map(|value| (1.0 + 0.5 * value) as f32).collect()
    } else if shape.len() > 1 {
        drawn.map(|value| (value * bound) as f32).collect()
    } else if name.ends_with(".weight") {
        drawn.map(|value| (1.0 + 0.1 * value) as f32).collect()
    } else {
        drawn.map(|value| (0.1 * value) as f32).collect()
    }
}

/// Waves that get shorter to the right, different for each color.
fn picture(width: u32, height: u32) -> Picture {
    let level = |x: u32, y: u32, color: u32| {
        ((x * x * (color + 1) / 64 + y * 3 + color * 31) % 511).abs_diff(255) as u8
    };
    let pixels =
        (0..height).flat_map(|y| (0..width).flat_map(move |x| [0, 1, 2].map(|color| level(x, y, color))));
    Picture::from_rgb(width, height, pixels.collect()).unwrap()
}

fn pictures() -> [Picture; 3] {
    [picture(640, 427), picture(300, 501), picture(100, 77)]
}

/// The greatest difference from what is expected, relative to the greatest feature of the picture.
fn difference(case: &Case, features: &[f32]) -> f32 {
    assert_eq!(features.len(), case.features.len() * case.width);
    let rows = features.chunks_exact(case.width).zip(&case.features);
    let differences = rows.map(|(row, expected)| {
        let greatest = expected.iter().fold(0f32, |greatest, value| greatest.max(value.abs()));
        let known = row.iter().step_by(case.every).zip(expected);
        known.map(|(got, expected)| (got - expected).abs()).fold(0f32, f32::max) / greatest
    });
    differences.fold(0f32, f32::max)
}

#[test]
fn features_equal_pytorch_s() {
    for case in cases() {
        let encoder = ImageEncoder::from_folder(case.folder().path()).unwrap();
        assert!(encoder.id().starts_with(&format!("{}-", case.name)), "{}", encoder.id());
        assert_eq!(encoder.width(), case.width);
        let difference = difference(&case, &encoder.encode(&pictures()).unwrap());
        assert!(difference < TOLERANCE, "{}: {difference}", case.name);
    }
}

#[test]
fn features_do_not_depend_on_neighbors_or_threads() {
    let pictures: Vec<Picture> = (0..9).map(|at| picture(60 + 50 * at, 90)).collect();
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for case in ["resnet-basic-1-1-1-1-width64", "vgg11", "clip"].map(case) {
        let encoder = ImageEncoder::from_folder(case.folder().path()).unwrap();
        let together = encoder.encode(&pictures).unwrap();
        for (picture, expected) in pictures.iter().zip(together.chunks_exact(case.width)).rev() {
            let alone = one_thread.install(|| encoder.encode(std::slice::from_ref(picture))).unwrap();
            assert_eq!(alone, expected);
        }
        assert!(encoder.encode(&[]).unwrap().is_empty());
    }
}

#[test]
fn half_precision_comes_close() {
    let case = case("resnet-basic-1-1-1-1-width64");
    let halves = |(name, shape): (&String, &Vec<usize>)| {
        let values = values(name, shape);
        values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect()
    };
    let bytes: Vec<Vec<u8>> = case.tensors.iter().map(halves).collect();
    let folder = case.folder_with(Dtype::F16, &bytes);
    let encoder = ImageEncoder::from_folder(folder.path()).unwrap();
    let difference = difference(&case, &encoder.encode(&pictures()).unwrap());
    assert!(difference < 2e-3, "{difference}");
    let single = ImageEncoder::from_folder(case.folder().path()).unwrap();
    assert_ne!(single.id(), encoder.id());
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let resnet = case("resnet-basic-1-1-1-1-width64");
    for missing in
        ["bn1.running_var", "layer2.0.conv1.weight", "layer2.0.conv2.weight", "layer3.0.downsample.0.weight"]
    {
        let reason = resnet.refusal_with(|tensors| drop(tensors.remove(missing)));
        assert_eq!(reason, format!("tensor {missing} is missing"));
    }
    let wrong = |name: &str, shape: &[usize]| {
        resnet.refusal_with(|tensors| drop(tensors.insert(name.into(), shape.to_vec())))
    };
    assert!(wrong("layer1.0.conv2.weight", &[64, 32, 3, 3]).contains("layer1.0.conv2.weight has shape"));
    assert!(wrong("conv1.weight", &[64, 3, 4, 4]).contains("conv1.weight has a kernel of 4 rows"));
    assert!(
        wrong("conv1.weight", &[64, 3, 7]).contains("conv1.weight has shape [64, 3, 7], expected 4 sides")
    );
    assert!(wrong("bn1.bias", &[0]).contains("bn1.bias has shape [0]"));
    assert!(wrong("layer2.0.downsample.0.weight", &[64, 64, 1, 1]).contains("layer2.0.downsample"));
    let vgg = case("vgg11");
    let reason = vgg.refusal_with(|tensors| drop(tensors.remove("classifier.3.bias")));
    assert_eq!(reason, "tensor classifier.3.bias is missing");
    let reason = vgg.refusal_with(|tensors| drop(tensors.remove("features.18.weight")));
    assert_eq!(reason, "tensor features.18.weight is missing");
    let reason = vgg.refusal_with(|tensors| tensors.retain(|name, _| !name.starts_with("features.1")));
    assert!(reason.contains("leave room for 3 poolings"), "{reason}");
    let unknown = resnet.refusal_with(|tensors| drop(tensors.remove("layer1.0.conv1.weight")));
    assert!(unknown.contains("named like those of no known network"), "{unknown}");
}

#[test]
fn groups_that_would_take_too_much_memory_are_refused() {
    let case = case("resnet-bottleneck-1-1-1-1-groups8-width32");
    let reason = case.refusal_with(|tensors| {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            tensors.insert(format!("layer1.0.bn1.{part}"), vec![8192]);
        }
        tensors.insert("layer1.0.conv1.weight".into(), vec![8192, 64, 1, 1]);
        tensors.insert("layer1.0.conv2.weight".into(), vec![8192, 1, 3, 3]);
    });
    assert!(reason.contains("layer1.0.conv2.weight of shape [8192, 8192, 3, 3] is larger"), "{reason}");
}

#[test]
fn a_configuration_that_does_not_fit_is_told() {
    let clip = case("clip");
    let with = |key: &str, value: Value| {
        let mut config: Value = serde_json::from_str(clip.config.as_deref().unwrap()).unwrap();
        config["vision_config"][key] = value;
        Case { config: Some(config.to_string()), ..clip.clone() }.refusal()
    };
    assert!(with("hidden_act", "gelu".into()).contains("hidden_act of config.json is \"gelu\""));
    assert!(with("num_attention_heads", 5.into()).contains("5 attention heads of config.json"));
    assert!(with("num_hidden_layers", 3.into()).contains("vision_model.encoder.layers.2"));
    assert!(with("image_size", 0.into()).contains("image_size of config.json is 0"));
    assert!(with("patch_size", 16.into()).contains("patch_embedding.weight has shape"));
    assert!(with("image_size", 96.into()).contains("position_embedding.weight has shape"));
    assert!(with("layer_norm_eps", "much".into()).contains("config.json is not readable"));
    let without = clip.folder();
    fs::remove_file(without.path().join("config.json")).unwrap();
    let error = ImageEncoder::from_folder(without.path()).unwrap_err();
    assert!(matches!(&error, Error::EncoderFile { path, .. } if path.ends_with("config.json")), "{error}");
}

#[test]
fn an_image_tower_s_own_configuration_is_read_too() {
    let clip = case("clip");
    let config: Value = serde_json::from_str(clip.config.as_deref().unwrap()).unwrap();
    let alone = Case { config: Some(config["vision_config"].to_string()), ..clip.clone() };
    let encoders = [&clip, &alone].map(|case| ImageEncoder::from_folder(case.folder().path()).unwrap());
    let [whole, alone] = encoders.each_ref().map(|encoder| encoder.encode(&pictures()).unwrap());
    assert_eq!(whole, alone);
}

#[test]
fn folders_and_files_that_are_no_weights_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let error = ImageEncoder::from_folder(folder.path()).unwrap_err();
    assert!(matches!(&error, Error::EncoderFile { path, .. } if *path == file), "{error}");
    for bytes in [&b""[..], b"not safetensors", &[0xff; 64]] {
        fs::write(&file, bytes).unwrap();
        let error = ImageEncoder::from_folder(folder.path());
        assert!(matches!(error, Err(Error::ImageWeights { .. })));
    }
    let whole = case("resnet-basic-1-1-1-1-width64").folder();
    let bytes = fs::read(whole.path().join("model.safetensors")).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 4]).unwrap();
    assert!(matches!(ImageEncoder::from_folder(folder.path()), Err(Error::ImageWeights { .. })));
    fs::write(&file, []).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_len((4 << 30) + 1).unwrap();
    let error = ImageEncoder::from_folder(folder.path()).unwrap_err();
    assert!(matches!(error, Error::EncoderFile { .. }), "{error}");
}

/// Of pictures of 256 x 256 both preparations leave the same middle; of others they do not.
#[test]
fn networks_of_torchvision_may_see_the_middle_as_it_is() {
    for name in ["resnet-basic-1-1-1-1-width64", "vgg13-bn"] {
        let folder = case(name).folder();
        let usual = ImageEncoder::from_folder(folder.path()).unwrap();
        let unresized = ImageEncoder::from_folder_unresized(folder.path()).unwrap();
        assert_eq!(usual.id().replace("bilinear256-crop224", "crop224"), unresized.id());
        assert_ne!(usual.id(), unresized.id());
        let [same, other] = [picture(256, 256), picture(300, 280)].map(|picture| [picture]);
        assert_eq!(usual.encode(&same).unwrap(), unresized.encode(&same).unwrap(), "{name}");
        assert_ne!(usual.encode(&other).unwrap(), unresized.encode(&other).unwrap(), "{name}");
    }
    let clip = case("clip").folder();
    let ids = [ImageEncoder::from_folder, ImageEncoder::from_folder_unresized]
        .map(|open| open(clip.path()).unwrap().id().to_owned());
    assert_eq!(ids[0], ids[1], "CLIP has its own way");
}
