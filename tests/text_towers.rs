//! Text towers from a folder give the features that transformers and sentence-transformers compute.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use twinbit_hashing::{Error, TextTower};
use twinbit_tests::towers::{Words, expected, write_bert, write_clip};

fn texts(expected: &Value) -> Vec<&str> {
    expected["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn rows(rows: &Value) -> Vec<Vec<f32>> {
    serde_json::from_value(rows.clone()).unwrap()
}

/// Compares with rows made elsewhere: difference of any number, and cosine.
fn assert_equals(tower: &TextTower, texts: &[&str], expected: &[Vec<f32>], most: f32) {
    let features = tower.encode(texts).unwrap();
    assert_eq!((features.len(), expected.len()), (texts.len() * tower.width(), texts.len()));
    for ((text, got), expected) in texts.iter().zip(features.chunks_exact(tower.width())).zip(expected) {
        for (column, (got, expected)) in got.iter().zip(expected).enumerate() {
            assert!((got - expected).abs() <= most, "{text:?}, column {column}: {got} for {expected}");
        }
        let dot =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let cosine = dot(got, expected) / (dot(got, got) * dot(expected, expected)).sqrt();
        assert!(cosine >= 0.99999, "{text:?}: {cosine}");
    }
}

fn folder(write: impl Fn(&Path)) -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("tower");
    write(&path);
    (temporary, path)
}

#[test]
fn a_small_bert_gives_what_transformers_computes() {
    let expected = expected();
    for (prefix, words) in [("", Words::Tokenizer), ("bert.", Words::List)] {
        let (_temporary, path) = folder(|path| write_bert(path, prefix, words));
        let tower = TextTower::from_folder(&path).unwrap();
        assert_eq!(tower.width(), 32);
        assert!(tower.id().starts_with("bert-32-r1-"), "{}", tower.id());
        assert_equals(&tower, &texts(&expected), &rows(&expected["bert"]), 2e-6);
    }
}

#[test]
fn a_small_clip_gives_what_transformers_computes() {
    let expected = expected();
    let (_temporary, path) = folder(write_clip);
    let tower = TextTower::from_folder(&path).unwrap();
    assert_eq!(tower.width(), 24);
    assert!(tower.id().starts_with("clip-text-24-r1-"), "{}", tower.id());
    assert_equals(&tower, &texts(&expected), &rows(&expected["clip"]), 4e-6);
}

/// `TWINBIT_MINILM` names the folder of all-MiniLM-L6-v2, with the output of `make.py FOLDER` as `expected.json`
/// in it.
#[test]
fn minilm_gives_what_sentence_transformers_computes() {
    let Some(path) = std::env::var_os("TWINBIT_MINILM").map(PathBuf::from) else {
        return println!("skipped: TWINBIT_MINILM names no folder");
    };
    let expected: Value = serde_json::from_slice(&fs::read(path.join("expected.json")).unwrap()).unwrap();
    let tower = TextTower::from_folder(&path).unwrap();
    assert_equals(&tower, &texts(&expected), &rows(&expected["expected"]), 1e-6);
}

#[test]
fn features_do_not_depend_on_other_texts_or_threads() {
    let expected = expected();
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for write in [write_clip as fn(&Path), |path| write_bert(path, "", Words::List)] {
        let (_temporary, path) = folder(write);
        let tower = TextTower::from_folder(&path).unwrap();
        let texts: Vec<&str> = texts(&expected).into_iter().cycle().take(60).collect();
        let together = tower.encode(&texts).unwrap();
        for (text, expected) in texts.iter().zip(together.chunks_exact(tower.width())).rev() {
            assert_eq!(one_thread.install(|| tower.encode(&[text])).unwrap(), expected, "{text:?}");
        }
        assert!(tower.encode(&[]).unwrap().is_empty());
    }
}

