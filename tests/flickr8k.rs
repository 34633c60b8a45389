//! Flickr8k from raw JPEG files and captions, nothing precomputed: ingest, train, find the photo of
//! a caption among photos that training never saw.

use std::collections::HashMap;

use twinbit::{
    CodeBits, Database, Field, IdKind, ImageEncoding, Input, Modality, RecordId, Schema, TextEncoding,
    TrainConfig, WebDatasetSource, field,
};
use twinbit_tests::data_set;

#[test]
fn captions_find_their_photos() {
    let Some(folder) = data_set("flickr8k") else { return };
    let shard = |number: u32| folder.join(format!("images-{number:02}.tar"));

    let temporary = tempfile::tempdir().unwrap();
    let database = Database::open(temporary.path().join("flickr8k")).unwrap();
    let schema = Schema::new(CodeBits::B128)
        .ids(IdKind::Str)
        .image_encoder(ImageEncoding::EfficientNetLite0)
        .text_encoder(TextEncoding::Ngram)
        .field("split", Field::str().indexed());
    let photos = database.create_collection("photos", schema).unwrap();

    let report = photos.ingest(WebDatasetSource::new([shard(0), shard(1)])).run().unwrap();
    assert_eq!(report.skipped, 0);
    let mut config = TrainConfig { bits: CodeBits::B128, ..TrainConfig::default() };
    config.hidden = 512;
    config.epochs = 15;
    let outcome = photos.trainer().config(config).fit(&photos.snapshot().unwrap()).unwrap();
    photos.install(&outcome.model).unwrap();

    // The test photos come in after training and are encoded on the way.
    photos.ingest(WebDatasetSource::new([shard(6)])).run().unwrap();
    let snapshot = photos.snapshot().unwrap();
    let test = field("split").eq("test");
    let mut captions: Vec<(String, RecordId)> = Vec::new();
    let mut images: HashMap<RecordId, ()> = HashMap::new();
    for id in snapshot.matching(&test).unwrap() {
        let entry = snapshot.get(id.clone()).unwrap().unwrap();
        captions.push((entry.text().unwrap().to_owned(), id.clone()));
        images.insert(id, ());
    }
    assert_eq!(images.len(), 1_000);

    let inputs = captions.iter().map(|(text, _)| Input::text(text)).collect();
    let hits = snapshot
        .query_many(Modality::Text, inputs)
        .against(Modality::Image)
        .filter(test)
        .limit(10)
        .run_many()
        .unwrap();
    let found = captions
        .iter()
        .zip(&hits)
        .filter(|((_, photo), hits)| hits.iter().any(|hit| hit.id() == photo))
        .count();
    let recall = found as f64 / captions.len() as f64;
    println!(
        "recall@10 of {} captions among {} photos: {recall:.3}, chance 0.010",
        captions.len(),
        images.len()
    );
    assert!(recall > 0.08, "{recall}");
}
