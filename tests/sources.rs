//! Sources as other programs write them: tables, Parquet, image folders, COCO, clip-retrieval, all with
//! the same photos, and what is wrong with them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use twinbit::{
    ClipRetrievalSource, CocoSource, CodeBits, Collection, Columns, Database, Durability, Entry, Error,
    Field, FolderSource, IdKind, ImageEncoding, Item, Modality, OnError, PairsSource, ParquetSource,
    Position, RecordId, Schema, Source, SourceError, TextEncoding, Value, WebDatasetSource,
};
use twinbit_tests::{ColumnOf, data_set, npy_f32, parquet_file, picture, shard};

/// A folder, and a database in it with one collection.
struct Bench {
    folder: TempDir,
    collection: Collection,
}

impl Bench {
    fn new(schema: Schema) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let builder = Database::builder().durability(Durability::Eventual).threads(2);
        let database = builder.open(folder.path().join("database")).unwrap();
        let collection = database.create_collection("things", schema).unwrap();
        Bench { folder, collection }
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A copy of a file that another program wrote, with a green picture beside it.
    fn fixture(&self, name: &str) -> PathBuf {
        self.file("green.png", picture([0, 255, 0]));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/parquet").join(name);
        self.file(name, fs::read(path).unwrap())
    }

    fn entries(&self) -> Vec<Entry> {
        self.collection.snapshot().unwrap().page(None, 100_000).unwrap()
    }

    fn texts(&self) -> Vec<Option<String>> {
        self.entries().iter().map(|entry| entry.text().map(str::to_owned)).collect()
    }

    fn refused(&self, source: impl Source) -> Error {
        let before = self.entries().len();
        let error = self.collection.ingest(source).on_error(OnError::Skip).run().unwrap_err();
        assert_eq!(self.entries().len(), before);
        error
    }
}

fn texts(ids: IdKind) -> Schema {
    Schema::new(CodeBits::B32).ids(ids).image_features(2).text_encoder(TextEncoding::Ngram)
}

fn photos(ids: IdKind) -> Schema {
    texts(ids).image_encoder(ImageEncoding::EfficientNetLite0)
}

/// All items from `start` on, as texts that tell them apart.
fn items(source: &mut impl Source, schema: &Schema, start: Position) -> Vec<(Position, String)> {
    let mut items = Vec::new();
    let mut each = |item: Item| {
        items.push((item.next, format!("{} {:?}", item.name, item.content)));
        ControlFlow::Continue(())
    };
    source.read(schema, start, &mut each).unwrap();
    items
}

/// Reading may start behind every item and then gives the rest.
fn assert_continues(source: &mut impl Source, schema: &Schema) {
    let all = items(source, schema, Position::default());
    for (count, (next, _)) in all.iter().enumerate() {
        assert_eq!(items(source, schema, *next), all[count + 1..], "behind item {count}");
    }
}

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

#[test]
fn tables_of_captions_as_people_have_them() {
    let Some(flickr) = data_set("flickr8k") else { return };
    let schema = texts(IdKind::Auto).field("split", Field::str().indexed()).field("caption_no", Field::u64());
    let bench = Bench::new(schema);
    let source = || {
        let columns = Columns::new().text("caption");
        PairsSource::new(flickr.join("captions.tsv")).columns(columns)
    };
    let error = bench.refused(source()).to_string();
    assert!(error.contains("captions.tsv row 1 has a column \"index\""), "{error}");
    let report = bench.collection.ingest(source().ignore_unknown(true)).run().unwrap();
    assert_eq!(report.ingested, 35_000);
    let first_of_test = |entry: &&Entry| {
        entry.fields()["split"] == Value::Str("test".into()) && entry.fields()["caption_no"] == Value::U64(0)
    };
    assert_eq!(bench.entries().iter().filter(first_of_test).count(), 1_000);
    println!("captions.tsv: {:.0} records a second", report.records_per_second);
}

