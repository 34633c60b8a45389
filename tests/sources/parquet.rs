//! Parquet files as Hugging Face, img2dataset and LAION publish them.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use twinbit::{
    Columns, Error, Field, IdKind, Modality, OnError, ParquetSource, Position, RecordId, Schema, Source,
    SourceError, Value,
};
use twinbit_tests::{ColumnOf, parquet_file, picture};

use crate::{Bench, assert_continues, items, photos, texts};

#[test]
fn parquet_of_hugging_face_holds_pictures_or_their_paths() {
    let bench = Bench::new(photos(IdKind::Auto).field("label", Field::i64()));
    let path = bench.fixture("huggingface.parquet");
    // The third picture lies under another path than its bytes, which count.
    let report = bench.collection.ingest(ParquetSource::new([&path])).run().unwrap();
    assert_eq!((report.ingested, report.skipped), (3, 0));
    assert_eq!(bench.texts(), [Some("a red square".into()), Some("a green one".into()), None]);
    let entries = bench.entries();
    assert!(entries.iter().all(|entry| entry.has(Modality::Image)));
    assert_ne!(entries[0].features(Modality::Image), entries[1].features(Modality::Image));
    assert_eq!(entries[1].fields()["label"], Value::I64(2));
    assert!(entries[2].fields().is_empty());
    assert_continues(&mut ParquetSource::new([&path, &path]), &photos(IdKind::Auto));
    fs::remove_file(bench.folder.path().join("green.png")).unwrap();
    let run = bench.collection.ingest(ParquetSource::new([&path])).from_start(true);
    let error = run.run().unwrap_err().to_string();
    assert!(error.contains("huggingface.parquet row 1") && error.contains("green.png"), "{error}");
}

#[test]
fn parquet_of_img2dataset_leaves_out_what_was_not_downloaded() {
    for (ids, first) in [(IdKind::Str, RecordId::from("000000000")), (IdKind::U64, RecordId::from(0_u64))] {
        let bench = Bench::new(photos(ids).field("width", Field::u64()).field("url", Field::str()));
        let path = bench.fixture("img2dataset.parquet");
        assert_eq!(bench.collection.ingest(ParquetSource::new([&path])).run().unwrap().ingested, 2);
        let entry = bench.collection.get(first).unwrap().unwrap();
        assert_eq!((entry.text(), &entry.fields()["width"]), (Some("red"), &Value::U64(16)));
        assert_eq!(entry.fields()["url"], Value::Str("http://a/0".into()));
        assert_eq!(bench.texts(), [Some("red".into()), Some("blue".into())]);
    }
}

#[test]
fn parquet_of_laion_gives_texts_and_fields() {
    let schema = texts(IdKind::U64).field("WIDTH", Field::u64()).field("similarity", Field::f64());
    let bench = Bench::new(schema.clone());
    let path = bench.fixture("laion.parquet");
    assert_eq!(bench.collection.ingest(ParquetSource::new([&path])).run().unwrap().ingested, 5);
    let entry = bench.collection.get(11_u64).unwrap().unwrap();
    assert_eq!(entry.text(), Some("one"));
    assert_eq!(entry.fields()["similarity"], Value::F64(0.5));
    assert_eq!(entry.fields()["WIDTH"], Value::U64(100));
    // Neither a NaN nor a null is a value.
    for id in [12_u64, 14] {
        assert!(!bench.collection.get(id).unwrap().unwrap().fields().contains_key("similarity"));
    }
    let mut source = ParquetSource::new([&path, &path]);
    assert_eq!(source.items(Position { part: 0, offset: 3 }), Some(7));
    assert_continues(&mut source, &schema);
}

#[test]
fn parquet_holds_lists_of_captions_and_times() {
    let fields = |schema: Schema| {
        schema.field("seen", Field::timestamp()).field("kept", Field::bool()).field("day", Field::timestamp())
    };
    let bench = Bench::new(fields(photos(IdKind::Str)));
    let path = bench.fixture("lists.parquet");
    let run = || bench.collection.ingest(ParquetSource::new([&path])).on_error(OnError::Skip).run();
    let report = run().unwrap();
    // Three pictures, the further captions of the first, and a text.
    assert_eq!((report.ingested, report.skipped), (6, 0));
    let first = bench.collection.get("1").unwrap().unwrap();
    assert_eq!(first.fields()["seen"], Value::Timestamp(1_000_000));
    assert_eq!(first.fields()["day"], Value::Timestamp(86_400_000_000));
    assert_eq!(first.fields()["kept"], Value::Bool(true));
    let third = bench.collection.get("1#3").unwrap().unwrap();
    assert_eq!((third.text(), third.of()), (Some("c"), Some(&RecordId::from("1"))));
    assert_eq!(bench.collection.get("4").unwrap().unwrap().text(), Some("d"));
    assert!(!bench.collection.get("2").unwrap().unwrap().has(Modality::Text));
    assert_continues(&mut ParquetSource::new([&path]), &fields(photos(IdKind::Str)));
}

