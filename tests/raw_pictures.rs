//! Raw pictures in arrays: they become what the same pictures become as files.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use twinbit::{
    Array, ArrayError, ArrayPairs, ArraySource, CodeBits, Collection, Database, Error, FolderSource, IdKind,
    ImageArray, ImageEncoding, Modality, PairSource, PictureArray, PublishedData, Schema, Split, SplitPairs,
    TextEncoding, TrainConfig,
};
use twinbit_tests::towers::write_whole_clip;

const PICTURES: usize = 24;
const WIDTH: usize = 10;
const HEIGHT: usize = 6;

/// Files that h5py wrote; `make.py` beside them says what is in them.
fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/arrays").join(name);
    format!("{}:IAll", path.display())
}

/// The fixtures' pictures, computed.
fn rgb(picture: usize) -> Vec<u8> {
    let level = |y: usize, x: usize, color: usize| {
        (picture * 97 + y * 31 + x * 7 + color * 53 + picture * x * y) % 251
    };
    (0..HEIGHT)
        .flat_map(|y| (0..WIDTH).flat_map(move |x| [0, 1, 2].map(|color| level(y, x, color) as u8)))
        .collect()
}

/// A PNG file with these colors.
fn png(rgb: Vec<u8>) -> Vec<u8> {
    let picture = image::RgbImage::from_raw(WIDTH as u32, HEIGHT as u32, rgb).unwrap();
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// An `.npy` file.
fn npy(path: &Path, kind: &str, shape: &str, data: &[u8]) -> PathBuf {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let start = [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes()];
    std::fs::write(path, [&start.concat(), data].concat()).unwrap();
    path.to_path_buf()
}

/// The pictures in all kinds of files.
fn everywhere(folder: &Path) -> Vec<PictureArray> {
    let bytes: Vec<u8> = (0..PICTURES).flat_map(rgb).collect();
    let array = npy(&folder.join("pictures.npy"), "|u1", "(24, 6, 10, 3)", &bytes);
    let tensor = r#"{"IAll":{"dtype":"U8","shape":[24,6,10,3],"data_offsets":[0,4320]}}"#;
    let tensors = [&(tensor.len() as u64).to_le_bytes(), tensor.as_bytes(), &bytes].concat();
    std::fs::write(folder.join("pictures.safetensors"), tensors).unwrap();
    let specs = [
        array.display().to_string(),
        folder.join("pictures.safetensors").display().to_string(),
        fixture("pictures.h5"),
        fixture("pictures.mat"),
    ];
    specs.map(|spec| PictureArray::open(spec).unwrap()).into()
}

#[test]
fn every_kind_of_file_gives_the_same_upright_pictures() {
    let folder = tempfile::tempdir().unwrap();
    for pictures in everywhere(folder.path()) {
        let name = pictures.name();
        assert_eq!((pictures.rows(), pictures.width(), pictures.height()), (24, 10, 6), "{name}");
        let read = pictures.read(3..24).unwrap();
        assert_eq!(read.len(), 21);
        for (number, picture) in (3..).zip(&read) {
            assert_eq!(picture.rgb(), rgb(number), "{name}, picture {number}");
        }
    }
}

#[test]
fn neither_stands_for_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let refused = Array::open(fixture("pictures.mat")).unwrap_err();
    assert!(matches!(refused, ArrayError::NoFeatures { .. }) && refused.to_string().contains("pictures.mat"));
    // Not called .mat, pictures have their colors last.
    let path = folder.path().join("other.h5");
    std::fs::copy(fixture("pictures.mat").trim_end_matches(":IAll"), &path).unwrap();
    let refused = PictureArray::open(&path).unwrap_err();
    assert!(refused.to_string().contains("(24, 3, 10, 6)"), "{refused}");
    assert!(refused.to_string().contains("(pictures, height, width, 3)"), "{refused}");
    let database = Database::open(folder.path().join("db")).unwrap();
    let features = Schema::new(CodeBits::B32).image_features(4).text_features(3);
    let features = database.create_collection("features", features).unwrap();
    let pictures = || PictureArray::open(fixture("pictures.mat")).unwrap();
    let refused = features.ingest(ArraySource::new().pictures(pictures())).run().unwrap_err();
    assert!(refused.to_string().contains("pictures.mat"), "{refused}");
    assert!(matches!(features.picture_features(&pictures(), watch), Err(Error::Source(_))));
}

