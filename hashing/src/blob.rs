//! The model file: safetensors, float16 weights, the specification as metadata.
//!
//! | part | contents |
//! |---|---|
//! | metadata `twinbit` | JSON: `version`, `spec` |
//! | `image.layers.I.weight`, `.bias`, `text.layers.I...` | float16, weights (outputs, inputs) |
//! | `text_featurizer` | optional, bytes: the fitted text featurizer |
//! | `training` | optional, bytes: JSON, the data, settings and course of its training |
//!
//! Nothing else may be in it. Files are read with suspicion: the header's length is bounded, shapes
//! follow from the bounded specification, and every number must be finite.

use half::f16;
use safetensors::tensor::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use twinbit_kernels::Modality;

use crate::Error;
use crate::id::ModelId;
use crate::net::{Layer, parameter_name};
use crate::record::TrainingRecord;
use crate::spec::ModelSpec;
use crate::text::TextFeaturizer;

/// Version of the layout. It stays 0, without an upgrade path, until twinbit 0.1.
const VERSION: u32 = 0;
/// Key of our metadata.
const METADATA: &str = "twinbit";
/// Name of the text featurizer's bytes.
const TEXT_FEATURIZER: &str = "text_featurizer";
/// Name of the training record's bytes.
const TRAINING: &str = "training";
/// Longest header accepted; a model's own is some kilobytes.
const MAX_HEADER: u64 = 1 << 20;

/// A model taken apart.
#[derive(Clone)]
pub(crate) struct Contents {
    pub(crate) spec: ModelSpec,
    pub(crate) networks: [Vec<Layer<f16>>; 2],
    pub(crate) text_featurizer: Option<TextFeaturizer>,
    pub(crate) training: Option<TrainingRecord>,
}

#[derive(Deserialize)]
struct VersionIn {
    version: u32,
}

#[derive(Deserialize)]
struct MetadataIn {
    spec: ModelSpec,
}

/// Writes a model; the same model gives the same bytes. (The layout is safetensors': the length of a
/// JSON header, the header, then the tensors without gaps.)
pub(crate) fn write(contents: &Contents) -> Vec<u8> {
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ METADATA: metadata(&contents.spec) }));
    let mut data = Vec::new();
    let mut tensor = |name: String, dtype: &str, shape: &[usize], bytes: &[u8]| {
        let start = data.len();
        data.extend_from_slice(bytes);
        let offsets = [start, data.len()];
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        header.insert(name, entry);
    };
    for (modality, layers) in Modality::ALL.into_iter().zip(&contents.networks) {
        for (index, layer) in layers.iter().enumerate() {
            let shape = [layer.outputs, layer.inputs];
            let name = |part| parameter_name(modality, 2 * index + part);
            tensor(name(0), "F16", &shape, &half_bytes(&layer.weight));
            tensor(name(1), "F16", &shape[..1], &half_bytes(&layer.bias));
        }
    }
    if let Some(featurizer) = &contents.text_featurizer {
        let bytes = featurizer.to_bytes();
        tensor(TEXT_FEATURIZER.into(), "U8", &[bytes.len()], &bytes);
    }
    if let Some(record) = &contents.training {
        let bytes = json!(record).to_string();
        tensor(TRAINING.into(), "U8", &[bytes.len()], bytes.as_bytes());
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.append(&mut header);
    file.append(&mut data);
    file
}

/// Reads a model, trusting nothing.
pub(crate) fn read(bytes: &[u8]) -> Result<Contents, Error> {
    let header = bytes.first_chunk::<8>().map(|length| u64::from_le_bytes(*length));
    match header {
        None => return Err(malformed("it is shorter than 8 bytes")),
        Some(length) if length > MAX_HEADER => return Err(malformed("its header is too long")),
        Some(_) => {}
    }
    let unreadable = |error: safetensors::SafeTensorError| malformed(error.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(unreadable)?;
    let metadata = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA));
    let spec = read_spec(metadata.ok_or_else(|| malformed("it has no twinbit metadata"))?)?;
    let mut expected = 0;
    let mut networks = [Vec::new(), Vec::new()];
    for (modality, layers) in Modality::ALL.into_iter().zip(&mut networks) {
        for (index, (outputs, inputs)) in spec.shapes(modality).into_iter().enumerate() {
            let weight = parameter_name(modality, 2 * index);
            let bias = parameter_name(modality, 2 * index + 1);
            layers.push(Layer {
                inputs,
                outputs,
                weight: half_values(&tensors, &weight, &[outputs, inputs])?,
                bias: half_values(&tensors, &bias, &[outputs])?,
            });
            expected += 2;
        }
    }
    let mut bytes = |name: &str| match tensors.tensor(name) {
        Ok(view) if view.dtype() == Dtype::U8 => {
            expected += 1;
            Ok(Some(view.data()))
        }
        Ok(_) => Err(malformed(format!("its {name} is not made of bytes"))),
        Err(_) => Ok(None),
    };
    let text_featurizer = bytes(TEXT_FEATURIZER)?.map(|bytes| read_featurizer(bytes, &spec)).transpose()?;
    let training = bytes(TRAINING)?.map(read_training).transpose()?;
    if tensors.len() != expected {
        return Err(malformed("it holds tensors that its specification does not know"));
    }
    Ok(Contents { spec, networks, text_featurizer, training })
}

