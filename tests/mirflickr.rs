//! MIRFLICKR-25K from arrays: train, ingest, query and score, end to end.

use twinbit::{
    Array, ArrayPairs, CodeBits, Database, Input, Labels, Modality, Queries, Record, Schema, TrainConfig,
};
use twinbit_tests::data_set;

/// Chance level of MAP on this data.
const CHANCE: f64 = 0.53;

#[test]
fn a_small_model_ranks_far_above_chance_and_survives_reopening() {
    let Some(folder) = data_set("mirflickr25k") else { return };
    let open = |name: &str| Array::open(folder.join(name)).unwrap();
    let image = open("image_features_f16.npy");
    let text = open("tags_u8.npz:tags");
    let labels = open("labels_u8.npy");
    let split = open("split_u8.npy").to_u8().unwrap();
    let rows_of = |part: u8| -> Vec<u32> {
        (0..).zip(&split).filter(|(_, row)| **row == part).map(|(row, _)| row).collect()
    };
    let (training, queries) = (rows_of(0), rows_of(1));
    assert_eq!((training.len(), queries.len()), (10_599, 2_000));
    let classes = labels.width();
    let dense = labels.to_u8().unwrap();
    let labels_of = |rows: &[u32]| {
        let picked: Vec<u8> = rows
            .iter()
            .flat_map(|&row| &dense[row as usize * classes..(row as usize + 1) * classes])
            .copied()
            .collect();
        Labels::from_dense(rows.len(), classes, &picked).unwrap()
    };
    let row = |array: &Array, row: u32| {
        let mut values = vec![0.0; array.width()];
        array.read_rows_f32(row as usize..row as usize + 1, &mut values).unwrap();
        Input::features(values)
    };

    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("mirflickr");
    let database = Database::open(&path).unwrap();
    let schema = Schema::new(CodeBits::B64).image_features(image.width()).text_features(text.width());
    let photos = database.create_collection("photos", schema).unwrap();

    let mut config = TrainConfig { bits: CodeBits::B64, ..TrainConfig::default() };
    config.hidden = 256;
    config.epochs = 4;
    config.negatives = 1024;
    let pairs = ArrayPairs::new(open("image_features_f16.npy"), open("tags_u8.npz:tags")).unwrap();
    let pairs = pairs.rows(training.clone()).unwrap();
    let outcome = photos.trainer().config(config).labels(labels_of(&training)).fit_source(&pairs).unwrap();
    assert_eq!(outcome.epochs.len(), 4);
    photos.install(&outcome.model).unwrap();

    let mut writer = photos.writer().unwrap();
    let records = training.iter().map(|&pair| Record::auto().image(row(&image, pair)).text(row(&text, pair)));
    assert_eq!(writer.extend(records).unwrap(), 10_599);
    writer.commit().unwrap();

    let asked = Queries::new(
        queries.iter().map(|&pair| row(&image, pair)).collect(),
        queries.iter().map(|&pair| row(&text, pair)).collect(),
    );
    let scores = photos
        .snapshot()
        .unwrap()
        .evaluate(&asked, &labels_of(&queries), &labels_of(&training), &[50])
        .unwrap();
    let maps = [scores.image_to_text.scores.map, scores.text_to_image.scores.map];
    println!("MAP image to text {:.4}, text to image {:.4}, chance {CHANCE}", maps[0], maps[1]);
    assert!(maps.iter().all(|&map| map > CHANCE + 0.08), "{maps:?}");

    let ask = |database: &Database| {
        let photos = database.collection("photos").unwrap();
        let inputs = queries[..20].iter().map(|&pair| row(&text, pair)).collect();
        let snapshot = photos.snapshot().unwrap();
        let found = snapshot.query_many(Modality::Text, inputs).against(Modality::Image).limit(10);
        found.run_many().unwrap()
    };
    let before = ask(&database);
    drop((photos, database));
    assert_eq!(ask(&Database::open(&path).unwrap()), before);
}
