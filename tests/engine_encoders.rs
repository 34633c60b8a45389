//! Encoders from folders through the library: one place for many databases, and other places for one opening.

use std::fs;
use std::path::Path;

use half::f16;
use twinbit::{
    Against, CodeBits, Collection, Database, EncoderError, Error, IdKind, ImageEncoding, Input, Modality,
    Picture, Record, RecordId, Schema, TextEncoding, TextFeaturizer, TrainConfig,
};
use twinbit_hashing::{ImageEncoder, TextTower};
use twinbit_tests::towers::{Words, divide_weights, write_bert, write_whole_clip};

const COLORS: [(&str, [f32; 4]); 4] = [
    ("red", [1.0, 0.0, 0.0, 0.2]),
    ("blue", [0.0, 1.0, 0.0, 0.1]),
    ("black", [0.0, 0.0, 1.0, 0.4]),
    ("white", [0.5, 0.5, 0.0, 0.9]),
];

fn schema(folder: &Path) -> Schema {
    let tower = TextEncoding::Folder(folder.to_path_buf());
    Schema::new(CodeBits::B32).ids(IdKind::U64).image_features(4).text_encoder(tower)
}

/// Records with features of a color and a text that names it.
fn fill(collection: &Collection) {
    let mut writer = collection.writer().unwrap();
    let records = (0..96_u64).map(|id| {
        let (name, features) = COLORS[id as usize % 4];
        let shade = id as f32 / 500.0;
        let features: Vec<f32> = features.iter().map(|value| value + shade).collect();
        Record::new(id).image(Input::features(features)).text(format!("a {name} hat {}", id / 4))
    });
    assert_eq!(writer.extend(records).unwrap(), 96);
    writer.commit().unwrap();
}

fn train(collection: &Collection) {
    let config = TrainConfig { hidden: 16, batch: 16, negatives: 32, epochs: 2, ..TrainConfig::default() };
    let outcome = collection.trainer().config(config).fit(&collection.snapshot().unwrap()).unwrap();
    assert!(outcome.model.text_featurizer().is_none());
    collection.install(&outcome.model).unwrap();
}

fn found(collection: &Collection) -> Vec<(u64, u32)> {
    let snapshot = collection.snapshot().unwrap();
    let hits = snapshot.query(Modality::Text, "a red hat").limit(20).run().unwrap();
    hits.iter().map(|hit| (hit.ordinal(), hit.distance())).collect()
}

#[test]
fn a_tower_names_the_model_and_answers_alike_from_wherever_it_is_read() {
    let place = tempfile::tempdir().unwrap();
    let (models, moved) = (place.path().join("minilm"), place.path().join("moved"));
    write_bert(&models, "", Words::List);
    let tower = TextTower::from_folder(&models).unwrap();
    let database = Database::builder().threads(2).open(place.path().join("db")).unwrap();
    let things = database.create_collection("things", schema(&models)).unwrap();
    fill(&things);
    train(&things);
    let spec = things.model().unwrap().unwrap().spec().clone();
    assert_eq!((spec.text_featurizer.as_str(), spec.text_width), (tower.id(), 32));
    assert_eq!(things.snapshot().unwrap().knows_text("🐕").unwrap(), Some(true));
    let hits = found(&things);
    assert_eq!(hits.len(), 20);
    drop((things, database));

    fs::rename(&models, &moved).unwrap();
    let open = |builder: twinbit::Builder| {
        builder.open_read_only(place.path().join("db")).unwrap().collection("things").unwrap()
    };
    let lost = open(Database::builder());
    let query = lost.snapshot().unwrap().query(Modality::Text, "a red hat");
    assert!(
        matches!(query.run(), Err(Error::Encoder(EncoderError::Unreadable { folder, .. })) if folder == models)
    );
    // Its features find what the text would have.
    let features = tower.encode(&["a red hat"]).unwrap();
    let by_features =
        lost.snapshot().unwrap().query(Modality::Text, Input::features(features)).limit(20).run();
    let by_features: Vec<_> =
        by_features.unwrap().iter().map(|hit| (hit.ordinal(), hit.distance())).collect();
    assert_eq!(by_features, hits);

    assert_eq!(found(&open(Database::builder().encoder_folder(Modality::Text, &moved))), hits);
    let other = place.path().join("clip");
    write_whole_clip(&other);
    let wrong = open(Database::builder().encoder_folder(Modality::Text, &other));
    let query = wrong.snapshot().unwrap().query(Modality::Text, "a red hat");
    match query.run() {
        Err(Error::Encoder(EncoderError::Changed { expected, got, .. })) => {
            assert!(expected == tower.id() && got.starts_with("clip-text"), "{expected} {got}");
        }
        other => panic!("{other:?}"),
    }

    let database = Database::open(place.path().join("db")).unwrap();
    let things = database.collection("things").unwrap();
    assert!(matches!(things.move_encoder(Modality::Image, &moved), Err(Error::Schema { .. })));
    things.move_encoder(Modality::Text, &moved).unwrap();
    assert_eq!(found(&things), hits, "handles that are open know of it");
    drop((things, database));
    assert_eq!(found(&open(Database::builder())), hits);
}