/// The id of a model: SHA-256 over the specification, every tensor's name and bytes, the text
/// featurizer and the record of its training, so that it does not depend on how a file arranges them.
pub(crate) fn content_id(contents: &Contents) -> ModelId {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(metadata(&contents.spec).as_bytes());
    for (modality, layers) in Modality::ALL.into_iter().zip(&contents.networks) {
        for (index, values) in layers.iter().flat_map(|l| [&l.weight, &l.bias]).enumerate() {
            part(parameter_name(modality, index).as_bytes());
            part(&half_bytes(values));
        }
    }
    if let Some(featurizer) = &contents.text_featurizer {
        part(&featurizer.to_bytes());
    }
    if let Some(record) = &contents.training {
        part(json!(record).to_string().as_bytes());
    }
    let mut id = [0; 16];
    id.iter_mut().zip(hash.finalize().iter()).for_each(|(id, digest)| *id = *digest);
    ModelId::from_bytes(id)
}

fn read_spec(json: &str) -> Result<ModelSpec, Error> {
    let unreadable = |error| malformed(format!("its specification is not readable: {error}"));
    let VersionIn { version } = serde_json::from_str(json).map_err(unreadable)?;
    if version > VERSION {
        return Err(Error::ModelVersion { found: version, supported: VERSION });
    }
    let MetadataIn { spec } = serde_json::from_str(json).map_err(unreadable)?;
    match spec.fault() {
        Some(fault) => Err(malformed(fault)),
        None => Ok(spec),
    }
}

fn read_featurizer(bytes: &[u8], spec: &ModelSpec) -> Result<TextFeaturizer, Error> {
    let featurizer = TextFeaturizer::from_bytes(bytes)?;
    if featurizer.id() != spec.text_featurizer || featurizer.width() != spec.text_width {
        return Err(malformed("its text featurizer is not the one its specification names"));
    }
    Ok(featurizer)
}

fn read_training(bytes: &[u8]) -> Result<TrainingRecord, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| malformed(format!("the record of its training is not readable: {error}")))
}

fn half_values(tensors: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f16>, Error> {
    let view = tensors.tensor(name).map_err(|_| malformed(format!("tensor {name} is missing")))?;
    if view.dtype() != Dtype::F16 || view.shape() != shape {
        let (dtype, got) = (view.dtype(), view.shape());
        let reason = format!("tensor {name} is {dtype:?} {got:?} and should be F16 {shape:?}");
        return Err(malformed(reason));
    }
    let (pairs, _) = view.data().as_chunks::<2>();
    let values: Vec<f16> = pairs.iter().map(|&pair| f16::from_le_bytes(pair)).collect();
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(malformed(format!("tensor {name} holds a NaN or an infinity"))),
    }
}

