//! Row 11: inputs from outside, changed at random. Segment files and catalog values:
//! `storage/src/segment/fuzz.rs`, `storage/src/tests/fuzz.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use twinbit::{
    Array, ArraySource, CodeBits, CodeSource, Collection, Database, Durability, Filter, FolderSource, IdKind,
    ImageEncoding, Modality, OnError, PairsSource, ParquetSource, Picture, Schema, TextEncoding,
    WebDatasetSource,
};
use twinbit_hashing::HashModel;
use twinbit_tests::{
    ColumnOf, Row, Scratch, fuzz, fuzz_time, mat_compressed, mat_file, mat_matrix, npy, npy_f32,
    parquet_file, picture, scratch, shard,
};

/// Fuzzes one kind of input.
fn row(what: &'static str, name: &str, inputs: &[Vec<u8>], target: &mut dyn FnMut(&[u8]) -> bool) {
    let row = Row::begin(11, what);
    let (tried, accepted) = fuzz(name, inputs, fuzz_time(), target);
    row.passed(&format!("{tried} inputs"), &format!("{accepted} read, the others typed errors, 0 panics"));
}

#[test]
fn filters_of_any_text_are_read_or_refused() {
    let texts = [
        "year >= 2015 and not lang in ('en', 'de')",
        "(a = 1 or b != -2.5e3) and c is not null or d is null",
        "seen < '2024-02-29T12:34:56.789Z' and kept = true",
        "\"odd name\" = 'it''s' AND NOT (x > 18446744073709551615)",
    ];
    row("fuzzing: filter language", "filter", &texts.map(|text| text.as_bytes().to_vec()), &mut |bytes| {
        let Ok(filter) = Filter::parse(&String::from_utf8_lossy(bytes)) else { return false };
        // What is read can be printed, and what is printed means the same.
        if let Ok(again) = Filter::parse(&filter.to_string()) {
            assert_eq!(again, filter);
        }
        true
    });
}

#[test]
fn model_files_of_any_content_are_read_or_refused() {
    let folder = scratch();
    let collection = collection(folder.path(), features());
    let mut writer = collection.writer().unwrap();
    let record =
        |id: u64| twinbit::Record::new(id).image([id as f32, 1.0]).text(format!("word{} text", id % 7));
    writer.extend((0..40).map(record)).unwrap();
    writer.commit().unwrap();
    let trainer = collection.trainer().hidden(2).batch(16).epochs(1);
    let model = trainer.fit(&collection.snapshot().unwrap()).unwrap().model;
    let featurizer = model.text_featurizer().unwrap().to_bytes();
    row("fuzzing: model files", "model", &[model.to_bytes()], &mut |bytes| {
        HashModel::from_bytes(bytes).is_ok()
    });
    row("fuzzing: text featurizers", "featurizer", &[featurizer], &mut |bytes| {
        twinbit_hashing::TextFeaturizer::from_bytes(bytes).is_ok()
    });
}

#[test]
fn pictures_of_any_content_are_decoded_or_refused() {
    let pixels = image::RgbImage::from_fn(24, 20, |x, y| image::Rgb([x as u8 * 9, y as u8 * 7, 99]));
    let formats = [image::ImageFormat::Png, image::ImageFormat::Jpeg, image::ImageFormat::WebP];
    let files = formats.map(|format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        pixels.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    });
    let limits =
        twinbit::DecodeLimits { memory: 64 << 20, pixels: 4 << 20, ..twinbit::DecodeLimits::default() };
    row("fuzzing: pictures", "picture", &files, &mut |bytes| Picture::decode(bytes, &limits).is_ok());
}

#[test]
fn array_files_of_any_content_are_read_or_refused() {
    let folder = scratch();
    let path = folder.path().join("array.npy");
    let inputs = [npy_f32(2, &[1.0, 2.0, 3.0, 4.0]), npy("|u1", 2, 3, &[1, 2, 3, 4, 5, 6])];
    row("fuzzing: .npy files", "npy", &inputs, &mut |bytes| {
        fs::write(&path, bytes).unwrap();
        read_array(&path)
    });
    let path = folder.path().join("array.npz");
    row("fuzzing: .npz files", "npz", &[npz(&inputs[0])], &mut |bytes| {
        fs::write(&path, bytes).unwrap();
        read_array(&path)
    });
}