fn watch(_done: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A collection with the small CLIP, and text features.
fn collection(database: &Database, name: &str, clip: &Path) -> Collection {
    let schema =
        Schema::new(CodeBits::B32).ids(IdKind::Str).image_encoder(ImageEncoding::Folder(clip.into()));
    database.create_collection(name, schema.text_encoder(TextEncoding::Ngram)).unwrap()
}

#[test]
fn ingested_pictures_equal_those_of_files() {
    let place = tempfile::tempdir().unwrap();
    let clip = place.path().join("clip");
    write_whole_clip(&clip);
    let database = Database::builder().threads(2).open(place.path().join("db")).unwrap();
    let files = place.path().join("files");
    std::fs::create_dir(&files).unwrap();
    for number in 0..PICTURES {
        std::fs::write(files.join(format!("p{number:02}.png")), png(rgb(number))).unwrap();
    }
    let of_files = collection(&database, "files", &clip);
    of_files.ingest(FolderSource::open(&files).unwrap()).run().unwrap();
    let ids: String = (0..PICTURES).map(|number| format!("p{number:02}\n")).collect();
    std::fs::write(place.path().join("ids.txt"), ids).unwrap();
    for (number, pictures) in everywhere(place.path()).into_iter().enumerate() {
        let made = of_files.picture_features(&pictures, watch).unwrap();
        let features = made.to_f32().unwrap();
        let of_array = collection(&database, &format!("array {number}"), &clip);
        let source = ArraySource::new().pictures(pictures).ids(place.path().join("ids.txt"));
        assert_eq!(of_array.ingest(source).run().unwrap().ingested, 24);
        for (id, features) in (0..PICTURES).zip(features.chunks(made.width())) {
            let [file, array] =
                [&of_files, &of_array].map(|of| of.get(format!("p{id:02}")).unwrap().unwrap());
            let kept = file.features(Modality::Image).unwrap();
            assert_eq!(array.features(Modality::Image).unwrap(), kept, "picture {id}");
            assert_eq!(features, kept, "picture {id}");
        }
    }
    // A run that is called off leaves nothing.
    let pictures = PictureArray::open(fixture("pictures.mat")).unwrap();
    let canceled = of_files.picture_features(&pictures, |_| ControlFlow::Break(()));
    assert!(matches!(canceled, Err(Error::Canceled)));
}

#[test]
fn a_model_is_trained_on_the_features_of_pictures() {
    let place = tempfile::tempdir().unwrap();
    let clip = place.path().join("clip");
    write_whole_clip(&clip);
    let ImageArray::Pictures(pictures) = ImageArray::open(fixture("pictures.mat")).unwrap() else {
        panic!("these are pictures");
    };
    let encoding = ImageEncoding::Folder(clip.clone());
    let mut told = Vec::new();
    let image = pictures
        .features(&encoding, |done| {
            told.push(done);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((told.last(), image.rows(), image.width()), (Some(&24), 24, 24));
    assert!(image.name().contains("pictures.mat:IAll by clip-vision"), "{}", image.name());
    let patterns: Vec<u8> = (0..24 * 4).map(|at| u8::from(at / 4 % 4 == at % 4)).collect();
    let text = Array::open(npy(&place.path().join("text.npy"), "|u1", "(24, 4)", &patterns)).unwrap();
    pictures.check_partner(&text).unwrap();
    let few = Array::open(npy(&place.path().join("few.npy"), "|u1", "(6, 4)", &patterns[..24])).unwrap();
    assert!(matches!(pictures.check_partner(&few), Err(ArrayError::RowsDiffer { second_rows: 6, .. })));
    let pairs = ArrayPairs::new(image, text).unwrap();
    assert_eq!(pairs.width(Modality::Image), 24);
    let pairs = SplitPairs::new(pairs, Split::last(24, 4).unwrap()).unwrap();
    let config =
        TrainConfig { bits: CodeBits::B16, hidden: 16, batch: 8, negatives: 8, ..TrainConfig::default() };
    let outcome = pairs.train(TrainConfig { epochs: 2, ..config }, &mut ()).unwrap();
    assert_eq!(outcome.training_pairs, 20);
}

#[test]
fn published_pictures_are_known_by_their_file() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("mirflickr25k-iall.mat");
    std::fs::copy(fixture("pictures.mat").trim_end_matches(":IAll"), file).unwrap();
    let flickr = PublishedData::named("MIRFLICKR-25K").unwrap();
    assert!(flickr.is_in(place.path()));
    match flickr.pictures(place.path()) {
        Err(Error::Array(ArrayError::OtherPictures { found: 24, expected: 20_015, .. })) => {}
        other => panic!("{other:?}"),
    }
    let checked = flickr.check(place.path());
    let what: Vec<&str> = checked.iter().map(|part| part.what).collect();
    assert_eq!(what, ["text features", "labels", "pictures"], "features need not be there, too");
    let problem = checked[2].problem.as_ref().unwrap().to_string();
    assert!(problem.contains("24 pictures") && problem.contains("20015"), "{problem}");
    let coco = PublishedData::named("MS-COCO").unwrap();
    let refused = coco.pictures(place.path());
    assert!(matches!(refused, Err(Error::Array(ArrayError::NoPublishedPictures { data: "MS-COCO" }))));
}
