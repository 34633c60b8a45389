//! Long training on the command line: checkpoints, early stop, what is written beside the model.
#![cfg(unix)]

mod support;

use std::time::{Duration, Instant};

use support::*;

/// The training line of the small data set, with validation, on one thread.
fn train(more: &str) -> String {
    let arrays = "train a.db --image image.npy --text text.npy --label label.npy --no-install --threads 1";
    format!("{} {more}", TRAIN.replace("train a.db", arrays))
}

fn place() -> Place {
    let place = Place::new();
    write_arrays(&place);
    place.ok(CREATE);
    place
}

#[test]
fn a_run_killed_in_the_middle_goes_on_to_the_same_model() {
    let place = place();
    let epochs = |count: usize| train("").replace("--epochs 12", &format!("--epochs {count}"));
    let unbroken = place.json(&format!("{} --save whole.safetensors", epochs(400)));
    let resume = format!("{} --checkpoint run.ckpt --resume --save resumed.safetensors", epochs(400));

    let mut child = place.command(&resume).stdout(std::process::Stdio::null()).spawn().unwrap();
    let give_up = Instant::now() + Duration::from_secs(60);
    while !place.path("run.ckpt").exists() {
        assert!(Instant::now() < give_up && child.try_wait().unwrap().is_none(), "no checkpoint was written");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!place.path("resumed.safetensors").exists());

    let rest = place.json(&resume);
    assert!(rest.len() < unbroken.len(), "{} epochs were done again", rest.len());
    let model = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert_eq!(model("resumed.safetensors"), model("whole.safetensors"));
    assert_eq!(rest.last(), unbroken.last());
    // Finished, it has nothing left to train.
    assert_eq!(place.json(&resume).len(), 1);
}

#[test]
fn a_checkpoint_in_the_way_is_not_replaced_by_accident() {
    let place = place();
    place.write("run.ckpt", "my notes");
    let message = place.fails(&train("--checkpoint run.ckpt"));
    assert!(message.contains("--resume"), "{message}");
    let message = place.fails(&train("--checkpoint run.ckpt --resume"));
    assert!(message.contains("run.ckpt") && message.contains("checkpoint"), "{message}");
    assert_eq!(place.read("run.ckpt"), "my notes");
    assert!(place.fails(&train("--checkpoint none/run.ckpt")).contains("there is no folder none"));
    place.misused(&train("--resume"));
}

#[test]
fn training_stops_when_patience_ends() {
    let place = place();
    let lines = place.json(&train("--patience 2 --epochs 400").replacen("--epochs 12", "", 1));
    let best = lines.last().unwrap()["best_epoch"].as_u64().unwrap();
    assert_eq!(lines.len() as u64 - 1, best + 2);
}

#[test]
fn a_model_that_could_not_be_installed_is_not_trained() {
    let place = Place::new();
    write_arrays(&place);
    place.ok(&format!("{CREATE} --keep-inputs no"));
    let install = train("").replace("--no-install", "");
    // An empty collection takes any model.
    place.ok(&install);
    place.ok(INGEST);
    let output = place.run(&format!("{install} --json"));
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "it trained first: {}", text(&output.stdout));
    assert!(text(&output.stderr).contains("keep"), "{}", text(&output.stderr));
    place.ok(&train("--save model.safetensors"));
}

/// How often a piece of text stands in a file.
fn times(place: &Place, file: &str, piece: &str) -> usize {
    place.read(file).matches(piece).count()
}

#[test]
fn training_and_evaluation_are_drawn() {
    let place = place();
    place.ok(INGEST);
    place.ok(&train("--test 16 --plot curve.svg").replace("--no-install", ""));
    // Loss, and validation both ways, each with its sample in a legend.
    assert_eq!(times(&place, "curve.svg", "<polyline"), 6);
    assert!(place.read("curve.svg").contains("Validation, MAP"));
    place.ok(
        "eval a.db --image query-image.npy --text query-text.npy --label query-label.npy --database-label label.npy --plot pr.svg",
    );
    assert_eq!(times(&place, "pr.svg", "<polyline"), 8);
    for name in ["hash lookup", "Hamming ranking", "Image to text, 32 bits", "Text to image, 32 bits"] {
        assert!(times(&place, "pr.svg", name) > 0, "{name}");
    }
    place.write("holiday.jpg", "a picture");
    assert!(place.fails(&train("--plot holiday.jpg")).contains("must end in .svg"));
    assert!(place.fails(&train("--plot none/curve.svg")).contains("there is no folder none"));
    assert_eq!(place.read("holiday.jpg"), "a picture");
}

