//! Training, installing and encoding through the engine: what is stored, what is found, and which
//! model answers.

use std::ops::ControlFlow;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use twinbit::{
    CodeBits, Collection, Database, Error, IdKind, Input, Labels, Mismatch, Modality, Model, Place, Queries,
    Record, Schema, TextEncoding, TrainConfig,
};

const WORDS: [&str; 4] = ["red", "green", "blue", "grey"];

fn schema() -> Schema {
    Schema::new(CodeBits::B32).ids(IdKind::U64).image_features(4).text_encoder(TextEncoding::Ngram)
}

fn quick() -> TrainConfig {
    TrainConfig { hidden: 8, batch: 16, negatives: 32, epochs: 2, ..TrainConfig::default() }
}

/// Features that tell the word of a record, and some noise.
fn features(word: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    (0..4).map(|column| f32::from(u8::from(column == word)) + random.random_range(0.0..0.2)).collect()
}

fn fill(collection: &Collection, records: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut writer = collection.writer().unwrap();
    let records = (0..records).map(|id| {
        let word = id as usize % 4;
        Record::new(id).image(features(word, &mut random)).text(format!("a {} thing {id}", WORDS[word]))
    });
    writer.extend(records).unwrap();
    writer.commit().unwrap();
}

fn trained(collection: &Collection, seed: u64) -> Model {
    let trainer = collection.trainer().config(quick()).seed(seed);
    trainer.fit(&collection.snapshot().unwrap()).unwrap().model
}

fn new_collection() -> (tempfile::TempDir, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::builder().threads(2).open(folder.path()).unwrap();
    let collection = database.create_collection("things", schema()).unwrap();
    (folder, collection)
}

/// Ids and distances of all records for a text, as the model and a plain loop find them.
fn expected(collection: &Collection, model: &Model, text: &str) -> Vec<(u64, u32)> {
    let featurizer = model.text_featurizer().unwrap();
    let mut row = vec![0.0; featurizer.width()];
    featurizer.encode(text, &mut row).unwrap();
    let query = model.encode(Modality::Text, &row).unwrap().as_codes().row(0);
    let entries = collection.snapshot().unwrap().page(None, usize::MAX).unwrap();
    let mut found: Vec<(u64, u32)> = entries
        .iter()
        .map(|entry| {
            let code = model.encode(Modality::Image, entry.features(Modality::Image).unwrap()).unwrap();
            assert_eq!(entry.code(Modality::Image).unwrap(), code.as_codes().row(0));
            let differing = query.iter().zip(code.as_codes().row(0)).map(|(a, b)| (a ^ b).count_ones()).sum();
            (entry.id().to_string().parse().unwrap(), differing)
        })
        .collect();
    found.sort_by_key(|&(_, distance)| distance);
    found.truncate(10);
    found
}

fn found(collection: &Collection, text: &str) -> Vec<(u64, u32)> {
    let hits = collection.snapshot().unwrap().query(Modality::Text, text).run().unwrap();
    hits.iter().map(|hit| (hit.id().to_string().parse().unwrap(), hit.distance())).collect()
}

#[test]
fn installing_switches_answers_and_older_snapshots_keep_theirs() {
    let (folder, collection) = new_collection();
    fill(&collection, 96);
    let untrained = collection.snapshot().unwrap();
    assert!(matches!(untrained.query(Modality::Text, "red").run(), Err(Error::Untrained { .. })));

    let first = trained(&collection, 1);
    collection.install(&first).unwrap();
    assert!(matches!(untrained.query(Modality::Text, "red").run(), Err(Error::Untrained { .. })));
    let with_first = collection.snapshot().unwrap();
    assert_eq!(with_first.model_id(), Some(first.id()));
    assert_eq!(found(&collection, "a red thing"), expected(&collection, &first, "a red thing"));
    let answer = with_first.query(Modality::Text, "a blue thing").run().unwrap();

    let second = trained(&collection, 2);
    assert_ne!(first.id(), second.id());
    let mut reported = Vec::new();
    let install = collection.install_with(&second, |done, all| {
        reported.push((done, all));
        ControlFlow::Continue(())
    });
    install.unwrap();
    assert_eq!(reported.last(), Some(&(96, 96)));
    assert_eq!(found(&collection, "a blue thing"), expected(&collection, &second, "a blue thing"));
    assert_eq!(with_first.query(Modality::Text, "a blue thing").run().unwrap(), answer);

    let codes = || Input::code([0; 4]);
    let snapshot = collection.snapshot().unwrap();
    let other = snapshot.query(Modality::Text, codes()).encoded_by(first.id()).run();
    assert!(matches!(other, Err(Error::ModelMismatch { reason: Mismatch::Codes { .. } })));
    assert!(snapshot.query(Modality::Text, codes()).encoded_by(second.id()).run().is_ok());

    let canceled = collection.install_with(&first, |_, _| ControlFlow::Break(()));
    assert!(matches!(canceled, Err(Error::Canceled)));
    assert_eq!(collection.model().unwrap().unwrap().id(), second.id());

    let before = found(&collection, "a green thing");
    drop((untrained, with_first, snapshot, collection));
    let database = Database::open(folder.path()).unwrap();
    assert_eq!(found(&database.collection("things").unwrap(), "a green thing"), before);
}