#[test]
fn matlab_files_of_any_content_are_read_or_refused() {
    let folder = scratch();
    let path = folder.path().join("array.mat");
    let numbers = [1.0_f64, -2.5, 3.0, 4.0, 5.0, 6.0].map(f64::to_le_bytes).concat();
    let doubles = mat_matrix("XAll", 6, [3, 2], 9, &numbers);
    let packed = mat_matrix("labels", 6, [3, 4], 2, &[0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 1]);
    let inputs = [
        mat_file(std::slice::from_ref(&doubles)),
        mat_file(&[mat_compressed(&doubles, 0)]),
        mat_file(&[mat_compressed(&packed, 0)]),
        mat_file(&[packed, mat_compressed(&doubles, 0)]),
    ];
    row("fuzzing: .mat files", "mat", &inputs, &mut |bytes| {
        fs::write(&path, bytes).unwrap();
        let labels = folder.path().join("array.mat:labels");
        read_array(&path) | Array::open(labels).is_ok_and(|array| array.to_u8().is_ok())
    });
}

/// Reads an array, unless its shape alone would take much memory: that is row 12's.
fn read_array(path: &Path) -> bool {
    Array::open(path).is_ok_and(|array| array.rows() >= 1 << 20 || array.to_f32().is_ok())
}

/// A zip archive with one stored member, `a.npy`.
fn npz(member: &[u8]) -> Vec<u8> {
    let checksum = crc32(member).to_le_bytes();
    let length = (member.len() as u32).to_le_bytes();
    let name = b"a.npy";
    let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    common.extend(checksum);
    common.extend(length);
    common.extend(length);
    common.extend((name.len() as u16).to_le_bytes());
    common.extend([0, 0]);
    let mut file = b"PK\x03\x04".to_vec();
    file.extend(&common);
    file.extend(name);
    file.extend(member);
    let start = file.len() as u32;
    let mut entry = b"PK\x01\x02\x14\x00".to_vec();
    entry.extend(&common);
    entry.extend([0; 14]);
    entry.extend(name);
    let bytes = (entry.len() as u32).to_le_bytes();
    file.extend(entry);
    file.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    file.extend(bytes);
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    };
    !bytes.iter().fold(!0, step)
}

fn features() -> Schema {
    Schema::new(CodeBits::B16)
        .ids(IdKind::U64)
        .image_features(2)
        .text_encoder(TextEncoding::Ngram)
        .field("year", twinbit::Field::u64().indexed())
}

fn pictures() -> Schema {
    let schema = Schema::new(CodeBits::B16).ids(IdKind::Str).image_encoder(ImageEncoding::EfficientNetLite0);
    schema.text_encoder(TextEncoding::Ngram).field("year", twinbit::Field::u64().indexed())
}

fn collection(folder: &Path, schema: Schema) -> Collection {
    let builder = Database::builder().durability(Durability::Eventual).threads(1);
    builder.open(folder.join("db")).unwrap().create_collection("things", schema).unwrap()
}

/// A place where a source is written and ingested.
struct Place {
    folder: Scratch,
    collection: Collection,
}