#[test]
fn texts_are_stored_as_texts_and_features_of_them_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let models = place.path().join("minilm");
    write_bert(&models, "", Words::Tokenizer);
    let database = Database::open(place.path().join("db")).unwrap();
    let things = database.create_collection("things", schema(&models)).unwrap();
    let record = Record::new(1).text(Input::features([0.5; 32]));
    assert!(matches!(things.put(record), Err(Error::WrongInput { .. })));
    fill(&things);
    train(&things);
    things.put(Record::new(200).text("a red hat 0")).unwrap();
    assert_eq!(things.get(200).unwrap().unwrap().text(), Some("a red hat 0"));
    let codes = [0, 200].map(|id| things.get(id).unwrap().unwrap().code(Modality::Text).unwrap().to_vec());
    assert_eq!(codes[0], codes[1], "encoded at the install and on the way in");
}

#[test]
fn models_of_fitted_encoders_and_of_towers_do_not_fit_each_other() {
    let place = tempfile::tempdir().unwrap();
    let models = place.path().join("minilm");
    write_bert(&models, "", Words::Tokenizer);
    let database = Database::open(place.path().join("db")).unwrap();
    let with_tower = database.create_collection("tower", schema(&models)).unwrap();
    let ngram = schema(&models).text_encoder(TextEncoding::Ngram);
    let fitted = database.create_collection("fitted", ngram).unwrap();
    fill(&with_tower);
    fill(&fitted);
    train(&with_tower);
    let config = TrainConfig { hidden: 16, batch: 16, negatives: 32, epochs: 1, ..TrainConfig::default() };
    let model = fitted.trainer().config(config).fit(&fitted.snapshot().unwrap()).unwrap().model;
    assert_eq!(model.text_featurizer().map(TextFeaturizer::width), Some(TextFeaturizer::DEFAULT_WIDTH));
    assert!(matches!(with_tower.install(&model), Err(Error::ModelMismatch { .. })));
    let model = with_tower.model().unwrap().unwrap();
    assert!(matches!(fitted.install(&model), Err(Error::ModelMismatch { .. })));
    assert!(with_tower.install(&model).is_ok());
}