#[test]
fn tables_that_do_not_fit_are_refused() {
    let bench = Bench::new(texts(IdKind::Str));
    let table = |content: &str| PairsSource::new(bench.file("t.csv", content));
    for (content, reason) in [
        ("", "no column \"image or text\"; it has none"),
        ("id,body\n1,x\n", "row 1 has a column \"body\""),
        ("id,id,text\n1,2,x\n", "two columns \"id\""),
        ("id,image\n1,a.png\n", "cannot read"),
    ] {
        let error = bench.collection.ingest(table(content)).run().unwrap_err().to_string();
        assert!(error.contains(reason), "{content:?}: {error}");
    }
    let list = bench.folder.path().join("skipped.jsonl");
    let source = table("id,text\n1,one\n2\n3,three,4\n5,\n6,six\n");
    let report = bench.collection.ingest(source).on_error(OnError::Skip).skipped_file(&list).run().unwrap();
    assert_eq!((report.ingested, report.skipped), (2, 3));
    let skipped = fs::read_to_string(list).unwrap();
    assert!(skipped.contains("t.csv row 3") && skipped.contains("the row has 1 cells"), "{skipped}");
}

#[test]
fn coco_lists_that_contradict_themselves_are_refused() {
    let bench = Bench::new(photos(IdKind::U64));
    for (list, reason) in [
        ("[]", "is no list of captions"),
        ("{\"images\": []}", "annotations"),
        ("{\"images\": [], \"annotations\": []}", "lists no image"),
        (
            "{\"images\": [{\"id\": 1, \"file_name\": \"a\"}, {\"id\": 1, \"file_name\": \"b\"}], \"annotations\": []}",
            "listed twice",
        ),
        (
            "{\"images\": [], \"annotations\": [{\"image_id\": 7, \"caption\": \"x\"}]}",
            "image 7, which is not listed",
        ),
        ("{\"images\": [", "EOF"),
    ] {
        let path = bench.file("list.json", list);
        let error = CocoSource::open(path, bench.folder.path()).unwrap_err().to_string();
        assert!(error.contains(reason), "{list}: {error}");
    }
    let list = "{\"images\": [{\"id\": 1, \"file_name\": \"none.png\"}], \"annotations\": []}";
    let source = CocoSource::open(bench.file("list.json", list), bench.folder.path()).unwrap();
    let error = bench.collection.ingest(source).run().unwrap_err().to_string();
    assert!(error.contains("list.json image 1") && error.contains("none.png"), "{error}");
}

#[test]
fn folders_of_clip_retrieval_that_do_not_fit_together_are_refused() {
    let schema = texts(IdKind::Auto).text_features(3);
    let bench = Bench::new(schema);
    let folder = bench.folder.path().join("out");
    bench.file("out/img_emb/img_emb_0.npy", npy_f32(2, &[1.0; 6]));
    bench.file("out/text_emb/text_emb_0.npy", npy_f32(3, &[1.0; 6]));
    let error = ClipRetrievalSource::open(&folder).unwrap_err().to_string();
    assert!(error.contains("img_emb_0.npy") && error.contains("text_emb_0.npy"), "{error}");
    bench.file("out/text_emb/text_emb_0.npy", npy_f32(3, &[1.0; 9]));
    let columns = [ColumnOf::texts(&["a", "b"])];
    bench.file(
        "out/metadata/metadata_0.parquet",
        parquet_file("message m { optional binary caption (UTF8); }", &columns, 9),
    );
    let error = ClipRetrievalSource::open(&folder).unwrap_err();
    assert!(matches!(error, Error::Source(SourceError::Lines { lines: 2, rows: 3, .. })), "{error}");
    fs::remove_file(folder.join("metadata/metadata_0.parquet")).unwrap();
    assert_eq!(
        bench.collection.ingest(ClipRetrievalSource::open(&folder).unwrap()).run().unwrap().ingested,
        3
    );
    let wide = Bench::new(texts(IdKind::Auto).image_features(5).text_features(3));
    let error = wide.refused(ClipRetrievalSource::open(&folder).unwrap());
    assert!(matches!(error, Error::Source(SourceError::Takes { modality: Modality::Image, .. })), "{error}");
    let named = Bench::new(texts(IdKind::Str).text_features(3));
    let error = named.refused(ClipRetrievalSource::open(&folder).unwrap());
    assert!(matches!(error, Error::Source(SourceError::IdsMissing { .. })), "{error}");
    let empty = tempfile::tempdir().unwrap();
    fs::create_dir(empty.path().join("img_emb")).unwrap();
    assert!(ClipRetrievalSource::open(empty.path()).is_err());
}

