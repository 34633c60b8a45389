//! The command line on real runs of the program: what it prints, and that the next process sees it.

mod support;

use serde_json::{Value, json};
use support::*;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn arrays_are_trained_on_stored_and_found_both_ways() {
    let place = Place::new();
    write_arrays(&place);
    place.ok(CREATE);
    let train = TRAIN.replace(
        "train a.db",
        "train a.db --image image.npy --text text.npy --label label.npy --test 16 --save m.safetensors",
    );
    let lines = place.json(&train);
    assert_eq!(lines.len(), 13);
    for (line, epoch) in lines.iter().zip(1..=12) {
        assert_eq!(line["epoch"], epoch);
        for key in ["loss", "seconds", "step_ms"] {
            assert!(number(&line[key]) > 0.0, "{line}");
        }
        assert!(number(&line["validation"]["image_to_text"]) > 0.0, "{line}");
    }
    let last = lines.last().unwrap();
    assert!((1..=12).contains(&last["best_epoch"].as_u64().unwrap()), "{last}");
    // Four classes of the same size: chance is 0.25 and a bit.
    assert!(number(&last["test"]["image_to_text"]) > 0.6, "{last}");
    assert!(number(&last["test"]["text_to_image"]) > 0.6, "{last}");
    assert!(place.path("m.safetensors").metadata().unwrap().len() > 1000);

    let ingested = place.json(INGEST);
    assert_eq!((&ingested[0]["ingested"], &ingested[0]["skipped"]), (&json!(PAIRS), &json!(0)));
    assert!(number(&ingested[0]["records_per_second"]) > 0.0);

    let found = place.json("search a.db --features query-text.npy --modality text --against image -k 5");
    assert_eq!(found.len(), 16);
    for (query, line) in found.iter().enumerate() {
        assert_eq!(keys(line), ["hits", "query"]);
        assert_eq!(line["query"], query);
        let hits = line["hits"].as_array().unwrap();
        assert_eq!(hits.len(), 5);
        assert_eq!(keys(&hits[0]), ["distance", "fields", "id", "modality"]);
        assert!(hits.iter().all(|hit| hit["modality"] == "image"));
        let distances: Vec<u64> = hits.iter().map(|hit| hit["distance"].as_u64().unwrap()).collect();
        assert!(distances.is_sorted(), "{distances:?}");
    }

    let evaluated = &place.json(
        "eval a.db --image query-image.npy --text query-text.npy --label query-label.npy --database-label label.npy --k 20",
    )[0];
    for way in ["image_to_text", "text_to_image"] {
        let scores = &evaluated[way];
        assert!(number(&scores["map"]) > 0.6, "{scores}");
        for key in ["map_tie_aware", "map@20", "precision@20", "map@1"] {
            assert!(number(&scores[key]) > 0.0, "{key} of {scores}");
        }
        assert_eq!(scores["lookup"].as_array().unwrap().len(), 33);
        assert_eq!(scores.get("recall@1"), None, "nobody said whose queries these are");
    }
    let with_ids = &place.json(
        "eval a.db --image image.npy --text text.npy --label label.npy --database-label label.npy --ids ids.txt --k 96",
    )[0];
    place.write("other-ids.txt", "pair-1\n".repeat(16));
    let others = &place.json(
        "eval a.db --image query-image.npy --text query-text.npy --label query-label.npy --database-label label.npy --ids other-ids.txt --k 96",
    )[0];
    for scores in [with_ids, others] {
        assert_eq!(scores["image_to_text"]["recall@96"], 1.0, "{scores}");
        assert!(number(&scores["text_to_image"]["recall@1"]) < 1.0, "{scores}");
    }

    let stats = &place.json("stats a.db")[0];
    assert_eq!((&stats["bits"], &stats["rows"], &stats["deleted"]), (&json!(32), &json!(PAIRS), &json!(0)));
    assert_eq!(stats["model"], last["model"]);
    assert!(number(&stats["bytes"]["models"]) > 0.0, "{stats}");
    assert_eq!(place.json("verify a.db")[0]["problems"], json!([]));
}