#[test]
fn the_files_of_sentence_transformers_decide_about_pooling_and_length() {
    let (_temporary, path) = folder(|path| write_bert(path, "", Words::Tokenizer));
    let tower = || TextTower::from_folder(&path);
    let encode = |tower: &TextTower, text: &str| tower.encode(&[text]).unwrap();
    let plain = tower().unwrap();
    let length = |row: &[f32]| row.iter().map(|value| value * value).sum::<f32>().sqrt();
    assert!((length(&encode(&plain, "two dogs")) - 1.0).abs() < 1e-6);

    let module = |kind: &str, path: &str| {
        format!(r#"{{"type": "sentence_transformers.models.{kind}", "path": "{path}"}}"#)
    };
    let modules = |modules: &[String]| {
        fs::write(path.join("modules.json"), format!("[{}]", modules.join(","))).unwrap()
    };
    modules(&[module("Transformer", ""), module("Pooling", "1_Pooling")]);
    let long = tower().unwrap();
    assert!((length(&encode(&long, "two dogs")) - 1.0).abs() > 1e-3);
    assert_ne!(long.id(), plain.id());

    fs::create_dir(path.join("1_Pooling")).unwrap();
    let pooling = |json: &str| fs::write(path.join("1_Pooling/config.json"), json).unwrap();
    pooling(r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#);
    assert_ne!(encode(&tower().unwrap(), "two dogs"), encode(&long, "two dogs"));
    pooling(r#"{"pooling_mode": "mean"}"#);
    assert_eq!(tower().unwrap().id(), long.id());
    pooling(r#"{"pooling_mode_max_tokens": true}"#);
    assert!(matches!(tower(), Err(Error::TextTower { .. })));
    pooling("{}".replace("{}", r#"{"pooling_mode": "mean"}"#).as_str());

    fs::write(path.join("sentence_bert_config.json"), r#"{"max_seq_length": 4}"#).unwrap();
    let short = tower().unwrap();
    assert_eq!(encode(&short, "two dogs run"), encode(&short, "two dogs through the snow"));
    assert_ne!(encode(&long, "two dogs run"), encode(&long, "two dogs through the snow"));
    modules(&[module("Transformer", ""), module("Dense", "2_Dense")]);
    assert!(matches!(tower(), Err(Error::TextTower { .. })));
}

#[test]
fn the_id_follows_weights_tokenizer_and_settings() {
    let id = |change: &dyn Fn(&Path)| {
        let (_temporary, path) = folder(|path| write_bert(path, "", Words::Tokenizer));
        change(&path);
        TextTower::from_folder(&path).unwrap().id().to_owned()
    };
    let replace = |file: &'static str, from: &'static str, to: &'static str| {
        move |path: &Path| {
            let text = fs::read_to_string(path.join(file)).unwrap();
            assert!(text.contains(from));
            fs::write(path.join(file), text.replace(from, to)).unwrap();
        }
    };
    let plain = id(&|_| {});
    assert_eq!(id(&|_| {}), plain);
    assert_ne!(
        id(&replace("config.json", "\"num_attention_heads\": 4", "\"num_attention_heads\": 2")),
        plain
    );
    assert_ne!(id(&replace("config.json", "gelu", "relu")), plain);
    assert_ne!(id(&replace("tokenizer.json", "\"lowercase\": true", "\"lowercase\": false")), plain);
    assert_ne!(
        id(&|path| {
            let mut bytes = fs::read(path.join("model.safetensors")).unwrap();
            let last = bytes.len() - 4;
            bytes[last] ^= 1;
            fs::write(path.join("model.safetensors"), bytes).unwrap();
        }),
        plain
    );
}

#[test]
fn folders_that_cannot_be_used_are_refused_with_the_reason() {
    let refused = |change: &dyn Fn(&Path)| {
        let (_temporary, path) = folder(|path| write_bert(path, "", Words::Tokenizer));
        change(&path);
        let error = TextTower::from_folder(&path).unwrap_err();
        assert!(matches!(error, Error::TextTower { .. } | Error::EncoderFile { .. }), "{error}");
        std::error::Error::source(&error).map_or(error.to_string(), |source| format!("{error}: {source}"))
    };
    let replace = |file: &'static str, from: &'static str, to: &'static str| {
        move |path: &Path| {
            let text = fs::read_to_string(path.join(file)).unwrap();
            assert!(text.contains(from));
            fs::write(path.join(file), text.replace(from, to)).unwrap();
        }
    };
    let says = |change: &dyn Fn(&Path), part: &str| {
        let told = refused(change);
        assert!(told.contains(part), "{told}");
    };
    says(&|path| fs::remove_dir_all(path).unwrap(), "config.json");
    says(&|path| fs::remove_file(path.join("model.safetensors")).unwrap(), "model.safetensors");
    says(
        &|path| fs::remove_file(path.join("tokenizer.json")).unwrap(),
        "neither tokenizer.json nor vocab.txt",
    );
    says(&replace("config.json", "\"bert\"", "\"gpt2\""), "gpt2");
    says(&replace("config.json", "\"hidden_size\": 32", "\"hidden_size\": 16"), "shape");
    says(&replace("config.json", "\"num_attention_heads\": 4", "\"num_attention_heads\": 5"), "sizes");
    says(&replace("config.json", "\"num_attention_heads\": 4", "\"num_attention_heads\": 0"), "sizes");
    says(&replace("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"), "encoder.layer.2");
    says(&replace("config.json", "gelu", "swish"), "swish");
    says(&replace("tokenizer.json", "WordPiece", "WordPeace"), "tokenizer");
    let shorten = |length: usize| {
        move |path: &Path| {
            let bytes = fs::read(path.join("model.safetensors")).unwrap();
            fs::write(path.join("model.safetensors"), &bytes[..length.min(bytes.len() - 1)]).unwrap();
        }
    };
    for length in [0, 7, 8, 100, usize::MAX] {
        says(&shorten(length), "model.safetensors");
    }
    says(
        &|path| {
            let mut bytes = fs::read(path.join("model.safetensors")).unwrap();
            let last = bytes.len() - 4;
            bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
            fs::write(path.join("model.safetensors"), bytes).unwrap();
        },
        "NaN",
    );
}

#[test]
fn a_token_that_the_network_lacks_is_an_error() {
    let (_temporary, path) = folder(|path| write_bert(path, "", Words::Tokenizer));
    let text = fs::read_to_string(path.join("tokenizer.json")).unwrap();
    fs::write(path.join("tokenizer.json"), text.replace("\"dogs\": ", "\"dogs\": 10")).unwrap();
    let tower = TextTower::from_folder(&path).unwrap();
    assert!(matches!(tower.encode(&["a cat", "two dogs"]), Err(Error::TextTower { .. })));
    assert!(tower.encode(&["a cat"]).is_ok());
}
