//! Bad input on the command line: a message that names what is wrong, exit code 1, and nothing
//! changed.

mod support;

use support::*;

/// The data set's database without a model.
fn stored() -> Place {
    let place = Place::new();
    write_arrays(&place);
    place.ok(CREATE);
    place.ok(INGEST);
    place
}

/// An empty database for the data set.
fn empty() -> Place {
    let place = Place::new();
    write_arrays(&place);
    place.ok(CREATE);
    place
}

/// Fails, and leaves the records as they were.
fn refused(place: &Place, line: &str) -> String {
    let before = (place.json("list a.db --limit 1000"), place.json("stats a.db")[0]["model"].clone());
    let message = place.fails(line);
    let after = (place.json("list a.db --limit 1000"), place.json("stats a.db")[0]["model"].clone());
    assert_eq!(before, after, "twinbit {line}");
    message
}

#[test]
fn features_of_another_width() {
    let place = empty();
    place.write("wide.npy", npy_f32(IMAGE_WIDTH + 1, &vec![0.5; 96 * (IMAGE_WIDTH + 1)]));
    let message = refused(&place, &INGEST.replace("--image image.npy", "--image wide.npy"));
    assert!(message.contains("13") && message.contains("12"), "{message}");
    let trained = trained();
    trained.write("wide.npy", npy_f32(TEXT_WIDTH + 1, &[0.5; TEXT_WIDTH + 1]));
    let message = refused(&trained, "search a.db --features wide.npy --modality text");
    assert!(message.contains("17") && message.contains("16"), "{message}");
}

#[test]
fn elements_of_another_type() {
    let place = empty();
    place.write("signed.npy", npy("|i1", "(96, 12)", &[1; 96 * 12]));
    let message = refused(&place, &INGEST.replace("--image image.npy", "--image signed.npy"));
    assert!(message.contains("signed.npy") && message.contains("int8"), "{message}");
    place.write("complex.npy", npy("<c8", "(96, 12)", &[0; 96 * 12 * 8]));
    let message = refused(&place, &INGEST.replace("--image image.npy", "--image complex.npy"));
    assert!(message.contains("complex.npy") && message.contains("float32"), "{message}");
    place.ok("create c.db --bits 16 --external-codes");
    place.write("floats.npy", npy_f32(2, &[0.5; 8]));
    let message = place.fails("ingest c.db --codes image=floats.npy");
    assert!(message.contains("floats.npy") && message.contains("uint8"), "{message}");
}

#[test]
fn features_that_are_no_numbers() {
    let place = empty();
    for (wrong, row) in [(f32::NAN, 7), (f32::INFINITY, 95)] {
        let mut values = image_features(0..PAIRS);
        values[row * IMAGE_WIDTH + 3] = wrong;
        place.write("wrong.npy", npy_f32(IMAGE_WIDTH, &values));
        let message = refused(&place, &INGEST.replace("--image image.npy", "--image wrong.npy"));
        assert!(message.contains("not a finite number") && message.contains(&row.to_string()), "{message}");
        let train = TRAIN.replace("train a.db", "train a.db --image wrong.npy --text text.npy");
        let message = refused(&place, &train);
        assert!(message.contains("finite number") && message.contains(&row.to_string()), "{message}");
    }
}

#[test]
fn rows_that_differ_between_image_and_text() {
    let place = empty();
    let shorter = &text_features(0..PAIRS)[..(PAIRS - 1) * TEXT_WIDTH];
    place.write("short.npy", npy_u8(TEXT_WIDTH, shorter));
    for line in [
        INGEST.replace("--text text.npy", "--text short.npy"),
        TRAIN.replace("train a.db", "train a.db --image image.npy --text short.npy"),
    ] {
        let message = refused(&place, &line);
        assert!(message.contains("95") && message.contains("96"), "{message}");
    }
    place.write("short-ids.txt", "a\nb\n");
    let message = refused(&place, &INGEST.replace("ids.txt", "short-ids.txt"));
    assert!(message.contains("2 lines") && message.contains("96"), "{message}");
}

#[test]
fn an_id_that_is_there_already() {
    let place = stored();
    // Another file, so that it is not the same source again.
    place.write("again.npy", npy_f32(IMAGE_WIDTH, &image_features(0..PAIRS)));
    let again = INGEST.replace("image.npy", "again.npy");
    let message = refused(&place, &again);
    assert!(message.contains("pair-0 exists already"), "{message}");
    place.ok(&format!("{again} --upsert"));
    let empty = empty();
    empty.write("twice.txt", "pair-1\n".repeat(96));
    let message = refused(&empty, &INGEST.replace("ids.txt", "twice.txt"));
    assert!(message.contains("pair-1 exists already"), "{message}");
}

