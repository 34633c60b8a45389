//! `twinbit ingest`, killed with SIGKILL in the middle: what it committed is there, the database
//! opens, and a second run finishes the rest.
#![cfg(unix)]

mod support;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parquet::data_type::{ByteArray, ByteArrayType};
use support::*;
use twinbit::{CodeBits, Database, Entry, IdKind, Record, Schema, TextEncoding};

/// Rows of the source, more than four commits of a little over 250,000.
const ROWS: u64 = 1_100_000;
const COMMIT: u64 = 250_000;

#[test]
fn an_ingest_killed_in_the_middle_keeps_its_commits_and_goes_on() {
    let place = Place::new();
    let codes: Vec<u8> =
        (0..ROWS).flat_map(|row| row.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
    place.write("codes.npy", npy_u8(8, &codes));
    let ids: String = (0..ROWS).map(|row| format!("{}\n", row * 3)).collect();
    place.write("ids.txt", ids);
    place.ok("create a.db --bits 64 --ids u64 --external-codes");
    let ingest = "ingest a.db --codes image=codes.npy --ids ids.txt";

    let mut child = place.command(ingest).stdout(Stdio::null()).spawn().unwrap();
    let give_up = Instant::now() + Duration::from_secs(60);
    let rows = || place.json("stats a.db")[0]["rows"].as_u64().unwrap();
    while rows() < COMMIT {
        assert!(Instant::now() < give_up && child.try_wait().unwrap().is_none(), "it never committed");
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let kept = rows();
    assert!((COMMIT..ROWS).contains(&kept), "{kept} rows");
    place.ok("verify a.db");
    let last = (kept - 1) * 3;
    assert_eq!(place.json(&format!("get a.db {last}"))[0]["id"], last);
    place.fails(&format!("get a.db {}", kept * 3));

    let report = &place.json(ingest)[0];
    assert_eq!(report["ingested"], ROWS - kept, "{report}");
    assert_eq!(rows(), ROWS);
    place.ok("verify a.db");
}

/// Pairs of each of the sources below.
const PAIRS: usize = 20_000;

/// Makes `base.db`: a collection with a model, so that what comes in is encoded.
fn trained_base(place: &Place) {
    let database = Database::open(place.path("base.db")).unwrap();
    let schema =
        Schema::new(CodeBits::B64).ids(IdKind::Str).image_features(4).text_encoder(TextEncoding::Ngram);
    let collection = database.create_collection("pairs", schema).unwrap();
    let mut writer = collection.writer().unwrap();
    let record = |row: u16| {
        let (number, word) = (f32::from(row % 4), ["red", "green", "blue", "gray"][usize::from(row % 4)]);
        Record::new(format!("base-{row}"))
            .image([number, 1.0 - number, number * 0.5, 1.0])
            .text(format!("a {word} thing"))
    };
    writer.extend((0..64).map(record)).unwrap();
    writer.commit().unwrap();
    let trainer = collection.trainer().hidden(16).batch(16).epochs(2);
    let outcome = trainer.fit(&collection.snapshot().unwrap()).unwrap();
    collection.install(&outcome.model).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn caption(row: usize) -> String {
    let words = ["red", "green", "blue", "gray"];
    format!("{} thing number {row} beside a {} one", words[row % 4], words[row / 4 % 4])
}

/// Writes the same captions in the way of every source, and gives the arguments that take each in.
fn write_sources(place: &Place) -> Vec<&'static str> {
    let rows = 0..PAIRS;
    let line =
        |row: usize| format!("{{\"id\": \"{row}\", \"text\": [\"{}\", \"further {row}\"]}}\n", caption(row));
    place.write("pairs.jsonl", rows.clone().map(line).collect::<String>());
    let table = |row: usize| format!("{row},\"{}\"\n", caption(row));
    place.write("pairs.csv", format!("id,text\n{}", rows.clone().map(table).collect::<String>()));
    for (shard, rows) in [(0, 0..PAIRS / 2), (1, PAIRS / 2..PAIRS)] {
        let mut archive = tar::Builder::new(Vec::new());
        for row in rows {
            let text = caption(row);
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, format!("{row:06}.txt"), text.as_bytes()).unwrap();
        }
        place.write(&format!("shard-{shard}.tar"), archive.into_inner().unwrap());
    }
    let schema = "message m { required binary key (UTF8); required binary caption (UTF8); }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let file = std::fs::File::create(place.path("pairs.parquet")).unwrap();
    let mut file = parquet::file::writer::SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    for first in rows.clone().step_by(3_000) {
        let mut group = file.next_row_group().unwrap();
        for text in [|row: usize| row.to_string(), caption] {
            let values: Vec<ByteArray> =
                (first..PAIRS.min(first + 3_000)).map(|row| text(row).into_bytes().into()).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    file.close().unwrap();
    for row in rows.clone() {
        place.write(&format!("folder/{row:05}.txt"), caption(row));
    }
    let features: Vec<f32> = rows
        .clone()
        .flat_map(|row| [row % 7, row % 11, row % 13, row % 17].map(|value| value as f32))
        .collect();
    place.write("image.npy", npy_f32(4, &features));
    place.write("ids.txt", rows.map(|row| format!("{row}\n")).collect::<String>());
    vec![
        "pairs.jsonl",
        "pairs.csv",
        "shard-{0..1}.tar",
        "pairs.parquet",
        "folder",
        "--image image.npy --ids ids.txt",
    ]
}

fn entries(folder: &Path) -> Vec<Entry> {
    let database = Database::open(folder).unwrap();
    database.collection("pairs").unwrap().snapshot().unwrap().page(None, 1_000_000).unwrap()
}

/// Killed anywhere, every source goes on to the records and codes of an unbroken run, bit for bit.
#[test]
fn every_source_goes_on_after_a_kill_as_if_nothing_had_been() {
    let place = Place::new();
    trained_base(&place);
    for source in write_sources(&place) {
        copy(&place.path("base.db"), &place.path("whole.db"));
        // Further captions follow the records of their block, so the block is the same in both runs.
        place.ok(&format!("ingest whole.db {source} --batch 64"));
        let expected = entries(&place.path("whole.db"));
        assert!(expected.len() >= 64 + PAIRS, "{source}");
        assert!(expected.iter().all(|entry| {
            entry.code(twinbit::Modality::Image).or(entry.code(twinbit::Modality::Text)).is_some()
        }));

        let line = format!("ingest a.db {source} --commit-every 500 --batch 64");
        let mut kept = 0;
        // A run may end before it is killed: then again.
        for attempt in 0.. {
            assert!(attempt < 10, "{source} was never killed in the middle");
            let _ = std::fs::remove_dir_all(place.path("a.db"));
            copy(&place.path("base.db"), &place.path("a.db"));
            let watched = Database::open_read_only(place.path("a.db")).unwrap();
            let mut child = place.command(&line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let stored = || {
                watched.refresh().unwrap();
                watched.collection("pairs").unwrap().snapshot().unwrap().len() as usize
            };
            while stored() < 64 + PAIRS / 5 && child.try_wait().unwrap().is_none() {}
            child.kill().unwrap();
            child.wait().unwrap();
            kept = stored();
            if (65..expected.len()).contains(&kept) {
                break;
            }
        }
        let report = &place.json(&line)[0];
        assert_eq!(report["ingested"], expected.len() - kept, "{source}: {report}");
        assert!(entries(&place.path("a.db")) == expected, "{source}: other records after {kept}");
        place.ok("verify a.db");
        std::fs::remove_dir_all(place.path("whole.db")).unwrap();
    }
}