#[test]
fn a_record_gets_the_same_code_on_the_way_in_and_by_an_install() {
    let (_folder, collection) = new_collection();
    fill(&collection, 64);
    collection.install(&trained(&collection, 3)).unwrap();
    let entry = collection.get(11).unwrap().unwrap();
    let again = Record::new(1011).image(entry.features(Modality::Image).unwrap()).text(entry.text().unwrap());
    collection.put(again).unwrap();
    let again = collection.get(1011).unwrap().unwrap();
    for modality in Modality::ALL {
        assert!(entry.code(modality).is_some());
        assert_eq!(entry.code(modality), again.code(modality));
    }
}

#[test]
fn a_model_scores_the_same_before_and_after_it_is_installed() {
    let (_folder, collection) = new_collection();
    fill(&collection, 96);
    for id in [3_u64, 40, 41] {
        collection.delete(id).unwrap();
    }
    let [first, second] = [1, 2].map(|seed| trained(&collection, seed));
    let ks = [1, 5];
    let labels = Labels::from_sets((0..93_u32).map(|row| [row % 4])).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let image = (0..8).map(|word| Input::Features(features(word % 4, &mut random))).collect();
    let text = (0..8).map(|word| Input::from(format!("{} things", WORDS[word % 4]))).collect();
    let queries = Queries::new(image, text);
    let query_labels = Labels::from_sets((0..8_u32).map(|row| [row % 4])).unwrap();
    // Untrained: measured all the same.
    let before = collection.snapshot().unwrap();
    let expected = [&first, &second].map(|model| {
        let scores = before.evaluate_with(model, &queries, &query_labels, &labels, &ks).unwrap();
        (before.recall_with(model, None, &ks).unwrap(), scores)
    });
    assert_ne!(expected[0], expected[1]);
    assert!(matches!(before.recall(None, &ks), Err(Error::Untrained { .. })));
    for (model, expected) in [&first, &second].into_iter().zip(expected) {
        collection.install(model).unwrap();
        let snapshot = collection.snapshot().unwrap();
        let scores = snapshot.evaluate(&queries, &query_labels, &labels, &ks).unwrap();
        assert_eq!((snapshot.recall(None, &ks).unwrap(), scores), expected);
    }
    let longer =
        Schema::new(CodeBits::B64).ids(IdKind::U64).image_features(4).text_encoder(TextEncoding::Ngram);
    let longer = collection.database().create_collection("longer", longer).unwrap();
    let refused = longer.snapshot().unwrap().recall_with(&first, None, &ks);
    assert!(matches!(refused, Err(Error::ModelMismatch { reason: Mismatch::Bits { .. } })), "{refused:?}");
}

#[test]
fn a_model_that_does_not_fit_is_refused() {
    let (_folder, collection) = new_collection();
    fill(&collection, 64);
    let model = trained(&collection, 4);
    let database = collection.database();
    let refused = |name: &str, schema: Schema| {
        let other = database.create_collection(name, schema.ids(IdKind::U64)).unwrap();
        match other.install(&model) {
            Err(Error::ModelMismatch { reason }) => reason,
            other => panic!("{other:?}"),
        }
    };
    let new = |bits| Schema::new(bits).text_encoder(TextEncoding::Ngram);
    let bits = refused("bits", new(CodeBits::B64).image_features(4));
    assert!(matches!(bits, Mismatch::Bits { expected: 64, got: 32 }));
    let width = refused("width", new(CodeBits::B32).image_features(5));
    assert!(matches!(width, Mismatch::Width { modality: Modality::Image, expected: 5, got: 4 }));
    let bow = Schema::new(CodeBits::B32).image_features(4).text_encoder(TextEncoding::Bow);
    assert!(matches!(refused("bow", bow), Mismatch::Featurizer { modality: Modality::Text, .. }));
    let external = database.create_collection("codes", Schema::new(CodeBits::B32).external_codes());
    assert!(matches!(external.unwrap().install(&model), Err(Error::ExternalCodes { .. })));
}

#[test]
fn bad_features_are_refused_and_named() {
    let (_folder, collection) = new_collection();
    let put = |features: Vec<f32>| collection.put(Record::new(5).image(features)).unwrap_err();
    let place = Place::Record(5.into());
    assert!(matches!(put(vec![1.0; 3]), Error::Width { place: p, expected: 4, got: 3, .. } if p == place));
    let nan = put(vec![0.0, f32::NAN, 0.0, 0.0]);
    assert!(matches!(nan, Error::NotFinite { column: 1, .. }));
    assert!(matches!(put(vec![0.0, 0.0, 7e4, 0.0]), Error::Overflow { column: 2, .. }));
    let text = collection.put(Record::new(5).image("a text")).unwrap_err();
    assert!(matches!(text, Error::WrongInput { modality: Modality::Image, got: "text", .. }));
    assert!(matches!(collection.put(Record::new(5)), Err(Error::Empty { .. })));
    assert!(matches!(collection.put(Record::new("five").text("x")), Err(Error::WrongId { .. })));
    assert!(matches!(collection.put(Record::auto().text("x")), Err(Error::MissingId { .. })));
    assert!(collection.snapshot().unwrap().is_empty());

    // In a batch those before the bad one stay in the transaction, and it can go on.
    let mut writer = collection.writer().unwrap();
    let records = [vec![1.0; 4], vec![2.0; 3], vec![3.0; 4]];
    let records = (0_u64..).zip(records).map(|(id, features)| Record::new(id).image(features));
    assert!(matches!(writer.extend(records), Err(Error::Width { .. })));
    assert_eq!(writer.pending_rows(), 1);
    assert!(matches!(writer.insert(Record::new(0).text("again")), Err(Error::Duplicate { .. })));
    writer.commit().unwrap();
    assert_eq!(collection.snapshot().unwrap().len(), 1);
}