#[test]
fn a_picture_that_cannot_be_read() {
    let place = Place::new();
    place.ok("create a.db --bits 32 --ids str");
    for (name, color) in [("a", [9, 9, 9]), ("c", [200, 9, 9])] {
        place.write(&format!("photos/{name}.png"), png(color, 16));
        place.write(&format!("photos/{name}.txt"), format!("picture {name}"));
    }
    place.write("photos/b.png", &png([1, 2, 3], 16)[..40]);
    place.write("photos/b.txt", "picture b");
    let message = refused(&place, "ingest a.db photos");
    assert!(message.contains('b') && message.contains("picture"), "{message}");
    let report = &place.json("ingest a.db photos --on-error skip --skipped left-out.jsonl")[0];
    assert_eq!((report["ingested"].as_u64(), report["skipped"].as_u64()), (Some(2), Some(1)));
    let listed = json_lines(&place.read("left-out.jsonl"));
    assert_eq!(listed.len(), 1);
    assert!(
        listed[0]["item"].as_str().unwrap().contains('b') && listed[0]["reason"].as_str().unwrap().len() > 10
    );
    assert!(place.fails("get a.db b").contains("no record b"));
}

#[test]
fn sources_of_one_command_share_the_list_of_what_was_skipped() {
    let place = Place::new();
    place.ok("create a.db --bits 32 --ids str --image-width 12");
    let list = |id: &str| format!("{{\"id\":\"{id}\",\"text\":\"fine\"}}\n{{\"text\":\"no id\"}}\n");
    place.write("one.jsonl", list("a"));
    place.write("two.jsonl", list("b"));
    place.write("left-out.jsonl", "{\"item\":\"of an earlier command\"}\n");
    place.ok("ingest a.db one.jsonl two.jsonl --on-error skip --skipped left-out.jsonl");
    let listed = json_lines(&place.read("left-out.jsonl"));
    let items: Vec<&str> = listed.iter().map(|line| line["item"].as_str().unwrap()).collect();
    assert_eq!(items.len(), 2, "{items:?}");
    assert!(items[0].contains("one.jsonl") && items[1].contains("two.jsonl"), "{items:?}");
}

#[test]
fn queries_that_are_no_codes() {
    let place = Place::new();
    place.ok("create c.db --bits 16 --external-codes");
    place.write("codes.npy", npy_u8(2, &[1, 2, 3, 4]));
    place.ok("ingest c.db --codes image=codes.npy");
    place.write("floats.npy", npy_f32(2, &[1.0, 2.0]));
    place.write("wide.npy", npy_u8(3, &[1, 2, 3]));
    place.write("empty.npy", npy("|u1", "(3, 0)", &[]));
    for (name, word) in [("floats", "float32"), ("wide", "3 bytes"), ("empty", "no query")] {
        let message = place.fails(&format!("search c.db --codes {name}.npy --modality text"));
        assert!(message.contains(name) && message.contains(word), "{message}");
    }
    assert!(place.fails("search c.db --features empty.npy --modality text").contains("no query"));
    let twice = place.misused("ingest c.db --codes image=codes.npy --codes image=wide.npy");
    assert!(twice.contains("twice"), "{twice}");
}

#[test]
fn a_picture_larger_than_allowed() {
    let place = Place::new();
    place.ok("create a.db --bits 32");
    let file = std::fs::File::create(place.path("huge.png")).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    let message = place.fails("search a.db --image huge.png");
    assert!(message.contains("huge.png") && message.contains("67108864"), "{message}");
}

/// Arrays of rows without values are as small as they announce many rows: the program may use
/// four gigabytes of addresses here, and a list of these rows alone would take eight.
#[cfg(target_os = "linux")]
#[test]
fn rows_without_values_are_refused_before_they_are_listed() {
    let place = empty();
    place.write("none.npy", npy("|u1", "(2147483648, 0)", &[]));
    let output =
        place.limited("ulimit -v 4000000", "train a.db --image none.npy --text none.npy --threads 1");
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("error: ") && message.contains("none.npy"), "{message}");
}

#[test]
fn codes_of_an_impossible_length() {
    let place = Place::new();
    for bits in ["0", "12", "4104", "99999999"] {
        let message = place.fails(&format!("create n.db --bits {bits} --external-codes"));
        assert!(message.contains(bits) && message.contains("4096"), "{message}");
    }
    place.fails("create n.db --bits 16 --external-codes --field and:u64");
    place.fails("create n.db --bits 16 --external-codes --field a:u64 --field a:str");
    place.fails("create n.db -c a/b --bits 16 --external-codes");
    place.fails("create n.db --bits 16 --image-width 0");
    assert!(!place.path("n.db").exists(), "a create that fails leaves no folder");
    place.misused("create n.db --bits many");
}