#[test]
fn relative_folders_are_kept_as_whole_paths() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let models = place.path().join("clip");
    write_whole_clip(&models);
    let here = std::env::current_dir().unwrap();
    let up: std::path::PathBuf = here.ancestors().skip(1).map(|_| "..").collect();
    let relative = up.join(models.strip_prefix("/").unwrap());
    let database = Database::open(place.path().join("db")).unwrap();
    let schema = Schema::new(CodeBits::B32)
        .image_encoder(ImageEncoding::Folder(relative.clone()))
        .text_encoder(TextEncoding::Folder(relative));
    let things = database.create_collection("things", schema).unwrap().schema().unwrap();
    match (things.image_kind(), things.text_kind()) {
        (
            twinbit::ImageKind::Pictures(ImageEncoding::Folder(image)),
            twinbit::TextKind::Text(TextEncoding::Folder(text)),
        ) => assert!(image.is_absolute() && image == text && image.ends_with("clip"), "{}", image.display()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn candidates_that_are_looked_at_together_are_ordered_as_each_alone() {
    let place = tempfile::tempdir().unwrap();
    let models = place.path().join("minilm");
    write_bert(&models, "", Words::Tokenizer);
    let tower = TextTower::from_folder(&models).unwrap();
    let database = Database::builder().threads(2).open(place.path().join("db")).unwrap();
    let things = database.create_collection("things", schema(&models)).unwrap();
    fill(&things);
    train(&things);
    let model = things.model().unwrap().unwrap();
    let outputs = |text: &str| {
        // Kept as 16-bit floats, as everywhere.
        let features = tower.encode(&[text]).unwrap();
        let features: Vec<f32> = features.iter().map(|value| f16::from_f32(*value).to_f32()).collect();
        model.outputs(Modality::Text, &features).unwrap()
    };
    let snapshot = things.snapshot().unwrap();
    for question in ["a red hat", "a white coat", "black"] {
        let search = |count: usize| {
            let query = snapshot.query(Modality::Text, question).against(Against::Text).limit(40);
            let hits = if count == 0 { query.run() } else { query.rerank(count).run() }.unwrap();
            hits.iter().map(|hit| hit.id().clone()).collect::<Vec<_>>()
        };
        let asked = outputs(question);
        let mut expected: Vec<(f32, RecordId)> = search(0)
            .into_iter()
            .map(|id| {
                let text = snapshot.get(id.clone()).unwrap().unwrap().text().unwrap().to_owned();
                (asked.iter().zip(outputs(&text)).map(|(one, other)| one * other).sum(), id)
            })
            .collect();
        let (first, _) = expected.split_at_mut(30);
        first.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let expected: Vec<RecordId> = expected.into_iter().map(|(_, id)| id).collect();
        assert_eq!(search(30), expected, "{question}");
        assert_ne!(search(0), expected, "{question}");
    }
}

/// The same tensors in one file, or in three that a list names.
#[test]
fn weights_in_several_files_make_the_same_features() {
    let place = tempfile::tempdir().unwrap();
    let (whole, parts) = (place.path().join("whole"), place.path().join("parts"));
    for folder in [&whole, &parts] {
        write_whole_clip(folder);
    }
    divide_weights(&parts, 3);
    assert!(!parts.join("model.safetensors").exists());
    let texts = ["a red hat", "two dogs run"];
    let towers = [&whole, &parts].map(|folder| TextTower::from_folder(folder).unwrap());
    assert_eq!(towers[0].encode(&texts).unwrap(), towers[1].encode(&texts).unwrap());
    assert_eq!(towers[0].id(), towers[1].id(), "a text tower is named by its tensors");
    let encoders = [&whole, &parts].map(|folder| ImageEncoder::from_folder(folder).unwrap());
    let pixels = (0..30 * 20 * 3).map(|at| (at * 7 % 251) as u8).collect();
    let picture = [Picture::from_rgb(30, 20, pixels).unwrap()];
    assert_eq!(encoders[0].encode(&picture).unwrap(), encoders[1].encode(&picture).unwrap());

    let database = Database::open(place.path().join("db")).unwrap();
    let clip = Schema::new(CodeBits::B32)
        .image_encoder(ImageEncoding::Folder(parts.clone()))
        .text_encoder(TextEncoding::Folder(parts.clone()));
    database.create_collection("things", clip).unwrap();
    fs::remove_file(parts.join("part-2.safetensors")).unwrap();
    let gone = TextTower::from_folder(&parts).unwrap_err().to_string();
    assert!(gone.contains("part-2.safetensors"), "{gone}");
    let gone = ImageEncoder::from_folder(&parts).unwrap_err().to_string();
    assert!(gone.contains("part-2.safetensors"), "{gone}");
}
