//! Encoders from a folder: the whole way with small random ones, and folders that are missing, moved or changed.

mod support;
#[path = "../../../tests/support/towers.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod towers;

use std::fs;

use support::*;

const COLORS: [(&str, [u8; 3]); 5] = [
    ("red", [220, 30, 20]),
    ("blue", [20, 40, 230]),
    ("black", [5, 5, 10]),
    ("white", [250, 250, 245]),
    ("green", [10, 200, 60]),
];
const THINGS: [&str; 4] = ["dogs run", "hat", "ball in snow", "man"];
const TRAIN: &str =
    "train a.db --hidden 32 --layers 2 2 --batch 32 --epochs 8 --negatives 64 --lr 0.003 --seed 3";

/// Pictures of one color, darker or lighter, with captions that name it.
fn write_pictures(place: &Place, count: usize) {
    for number in 0..count {
        let (name, color) = COLORS[number % COLORS.len()];
        let shade = (number / COLORS.len() % 20) as u8;
        let side = 20 + (number % 30) as u32;
        place.write(
            &format!("pictures/p{number}.png"),
            png(color.map(|part| part.saturating_sub(shade)), side),
        );
        let thing = THINGS[number / 7 % THINGS.len()];
        place.write(&format!("pictures/p{number}.txt"), format!("a {name} {thing}\nthe {thing}, all {name}"));
    }
}

/// A trained collection of 300 pictures with two captions each, CLIP on both sides.
fn with_clip() -> Place {
    let place = Place::new();
    towers::write_whole_clip(&place.path("models/clip"));
    write_pictures(&place, 300);
    place.ok("create a.db --bits 32 --ids str --image-encoder models/clip --text-encoder models/clip");
    assert_eq!(place.json("ingest a.db pictures")[0]["ingested"], 600);
    place.ok(TRAIN);
    place
}

const RED: &str = "search a.db --text a~red~hat -k 9";

#[test]
fn one_folder_serves_pictures_and_texts() {
    let place = with_clip();
    let shown = &place.json("model show a.db")[0];
    assert_eq!((&shown["image_width"], &shown["text_width"]), (&24.into(), &24.into()));
    assert!(shown["image_featurizer"].as_str().unwrap().starts_with("clip-vision"), "{shown}");
    assert!(shown["text_featurizer"].as_str().unwrap().starts_with("clip-text-24-r1-"), "{shown}");

    let hits = place.json(RED);
    assert_eq!(hits[0]["hits"].as_array().unwrap().len(), 9);
    assert_eq!(place.json(RED), hits, "another process encodes alike");
    // What was encoded at the install is what a query becomes.
    let own = place.json("search a.db --text a~red~dogs~run --against text -k 1");
    assert_eq!(own[0]["hits"][0]["distance"], 0, "{own:?}");
    let own = place.json("search a.db --image pictures/p7.png --against image -k 1");
    assert_eq!(own[0]["hits"][0]["distance"], 0, "{own:?}");
    // And so is what is encoded on the way in.
    place.write("more/late.png", png([1, 2, 3], 40));
    place.write("more/late.txt", "a red dogs run");
    place.ok("ingest a.db more");
    let twins = place.json("search a.db --id late --modality text --against text --radius 0");
    assert!(twins[0]["hits"].as_array().unwrap().len() > 1, "{twins:?}");
    let scores = &place.json("eval a.db")[0];
    let recall = scores["text_to_image"]["recall@10"].as_f64().unwrap();
    assert!(recall > 2.0 * 10.0 / 301.0, "better than chance: {scores}");
    assert_eq!(place.json("search a.db --text hat --rerank 20 -k 3")[0]["hits"].as_array().unwrap().len(), 3);
}

