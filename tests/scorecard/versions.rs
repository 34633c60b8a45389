//! Row 13: databases that earlier versions wrote.
//!
//! `tests/fixtures/format-N/` holds a database of format version N and, in `expected.json`, what is in
//! it. Once a version is released its fixture stays as it is.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use twinbit::{
    CodeBits, Database, Field, IdKind, Input, Modality, Record, Schema, Snapshot, TextEncoding, field,
};
use twinbit_storage::format::FORMAT_VERSION;
use twinbit_tests::{Row, scratch};

use crate::recording::copy;

const EXPECTED: &str = "expected.json";
const DATABASE: &str = "database";

fn fixture(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("format-{version}"))
}

/// Two collections: all types of fields, both modalities, a model, replaced and deleted records, rows
/// in segments and fresh ones.
fn fill(database: &Database) {
    let schema = Schema::new(CodeBits::B32)
        .ids(IdKind::Str)
        .image_features(3)
        .text_encoder(TextEncoding::Ngram)
        .field("year", Field::u64().indexed())
        .field("shift", Field::i64())
        .field("score", Field::f64())
        .field("lang", Field::str().indexed())
        .field("kept", Field::bool())
        .field("seen", Field::timestamp());
    let photos = database.create_collection("photos", schema).unwrap();
    let record = |number: u64, generation: u64| {
        let color = [0, 1, 2].map(|part| f32::from(u8::from(number % 3 == part)) + generation as f32 / 4.0);
        Record::new(format!("photo-{number}"))
            .image(color)
            .text(format!("a {} thing", ["red", "green", "blue"][number as usize % 3]))
            .set("year", 2000 + number % 9)
            .set("shift", -(number as i64))
            .set("score", number as f64 / 8.0)
            .set("lang", if number.is_multiple_of(2) { "en" } else { "de" })
            .set("kept", number.is_multiple_of(5))
    };
    let mut writer = photos.writer().unwrap();
    writer.extend((0..48).map(|number| record(number, 0))).unwrap();
    writer.commit().unwrap();
    let trainer = photos.trainer().hidden(4).batch(16).epochs(1).seed(1);
    let model = trainer.fit(&photos.snapshot().unwrap()).unwrap().model;
    photos.install(&model).unwrap();
    let mut writer = photos.writer().unwrap();
    writer.delete("photo-7").unwrap();
    for number in [3, 4, 60, 61] {
        writer.put(record(number, 1)).unwrap();
    }
    writer.commit().unwrap();
    let codes = Schema::new(CodeBits::B16).external_codes().field("of_interest", Field::bool());
    let codes = database.create_collection("codes", codes).unwrap();
    for number in 0..20_u8 {
        let record = Record::auto().code(Modality::Image, [number, 1]);
        codes.put(if number > 3 { record.code(Modality::Text, [number, 2]) } else { record }).unwrap();
    }
    codes.delete(2).unwrap();
}

fn hits(snapshot: &Snapshot, input: Input) -> Json {
    let query = snapshot.query(Modality::Text, input).limit(7);
    query.run().unwrap().iter().map(|hit| json!([hit.id().to_string(), hit.distance()])).collect()
}

/// Everything that can be asked of it.
fn describe(database: &Database) -> Json {
    let mut all = serde_json::Map::new();
    for name in database.collections() {
        let snapshot = database.collection(&name).unwrap().snapshot().unwrap();
        let mut records = Vec::new();
        for entry in snapshot.page(None, usize::MAX).unwrap() {
            let fields: Vec<String> =
                entry.fields().iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            records.push(json!({
                "id": entry.id().to_string(),
                "ordinal": entry.ordinal(),
                "text": entry.text(),
                "features": entry.features(Modality::Image),
                "codes": Modality::ALL.map(|modality| entry.code(modality).map(<[u8]>::to_vec)),
                "fields": fields,
            }));
        }
        let answers = match name.as_str() {
            "photos" => {
                json!({ "red": hits(&snapshot, "something red".into()),
                    "late": snapshot.matching(&field("year").ge(2007)).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>() })
            }
            _ => json!({ "near": hits(&snapshot, Input::code([9, 9])) }),
        };
        all.insert(name, json!({ "records": records, "answers": answers }));
    }
    Json::Object(all)
}

/// Run with `--ignored` when the format of the current, unreleased version has changed.
#[test]
#[ignore = "writes the fixture of the current version"]
fn write_the_fixture_of_this_version() {
    let folder = scratch();
    let database = Database::open(folder.path()).unwrap();
    fill(&database);
    let expected = describe(&database);
    drop(database);
    let target = fixture(FORMAT_VERSION);
    let _ = fs::remove_dir_all(&target);
    copy(folder.path(), &target.join(DATABASE));
    // What nothing reads: RocksDB's diary and its notes about options.
    for entry in fs::read_dir(target.join(DATABASE).join("catalog")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("LOG") || name.starts_with("OPTIONS") || name == "LOCK" {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    fs::remove_file(target.join(DATABASE).join("LOCK")).unwrap();
    fs::write(target.join(EXPECTED), serde_json::to_string(&expected).unwrap() + "\n").unwrap();
}

#[test]
fn databases_of_every_version_open_and_hold_what_they_held() {
    let row = Row::begin(13, "databases of every format version");
    for version in 0..=FORMAT_VERSION {
        let source = fixture(version);
        let folder = scratch();
        copy(&source.join(DATABASE), folder.path());
        let expected: Json = serde_json::from_slice(&fs::read(source.join(EXPECTED)).unwrap()).unwrap();
        let database = Database::open(folder.path()).unwrap();
        assert_eq!(database.verify().unwrap().problems, [], "version {version}");
        assert_eq!(describe(&database), expected, "version {version}");
        drop(database);
        // And after it was opened once for writing.
        let database = Database::open_read_only(folder.path()).unwrap();
        assert_eq!(describe(&database), expected, "version {version}");
    }
    // A database of a version to come.
    let folder = scratch();
    copy(&fixture(FORMAT_VERSION).join(DATABASE), folder.path());
    let mut files = fs::read_dir(folder.path().join("segments")).unwrap().map(|entry| entry.unwrap().path());
    let path = files.find(|path| path.extension().is_some_and(|ending| ending == "rows")).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] += 1;
    fs::write(&path, bytes).unwrap();
    let refused = Database::open(folder.path()).err().unwrap().to_string();
    assert!(refused.contains("open it with a newer twinbit"), "{refused}");
    let versions = FORMAT_VERSION + 1;
    row.passed(
        &format!("{versions} version(s)"),
        "opened, verified, same records and answers; a newer one refused with the way out",
    );
}