/// A photo with its captions.
struct Photo {
    id: u64,
    jpeg: Vec<u8>,
    captions: Vec<String>,
}

/// The first photos of Flickr8k.
fn first_photos(flickr: &Path, count: usize) -> Vec<Photo> {
    let mut archive = tar::Archive::new(fs::File::open(flickr.join("images-00.tar")).unwrap());
    let mut photos: Vec<Photo> = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        let id: u64 = path.file_stem().unwrap().to_string_lossy().parse().unwrap();
        if photos.last().is_none_or(|last| last.id != id) {
            if photos.len() == count {
                break;
            }
            photos.push(Photo { id, jpeg: Vec::new(), captions: Vec::new() });
        }
        let photo = photos.last_mut().unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        match path.extension().unwrap().to_string_lossy().as_ref() {
            "jpg" => photo.jpeg = bytes,
            "txt" => photo.captions = String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect(),
            _ => {}
        }
    }
    photos
}

/// What a collection holds, by id: text, record it is a caption of, image features.
type Held = BTreeMap<String, (Option<String>, Option<RecordId>, Option<Vec<f32>>)>;

fn held(collection: &Collection) -> Held {
    let entries = collection.snapshot().unwrap().page(None, 10_000).unwrap();
    let held = |entry: &Entry| {
        let features = entry.features(Modality::Image).map(<[f32]>::to_vec);
        let id = match entry.id() {
            RecordId::Str(id) => id.clone(),
            RecordId::U64(id) => id.to_string(),
        };
        (id, (entry.text().map(str::to_owned), entry.of().cloned(), features))
    };
    entries.iter().map(held).collect()
}

/// What a new collection of pictures and texts holds after this source.
fn take_in(source: impl Source) -> Held {
    let bench = Bench::new(photos(IdKind::Str));
    bench.collection.ingest(source).run().unwrap();
    held(&bench.collection)
}