const EXPERIMENT: &str = r#"
[data]
name = "MIRFLICKR-25K"
image = "image.npy"
text = "text.npy"
label = "label.npy"
test = 16

[run]
bits = [16, 32]
seeds = [1, 2]

[settings]
hidden = 32
layers = [2, 1]
batch = 32
epochs = 6
negatives = 32
lr = 0.005

[[method]]
name = "UCCH"

[[method]]
name = "max-margin, m = 0.5"
settings = { alpha = 0.0, ranking = "max-margin", margin = 0.5 }
"#;

#[test]
fn an_experiment_becomes_a_table_beside_the_published_numbers() {
    let place = place();
    let data = ["image.npy", "text.npy", "label.npy"];
    let above =
        data.iter().fold(EXPERIMENT.to_owned(), |text, name| text.replace(name, &format!("../{name}")));
    place.write("e/mine.toml", above);
    let runs = place.json("experiment e/mine.toml --threads 1");
    assert_eq!(runs.len(), 2 * 2 * 2);
    let mean: f64 = runs
        .iter()
        .filter(|run| run["method"] == "UCCH" && run["bits"] == 32)
        .map(|run| run["test"]["image_to_text"].as_f64().unwrap())
        .sum::<f64>()
        / 2.0;
    assert!(mean > 0.5, "{mean}");
    let table = place.read("e/mine.md");
    let row = table.lines().find(|line| line.starts_with("| UCCH |")).unwrap();
    assert!(row.contains(&format!("{mean:.4} ± ")), "{row}");
    assert!(table.contains("| *CVH, as published* | *0.620* | *0.608* |"), "{table}");
    let csv = place.read("e/mine.csv");
    assert!(csv.contains("MIRFLICKR-25K,CVH,published,image_to_text,16,,0.62,"), "{csv}");
    assert!(csv.contains("MIRFLICKR-25K,\"max-margin, m = 0.5\",measured,text_to_image,32,2,"), "{csv}");
    // Tables of ours are replaced, and the same seeds give the same.
    place.ok("experiment e/mine.toml --threads 1 --quiet");
    assert_eq!(place.read("e/mine.csv"), csv);

    // Broken off after three runs it goes on with the others, and keeps these three.
    let written = place.read("e/mine.runs.csv");
    let kept: String = written.lines().take(1 + 3).map(|line| format!("{line}\n")).collect();
    let marked = kept.replacen(&kept.split(',').nth(12).unwrap().to_owned(), "123456.5", 1);
    assert_ne!(marked, kept);
    place.write("e/mine.runs.csv", &marked);
    let resumed = place.json("experiment e/mine.toml --threads 1 --resume");
    assert_eq!(resumed.len(), 8);
    assert!(resumed.iter().zip(&runs).all(|(now, before)| now["test"] == before["test"]));
    assert_eq!(resumed.iter().filter(|run| run["seconds"] == 123_456.5).count(), 1);
    assert_eq!(place.read("e/mine.csv"), csv);
    assert!(place.read("e/mine.runs.csv").starts_with(&marked));
    // A card trains other models.
    assert!(runs.iter().all(|run| run["machine"] == "processor"));
    let others = marked.replacen(",processor,", ",card-tf32,", 2);
    place.write("e/mine.runs.csv", &others);
    let of_card = |device: &str| {
        let resumed = place.json(&format!("experiment e/mine.toml --threads 1 --resume --device {device}"));
        resumed.iter().filter(|run| run["machine"] == "card-tf32").count()
    };
    assert_eq!((of_card("auto"), of_card("cpu")), (2, 0));
    assert!(place.read("e/mine.runs.csv").starts_with(&others));
    assert!(place.read("e/mine.md").contains(" | processor |\n"));
    // Other settings are other runs, and so are other data.
    let longer = place.read("e/mine.toml").replace("epochs = 6", "epochs = 5");
    place.write("e/mine.toml", longer);
    let other = place.json("experiment e/mine.toml --threads 1 --resume");
    assert!(other.iter().all(|run| run["seconds"] != 123_456.5));
    place.write("e/mine.runs.csv", format!("{marked}half a line"));
    assert!(place.fails("experiment e/mine.toml --resume").contains("line 5"));
    place.write("e/mine.runs.csv", "my notes");
    assert!(place.fails("experiment e/mine.toml").contains("no runs of an experiment"));
    let mut files: Vec<_> =
        std::fs::read_dir(place.path("e")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["mine.csv", "mine.md", "mine.runs.csv", "mine.toml"]);
}