#[test]
fn captions_of_an_image_belong_to_its_pair() {
    let (_folder, collection) = new_collection();
    fill(&collection, 32);
    for (id, of) in [(100, 3), (101, 3), (102, 9), (103, 5000)] {
        collection.put(Record::new(id).text("one more caption").of(of)).unwrap();
    }
    collection.put(Record::new(200).image([0.5; 4])).unwrap();
    let snapshot = collection.snapshot().unwrap();
    // 200 has no text, 103 no image: neither is a pair.
    let pairs: Vec<_> = (0..32_u64).map(Into::into).collect();
    assert_eq!(snapshot.pair_ids().unwrap(), pairs);
    assert_eq!(collection.get(101).unwrap().unwrap().of(), Some(&3.into()));

    collection.install(&trained(&collection, 1)).unwrap();
    let recall = collection.snapshot().unwrap().recall(None, &[1, 40]).unwrap();
    let all: Vec<usize> = recall.text_to_image.iter().map(|&(k, _)| k).collect();
    assert_eq!(all, [1, 40]);
    assert_eq!((recall.text_to_image[1].1, recall.image_to_text[1].1), (1.0, 1.0));
}

#[test]
fn evaluation_takes_labels_in_the_order_of_records() {
    let (_folder, collection) = new_collection();
    fill(&collection, 64);
    collection.put(Record::new(500).text("a caption alone")).unwrap();
    collection.install(&trained(&collection, 1)).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let image = (0..8).map(|row| Input::features(features(row % 4, &mut random))).collect();
    let text = (0..8).map(|row| Input::text(format!("a {} thing", WORDS[row % 4]))).collect();
    let queries = Queries::new(image, text);
    let labels = |rows: u32| Labels::from_sets((0..rows).map(|row| [row % 4])).unwrap();
    let snapshot = collection.snapshot().unwrap();
    let wrong = snapshot.evaluate(&queries, &labels(8), &labels(64), &[5]);
    assert!(matches!(wrong, Err(Error::Rows { expected: 65, got: 64, .. })));
    let queries = queries.ids((0..8_u64).map(Into::into).collect());
    let scores = snapshot.evaluate(&queries, &labels(8), &labels(65), &[5]).unwrap();
    let json = serde_json::to_value(&scores).unwrap();
    for key in ["map", "map_tie_aware", "map@5", "precision@5", "recall@5"] {
        let score = json["text_to_image"][key].as_f64().unwrap_or_else(|| panic!("{key} in {json}"));
        assert!((0.0..=1.0).contains(&score));
    }
}

#[test]
fn without_kept_inputs_there_is_no_second_model() {
    let (_folder, collection) = new_collection();
    fill(&collection, 64);
    let model = trained(&collection, 1);
    let lean = collection.database().create_collection("lean", schema().keep_inputs(false)).unwrap();
    let record = || Record::new(1).image([1.0, 0.0, 0.0, 0.0]).text("a red thing");
    assert!(matches!(lean.put(record()), Err(Error::Untrained { .. })));
    lean.install(&model).unwrap();
    lean.put(record()).unwrap();
    assert_eq!(lean.get(1).unwrap().unwrap().text(), None);
    assert_eq!(found(&lean, "a red thing")[0].0, 1);
    assert!(matches!(lean.install(&trained(&collection, 2)), Err(Error::InputsNotKept { .. })));
    let snapshot = lean.snapshot().unwrap();
    assert!(matches!(lean.trainer().fit(&snapshot), Err(Error::InputsNotKept { .. })));
}

#[test]
fn training_is_the_same_for_a_seed_and_stops_when_told() {
    let (_folder, collection) = new_collection();
    fill(&collection, 64);
    assert_eq!(trained(&collection, 7).id(), trained(&collection, 7).id());
    let trainer = collection.trainer().config(quick()).on_epoch(|_| ControlFlow::Break(()));
    assert!(matches!(trainer.fit(&collection.snapshot().unwrap()), Err(Error::Canceled)));
    let labels = Labels::from_sets([[1_u32]]).unwrap();
    let mislabeled = collection.trainer().config(quick()).labels(labels);
    assert!(matches!(mislabeled.fit(&collection.snapshot().unwrap()), Err(Error::Rows { .. })));
}