#[test]
fn a_page_never_replaces_a_picture() {
    let place = trained();
    place.write("holiday.jpg", "a picture");
    let message = place.fails("search a.db --features image.npy --modality image --show holiday.jpg");
    assert!(message.contains("must end in .html"), "{message}");
    assert_eq!(place.read("holiday.jpg"), "a picture");
}

#[test]
fn a_filter_that_does_not_fit_is_shown_with_a_caret() {
    let place = stored();
    let caret = |line: &str, what: &str, under: &str| {
        let message = refused(&place, line);
        assert!(message.contains(what), "{message}");
        let lines: Vec<&str> = message.lines().collect();
        let carets =
            lines.iter().position(|line| line.contains('^')).unwrap_or_else(|| panic!("no caret: {message}"));
        let place = lines[carets].find('^').unwrap();
        assert!(lines[carets - 1][place..].starts_with(under), "{message}");
    };
    caret("delete a.db --where yaer~>~2001", "yaer", "yaer");
    caret("delete a.db --where year~>~\"late\"", "year", "\"late\"");
    caret("delete a.db --where year~>", "expected", "");
    place.ok(TRAIN);
    let search = "search a.db --features query-text.npy --modality text";
    caret(&format!("{search} --filter lang~=~3"), "lang", "3");
    caret(&format!("{search} --filter year~%~3"), "%", "%");
}

#[test]
fn a_field_or_a_value_that_does_not_fit() {
    let place = stored();
    assert!(refused(&place, "set a.db pair-1 yaer=2001").contains("yaer"));
    assert!(refused(&place, "set a.db pair-1 year=soon").contains("u64"));
    assert!(refused(&place, "set a.db pair-1 lang=en year=-1").contains("year"));
    assert!(refused(&place, "field add a.db year:str").contains("year"));
    place.write("meta.jsonl", "{\"yaer\":1}\n".repeat(PAIRS));
    assert!(refused(&empty_with(&place), INGEST).contains("yaer"));
    // The line to blame is named, not only the array's row.
    for line in ["{\"year\":\"soon\"}\n", "no object\n", "{\"year\":[1]}\n"] {
        place.write("meta.jsonl", format!("{{}}\n{line}{}", "{}\n".repeat(PAIRS - 2)));
        let message = refused(&empty_with(&place), INGEST);
        assert!(message.contains("meta.jsonl line 2"), "{message}");
    }
}

/// An empty database beside the files of another place.
fn empty_with(place: &Place) -> Place {
    let other = empty();
    other.write("meta.jsonl", place.read("meta.jsonl"));
    other
}

#[test]
fn no_hits_at_all() {
    let place = trained();
    let message = refused(&place, "search a.db --features query-text.npy --modality text -k 0");
    assert!(message.contains("at least 1"), "{message}");
    let eval = "eval a.db --image query-image.npy --text query-text.npy --label query-label.npy --database-label label.npy --k 0";
    assert!(refused(&place, eval).contains("at least 1"));
}

#[test]
fn labels_that_do_not_belong_to_the_records() {
    let place = trained();
    let eval = "eval a.db --image query-image.npy --text query-text.npy --label query-label.npy --database-label query-label.npy";
    let message = refused(&place, eval);
    assert!(message.contains("16") && message.contains("96"), "{message}");
    let train =
        TRAIN.replace("train a.db", "train a.db --image image.npy --text text.npy --label query-label.npy");
    let message = refused(&place, &train);
    assert!(message.contains("16") && message.contains("96"), "{message}");
}

#[test]
fn a_database_that_is_not_there() {
    let place = Place::new();
    for line in ["stats none.db", "search none.db --text x", "train none.db", "delete none.db 1"] {
        let message = place.fails(line);
        assert!(message.contains("none.db") && message.contains("twinbit create"), "{message}");
    }
    assert!(!place.path("none.db").exists());
    place.ok("create a.db --bits 16 --external-codes");
    assert!(place.fails("ingest a.db nowhere.jsonl").contains("nowhere.jsonl"));
    assert!(place.fails("ingest a.db --codes image=nowhere.npy").contains("nowhere.npy"));
}

