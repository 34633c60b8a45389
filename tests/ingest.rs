//! Ingest from end to end: every kind of source, continued runs, and bad input.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use twinbit::{
    Array, ArrayError, ArrayPairs, ArraySource, CodeBits, CodeSource, Collection, Database, Durability,
    Entry, Error, Field, FolderSource, IdKind, ImageEncoding, IngestObserver, IngestOutcome, IngestProgress,
    Modality, OnError, PairsSource, Position, RecordId, Schema, Source, SourceError, TextEncoding, Value,
    WebDatasetSource,
};
use twinbit_tests::{data_set, npy, npy_f32, picture, shard};

/// A folder with files, and a database in it with one collection.
struct Bench {
    folder: TempDir,
    collection: Collection,
}

impl Bench {
    fn new(schema: Schema) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::builder()
            .durability(Durability::Eventual)
            .threads(2)
            .open(folder.path().join("database"))
            .unwrap();
        let collection = database.create_collection("things", schema).unwrap();
        Bench { folder, collection }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn array(&self, name: &str, bytes: impl AsRef<[u8]>) -> Array {
        Array::open(self.file(name, bytes)).unwrap()
    }

    fn get(&self, id: impl Into<RecordId>) -> Entry {
        self.collection.get(id).unwrap().expect("the record is there")
    }

    fn len(&self) -> u64 {
        self.collection.snapshot().unwrap().len()
    }
}

fn features(ids: IdKind) -> Schema {
    Schema::new(CodeBits::B32)
        .ids(ids)
        .image_features(2)
        .text_features(3)
        .field("year", Field::u64())
        .field("seen", Field::timestamp())
}

fn texts(ids: IdKind) -> Schema {
    Schema::new(CodeBits::B32)
        .ids(ids)
        .image_features(2)
        .text_encoder(TextEncoding::Ngram)
        .field("year", Field::u64().indexed())
}

fn pictures(ids: IdKind) -> Schema {
    texts(ids).image_encoder(ImageEncoding::EfficientNetLite0)
}

fn ones(rows: usize, width: usize) -> Vec<u8> {
    npy_f32(width, &vec![1.0; rows * width])
}

#[test]
fn arrays_with_ids_and_fields() {
    let bench = Bench::new(features(IdKind::Str));
    let image = bench.array("i.npy", npy_f32(2, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.5]));
    let text = bench.array("t.npy", npy("|u1", 3, 3, &[0, 1, 0, 1, 0, 0, 7, 8, 9]));
    let ids = bench.file("ids.txt", "a\nb\r\nc\n");
    let meta =
        bench.file("meta.jsonl", "{\"year\": 1}\n{}\n{\"year\": null, \"seen\": \"1970-01-01T00:00:01Z\"}\n");
    let source = ArraySource::new().image(image).text(text).ids(ids).fields(meta);
    let report = bench.collection.ingest(source).batch(2).run().unwrap();
    assert_eq!((report.ingested, report.skipped, report.outcome), (3, 0, IngestOutcome::Complete));
    assert_eq!(bench.get("a").features(Modality::Image), Some(&[1.0, 2.0][..]));
    assert_eq!(bench.get("a").fields()["year"], Value::U64(1));
    assert!(bench.get("b").fields().is_empty());
    assert_eq!(bench.get("c").features(Modality::Text), Some(&[7.0, 8.0, 9.0][..]));
    assert_eq!(bench.get("c").fields()["seen"], Value::Timestamp(1_000_000));
}

