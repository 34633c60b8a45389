//! Sources as other programs write them: tables, Parquet, image folders, COCO, clip-retrieval, all with
//! the same photos, and what is wrong with them.

mod parquet;
mod same_photos;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use twinbit::{
    ClipRetrievalSource, CocoSource, CodeBits, Collection, Columns, Database, Durability, Entry, Error,
    Field, IdKind, ImageEncoding, Item, Modality, OnError, PairsSource, Position, Schema, Source,
    SourceError, TextEncoding, Value,
};
use twinbit_tests::{ColumnOf, data_set, npy_f32, parquet_file, picture};

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