#[cfg(unix)]
#[test]
fn a_database_open_for_writing_elsewhere() {
    let place = trained();
    let mut child = place
        .command(&TRAIN.replace("--epochs 12", "--epochs 1000000"))
        .args(["--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
    let message = place.fails("set a.db pair-1 year=1");
    assert!(message.contains(&format!("process {}", child.id())), "{message}");
    assert_eq!(place.json("get a.db pair-1")[0]["fields"]["year"], 2001, "reading goes on beside the writer");
    child.kill().unwrap();
    child.wait().unwrap();
    place.ok("set a.db pair-1 year=1");
}

/// A limit on the size of files answers writes as a full disk does: with an error in the middle.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full() {
    let place = stored();
    let before = place.json("list a.db --limit 1000");
    let rows = 20_000;
    place.write("big.npy", npy_f32(IMAGE_WIDTH, &image_features(0..rows)));
    place.write("big-text.npy", npy_u8(TEXT_WIDTH, &text_features(0..rows)));
    place.write("big-ids.txt", (0..rows).map(|row| format!("big-{row}\n")).collect::<String>());
    let output = place.limited(
        "trap '' XFSZ; ulimit -f 200",
        "ingest a.db --image big.npy --text big-text.npy --ids big-ids.txt",
    );
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("error: ") && !message.contains("panicked"), "{message}");
    assert_eq!(place.json("list a.db --limit 1000"), before);
    assert_eq!(place.json("verify a.db")[0]["problems"], serde_json::json!([]));
    if std::path::Path::new("/dev/full").exists() {
        let message = place.fails(&format!("{TRAIN} --save /dev/full"));
        assert!(message.contains("/dev/full"), "{message}");
    }
}

#[test]
fn a_damaged_file() {
    let place = trained();
    let codes = contents(&place.path("a.db/segments"))
        .into_keys()
        .find(|path| path.to_string_lossy().contains(".codes."))
        .expect("training writes a segment of codes");
    let mut bytes = std::fs::read(&codes).unwrap();
    let middle = 4096 + 5;
    bytes[middle] ^= 0x10;
    std::fs::write(&codes, &bytes).unwrap();
    let output = place.run("verify a.db --json");
    assert_eq!(output.status.code(), Some(1));
    let report = &json_lines(&text(&output.stdout))[0];
    let problem = &report["problems"][0];
    assert!(problem["path"].as_str().unwrap().contains(".codes."), "{report}");
    assert!(problem["offset"].is_u64(), "{report}");
    assert!(text(&output.stderr).contains(".codes."), "{}", text(&output.stderr));
    bytes.truncate(middle);
    std::fs::write(&codes, &bytes).unwrap();
    let message = place.fails("search a.db --features query-text.npy --modality text");
    assert!(message.contains(".codes.") && message.contains("damaged"), "{message}");
}

#[test]
fn a_file_of_a_newer_format() {
    let place = trained();
    let rows = contents(&place.path("a.db/segments"))
        .into_keys()
        .find(|path| path.extension().is_some_and(|ending| ending == "rows"))
        .expect("training writes a segment");
    let mut bytes = std::fs::read(&rows).unwrap();
    // The version is the little-endian u32 behind the magic bytes: see docs/format.md.
    bytes[8..12].copy_from_slice(&99_u32.to_le_bytes());
    std::fs::write(&rows, &bytes).unwrap();
    let message = place.fails("search a.db --features query-text.npy --modality text");
    assert!(message.contains("version 99") && message.contains(".rows"), "{message}");
}

#[test]
fn a_model_for_other_widths_or_bits() {
    let place = empty();
    place.write("wide.npy", npy_f32(TEXT_WIDTH + 1, &vec![0.5; 96 * (TEXT_WIDTH + 1)]));
    let message =
        refused(&place, &TRAIN.replace("train a.db", "train a.db --image image.npy --text wide.npy"));
    assert!(message.contains("text") && message.contains("17") && message.contains("16"), "{message}");
    assert!(refused(&place, &TRAIN.replace("train a.db", "train a.db --bits 64")).contains("32 bits"));
    // A collection that makes text features itself takes no model for features that come in.
    place.ok("create t.db --bits 32 --image-width 12");
    let message = place.fails("train t.db --image image.npy --text text.npy --epochs 1");
    assert!(message.contains("text"), "{message}");
}

#[test]
fn training_on_too_little_or_out_of_range() {
    let place = stored();
    assert!(refused(&place, "train a.db --batch 256 --epochs 1").contains("256"));
    assert!(refused(&place, "train a.db --alpha 2").contains("alpha"));
    assert!(refused(&place, "train a.db --epochs 0").contains("epochs"));
    let empty = empty();
    assert!(refused(&empty, "train a.db --epochs 1").len() > 10);
}