#[test]
fn a_split_file_says_what_is_trained_on() {
    let place = Place::new();
    write_arrays(&place);
    place.ok(CREATE);
    let split: Vec<u8> = (0..PAIRS).map(|row| [0, 0, 0, 0, 0, 1, 2, 0][row % 8]).collect();
    place.write("split.npy", npy("|u1", "(96,)", &split));
    let train = TRAIN.replace(
        "train a.db",
        "train a.db --image image.npy --text text.npy --label label.npy --split split.npy",
    );
    let lines = place.json(&train);
    assert!(number(&lines.last().unwrap()["test"]["text_to_image"]) > 0.3);
    place.write("split.npy", npy("|u1", "(96,)", &[3; PAIRS]));
    assert!(place.fails(&train).contains("expected 0, 1 or 2"));
}

#[test]
fn training_prints_what_users_of_the_reference_expect() {
    let place = Place::new();
    write_arrays(&place);
    place.ok(CREATE);
    let printed = place.ok(
        "train a.db --image image.npy --text text.npy --label label.npy --test 16 --no-install --bit 32 --hidden 16 \
         --num_hiden_layers 2 1 --max_epochs 2 --train_batch_size 32 --warmup_epoch 1 --K 32 --T 0.9 --wd 1e-6 --ls linear \
         --optimizer Adam --lr 0.001 --alpha 0.7 --margin 0.2 --shift 0.1 --momentum 0.4",
    );
    let lines: Vec<&str> = printed.lines().collect();
    assert!(
        lines[0].starts_with("Epoch: 1 / 2 | Step: ")
            && lines[0].contains("Loss: ")
            && lines[0].ends_with("LR: 0.001"),
        "{printed}"
    );
    assert!(
        lines[1].starts_with("Evaluation: Img2Txt: 0.")
            && lines[1].contains("Txt2Img: 0.")
            && lines[1].contains("Avg: 0."),
        "{printed}"
    );
    assert!(lines[4].starts_with("Test: Img2Txt: 0."), "{printed}");
    assert_eq!(
        place.json("stats a.db")[0]["model"],
        Value::Null,
        "--no-install leaves the collection without a model"
    );
}

#[test]
fn the_same_seed_gives_the_same_model() {
    let place = trained();
    let model = || place.json("stats a.db")[0]["model"].clone();
    let first = model();
    place.ok(&TRAIN.replace("--seed 3", "--seed 4"));
    assert_ne!(model(), first);
    place.ok(&format!("{TRAIN} --threads 1"));
    assert_eq!(model(), first);
}

#[test]
fn own_pictures_with_captions_are_found_by_words() {
    let place = Place::new();
    let colors = [
        ("red", [220, 20, 20]),
        ("green", [20, 200, 30]),
        ("blue", [20, 30, 220]),
        ("white", [250, 250, 250]),
    ];
    for number in 0..24 {
        let (name, [red, green, blue]) = colors[number % 4];
        let shade = |value: u8| value.saturating_sub((number / 4 * 5) as u8);
        place.write(&format!("photos/{name}{number}.png"), png([shade(red), shade(green), shade(blue)], 40));
        place.write(
            &format!("photos/{name}{number}.txt"),
            format!("a {name} square\n{name} number {number}\n"),
        );
    }
    place.ok("create p.db --bits 32 --ids str");
    assert_eq!(place.json("ingest p.db photos")[0]["skipped"], 0);
    assert_eq!(
        place.json("stats p.db")[0]["rows"],
        48,
        "a picture with its first caption, and the second caption"
    );
    assert!(place.fails("search p.db --text red").contains("no model"));
    place.ok("train p.db --hidden 32 --layers 2 1 --batch 8 --epochs 30 --negatives 16 --lr 0.003 --seed 1");
    let hits = place.json("search p.db --text a~red~square -k 6 --show found.html --pictures photos");
    let right = hits[0]["hits"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|hit| hit["id"].as_str().unwrap().starts_with("red"))
        .count();
    assert!(right >= 3, "{hits:?}");
    let page = place.read("found.html");
    assert_eq!(page.matches("data:image/jpeg;base64,").count(), 6);
    assert!(!page.contains("http://") && !page.contains("<script"));
    let texts = place.json("search p.db --image photos/blue2.png -k 1");
    assert!(texts[0]["hits"][0]["id"].as_str().unwrap().starts_with("blue"), "{texts:?}");
    let caption = &place.json("get p.db red0#2")[0];
    assert_eq!((&caption["of"], &caption["text"]), (&json!("red0"), &json!("red number 0")));
    assert_eq!(caption["modalities"], json!(["text"]));
    // A further caption says whose it is; a picture's own one does not.
    let found = &place.json("search p.db --text red~square --against text -k 48")[0]["hits"];
    let of = |id: &str| found.as_array().unwrap().iter().find(|hit| hit["id"] == id).unwrap().get("of");
    assert_eq!((of("red0#2"), of("red0")), (Some(&json!("red0")), None));
    // Words that no caption had any piece of.
    let warned = |words: &str| text(&place.run(&format!("search p.db --text {words}")).stderr);
    assert!(warned("zzzzz").contains("knows no word of \"zzzzz\""));
    assert!(!warned("red").contains("warning"));
}

