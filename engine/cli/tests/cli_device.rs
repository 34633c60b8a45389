//! What the command line tells of the machine it runs on.

mod support;

use serde_json::Value;
use support::*;

#[test]
fn the_doctor_names_the_kernel_and_why_there_is_no_cuda() {
    let place = Place::new();
    let report = &place.json("doctor")[0];
    assert!(report["kernels"].as_array().unwrap().contains(&report["kernel"]), "{report}");
    assert_ne!(report["no_cuda"].is_null(), report["card"].is_null(), "{report}");
    assert_ne!(report["no_cublas"].is_null(), report["cublas"].is_null(), "{report}");
    assert!(place.ok("doctor").contains("cuBLAS, for training"));
    place.ok("create a.db --bits 16 --external-codes");
    let processor = &place.json("doctor --device cpu")[0];
    for (reason, thing) in [("no_cuda", "card"), ("no_cublas", "cublas")] {
        assert_eq!((&processor[reason], &processor[thing]), (&"the device is cpu".into(), &Value::Null));
    }
    let stats = &place.json("stats a.db")[0]["device"];
    assert_eq!((&stats["device"], &stats["resident_bytes"]), (&"auto".into(), &0.into()));
    assert!(stats["no_card"].as_str().unwrap().contains("worth"), "{stats}");
    assert!(place.ok("stats a.db --device cpu").contains("the device is cpu"));
}

#[test]
fn every_command_that_computes_says_why_there_is_no_card() {
    let place = trained();
    if !place.json("doctor")[0]["card"].is_null() {
        return;
    }
    place.ok("model export a.db m.safetensors");
    let data = "[data]\nimage = \"image.npy\"\ntext = \"text.npy\"\nlabel = \"label.npy\"\ntest = 16\n";
    let run = "[run]\nbits = [16]\nseeds = [1]\n[[method]]\nname = \"UCCH\"\n";
    place.write("e.toml", format!("{data}{run}"));
    let before = contents(&place.path("a.db"));
    for command in [
        TRAIN,
        "train a.db --image image.npy --text text.npy --no-install",
        "ingest a.db --image query-image.npy --text query-text.npy --ids query-ids.txt --upsert",
        "search a.db --id pair-1",
        "eval a.db",
        "eval a.db --model m.safetensors",
        "model import a.db m.safetensors",
        "experiment e.toml",
        "stats a.db",
        #[cfg(feature = "demo")]
        "demo d",
    ] {
        for device in ["cuda", "cuda:7"] {
            let message = place.fails(&format!("{command} --device {device}"));
            assert!(message.contains("CUDA cannot be used: "), "{command}: {message}");
        }
    }
    assert_eq!(contents(&place.path("a.db")), before, "nothing was changed");
}