/// The same photos of Flickr8k give the same records by every way in that holds pictures.
#[test]
fn the_same_photos_come_in_by_every_way() {
    let Some(flickr) = data_set("flickr8k") else { return };
    let photos_there = first_photos(&flickr, 12);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: String, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let json = |value: serde_json::Value| format!("{value}\n");
    let (mut pairs, mut metadata) = (String::new(), String::new());
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for Photo { id, jpeg, captions } in &photos_there {
        write(format!("folder/{id}.jpg"), jpeg);
        write(format!("folder/{id}.txt"), captions.join("\n").as_bytes());
        write(format!("listed/pictures/{id}.jpg"), jpeg);
        pairs += &json(
            serde_json::json!({"id": id.to_string(), "image": format!("pictures/{id}.jpg"), "text": captions}),
        );
        write(format!("images/{id}.jpg"), jpeg);
        metadata += &json(serde_json::json!({"file_name": format!("{id}.jpg"), "captions": captions}));
        members.push((format!("{id}.jpg"), jpeg.clone()));
        members.push((format!("{id}.txt"), captions.join("\n").into_bytes()));
        images.push(serde_json::json!({"id": id, "file_name": format!("{id}.jpg"), "height": 224}));
        annotations
            .extend(captions.iter().map(|caption| serde_json::json!({"image_id": id, "caption": caption})));
    }
    write("listed/pairs.jsonl".into(), pairs.as_bytes());
    write("images/metadata.jsonl".into(), metadata.as_bytes());
    let list = serde_json::json!({"info": {}, "images": images, "annotations": annotations});
    write("annotations/captions_val.json".into(), list.to_string().as_bytes());
    let members: Vec<(&str, &[u8])> =
        members.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    write("shards/0.tar".into(), &shard(&members));
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("val")).unwrap();
    for Photo { id, .. } in &photos_there {
        fs::copy(at(&format!("images/{id}.jpg")), at(&format!("val/{id}.jpg"))).unwrap();
    }
    let coco = at("annotations/captions_val.json");
    assert!(CocoSource::usual_folder(&coco).ends_with("val"));

    let expected = take_in(FolderSource::open(at("folder")).unwrap());
    assert_eq!(expected.len(), photos_there.iter().map(|photo| photo.captions.len()).sum::<usize>());
    assert_eq!(take_in(PairsSource::new(at("listed/pairs.jsonl"))), expected);
    assert_eq!(take_in(PairsSource::image_folder(at("images")).unwrap()), expected);
    assert_eq!(take_in(WebDatasetSource::new([at("shards/0.tar")])), expected);
    assert_eq!(take_in(CocoSource::open(&coco, CocoSource::usual_folder(&coco)).unwrap()), expected);

    // Those that hold one caption: as Parquet, as a table, and as embeddings of clip-retrieval.
    let of_one = |held: &Held| -> Held {
        held.iter().filter(|(id, _)| !id.contains('#')).map(|(id, held)| (id.clone(), held.clone())).collect()
    };
    let text = |photo: &Photo| Some(photo.captions[0].clone().into_bytes());
    let id = |photo: &Photo| Some(photo.id.to_string().into_bytes());
    let columns = [
        ColumnOf::Bytes(photos_there.iter().map(id).collect()),
        ColumnOf::Bytes(photos_there.iter().map(|photo| Some(photo.jpeg.clone())).collect()),
        ColumnOf::Bytes(vec![None; photos_there.len()]),
        ColumnOf::Bytes(photos_there.iter().map(text).collect()),
    ];
    let schema = "message m { optional binary id (UTF8); optional group image { optional binary bytes; optional binary path (UTF8); } optional binary text (UTF8); }";
    write("x.parquet".into(), &parquet_file(schema, &columns, 5));
    assert_eq!(take_in(ParquetSource::new([at("x.parquet")])), of_one(&expected));
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let row = |photo: &Photo| format!("{0},folder/{0}.jpg,{1}\n", photo.id, quoted(&photo.captions[0]));
    let table = format!("id,image,text\n{}", photos_there.iter().map(row).collect::<String>());
    write("t.csv".into(), table.as_bytes());
    assert_eq!(take_in(PairsSource::new(at("t.csv"))), of_one(&expected));

    let features: Vec<f32> =
        photos_there.iter().flat_map(|photo| expected[&photo.id.to_string()].2.clone().unwrap()).collect();
    let width = features.len() / photos_there.len();
    let half = photos_there.len() / 2;
    for (part, photos) in photos_there.chunks(half).enumerate() {
        let rows = &features[part * half * width..][..photos.len() * width];
        write(format!("clip/img_emb/img_emb_{part}.npy"), &npy_f32(width, rows));
        let columns = [
            ColumnOf::Bytes(photos.iter().map(id).collect()),
            ColumnOf::Bytes(photos.iter().map(text).collect()),
        ];
        let table = parquet_file(
            "message m { optional binary key (UTF8); optional binary caption (UTF8); }",
            &columns,
            9,
        );
        write(format!("clip/metadata/metadata_{part}.parquet"), &table);
    }
    let schema = texts(IdKind::Str).image_features(width);
    let bench = Bench::new(schema.clone());
    let mut source = ClipRetrievalSource::open(at("clip")).unwrap();
    assert_continues(&mut source, &schema);
    assert_eq!(bench.collection.ingest(source).run().unwrap().ingested, photos_there.len() as u64);
    assert_eq!(held(&bench.collection), of_one(&expected));
}