fn half_bytes(values: &[f16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The specification as JSON.
fn metadata(spec: &ModelSpec) -> String {
    let spec = json!({
        "bits": spec.bits.bits(),
        "image_width": spec.image_width,
        "text_width": spec.text_width,
        "hidden": spec.hidden,
        "image_layers": spec.image_layers,
        "text_layers": spec.text_layers,
        "image_featurizer": spec.image_featurizer,
        "text_featurizer": spec.text_featurizer,
    });
    json!({ "version": VERSION, "spec": spec }).to_string()
}

fn malformed(reason: impl Into<String>) -> Error {
    Error::Model { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinbit_kernels::CodeBits;

    fn contents() -> Contents {
        let spec = ModelSpec {
            bits: CodeBits::new(8).unwrap(),
            image_width: 3,
            text_width: 2,
            hidden: 4,
            image_layers: 2,
            text_layers: 1,
            image_featurizer: "efficientnet-lite0".into(),
            text_featurizer: "none".into(),
        };
        let networks = Modality::ALL.map(|modality| {
            let layer = |(outputs, inputs)| Layer {
                inputs,
                outputs,
                weight: (0..outputs * inputs).map(|i| f16::from_f32(i as f32 / 8.0)).collect(),
                bias: vec![f16::from_f32(-0.5); outputs],
            };
            spec.shapes(modality).into_iter().map(layer).collect()
        });
        Contents { spec, networks, text_featurizer: None, training: None }
    }

    /// The file with its header changed.
    fn with_header(change: impl Fn(String) -> String) -> Vec<u8> {
        let file = write(&contents());
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let header = String::from_utf8(file[8..8 + length].to_vec()).unwrap();
        let header = change(header);
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &file[8 + length..]].concat()
    }

    fn refused(bytes: &[u8]) -> String {
        match read(bytes) {
            Err(Error::Model { reason }) => reason,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("accepted"),
        }
    }

    #[test]
    fn the_file_is_safetensors_with_the_specification_inside() {
        let file = write(&contents());
        let tensors = SafeTensors::deserialize(&file).unwrap();
        assert_eq!(tensors.len(), 6);
        assert_eq!(tensors.tensor("image.layers.0.weight").unwrap().shape(), [4, 3]);
        let again = read(&file).unwrap();
        assert_eq!(again.spec, contents().spec);
        assert_eq!(again.networks, contents().networks);
        assert_eq!(content_id(&again), content_id(&contents()));
    }

    #[test]
    fn the_id_follows_weights_and_specification() {
        let id = content_id(&contents());
        let mut other = contents();
        other.networks[1][0].bias[0] = f16::ZERO;
        assert_ne!(content_id(&other), id);
        let mut other = contents();
        other.spec.image_featurizer = "none".into();
        assert_ne!(content_id(&other), id);
    }

    #[test]
    fn every_cut_is_refused() {
        let file = write(&contents());
        for length in 0..file.len() {
            refused(&file[..length]);
        }
    }

    #[test]
    fn no_changed_byte_of_the_header_is_a_panic() {
        let file = write(&contents());
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        for at in 0..8 + length {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << bit;
                let _ = read(&damaged);
            }
        }
    }

    #[test]
    fn hostile_headers_are_refused() {
        refused(&u64::MAX.to_le_bytes());
        refused(&[&(1u64 << 40).to_le_bytes()[..], &[b' '; 64]].concat());
        let huge = |from: &'static str, to: &'static str| {
            refused(&with_header(move |header| header.replace(from, to)))
        };
        assert!(huge(r#"\"hidden\":4"#, r#"\"hidden\":9000000000"#).contains("hidden"));
        assert!(huge(r#"\"image_layers\":2"#, r#"\"image_layers\":4000"#).contains("layers"));
        assert!(huge(r#"\"hidden\":4"#, r#"\"hidden\":5"#).contains("should be F16"));
        assert!(huge(r#"\"bits\":8"#, r#"\"bits\":9"#).contains("specification"));
        assert!(huge(r#"text.layers.0.bias"#, r#"text.layers.9.bias"#).contains("missing"));
        assert!(huge(r#""twinbit""#, r#""other""#).contains("metadata"));
        assert!(huge(r#"F16"#, r#"I16"#).contains("should be F16"));
    }

    #[test]
    fn newer_versions_are_refused() {
        let newer = with_header(|h| h.replace(r#"\"version\":0"#, r#"\"version\":7"#));
        assert!(matches!(read(&newer), Err(Error::ModelVersion { found: 7, supported: VERSION })));
    }

    #[test]
    fn weights_that_are_no_numbers_are_refused() {
        let mut contents = contents();
        contents.networks[0][1].weight[2] = f16::INFINITY;
        assert!(refused(&write(&contents)).contains("image.layers.1.weight"));
    }

    #[test]
    fn foreign_tensors_are_refused() {
        let extra = with_header(|header| {
            let entry = r#""more":{"data_offsets":[0,0],"dtype":"U8","shape":[0]},"image.layers.0.bias""#;
            header.replacen(r#""image.layers.0.bias""#, entry, 1)
        });
        assert!(refused(&extra).contains("does not know"));
    }
}