#[test]
fn parquet_that_does_not_fit_is_refused() {
    let bench = Bench::new(texts(IdKind::Str));
    let schema = "message m { optional binary key (UTF8); optional binary caption (UTF8); optional binary words; optional int64 n; }";
    let columns = [
        ColumnOf::texts(&["a", "b"]),
        ColumnOf::texts(&["one", "two"]),
        ColumnOf::texts(&["eins", "zwei"]),
        ColumnOf::Numbers(vec![Some(1), None]),
    ];
    let path = bench.file("x.parquet", parquet_file(schema, &columns, 100));
    let named = |columns: Columns| ParquetSource::new([&path]).columns(columns);

    let error = bench.refused(named(Columns::new().text("title"))).to_string();
    assert!(error.contains("no column \"title\"; it has key, caption, words, n"), "{error}");
    let no_id =
        bench.file("y.parquet", parquet_file("message m { optional binary text (UTF8); }", &columns[..1], 9));
    let error = bench.refused(ParquetSource::new([no_id])).to_string();
    assert!(error.contains("no column \"id or key or sample_id\"; it has text"), "{error}");
    let bare =
        bench.file("z.parquet", parquet_file("message m { optional binary id (UTF8); }", &columns[..1], 9));
    let error = bench.refused(ParquetSource::new([bare]));
    assert!(matches!(error, Error::Source(SourceError::NoPairs { .. })), "{error}");
    let error = bench.refused(ParquetSource::new(Vec::<PathBuf>::new()));
    assert!(matches!(error, Error::Source(SourceError::Nothing { .. })), "{error}");
    let text = bench.file("t.parquet", "no Parquet at all");
    let error = bench.refused(ParquetSource::new([text])).to_string();
    assert!(error.contains("t.parquet cannot be read as Parquet"), "{error}");
    let error = bench.refused(ParquetSource::new([bench.folder.path().join("none.parquet")]));
    assert!(matches!(error, Error::Source(SourceError::Io { .. })), "{error}");
    // A number is no text: that is the row's affair.
    let report =
        bench.collection.ingest(named(Columns::new().text("n"))).on_error(OnError::Skip).run().unwrap();
    assert_eq!((report.ingested, report.skipped), (0, 2));
    // Bytes that are not said to be text are taken for text where text is wanted.
    let run = bench.collection.ingest(named(Columns::new().text("words"))).from_start(true).run().unwrap();
    assert_eq!((run.ingested, bench.texts()), (2, vec![Some("eins".into()), Some("zwei".into())]));
    // Pictures are not taken where features are.
    let pictures = "message m { optional binary id (UTF8); optional binary jpg; }";
    let columns = [ColumnOf::texts(&["p"]), ColumnOf::Bytes(vec![Some(picture([1, 2, 3]))])];
    let path = bench.file("p.parquet", parquet_file(pictures, &columns, 9));
    let error = bench.refused(ParquetSource::new([path])).to_string();
    assert!(error.contains("gives pictures as image"), "{error}");
}

#[test]
fn large_parquet_files_are_read_group_by_group() {
    const ROWS: i64 = 30_000;
    let schema = "message m { optional int64 id; optional group image { optional binary bytes; optional binary path (UTF8); } optional binary text (UTF8); }";
    let text = |row: i64| (row % 7 != 0).then(|| format!("caption {row}").into_bytes());
    let columns = [
        ColumnOf::Numbers((0..ROWS).map(Some).collect()),
        ColumnOf::Bytes(vec![None; ROWS as usize]),
        ColumnOf::Bytes(vec![None; ROWS as usize]),
        ColumnOf::Bytes((0..ROWS).map(text).collect()),
    ];
    let bench = Bench::new(texts(IdKind::U64));
    let path = bench.file("x.parquet", parquet_file(schema, &columns, 7_001));
    let report = bench.collection.ingest(ParquetSource::new([&path])).on_error(OnError::Skip).run().unwrap();
    assert_eq!(report.ingested + report.skipped, ROWS as u64);
    assert_eq!(report.skipped, (ROWS as u64).div_ceil(7), "rows without text are empty");
    assert_eq!(bench.collection.get(29_999_u64).unwrap().unwrap().text(), Some("caption 29999"));
    let mut source = ParquetSource::new([&path]);
    let start = Position { part: 0, offset: 21_500 };
    let rest = items(&mut source, &texts(IdKind::U64), start);
    assert_eq!(rest.len(), 8_500);
    assert!(rest[0].1.contains("row 21500") && rest[0].1.contains("caption 21500"), "{}", rest[0].1);
}

/// Changed files are read in part or refused; nothing panics on the way out.
#[test]
fn damaged_parquet_files_are_refused() {
    use rand::{Rng, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(21);
    let bench = Bench::new(photos(IdKind::Auto));
    let names = ["huggingface.parquet", "img2dataset.parquet", "laion.parquet", "lists.parquet"];
    let sound: Vec<Vec<u8>> = names.iter().map(|name| fs::read(bench.fixture(name)).unwrap()).collect();
    // The decoder of the format relies on what it reads; its panics are caught, and not worth a word.
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let (mut read, mut refused) = (0, 0);
    for round in 0..600 {
        let mut bytes = sound[round % names.len()].clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..8) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] = 0xff,
                _ => bytes[at] ^= 1 << random.random_range(0..8),
            }
        }
        let path = bench.file(&format!("{round}.parquet"), bytes);
        let mut source = ParquetSource::new([&path]);
        match source.read(&photos(IdKind::Auto), Position::default(), &mut |_| ControlFlow::Continue(())) {
            Ok(()) => read += 1,
            Err(error) => {
                refused += 1;
                assert!(matches!(error, Error::Source(_)), "{error:?}");
            }
        }
    }
    std::panic::set_hook(told);
    assert!(read > 50 && refused > 50, "{read} {refused}");
}