/// A MATLAB file, version 5, of one matrix of doubles that is called `x`.
fn mat(rows: u32, columns: u32, by_column: &[f64]) -> Vec<u8> {
    let element = |kind: u32, data: &[u8]| {
        let mut bytes = [kind.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    };
    const DOUBLE_CLASS: u32 = 6;
    let matrix = [
        element(6, &[DOUBLE_CLASS.to_le_bytes(), [0; 4]].concat()),
        element(5, &[rows.to_le_bytes(), columns.to_le_bytes()].concat()),
        element(1, b"x"),
        element(9, &by_column.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>()),
    ];
    let mut file = format!("{:<124}", "MATLAB 5.0 MAT-file, made by a test").into_bytes();
    file.extend([0x00, 0x01, b'I', b'M']);
    file.extend(element(14, &matrix.concat()));
    file
}

#[test]
fn arrays_of_matlab_and_of_safetensors() {
    let bench = Bench::new(features(IdKind::Auto));
    let values = [1.0_f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
    let tensor =
        |shape| safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &values).unwrap();
    let tensors = [("other", tensor(vec![4])), ("images", tensor(vec![2, 2]))];
    let path = bench.file("features.safetensors", safetensors::serialize(tensors, None).unwrap());
    bench.file("texts.mat", mat(2, 3, &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
    let image = Array::open(format!("{}:images", path.display())).unwrap();
    let text = Array::open(bench.path("texts.mat")).unwrap();
    let source = ArraySource::new().image(image).text(text);
    assert_eq!(bench.collection.ingest(source).run().unwrap().ingested, 2);
    let entries = bench.collection.snapshot().unwrap().page(None, 10).unwrap();
    assert_eq!(entries[1].features(Modality::Image), Some(&[3.0, 4.0][..]));
    assert_eq!(entries[0].features(Modality::Text), Some(&[1.0, 2.0, 3.0][..]));
    assert_eq!(entries[1].features(Modality::Text), Some(&[4.0, 5.0, 6.0][..]));
}

#[test]
fn codes_of_both_modalities() {
    let bench = Bench::new(Schema::new(CodeBits::B16).external_codes());
    let image = bench.array("i.npy", npy("|u1", 2, 2, &[1, 2, 3, 4]));
    let text = bench.array("t.npy", npy("|u1", 2, 2, &[5, 6, 7, 8]));
    let source = CodeSource::new().codes(Modality::Image, image).codes(Modality::Text, text);
    assert_eq!(bench.collection.ingest(source).run().unwrap().ingested, 2);
    let entries = bench.collection.snapshot().unwrap().page(None, 10).unwrap();
    assert_eq!(entries[1].code(Modality::Image), Some(&[3, 4][..]));
    assert_eq!(entries[0].code(Modality::Text), Some(&[5, 6][..]));
}

/// Writes the files of a source and gives back what ingests them.
type Prepare = fn(&Bench, &[u8]) -> Box<dyn Fn(&Bench) -> u64>;

/// Pictures and captions as they come, by way of all three sources that hold them.
#[test]
fn pictures_with_several_captions() {
    let red = picture([255, 0, 0]);
    let lists: [Prepare; 3] = [
        |bench, red| {
            bench.file("pictures/x/red.png", red);
            bench.file("pictures/x/red.txt", "a red square\nall red\n\n");
            Box::new(|bench| {
                let source = FolderSource::open(bench.path("pictures")).unwrap();
                bench.collection.ingest(source).run().unwrap().ingested
            })
        },
        |bench, red| {
            bench.file("red.png", red);
            let line = r#"{"id": "x/red", "image": "red.png", "text": ["a red square", "all red"]}"#;
            bench.file("pairs.jsonl", line);
            Box::new(|bench| {
                bench.collection.ingest(PairsSource::new(bench.path("pairs.jsonl"))).run().unwrap().ingested
            })
        },
        |bench, red| {
            bench.file("0.tar", shard(&[("x/red.png", red), ("x/red.txt", b"a red square\nall red")]));
            Box::new(|bench| {
                bench.collection.ingest(WebDatasetSource::new([bench.path("0.tar")])).run().unwrap().ingested
            })
        },
    ];
    for list in lists {
        let bench = Bench::new(pictures(IdKind::Str));
        assert_eq!(list(&bench, &red)(&bench), 2);
        let first = bench.get("x/red");
        assert!(first.has(Modality::Image) && first.of().is_none());
        assert_eq!(first.text(), Some("a red square"));
        let second = bench.get("x/red#2");
        assert_eq!((second.text(), second.of()), (Some("all red"), Some(&RecordId::from("x/red"))));
        assert!(!second.has(Modality::Image));
    }
}

#[test]
fn further_captions_take_the_next_automatic_ids_and_none_where_ids_are_numbers() {
    let bench = Bench::new(texts(IdKind::Auto));
    let list = "{\"text\": [\"one\", \"two\", \"three\"]}\n{\"text\": \"four\", \"year\": 7}\n";
    let path = bench.file("pairs.jsonl", list);
    assert_eq!(bench.collection.ingest(PairsSource::new(path)).run().unwrap().ingested, 4);
    let entries = bench.collection.snapshot().unwrap().page(None, 10).unwrap();
    let first = entries.iter().find(|entry| entry.text() == Some("one")).unwrap().id().clone();
    for text in ["two", "three"] {
        let caption = entries.iter().find(|entry| entry.text() == Some(text)).unwrap();
        assert_eq!(caption.of(), Some(&first));
    }
    let numbered = Bench::new(texts(IdKind::U64));
    let path = numbered.file("pairs.jsonl", "{\"id\": 1, \"text\": [\"one\", \"two\"]}\n");
    let error = numbered.collection.ingest(PairsSource::new(path)).run().unwrap_err();
    assert!(error.to_string().contains("further captions"), "{error}");
    assert_eq!(numbered.len(), 0);
}

#[test]
fn what_is_ingested_after_training_is_encoded() {
    let bench = Bench::new(features(IdKind::Auto));
    let values: Vec<f32> = (0..64 * 3).map(|value| (value % 7) as f32).collect();
    let image = || bench.array("i.npy", npy_f32(2, &values[..128]));
    let text = || bench.array("t.npy", npy_f32(3, &values));
    let pairs = ArrayPairs::new(image(), text()).unwrap();
    let outcome = bench.collection.trainer().hidden(8).batch(16).epochs(1).fit_source(&pairs).unwrap();
    bench.collection.install(&outcome.model).unwrap();
    bench.collection.ingest(ArraySource::new().image(image()).text(text())).run().unwrap();
    let snapshot = bench.collection.snapshot().unwrap();
    let entry = &snapshot.page(None, 1).unwrap()[0];
    let code = outcome.model.encode(Modality::Image, &values[..2]).unwrap().as_codes().row(0);
    assert_eq!(entry.code(Modality::Image), Some(&code[..]));
    let hits = snapshot.query(Modality::Image, &values[..2]).against(Modality::Image).limit(1).run().unwrap();
    assert_eq!(hits[0].distance(), 0);
}

/// Stops a run once a condition holds.
struct StopWhen<F>(F);

impl<F: FnMut(&IngestProgress) -> bool> IngestObserver for StopWhen<F> {
    fn on_progress(&mut self, progress: &IngestProgress) -> ControlFlow<()> {
        if self.0(progress) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn an_interrupted_run_is_continued_behind_its_last_commit() {
    const ROWS: usize = 260_000;
    let bench = Bench::new(Schema::new(CodeBits::new(8).unwrap()).ids(IdKind::U64).external_codes());
    let codes = bench.file("c.npy", npy("|u1", ROWS, 1, &vec![9; ROWS]));
    let ids: String = (0..ROWS).map(|id| format!("{id}\n")).collect();
    let ids = bench.file("ids.txt", ids);
    let source = || CodeSource::new().codes(Modality::Text, Array::open(&codes).unwrap()).ids(&ids);
    let mut stop = StopWhen(|progress: &IngestProgress| progress.committed > 0);
    let first = bench.collection.ingest(source()).batch(4_096).observer(&mut stop).run().unwrap();
    assert_eq!(first.outcome, IngestOutcome::Interrupted);
    assert!((250_000..ROWS as u64).contains(&first.ingested), "{}", first.ingested);
    assert_eq!(bench.len(), first.ingested);

    let second = bench.collection.ingest(source()).run().unwrap();
    assert_eq!(second.resumed_from, Some(Position { part: 0, offset: first.ingested }));
    assert_eq!(first.ingested + second.ingested, ROWS as u64);
    assert_eq!(bench.len(), ROWS as u64);
    assert_eq!(bench.get(ROWS as u64 - 1).code(Modality::Text), Some(&[9][..]));

    let third = bench.collection.ingest(source()).run().unwrap();
    assert_eq!((third.outcome, third.ingested), (IngestOutcome::AlreadyComplete, 0));
}

#[test]
fn an_interrupted_run_with_automatic_ids_leaves_nothing() {
    let bench = Bench::new(features(IdKind::Auto));
    let image = bench.file("i.npy", ones(1_000, 2));
    let source = || ArraySource::new().image(Array::open(&image).unwrap());
    let mut stop = StopWhen(|progress: &IngestProgress| progress.items >= 500);
    let report = bench.collection.ingest(source()).batch(100).observer(&mut stop).run().unwrap();
    assert_eq!((report.ingested, report.outcome), (0, IngestOutcome::Interrupted));
    assert_eq!(bench.len(), 0);
    assert_eq!(bench.collection.ingest(source()).run().unwrap().ingested, 1_000);
    let again = bench.collection.ingest(source()).run().unwrap();
    assert_eq!(again.outcome, IngestOutcome::AlreadyComplete);
    assert_eq!(bench.collection.ingest(source()).from_start(true).run().unwrap().ingested, 1_000);
    assert_eq!(bench.len(), 2_000);
}

#[test]
fn a_list_that_changed_is_read_again_and_upsert_replaces() {
    let bench = Bench::new(texts(IdKind::Str));
    let path = bench.file("pairs.jsonl", "{\"id\": \"a\", \"text\": \"one\"}\n");
    bench.collection.ingest(PairsSource::new(&path)).run().unwrap();
    bench.file("pairs.jsonl", "{\"id\": \"b\", \"text\": \"new\"}\n{\"id\": \"a\", \"text\": \"two\"}\n");

    let error = bench.collection.ingest(PairsSource::new(&path)).run().unwrap_err();
    let message = error.to_string();
    assert!(message.contains("pairs.jsonl line 2") && message.contains("record a exists"), "{message}");
    let Error::Item { source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(*source, Error::Duplicate { .. }));
    assert_eq!((bench.len(), bench.get("a").text()), (1, Some("one")));

    let report = bench.collection.ingest(PairsSource::new(&path)).upsert(true).run().unwrap();
    assert_eq!((report.ingested, bench.len(), bench.get("a").text()), (2, 2, Some("two")));
}

#[test]
fn an_id_that_comes_twice_in_one_source_is_a_duplicate() {
    let bench = Bench::new(texts(IdKind::U64));
    let path = bench.file("p.jsonl", "{\"id\": 1, \"text\": \"x\"}\n{\"id\": \"1\", \"text\": \"y\"}\n");
    let error = bench.collection.ingest(PairsSource::new(&path)).run().unwrap_err();
    assert!(error.to_string().contains("p.jsonl line 2"), "{error}");
    assert_eq!(bench.len(), 0);
}

#[test]
fn skipped_items_are_listed_with_the_reason() {
    let bench = Bench::new(pictures(IdKind::Str));
    bench.file("pictures/a.png", picture([0, 255, 0]));
    bench.file("pictures/b.jpg", "no picture at all");
    bench.file("pictures/c.txt", b"\xff\xfe");
    bench.file("pictures/d.txt", "fine");
    let source = || FolderSource::open(bench.path("pictures")).unwrap();

    let error = bench.collection.ingest(source()).run().unwrap_err();
    assert!(error.to_string().contains("pictures/b"), "{error}");
    assert_eq!(bench.len(), 0);

    let list = bench.path("skipped.jsonl");
    let report = bench.collection.ingest(source()).on_error(OnError::Skip).skipped_file(&list).run().unwrap();
    assert_eq!((report.ingested, report.skipped), (2, 2));
    let lines: Vec<serde_json::Value> =
        fs::read_to_string(list).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut items: Vec<&str> = lines.iter().filter_map(|line| line["item"].as_str()).collect();
    items.sort_unstable();
    assert!(items[0].ends_with("pictures/b") && items[1].ends_with("pictures/c"), "{items:?}");
    assert!(lines.iter().all(|line| line["reason"].as_str().is_some_and(|reason| reason.len() > 20)));
}

#[test]
fn a_value_that_is_too_long_is_named_or_skipped() {
    let bench = Bench::new(texts(IdKind::Str).field("note", Field::str()));
    let long = "x".repeat(65_536);
    let lines = format!(
        "{{\"id\":\"a\",\"text\":\"one\"}}\n{{\"id\":\"b\",\"text\":\"two\",\"note\":\"{long}\"}}\n{{\"id\":\"c\",\"text\":\"three\"}}\n"
    );
    let path = bench.file("p.jsonl", lines);
    let error = bench.collection.ingest(PairsSource::new(&path)).run().unwrap_err();
    assert!(error.to_string().contains("p.jsonl line 2: field \"note\""), "{error}");
    assert_eq!(bench.len(), 0);
    let report = bench.collection.ingest(PairsSource::new(&path)).on_error(OnError::Skip).run().unwrap();
    assert_eq!((report.ingested, report.skipped, bench.len()), (2, 1, 2));
}

#[test]
fn a_value_that_is_no_number_discards_a_run_of_one_commit() {
    let bench = Bench::new(features(IdKind::Auto));
    let mut values = vec![1.0; 2_000];
    values[1_401] = f32::NAN;
    let image = bench.file("i.npy", npy_f32(2, &values));
    let source = || ArraySource::new().image(Array::open(&image).unwrap());
    let error = bench.collection.ingest(source()).batch(64).run().unwrap_err();
    assert!(error.to_string().contains("i.npy row 700"), "{error}");
    let Error::Item { source: cause, .. } = error else { panic!("{error:?}") };
    assert!(matches!(*cause, Error::NotFinite { column: 1, .. }), "{cause:?}");
    assert_eq!(bench.len(), 0);
    let report = bench.collection.ingest(source()).on_error(OnError::Skip).run().unwrap();
    assert_eq!((report.ingested, report.skipped, bench.len()), (999, 1, 999));
}

#[test]
fn arrays_that_do_not_fit_change_nothing() {
    let bench = Bench::new(features(IdKind::Auto));
    let refused = |source: ArraySource| {
        let error = bench.collection.ingest(source).on_error(OnError::Skip).run().unwrap_err();
        assert_eq!(bench.len(), 0);
        error
    };
    let image = |rows| bench.array("i.npy", ones(rows, 2));

    let wide = bench.array("w.npy", ones(4, 5));
    assert!(matches!(
        refused(ArraySource::new().image(wide)),
        Error::Source(SourceError::Takes { modality: Modality::Image, .. })
    ));
    let signed = bench.array("s.npy", npy("|i1", 4, 2, &[0; 8]));
    assert!(matches!(
        refused(ArraySource::new().image(signed)),
        Error::Array(ArrayError::WrongElements { .. })
    ));
    let text = bench.array("t.npy", ones(3, 3));
    let error = refused(ArraySource::new().image(image(4)).text(text));
    assert!(matches!(error, Error::Array(ArrayError::RowsDiffer { first_rows: 4, second_rows: 3, .. })));
    assert!(matches!(refused(ArraySource::new()), Error::Source(SourceError::Nothing { .. })));
    let ids = bench.file("ids.txt", "1\n2\n3\n4\n");
    assert!(matches!(
        refused(ArraySource::new().image(image(4)).ids(&ids)),
        Error::Source(SourceError::IdsNotTaken)
    ));
    let fields = bench.file("f.jsonl", "{}\n{}\n{}\n");
    assert!(matches!(
        refused(ArraySource::new().image(image(4)).fields(&fields)),
        Error::Source(SourceError::Lines { lines: 3, rows: 4, .. })
    ));
    let fields = bench.file("f.jsonl", "{}\n{\"yeer\": 1}\n{}\n{}\n");
    let error = refused(ArraySource::new().image(image(4)).fields(&fields));
    assert!(error.to_string().contains("line 2") && error.to_string().contains("year, seen"), "{error}");
    let codes = bench.array("c.npy", npy("|u1", 4, 4, &[0; 16]));
    let error = bench.collection.ingest(CodeSource::new().codes(Modality::Image, codes)).run().unwrap_err();
    assert!(matches!(error, Error::Source(SourceError::Takes { .. })), "{error}");
}

#[test]
fn sources_that_do_not_fit_are_refused() {
    let named = Bench::new(features(IdKind::Str));
    let image = named.array("i.npy", ones(2, 2));
    let error = named.collection.ingest(ArraySource::new().image(image)).run().unwrap_err();
    assert!(matches!(error, Error::Source(SourceError::IdsMissing { ids: IdKind::Str })), "{error}");
    named.file("pictures/a.png", picture([1, 2, 3]));
    let folder = FolderSource::open(named.path("pictures")).unwrap();
    let error = named.collection.ingest(folder).run().unwrap_err();
    assert!(error.to_string().contains("features of width 2"), "{error}");

    let codes = Bench::new(Schema::new(CodeBits::B16).external_codes());
    let short = codes.array("c.npy", npy("|u1", 2, 1, &[0; 2]));
    let error = codes.collection.ingest(CodeSource::new().codes(Modality::Text, short)).run().unwrap_err();
    assert!(
        error.to_string().contains("codes of 1 bytes") && error.to_string().contains("2 bytes"),
        "{error}"
    );
    let error = codes.collection.ingest(PairsSource::new(codes.path("none.jsonl"))).run().unwrap_err();
    assert!(matches!(error, Error::Source(SourceError::Io { .. })), "{error}");
}

/// Damaged files of every kind are refused or taken in part; nothing panics, and the collection
/// holds what the reports say.
#[test]
fn mutated_sources_never_panic() {
    use rand::{Rng, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(13);
    let arrays = Bench::new(features(IdKind::Auto));
    let lists = Bench::new(texts(IdKind::Auto));
    let kinds: [(&str, Vec<u8>); 3] = [
        ("x.npy", ones(9, 2)),
        ("x.jsonl", b"{\"text\": \"one\", \"year\": 3}\n".repeat(9)),
        ("x.tar", shard(&[("a.txt", b"one\ntwo"), ("a.json", b"{\"year\": 3}"), ("b.txt", b"three")])),
    ];
    let mut expected = [0, 0];
    let mut refused = 0;
    for round in 0..150 {
        let (name, sound) = &kinds[round % kinds.len()];
        let mut bytes = sound.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..3) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] ^= 1 << random.random_range(0..8),
                _ => bytes[at] = b"0-e\"{}[],:\n\xff"[random.random_range(0..12)],
            }
        }
        let bench = if round % 3 == 0 { &arrays } else { &lists };
        let path: &Path = &bench.path(&format!("{round}{name}"));
        fs::write(path, bytes).unwrap();
        let outcome = match round % 3 {
            0 => Array::open(path).map_err(Error::from).and_then(|array| {
                bench.collection.ingest(ArraySource::new().image(array)).on_error(OnError::Skip).run()
            }),
            1 => bench.collection.ingest(PairsSource::new(path)).on_error(OnError::Skip).run(),
            _ => bench.collection.ingest(WebDatasetSource::new([path])).on_error(OnError::Skip).run(),
        };
        match outcome {
            Ok(report) => expected[usize::from(round % 3 != 0)] += report.ingested,
            Err(_) => refused += 1,
        }
    }
    assert_eq!([arrays.len(), lists.len()], expected);
    assert!(refused > 20 && expected[0] > 20 && expected[1] > 20, "{refused} {expected:?}");
}

#[test]
fn arrays_and_shards_that_numpy_and_webdataset_wrote() {
    let Some(mirflickr) = data_set("mirflickr25k") else { return };
    let Some(flickr) = data_set("flickr8k") else { return };
    let image = Array::open(mirflickr.join("image_features_f16.npy")).unwrap();
    let text = Array::open(mirflickr.join("tags_u8.npz:tags")).unwrap();
    assert_eq!((image.shape(), text.shape()), (&[12_599, 1_280][..], &[12_599, 1_386][..]));
    let split = Array::open(mirflickr.join("split_u8.npy")).unwrap().to_u8().unwrap();
    assert_eq!(split.iter().filter(|value| **value == 1).count(), 2_000);
    let schema = Schema::new(CodeBits::B32).image_features(1_280).text_features(1_386);
    let bench = Bench::new(schema);
    let report = bench.collection.ingest(ArraySource::new().image(image).text(text)).run().unwrap();
    assert_eq!((report.ingested, bench.len()), (12_599, 12_599));
    println!("mirflickr25k: {:.0} records a second", report.records_per_second);

    let mut samples = 0;
    let mut source = WebDatasetSource::new([flickr.join("images-00.tar")]);
    let schema = pictures(IdKind::Str);
    source
        .read(&schema, Position::default(), &mut |item| {
            samples += 1;
            assert_eq!(item.content.unwrap().captions.len(), 4, "{}", item.name);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(samples, 1_000);
}
