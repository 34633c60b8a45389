//! Tuning an image encoder through the library.

use std::ops::ControlFlow;
use std::path::Path;

use twinbit::{
    CodeBits, Content, Database, Device, Error, IdKind, ImageEncoding, IngestObserver, IngestProgress, Input,
    Item, Modality, OnError, Picture, Position, Record, Schema, Source, TextEncoding, TrainConfig, Tuner,
};
use twinbit_hashing::{DecodeLimits, ImageEncoder};
use twinbit_tests::small_resnet::write_resnet;
use twinbit_tests::towers::{Words, write_bert};

const COLORS: [(&str, [u8; 3]); 4] =
    [("red", [220, 30, 20]), ("blue", [20, 40, 230]), ("black", [5, 5, 10]), ("white", [250, 250, 245])];

/// Pictures of one color, and behind each a record with another text of it.
struct Colors(u64);

fn png(number: u64) -> Vec<u8> {
    let color = COLORS[number as usize % 4].1.map(|part| part.saturating_sub((number / 4) as u8));
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(30 + number as u32, 40, image::Rgb(color));
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

impl Source for Colors {
    fn name(&self) -> Result<String, Error> {
        Ok("colors".to_owned())
    }

    fn fingerprint(&self) -> Result<u64, Error> {
        Ok(self.0)
    }

    fn items(&self, start: Position) -> Option<u64> {
        Some(2 * self.0 - start.offset)
    }

    fn check(&self, _schema: &Schema) -> Result<(), Error> {
        Ok(())
    }

    fn read(
        &mut self,
        _schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        for offset in start.offset..2 * self.0 {
            // The first record of a text is of a picture that comes later.
            let number = offset / 2;
            let name = COLORS[number as usize % 4].0;
            let record = match offset % 2 {
                0 => Record::new(1000 + number).text(format!("all {name}")).of(number),
                _ => Record::new(number).image(Input::picture(png(number))).text(format!("a {name} thing")),
            };
            let content = Content { record, captions: Vec::new() };
            let next = Position { part: 0, offset: offset + 1 };
            if each(Item { name: format!("item {offset}"), next, content: Ok(content) }).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn config() -> TrainConfig {
    TrainConfig {
        bits: CodeBits::B32,
        hidden: 16,
        image_layers: 2,
        batch: 8,
        negatives: 16,
        epochs: 2,
        learning_rate: 2e-3,
        ..TrainConfig::default()
    }
}

fn tuner<'a>(start: &Path) -> Tuner<'a> {
    Tuner::new(start).source(Colors(24)).ids(IdKind::U64).config(config()).threads(2)
}

#[test]
fn codes_of_what_is_ingested_are_those_of_the_tuned_encoder_and_model() {
    let place = tempfile::tempdir().unwrap();
    let [start, folder, bert] = ["start", "tuned", "bert"].map(|name| place.path().join(name));
    write_resnet(&start);
    write_bert(&bert, "", Words::List);
    for text in [TextEncoding::Ngram, TextEncoding::Folder(bert)] {
        let tuned = tuner(&start).text_encoder(text.clone()).run().unwrap();
        assert_eq!((tuned.pairs, tuned.skipped, tuned.outcome.epochs.len()), (24, 0, 2));
        tuned.write(&folder).unwrap();
        let model = &tuned.outcome.model;
        let database = Database::builder().threads(2).open(place.path().join("db")).unwrap();
        let schema = Schema::new(CodeBits::B32)
            .ids(IdKind::U64)
            .image_encoder(ImageEncoding::Folder(folder.clone()))
            .text_encoder(text);
        let colors = database.create_collection("colors", schema).unwrap();
        colors.install(model).unwrap();
        assert_eq!(colors.ingest(Colors(24)).run().unwrap().ingested, 48);

        let encoder = ImageEncoder::from_folder(&folder).unwrap();
        assert_eq!(model.spec().image_featurizer, encoder.id());
        let pictures: Vec<Picture> =
            (0..24).map(|number| Picture::decode(&png(number), &DecodeLimits::default()).unwrap()).collect();
        // Kept as 16-bit floats.
        let features: Vec<f32> = encoder.encode(&pictures).unwrap();
        let features: Vec<f32> = features.iter().map(|&value| half::f16::from_f32(value).to_f32()).collect();
        let codes = model.encode(Modality::Image, &features).unwrap();
        let snapshot = colors.snapshot().unwrap();
        for number in 0..24_u64 {
            let code = codes.as_codes().row(number as usize);
            let query = snapshot.query(Modality::Image, Input::code(code));
            let hits = query.against(twinbit::Against::Image).limit(24).run().unwrap();
            assert!(
                hits.iter().any(|hit| *hit.id() == number.into() && hit.distance() == 0),
                "picture {number}"
            );
        }
        drop((snapshot, colors, database));
        std::fs::remove_dir_all(place.path().join("db")).unwrap();
        // There is no second writing into the same folder.
        assert!(matches!(tuned.write(&folder), Err(Error::Io { path, .. }) if path == folder));
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 3, "a partial folder stayed");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

/// Stops after so many items, and notes what was skipped.
struct Stop<'a> {
    after: u64,
    skipped: &'a std::sync::Mutex<Vec<String>>,
}

impl IngestObserver for Stop<'_> {
    fn on_progress(&mut self, progress: &IngestProgress) -> ControlFlow<()> {
        assert!(progress.total.is_some());
        if progress.items >= self.after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn on_skipped(&mut self, item: &str, _reason: &Error) {
        self.skipped.lock().unwrap().push(item.to_owned());
    }
}

#[test]
fn reading_and_training_can_be_stopped_and_cards_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let start = place.path().join("start");
    write_resnet(&start);
    let skipped = std::sync::Mutex::default();
    let stop = |after| Stop { after, skipped: &skipped };
    assert!(matches!(tuner(&start).on_reading(stop(10)).run(), Err(Error::Canceled)));
    assert!(matches!(tuner(&start).on_epoch(|_| ControlFlow::Break(())).run(), Err(Error::Canceled)));
    let refused = tuner(&start).device(Device::Cuda(0)).run();
    assert!(matches!(refused, Err(Error::Hashing(twinbit_hashing::Error::BackboneOnCard))));
    // The same records twice.
    let twice = || tuner(&start).source(Colors(2));
    assert!(matches!(twice().run(), Err(Error::Item { item, .. }) if item == "item 1"));
    let tuned = twice().on_error(OnError::Skip).on_reading(stop(u64::MAX)).run().unwrap();
    assert_eq!((tuned.pairs, tuned.skipped), (24, 2));
    assert_eq!(*skipped.lock().unwrap(), ["item 1", "item 3"]);
}