#[test]
fn a_folder_that_was_moved_is_named_and_its_new_place_is_remembered() {
    let place = with_clip();
    let hits = place.json(RED);
    fs::rename(place.path("models"), place.path("elsewhere")).unwrap();
    for line in
        [RED, "search a.db --image pictures/p7.png", "ingest a.db pictures --upsert --from-start", TRAIN]
    {
        let message = place.fails(line);
        assert!(message.contains("models/clip") && message.contains("twinbit model encoders"), "{message}");
    }
    // Whatever needs no encoder goes on.
    place.write("features.npy", npy_f32(24, &[0.5; 24]));
    for line in [
        "search a.db --id p7 --modality image",
        "search a.db --features features.npy --modality text",
        "search a.db --features features.npy --modality image",
        "get a.db p7",
        "list a.db --limit 3",
        "stats a.db",
        "verify a.db",
        "eval a.db",
        "compact a.db",
        "delete a.db p299#2",
    ] {
        place.ok(line);
    }
    let shown = &place.json("model encoders a.db")[0];
    assert!(shown["text_encoder"].as_str().unwrap().ends_with("models/clip"), "{shown}");

    let message = place.fails("model encoders a.db --text-encoder nowhere");
    assert!(message.contains("nowhere"), "{message}");
    towers::write_bert(&place.path("bert"), "", towers::Words::List);
    let message = place.fails("model encoders a.db --text-encoder bert");
    assert!(message.contains("bert-32-r1-") && message.contains("clip-text-24-r1-"), "{message}");
    place.ok("model encoders a.db --image-encoder elsewhere/clip --text-encoder elsewhere/clip");
    assert_eq!(place.json(RED), hits);
    place.ok("search a.db --image pictures/p7.png");
}

#[test]
fn a_folder_that_was_changed_is_refused_with_both_ids() {
    let place = with_clip();
    let path = place.path("models/clip/model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    // The last number of the projection of texts, and the last of all, of pictures.
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..header]).unwrap();
    let end = json["text_projection.weight"]["data_offsets"][1].as_u64().unwrap() as usize;
    bytes[header + end - 4] ^= 1;
    fs::write(&path, bytes).unwrap();
    for line in [RED, "search a.db --image pictures/p7.png"] {
        let message = place.fails(line);
        assert!(message.contains("do not compare") && message.contains("models/clip"), "{message}");
    }
    assert_eq!(place.json("get a.db p7")[0]["text"], "a black hat");
}

#[test]
fn a_model_of_another_encoder_is_refused() {
    let place = with_clip();
    place.ok("model export a.db clip.safetensors");
    towers::write_bert(&place.path("bert"), "bert.", towers::Words::Tokenizer);
    let create = "create b.db --bits 32 --ids str --image-encoder models/clip --text-encoder";
    place.ok(&format!("{create} bert"));
    let message = place.fails("model import b.db clip.safetensors");
    assert!(message.contains("values, the collection gives 32"), "{message}");
    place.ok("drop b.db -c main --yes");
    place.ok(&format!("{create} ngram"));
    let message = place.fails("model import b.db clip.safetensors");
    assert!(message.contains("\"ngram\"") && message.contains("clip-text"), "{message}");
}

#[test]
fn folders_are_looked_at_before_a_database_is_made() {
    let place = Place::new();
    towers::write_clip(&place.path("clip"));
    let create = "create a.db --bits 32 --text-encoder";
    for (encoder, part) in [("./nowhere", "nowhere"), ("word2vec", "path of a folder"), (".", "config.json")]
    {
        let message = place.fails(&format!("{create} {encoder}"));
        assert!(message.contains(part), "{message}");
    }
    // A folder with texts alone has no pictures.
    let message = place.fails("create a.db --bits 32 --image-encoder clip");
    assert!(message.contains("image encoder") && message.contains("clip"), "{message}");
    assert!(!place.path("a.db").exists());
    place.ok(&format!("{create} clip"));
    let message = place.fails("model encoders a.db --image-encoder clip");
    assert!(message.contains("nothing to move"), "{message}");
}
