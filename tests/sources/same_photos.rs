//! The same photos by every way in.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use twinbit::{
    ClipRetrievalSource, CocoSource, Collection, Entry, FolderSource, IdKind, Modality, PairsSource,
    ParquetSource, RecordId, Source, WebDatasetSource,
};
use twinbit_tests::{ColumnOf, data_set, npy_f32, parquet_file, shard};

use crate::{Bench, assert_continues, photos, texts};

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
