//! Models in daily life: as files, back to an earlier one, what codes are like, and the second look.

mod support;

use support::*;

#[test]
fn a_model_goes_out_and_an_earlier_one_comes_back() {
    let place = trained();
    let spec = &place.json("model show a.db")[0];
    assert_eq!(
        (&spec["bits"], &spec["image_width"], &spec["text_width"]),
        (&32.into(), &12.into(), &16.into())
    );
    // 12-32-32 and 16-32: weights and biases.
    assert_eq!(spec["weights"], (12 + 1) * 32 + (32 + 1) * 32 + (16 + 1) * 32, "{spec}");
    let codes = |place: &Place| place.json("search a.db --features query-image.npy --modality image -k 96");
    let before = codes(&place);
    place.ok("model export a.db first.safetensors");
    assert_eq!(place.json("model show first.safetensors")[0], *spec);
    place.ok(&TRAIN.replace("--seed 3", "--seed 4"));
    assert_ne!(place.json("model show a.db")[0]["model"], spec["model"]);
    place.ok("model import a.db first.safetensors");
    assert_eq!(place.json("model show a.db")[0], *spec);
    assert_eq!(codes(&place), before);
}

#[test]
fn a_model_tells_how_it_was_trained() {
    let place = trained();
    let training = &place.json("model show a.db --plot training.svg")[0]["training"];
    assert_eq!((&training["training_pairs"], &training["config"]["seed"]), (&96.into(), &3.into()));
    assert_eq!(training["config"]["learning_rate"], 0.005);
    assert_eq!(training["epochs"].as_array().unwrap().len(), 12);
    let shown = place.ok("model show a.db");
    assert!(
        shown.contains("pairs, by the processor") && shown.contains("seed 3") && shown.contains("kept"),
        "{shown}"
    );
    assert!(place.read("training.svg").contains("loss"));

    place.ok(&format!("{TRAIN} --method ucch-plus"));
    assert_eq!(place.json("model show a.db")[0]["training"]["config"]["neighbors"], 20);
    place.ok(&format!("{TRAIN} --preset captions --method ucch-plus"));
    assert_eq!(place.json("model show a.db")[0]["training"]["config"]["ranking_input"], "both");
}

#[test]
fn two_models_are_measured_side_by_side() {
    let place = trained();
    place.ok("model export a.db first.safetensors");
    place.ok(&TRAIN.replace("--seed 3", "--seed 4"));
    for what in [
        "eval a.db",
        "eval a.db --image query-image.npy --text query-text.npy --label query-label.npy --database-label label.npy",
    ] {
        let both = &place.json(&format!("{what} --model first.safetensors"))[0]["models"];
        assert_eq!(
            (&both[0]["model"], &both[1]["model"]),
            (&"installed".into(), &"first.safetensors".into())
        );
        let scores = |of: &serde_json::Value| (of["image_to_text"].clone(), of["text_to_image"].clone());
        assert_eq!(scores(&both[0]), scores(&place.json(what)[0]));
        place.ok("model export a.db second.safetensors");
        place.ok("model import a.db first.safetensors");
        assert_eq!(scores(&both[1]), scores(&place.json(what)[0]));
        place.ok("model import a.db second.safetensors");
    }
    let table = place.ok("eval a.db --model first.safetensors");
    assert!(table.contains("first.safetensors: image to text") && table.contains("recall@10"), "{table}");
    assert!(place.fails("eval a.db --model none.safetensors").contains("none.safetensors"));
}

#[test]
fn a_model_that_does_not_fit_is_refused() {
    let place = trained();
    place.ok("model export a.db first.safetensors");
    for (create, reason) in [
        ("--bits 64 --image-width 12 --text-width 16", "32"),
        ("--bits 32 --image-width 13 --text-width 16", "13"),
        ("--bits 32 --image-width 12 --text-encoder ngram", "ngram"),
    ] {
        place.ok(&format!("create b.db --ids str {create}"));
        let message = place.fails("model import b.db first.safetensors");
        assert!(message.contains("does not fit") && message.contains(reason), "{message}");
        assert!(place.fails("model show b.db").contains("has no model"));
        std::fs::remove_dir_all(place.path("b.db")).unwrap();
    }
    place.write("broken.safetensors", "no model");
    assert!(place.fails("model import a.db broken.safetensors").contains("broken.safetensors: "));
    assert!(place.fails("model export a.db no/such/folder.safetensors").contains("folder.safetensors"));
}

#[test]
fn stats_tell_what_codes_are_like() {
    let place = trained();
    let stats = &place.json("stats a.db --plot codes.svg")[0];
    for side in ["image_codes", "text_codes"] {
        let codes = &stats[side];
        assert_eq!(codes["sample"], 96);
        let ones = codes["ones"].as_array().unwrap();
        assert!(ones.len() == 32 && ones.iter().all(|share| (0.0..=1.0).contains(&share.as_f64().unwrap())));
        assert_eq!(codes["distances"].as_array().unwrap().len(), 33);
        assert!(
            codes["mean_correlation"].as_f64().unwrap() <= codes["largest_correlation"].as_f64().unwrap()
        );
    }
    let drawing = place.read("codes.svg");
    assert!(drawing.starts_with("<svg") && drawing.contains("Balance of the bits"), "{drawing}");
    assert!(place.ok("stats a.db").contains("text codes"));
    place.ok("create b.db --bits 16 --image-width 12 --text-width 16");
    assert!(place.json("stats b.db")[0]["image_codes"].is_null());
    assert!(place.fails("stats b.db --plot codes.svg").contains("train a model first"));
}

#[test]
fn re_ranking_orders_the_first_hits_anew() {
    let place = trained();
    let search = |more: &str| {
        let line = format!("search a.db --features query-text.npy --modality text -k 96 {more}");
        place.json(&line)
    };
    let hits = |answer: &serde_json::Value| {
        let hits = answer["hits"].as_array().unwrap().iter();
        hits.map(|hit| (hit["id"].to_string(), hit["distance"].as_u64().unwrap())).collect::<Vec<_>>()
    };
    let (plain, again) = (search(""), search("--rerank 20"));
    let mut moved = 0;
    for (plain, again) in plain.iter().zip(&again) {
        let (plain, mut again) = (hits(plain), hits(again));
        assert_eq!(plain[20..], again[20..]);
        moved += usize::from(plain[..20] != again[..20]);
        again[..20].sort();
        let mut first = plain[..20].to_vec();
        first.sort();
        assert_eq!(first, again[..20]);
    }
    assert!(moved > 8, "{moved} of 16 answers changed");
    // Fewer hits than are looked at: the best of them.
    let few = place.json("search a.db --features query-text.npy --modality text -k 3 --rerank 20");
    assert_eq!(hits(&few[0]), hits(&again[0])[..3]);
    let id = place.json("search a.db --id pair-3 --modality image -k 5 --rerank 20");
    assert_eq!(id[0]["hits"].as_array().unwrap().len(), 5);
    place.write("codes.npy", npy_u8(4, &[0; 4]));
    let message = place.fails("search a.db --codes codes.npy --modality text --rerank 5");
    assert!(message.contains("cannot be re-ranked"), "{message}");
}
