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
