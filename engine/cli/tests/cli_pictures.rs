//! Raw pictures in arrays on the command line: taken in, trained on, in experiments and in `data check`.

mod support;
#[path = "../../../tests/support/towers.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod towers;

use support::*;

const TRAIN_PICTURES: &str = "train a.db --image pictures.npy --text text.npy --label label.npy --hidden 32 \
    --layers 2 1 --batch 32 --epochs 3 --negatives 32 --lr 0.005 --seed 3 --no-install";

/// Pictures of 10 x 6 pixels beside the texts and labels of the small data set, and the small CLIP.
fn place() -> Place {
    let place = Place::new();
    write_arrays(&place);
    towers::write_whole_clip(&place.path("models/clip"));
    let level = |at: usize| ((at / 180 % CLASSES * 60 + at * at) % 251) as u8;
    let pixels: Vec<u8> = (0..PAIRS * 180).map(level).collect();
    place.write("pictures.npy", npy("|u1", &format!("({PAIRS}, 6, 10, 3)"), &pixels));
    place
}

#[test]
fn training_on_pictures_is_training_on_what_they_are_ingested_as() {
    let place = place();
    place.ok("create a.db --bits 32 --ids str --image-encoder models/clip --text-width 16");
    let direct = place.json(TRAIN_PICTURES);
    let ingested = &place.json("ingest a.db --image pictures.npy --text text.npy --ids ids.txt")[0];
    assert_eq!(ingested["ingested"], PAIRS);
    let stored = place.json(&TRAIN_PICTURES.replace("--image pictures.npy --text text.npy", ""));
    assert_eq!(direct.last().unwrap()["model"], stored.last().unwrap()["model"]);
    let tested = place.json(&format!("{TRAIN_PICTURES} --test 16"));
    assert!(tested.last().unwrap()["test"]["image_to_text"].as_f64().unwrap() > 0.0, "{tested:?}");
}

#[test]
fn pictures_that_do_not_fit_are_refused_before_they_are_encoded() {
    let place = place();
    place.ok("create a.db --bits 32 --ids str --image-encoder models/clip --text-width 16");
    std::fs::remove_dir_all(place.path("models")).unwrap();
    // The encoder is gone, so whatever is told instead was found without it.
    place.write("few.npy", npy_u8(16, &text_features(0..5)));
    let told = place.fails(&TRAIN_PICTURES.replace("text.npy", "few.npy"));
    assert!(told.contains("pictures.npy has 96 rows, few.npy has 5"), "{told}");
    let told = place.fails(&TRAIN_PICTURES.replace("label.npy", "few.npy"));
    assert!(told.contains("few.npy has 5 rows, expected 96"), "{told}");
    assert!(place.fails(&format!("{TRAIN_PICTURES} --test 96")).contains("none to train on"));
    assert!(place.fails(TRAIN_PICTURES).contains("models/clip"));
    place.ok("create b.db --bits 32 --ids str --image-width 12 --text-width 16");
    for line in ["ingest b.db --image pictures.npy --text text.npy --ids ids.txt", TRAIN_PICTURES] {
        let told = place.fails(&line.replace("a.db", "b.db"));
        assert!(told.contains("pictures.npy") && told.contains("features of width 12"), "{told}");
    }
    let told = place.fails("ingest b.db --image text.npy --text pictures.npy --ids ids.txt");
    assert!(told.contains("pictures.npy has four dimensions"), "{told}");
}

const EXPERIMENT: &str = "[data]
image = \"pictures.npy\"
text = \"text.npy\"
label = \"label.npy\"
test = 16
image-encoder = \"models/clip\"
[run]
bits = [16]
seeds = [1, 2]
[settings]
epochs = 2
hidden = 32
layers = [2, 1]
batch = 32
negatives = 32
";

#[test]
fn an_experiment_makes_features_of_pictures_once() {
    let place = place();
    place.write("e.toml", EXPERIMENT);
    let runs = place.json("experiment e.toml");
    assert_eq!(runs.len(), 2);
    // All runs are there, under the same encoder.
    let written = place.read("e.runs.csv");
    place.ok("experiment e.toml --resume");
    assert_eq!(place.read("e.runs.csv"), written);
    let refused = |from: &str, to: &str| {
        place.write("other.toml", EXPERIMENT.replace(from, to));
        place.fails("experiment other.toml")
    };
    assert!(refused("image-encoder = \"models/clip\"\n", "").contains("say by image-encoder"));
    assert!(refused("pictures.npy", "image.npy").contains("image.npy holds features already"));
    assert!(refused("models/clip", "models/none").contains("models/none"));
    assert!(refused("test = 16", "test = 96").contains("none to train on"));
}

#[test]
fn pictures_of_a_published_set_are_checked_and_named_in_experiments() {
    let place = place();
    let mut bytes = include_bytes!("../../../tests/fixtures/arrays/pictures.mat").to_vec();
    place.write("data/MIRFLICKR25K/mirflickr25k-iall.mat", &bytes);
    let output = place.run("data check data --json");
    assert_eq!(output.status.code(), Some(1));
    let parts = json_lines(&text(&output.stdout));
    assert_eq!(parts.len(), 3, "features are not missed where pictures are: {parts:?}");
    assert_eq!((&parts[2]["what"], &parts[2]["rows"]), (&"pictures".into(), &20_015.into()));
    let told = parts[2]["problem"].as_str().unwrap();
    assert!(told.contains("has 24 pictures, in MIRFLICKR-25K there are 20015"), "{told}");
    let published = |data: &str| {
        let file = format!("[data]\n{data}\nfolder = \"data\"\n[run]\nbits = [16]\nseeds = [1]\n");
        place.write("p.toml", file);
        place.fails("experiment p.toml")
    };
    let told = published("name = \"MIRFLICKR-25K\"\nimage-encoder = \"models/clip\"");
    assert!(told.contains("mirflickr25k-iall.mat:IAll has 24 pictures"), "{told}");
    let told = published("name = \"MS-COCO\"\nimage-encoder = \"models/clip\"");
    assert!(told.contains("no files of raw pictures of MS-COCO"), "{told}");
    bytes.truncate(6000);
    place.write("data/MIRFLICKR25K/mirflickr25k-iall.mat", &bytes);
    let parts = json_lines(&text(&place.run("data check data --json").stdout));
    assert!(parts[2]["problem"].as_str().unwrap().contains("mirflickr25k-iall.mat"), "{parts:?}");
}