#[test]
fn an_experiment_that_cannot_run_says_why_before_the_first_run() {
    let place = place();
    let refused = |from: &str, to: &str| {
        assert!(EXPERIMENT.contains(from));
        place.write("e.toml", EXPERIMENT.replace(from, to));
        place.fails("experiment e.toml")
    };
    assert!(refused("lr = 0.005", "learning = 0.005").contains("learning"));
    assert!(refused("margin = 0.5 }", "margin = -1.0 }").contains("margin"));
    assert!(refused("bits = [16, 32]", "bits = [16, 33]").contains("33"));
    assert!(refused("test = 16", "").contains("test"));
    assert!(refused("test = 16", "folder = \"data\"").contains("leave them out"));
    assert!(refused("test = 16", "test = 96").contains("none to train on"));
    assert!(refused("max-margin, m = 0.5\"", "UCCH\"").contains("same name"));
    assert!(refused("bits = [16, 32]", "bits = [16, 32, 16]").contains("16 bits twice"));
    assert!(refused("seeds = [1, 2]", "seeds = [2, 2]").contains("seed 2 twice"));
    assert!(refused("layers = [2, 1]", "layers = [3]").contains("the image network and"));
    assert!(refused("layers = [2, 1]", "layers = [3, 2, 1]").contains("the image network and"));
    assert!(refused("text.npy", "label.toml").contains("label.toml"));
    assert!(place.fails("experiment none.toml").contains("none.toml"));
    place.write("e.toml", EXPERIMENT);
    place.write("e.md", "my notes");
    assert!(place.fails("experiment e.toml").contains("e.md is no table"));
    assert_eq!(place.read("e.md"), "my notes");
    assert!(!place.path("e.csv").exists());
}

#[test]
fn files_of_published_data_sets_are_checked() {
    let place = Place::new();
    std::fs::create_dir(place.path("data")).unwrap();
    assert!(place.fails("data check data").contains("MIRFLICKR-25K"));
    place.write("data/MIRFLICKR25K/mirflickr25k-lall.mat", "no such file");
    let output = place.run("data check data --json");
    assert_eq!(output.status.code(), Some(1));
    let parts = json_lines(&text(&output.stdout));
    let told: Vec<&str> = parts.iter().map(|part| part["problem"].as_str().unwrap()).collect();
    assert!(told[0].contains("mirflickr25k-iall-vgg.mat, which is not in data"), "{told:?}");
    assert!(told[2].contains("mirflickr25k-lall.mat"), "{told:?}");
    assert_eq!((&parts[2]["rows"], &parts[2]["columns"]), (&20_015.into(), &24.into()));
    assert!(text(&output.stderr).contains("3 matrices are not as published"));
    let experiment = |name: &str| {
        let data = format!("[data]\nname = \"{name}\"\nfolder = \"data\"\n[run]\nbits = [16]\nseeds = [1]\n");
        place.write("e.toml", data);
        place.fails("experiment e.toml")
    };
    assert!(experiment("MIRFLICKR-25K").contains("mirflickr25k-iall-vgg.mat, which is not in data"));
    assert!(experiment("my photos").contains("IAPR TC-12"));
}