impl Place {
    fn new(schema: Schema) -> Place {
        let folder = scratch();
        let collection = collection(folder.path(), schema);
        Place { folder, collection }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn ingest(&self, source: impl twinbit::Source) -> bool {
        let run = self.collection.ingest(source).on_error(OnError::Skip).from_start(true).upsert(true).run();
        run.is_ok_and(|report| report.ingested > 0)
    }
}

#[test]
fn sources_of_any_content_are_ingested_or_refused() {
    let place = Place::new(pictures());
    let red = picture([255, 0, 0]);
    place.write("red.png", &red);
    let lines = concat!(
        r#"{"id": "a", "image": "red.png", "text": ["one", "two"], "year": 2001}"#,
        "\n",
        r#"{"id": "b", "text": "drei", "year": null}"#,
        "\n"
    );
    row("fuzzing: pairs.jsonl", "pairs", &[lines.as_bytes().to_vec()], &mut |bytes| {
        place.ingest(PairsSource::new(place.write("pairs.jsonl", bytes)))
    });
    let members: [(&str, &[u8]); 3] =
        [("x/red.png", &red), ("x/red.txt", b"a red square\nall red"), ("x/red.json", b"{\"year\": 7}")];
    row("fuzzing: WebDataset shards", "webdataset", &[shard(&members)], &mut |bytes| {
        place.ingest(WebDatasetSource::new([place.write("0.tar", bytes)]))
    });
    row(
        "fuzzing: CSV tables",
        "csv",
        &[b"id,text,year\na,\"one, two\",2001\nb,drei,\n".to_vec()],
        &mut |bytes| place.ingest(PairsSource::new(place.write("pairs.csv", bytes))),
    );
    let told = std::panic::take_hook();
    // Panics of the decoder are caught; those of ours end the test all the same.
    std::panic::set_hook(Box::new(|_| {}));
    let columns = [
        ColumnOf::texts(&["a", "b"]),
        ColumnOf::texts(&["one", "two"]),
        ColumnOf::Numbers(vec![Some(1), None]),
    ];
    let schema = "message m { optional binary id (UTF8); optional binary text (UTF8); optional int64 year; }";
    let mut parquet = vec![parquet_file(schema, &columns, 1)];
    let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/parquet");
    parquet
        .extend(["img2dataset.parquet", "lists.parquet"].map(|name| fs::read(written.join(name)).unwrap()));
    row("fuzzing: Parquet files", "parquet", &parquet, &mut |bytes| {
        place.ingest(ParquetSource::new([place.write("pairs.parquet", bytes)]))
    });
    std::panic::set_hook(told);
    let mut turn = 0;
    row("fuzzing: folders", "folder", &[red.clone(), b"a caption\nanother".to_vec()], &mut |bytes| {
        turn += 1;
        place.write("pictures/red.png", if turn % 2 == 0 { bytes } else { &red });
        place.write("pictures/red.txt", if turn % 2 == 0 { b"a caption" } else { bytes });
        FolderSource::open(place.folder.path().join("pictures")).is_ok_and(|source| place.ingest(source))
    });
    assert_eq!(place.collection.database().verify().unwrap().problems, []);

    let place = Place::new(features());
    let image = place.write("image.npy", &npy_f32(2, &[1.0, 2.0, 3.0, 4.0]));
    row(
        "fuzzing: ids and fields of arrays",
        "fields",
        &[b"1\n2\n".to_vec(), b"{\"year\": 1}\n{}\n".to_vec()],
        &mut |bytes| {
            let source = ArraySource::new().image(Array::open(&image).unwrap());
            let ids = place.ingest(source.ids(place.write("ids.txt", bytes)));
            let source = ArraySource::new().image(Array::open(&image).unwrap());
            let ids_of_two = place.write("two.txt", b"1\n2\n");
            ids | place.ingest(source.ids(ids_of_two).fields(place.write("meta.jsonl", bytes)))
        },
    );
    assert_eq!(place.collection.database().verify().unwrap().problems, []);

    let place = Place::new(Schema::new(CodeBits::B16).ids(IdKind::U64).external_codes());
    let ids = place.write("ids.txt", b"1\n2\n");
    row("fuzzing: packed codes", "codes", &[npy("|u1", 2, 2, &[1, 2, 3, 4])], &mut |bytes| {
        let Ok(array) = Array::open(place.write("codes.npy", bytes)) else { return false };
        array.rows() < 1 << 16 && place.ingest(CodeSource::new().codes(Modality::Image, array).ids(&ids))
    });
    assert_eq!(place.collection.database().verify().unwrap().problems, []);
}
