//! Tuning an image encoder on the command line, and the collection that is made with it.

#[path = "../../../tests/support/small_resnet.rs"]
#[allow(unreachable_pub, reason = "the test package has it, too")]
mod small_resnet;
mod support;
#[path = "../../../tests/support/towers.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod towers;

use std::fs;

use support::*;

const COLORS: [(&str, [u8; 3]); 4] =
    [("red", [220, 30, 20]), ("blue", [20, 40, 230]), ("black", [5, 5, 10]), ("white", [250, 250, 245])];
const PAIRS: usize = 40;
const TUNE: &str = "tune pictures --image-encoder start --bits 32 --hidden 32 --layers 2 2 --batch 8 \
                    --negatives 16 --lr 0.002 --seed 3 --ids str";

/// Forty pictures of one color each with two captions, and a small ResNet.
fn place() -> Place {
    let place = Place::new();
    small_resnet::write_resnet(&place.path("start"));
    for number in 0..PAIRS {
        let (name, color) = COLORS[number % COLORS.len()];
        let shade = (number / COLORS.len()) as u8;
        let picture = png(color.map(|part| part.saturating_sub(shade)), 20 + number as u32);
        place.write(&format!("pictures/p{number}.png"), picture);
        place.write(
            &format!("pictures/p{number}.txt"),
            format!("a {name} thing\nall {name}, number {number}"),
        );
    }
    place
}

#[test]
fn what_was_tuned_serves_a_collection_without_training_again() {
    let place = place();
    let told = place.json(&format!("{TUNE} --epochs 3 --out tuned --plot curve.svg"));
    let epochs: Vec<f64> = told[..3].iter().map(|line| line["loss"].as_f64().unwrap()).collect();
    assert!(epochs.iter().all(|loss| loss.is_finite()), "{told:?}");
    let last = told.last().unwrap();
    assert_eq!((told.len(), last["pairs"].as_u64(), last["skipped"].as_u64()), (4, Some(40), Some(0)));
    let encoder = last["image_encoder"].as_str().unwrap();
    assert!(encoder.starts_with("resnet-basic-1-1-1-1-width8"), "{encoder}");
    let weights = |folder: &str| fs::read(place.path(folder).join("model.safetensors")).unwrap();
    assert_ne!(weights("tuned"), weights("start"));
    assert!(place.read("curve.svg").contains("<svg"));
    assert_eq!(place.read("tuned/preprocessor_config.json"), place.read("start/preprocessor_config.json"));

    place.ok("create a.db --bits 32 --ids str --image-encoder tuned");
    place.ok("model import a.db tuned/hash-model.safetensors");
    assert_eq!(place.json("ingest a.db pictures")[0]["ingested"], 2 * PAIRS as u64);
    let shown = &place.json("model show a.db")[0];
    assert_eq!((&shown["model"], &shown["image_featurizer"]), (&last["model"], &last["image_encoder"]));
    assert_eq!(place.json("search a.db --text all~red -k 5")[0]["hits"].as_array().unwrap().len(), 5);
    // What is stored is what the model makes of the picture now.
    let own = place.json("search a.db --image pictures/p7.png --against image -k 1");
    assert_eq!(own[0]["hits"][0]["distance"], 0, "{own:?}");

    // It is of that encoder and of no other.
    place.ok("create b.db --bits 32 --ids str --image-encoder start");
    let message = place.fails("model import b.db tuned/hash-model.safetensors");
    assert!(message.contains(encoder), "{message}");
}

#[test]
fn a_frozen_encoder_stays_what_it_was() {
    let place = place();
    let told = place.json(&format!("{TUNE} --epochs 2 --freeze --out tuned --held-out 8"));
    assert!(told[0]["validation"]["image_to_text"].is_number(), "{told:?}");
    let weights = |folder: &str| fs::read(place.path(folder).join("model.safetensors")).unwrap();
    assert_eq!(weights("tuned"), weights("start"));
    place.ok("create a.db --bits 32 --image-encoder start");
    place.ok("model import a.db tuned/hash-model.safetensors");
}

#[test]
fn a_run_goes_on_from_its_checkpoint_to_the_same_files() {
    let place = place();
    place.ok(&format!("{TUNE} --epochs 3 --out whole"));
    place.ok(&format!("{TUNE} --epochs 2 --out part --checkpoint run.ckpt"));
    let message = place.fails(&format!("{TUNE} --epochs 3 --out rest --checkpoint run.ckpt"));
    assert!(message.contains("--resume"), "{message}");
    let rest = place.json(&format!("{TUNE} --epochs 3 --out rest --checkpoint run.ckpt --resume"));
    assert_eq!((rest.len(), rest[0]["epoch"].as_u64()), (2, Some(3)));
    for file in ["model.safetensors", "hash-model.safetensors"] {
        let read = |folder: &str| fs::read(place.path(folder).join(file)).unwrap();
        assert!(read("rest") == read("whole"), "{file}");
    }
    let other = format!("{TUNE} --epochs 3 --out other --freeze --checkpoint run.ckpt --resume");
    let message = place.fails(&other);
    assert!(message.contains("run.ckpt") && message.contains("backbone"), "{message}");
    assert!(!place.path("other").exists());
}

#[test]
fn what_cannot_be_tuned_is_told_and_nothing_is_written() {
    let place = place();
    let tune = |more: &str| format!("{TUNE} --epochs 1 --out tuned {more}");
    let message = place.fails(&tune("--device cuda"));
    assert!(message.contains("on the processor only"), "{message}");
    let message = place.fails(&tune("").replace("--batch 8", "--batch 41"));
    assert!(message.contains("41") && message.contains("40"), "{message}");
    let message = place.fails(&tune("--warmup 0").replace("--lr 0.002", "--lr 1e30"));
    assert!(message.contains("epoch 1") || message.contains("diverged"), "{message}");
    towers::write_whole_clip(&place.path("clip"));
    let message = place.fails(&tune("").replace("start", "clip"));
    assert!(message.contains("only ResNets and VGGs can be tuned"), "{message}");
    assert!(place.fails(&tune("").replace("start", "nowhere")).contains("nowhere"));
    assert!(place.fails(&tune("").replace("pictures", "nothing")).contains("nothing"));
    assert!(place.fails(&tune("--checkpoint none/run.ckpt")).contains("there is no folder none"));
    assert!(place.fails(&tune("").replace("--out tuned", "--out start")).contains("already"));
    place.misused(&tune("--resume"));
    place.misused("tune --image-encoder start --out tuned");
    assert!(!place.path("tuned").exists());

    place.write("pictures/p3.png", "not a picture");
    let message = place.fails(&tune(""));
    assert!(message.contains("p3"), "{message}");
    assert!(!place.path("tuned").exists());
    let told = place.json(&tune("--on-error skip"));
    let last = told.last().unwrap();
    assert_eq!((last["pairs"].as_u64(), last["skipped"].as_u64()), (Some(39), Some(1)));
    assert!(place.read("skipped.jsonl").contains("p3"));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_tuning_and_leaves_the_checkpoint() {
    let place = place();
    let message =
        place.interrupted(&format!("{TUNE} --epochs 1000000 --out tuned --checkpoint run.ckpt --json"));
    assert!(message.contains("interrupted; nothing was written; go on with"), "{message}");
    assert!(place.path("run.ckpt").is_file() && !place.path("tuned").exists());
}