/// Four codes of 16 bits at distances 0, 1, 2 and 16 from zero.
fn coded() -> Place {
    let place = Place::new();
    place.ok("create c.db --bits 16 --ids u64 --external-codes --field year:u64:indexed --field lang:str --field seen:timestamp");
    place.write("codes.npy", npy_u8(2, &[0, 0, 0x80, 0, 0x80, 1, 0xff, 0xff]));
    place.write("ids.txt", "7\n8\n9\n10\n");
    place.write("meta.jsonl", "{\"year\":2001,\"lang\":\"en\"}\n{\"year\":2002,\"lang\":\"de\"}\n{\"year\":2003,\"lang\":\"en\"}\n{}\n");
    place.ok("ingest c.db --codes image=codes.npy --ids ids.txt --fields meta.jsonl");
    place.write("zero.npy", npy("|u1", "(2,)", &[0, 0]));
    place
}

#[test]
fn codes_from_outside_are_searched_exactly() {
    let place = coded();
    let zero = "search c.db --codes zero.npy --modality text";
    let found = place.ok(&format!("{zero} -k 3 --json"));
    assert_eq!(
        found,
        "{\"query\":0,\"hits\":[\
         {\"id\":7,\"distance\":0,\"modality\":\"image\",\"fields\":{\"lang\":\"en\",\"year\":2001}},\
         {\"id\":8,\"distance\":1,\"modality\":\"image\",\"fields\":{\"lang\":\"de\",\"year\":2002}},\
         {\"id\":9,\"distance\":2,\"modality\":\"image\",\"fields\":{\"lang\":\"en\",\"year\":2003}}]}\n"
    );
    let ids = |line: &str| -> Vec<u64> {
        let hits = place.json(line)[0]["hits"].as_array().unwrap().clone();
        hits.iter().map(|hit| hit["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids(zero), [7, 8, 9, 10]);
    assert_eq!(ids(&format!("{zero} --radius 1")), [7, 8]);
    assert_eq!(ids(&format!("{zero} --filter lang~=~\"en\"~and~year~>=~2002")), [9]);
    assert_eq!(ids(&format!("{zero} --filter year~is~null")), [10]);
    assert_eq!(ids("search c.db --id 10 --against image -k 1"), [10]);
    assert_eq!(ids(&format!("{zero} --against text")), Vec::<u64>::new());
    let explained = place.run(&format!("{zero} --explain --json"));
    assert_eq!(json_lines(&text(&explained.stdout)).len(), 1);
    assert!(text(&explained.stderr).contains("scan"), "{}", text(&explained.stderr));
}

#[test]
fn records_are_read_changed_paged_through_and_deleted() {
    let place = coded();
    assert_eq!(
        place.json("get c.db 8 7"),
        [
            json!({"id": 8, "modalities": ["image"], "fields": {"year": 2002, "lang": "de"}, "codes": {"image": "8000"}}),
            json!({"id": 7, "modalities": ["image"], "fields": {"year": 2001, "lang": "en"}, "codes": {"image": "0000"}}),
        ]
    );
    place.ok("set c.db 8 year=2010 seen=2024-05-01T12:00:00Z --unset lang");
    assert_eq!(place.json("get c.db 8")[0]["fields"], json!({"year": 2010, "seen": "2024-05-01T12:00:00Z"}));
    let listed = |line: &str| -> Vec<u64> {
        place.json(line).iter().map(|entry| entry["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(listed("list c.db --limit 2"), [7, 8]);
    assert_eq!(listed("list c.db --after 8"), [9, 10]);
    assert_eq!(place.json("delete c.db 7 10"), [json!({"deleted": 2})]);
    assert_eq!(place.json("delete c.db --where year~>~2005"), [json!({"deleted": 1})]);
    assert_eq!(listed("list c.db"), [9]);
    assert!(place.fails("get c.db 9 7").contains("there is no record 7"));
    assert!(place.fails("delete c.db 9 7").contains("nothing was deleted"));
    assert_eq!(listed("list c.db"), [9], "a delete that fails deletes nothing");
    assert!(place.fails("set c.db 7 year=1").contains("there is no record 7"));
    place.ok("field add c.db rating:f64");
    place.ok("set c.db 9 rating=4.5");
    assert_eq!(place.json("get c.db 9")[0]["fields"]["rating"], 4.5);
    let found = "search c.db --id 9 --against image --filter rating=4.5 -k 9";
    let before = place.json(found);
    assert_eq!(place.json("field index c.db rating"), [json!({"indexed": "rating"})]);
    assert_eq!(place.json(found), before);
    assert_eq!(place.json("field unindex c.db rating"), [json!({"unindexed": "rating"})]);
    assert_eq!(place.json(found), before);
    assert!(place.fails("field index c.db nothing").contains("nothing"));
    assert!(place.fails("field unindex c.db of").contains("built in"));
    let report = &place.json("verify c.db --repair")[0];
    assert_eq!(report["problems"], json!([]));
    assert_eq!(
        report["repaired"],
        json!({
            "index_entries_added": 0, "index_entries_removed": 0, "search_indexes_dropped": 0,
            "search_indexes_built": 0, "statistics_rebuilt": 0, "files_removed": 0, "fields_left": 0,
        })
    );
}

#[test]
fn compacting_gives_space_back_and_keeps_the_records() {
    let place = coded();
    place.ok("delete c.db 7 10");
    let before = place.json("list c.db");
    let compacted = &place.json("compact c.db")[0];
    assert_eq!(
        keys(compacted),
        [
            "bytes_after",
            "bytes_before",
            "collection",
            "indexes_built",
            "rows_dropped",
            "segments_after",
            "segments_before"
        ]
    );
    assert_eq!(compacted["segments_after"], 1);
    assert!(number(&compacted["bytes_after"]) > 0.0);
    assert_eq!(place.json("list c.db"), before);
    let stats = &place.json("stats c.db")[0];
    assert_eq!((&stats["rows"], &stats["deleted"], &stats["fresh_rows"]), (&json!(2), &json!(0), &json!(0)));
    assert_eq!(place.json("verify c.db")[0]["problems"], json!([]));
    assert!(place.ok("compact c.db").contains("segments"));
    assert!(place.fails("compact nothing.db").contains("there is no database here"));
}

#[test]
fn indexed_codes_give_the_same_hits() {
    let place = coded();
    place.ok("compact c.db");
    let ask = |method: &str| {
        place.json(&format!("search c.db --codes zero.npy --modality text -k 3 --method {method}"))
    };
    let scanned = ask("scan");
    assert_eq!(place.json("index c.db")[0]["segments"], 0, "four records are too few");
    let indexed = &place.json("index c.db --rows 1")[0];
    assert_eq!(keys(indexed), ["bytes", "collection", "rows", "segments"]);
    assert_eq!((&indexed["segments"], &indexed["rows"]), (&json!(1), &json!(4)));
    assert_eq!(place.json("stats c.db")[0]["bytes"]["search_index"], indexed["bytes"]);
    for method in ["auto", "scan", "index"] {
        assert_eq!(ask(method), scanned);
    }
    let zero = "search c.db --codes zero.npy --modality text --method index --explain";
    let explained = text(&place.run(zero).stderr);
    assert!(explained.contains("; index, ") && explained.contains("expected: scan"), "{explained}");
    assert_eq!(place.json("verify c.db")[0]["problems"], json!([]));
}

#[test]
fn collections_are_listed_renamed_and_dropped() {
    let place = Place::new();
    place.ok("create d.db -c one --bits 16 --external-codes");
    place.ok("create d.db -c two --bits 32 --external-codes");
    let names = || -> Vec<String> {
        place
            .json("collections d.db")
            .iter()
            .map(|line| line["collection"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(), ["one", "two"]);
    let message = place.fails("stats d.db");
    assert!(message.contains("-c") && message.contains("one, two"), "{message}");
    assert_eq!(place.json("stats d.db -c two")[0]["bits"], 32);
    place.ok("rename d.db -c two --to three");
    assert_eq!(names(), ["one", "three"]);
    assert!(place.misused("drop d.db -c three").contains("--yes"));
    assert!(place.misused("drop d.db --yes").contains("-c NAME"));
    place.ok("drop d.db -c three --yes");
    assert_eq!(names(), ["one"]);
    assert!(place.fails("create d.db -c one --bits 16 --external-codes").contains("exists already"));
    assert!(place.fails("drop d.db -c three --yes").contains("no collection \"three\""));
}

#[test]
fn an_ingest_continues_where_it_was_and_replaces_when_told_to() {
    let place = coded();
    assert_eq!(
        place.json("ingest c.db --codes image=codes.npy --ids ids.txt --fields meta.jsonl")[0]["ingested"],
        0
    );
    place.write("codes.npy", npy_u8(2, &[1, 1, 1, 1, 1, 1, 1, 1]));
    assert!(place.fails("ingest c.db --codes image=codes.npy --ids ids.txt").contains("7 exists already"));
    assert_eq!(place.json("ingest c.db --codes image=codes.npy --ids ids.txt --upsert")[0]["ingested"], 4);
    assert_eq!(place.json("get c.db 7")[0]["codes"]["image"], "0101");
    assert_eq!(place.json("stats c.db")[0]["rows"], 4);
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let place = Place::new();
    let help = place.ok("--help");
    for command in [
        "demo",
        "create",
        "train",
        "ingest",
        "search",
        "get",
        "delete",
        "set",
        "list",
        "eval",
        "experiment",
        "data check",
        "collections",
        "drop",
        "rename",
        "field add",
        "stats",
        "compact",
        "index",
        "verify",
        "checkpoint",
        "restore",
        "doctor",
        "completions",
    ] {
        assert!(help.contains(&format!("\n  {}", command.split(' ').next().unwrap())), "{command}");
        let own = place.ok(&format!("{command} --help"));
        assert!(own.contains("Example") && own.contains(&format!("twinbit {command}")), "{command}: {own}");
        let described = own.split("Example").next().unwrap().lines();
        let options = described.filter_map(|line| line.trim_start().strip_prefix("--"));
        let mut names: Vec<&str> = options.filter_map(|line| line.split_whitespace().next()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{command} has two of one name: {names:?}");
    }
    assert!(place.ok("--version").starts_with("twinbit "));
    assert!(place.ok("completions bash").contains("twinbit"));
    assert!(place.misused("frobnicate").contains("frobnicate"));
    assert_eq!(place.run("").status.code(), Some(2));
}

#[test]
fn a_checkpoint_is_restored_and_nothing_is_replaced() {
    let place = coded();
    let before = place.json("list c.db");
    let copied = &place.json("checkpoint c.db copies/monday.db")[0];
    assert_eq!(keys(copied), ["bytes", "checkpoint", "files", "version"]);
    let name = place.json("stats c.db")[0]["collection"].as_str().unwrap().to_owned();
    place.ok(&format!("drop c.db -c {name} --yes"));
    let restored = &place.json("restore copies/monday.db d.db")[0];
    assert_eq!((&restored["restored"], &restored["version"]), (&json!("d.db"), &copied["version"]));
    assert_eq!(place.json("list d.db"), before);
    assert_eq!(place.json("list d.db --no-mmap"), before);
    assert_eq!(place.json("verify d.db")[0]["problems"], json!([]));
    for command in ["checkpoint c.db d.db", "restore copies/monday.db d.db"] {
        assert!(place.fails(command).contains("d.db is there already"));
    }
    assert!(place.fails("restore nothing.db e.db").contains("nothing.db"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = coded();
    let mut child = place
        .command("list c.db --json")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}
