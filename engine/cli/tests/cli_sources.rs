//! `twinbit ingest` of tables, Parquet files, image folders, COCO captions and patterns of files.

mod support;

use support::*;

/// A database for texts and pictures with ids of text, and two pictures.
fn place() -> Place {
    let place = Place::new();
    place.ok("create a.db --bits 16 --ids str --field year:u64");
    place.write("red.png", png([255, 0, 0], 24));
    place.write("pictures/blue.png", png([0, 0, 255], 24));
    place
}

#[test]
fn tables_are_taken_by_their_ending() {
    let place = place();
    place.write("a.csv", "id,image,text,year\nc,red.png,\"red, all of it\",1999\n");
    place.write("b.tsv", "id\ttext\nt\tby tabs\n");
    place.write("c.csv", "name,file,caption\nn,red.png,red\n");
    assert_eq!(place.json("ingest a.db a.csv b.tsv").len(), 2);
    assert_eq!(place.json("get a.db c")[0]["fields"]["year"], 1999);
    let message = place.fails("ingest a.db c.csv --ignore-unknown");
    assert!(message.contains("no column \"image or text\"; it has name, file, caption"), "{message}");
    let named = "--column id=name --column image=file --column text=caption";
    assert_eq!(place.json(&format!("ingest a.db c.csv {named}"))[0]["ingested"], 1);
    let message = place.misused("ingest a.db c.csv --column title=caption");
    assert!(message.contains("none of id, image, text and of"), "{message}");
    place.write("d.csv", "id,text,length\nd,x,3\n");
    let message = place.fails("ingest a.db d.csv");
    assert!(
        message.contains("d.csv row 1 has a column \"length\"") && message.contains("it has year"),
        "{message}"
    );
    assert_eq!(place.json("ingest a.db d.csv --ignore-unknown")[0]["ingested"], 1);
}

#[test]
fn folders_are_told_apart_by_what_is_in_them() {
    let place = place();
    assert_eq!(place.json("ingest a.db pictures")[0]["ingested"], 1);
    place.write("pictures/metadata.csv", "file_name,text,stars\nblue.png,blue,5\n");
    let message = place.fails("ingest a.db pictures");
    assert!(message.contains("metadata.csv row 2") && message.contains("blue exists"), "{message}");
    assert_eq!(place.json("ingest a.db pictures --upsert")[0]["ingested"], 1);
    assert_eq!(place.json("get a.db blue")[0]["text"], "blue");
    let message = place.fails("ingest a.db pictures --format clip-retrieval");
    assert!(message.contains("names no embedding"), "{message}");
}

#[test]
fn coco_captions_find_their_pictures() {
    let place = place();
    let list = r#"{"images": [{"id": 7, "file_name": "blue.png"}], "annotations": [
        {"image_id": 7, "id": 1, "caption": "blue"}, {"image_id": 7, "id": 2, "caption": "very blue"}]}"#;
    place.write("captions.json", list);
    let message = place.fails("ingest a.db captions.json");
    assert!(message.contains("captions.json image 7") && message.contains("blue.png"), "{message}");
    assert_eq!(place.json("ingest a.db captions.json --images pictures")[0]["ingested"], 2);
    assert_eq!(place.json("get a.db 7#2")[0]["text"], "very blue");
    place.write("broken.json", "{\"images\": [");
    assert!(place.fails("ingest a.db broken.json").contains("broken.json is no list of captions"));
}

#[test]
fn patterns_stand_for_files_in_order() {
    let place = place();
    for number in 8..12 {
        place.write(
            &format!("list-{number:02}.jsonl"),
            format!("{{\"id\": \"{number}\", \"text\": \"x\"}}\n"),
        );
    }
    assert_eq!(place.json("ingest a.db list-{08..10}.jsonl").len(), 3);
    assert_eq!(place.json("ingest a.db list-1?.jsonl").len(), 2);
    let ids: Vec<String> = place.json("list a.db").iter().map(|record| record["id"].to_string()).collect();
    assert_eq!(ids, ["\"8\"", "\"9\"", "\"10\"", "\"11\""]);
    assert!(place.fails("ingest a.db list-{08..12}.jsonl").contains("list-12.jsonl: there is no such file"));
    assert!(place.fails("ingest a.db none-*.tar").contains("\"none-*.tar\" names no files"));
}

#[test]
fn what_is_no_source_is_said() {
    let place = place();
    place.write("a.doc", "");
    assert!(place.fails("ingest a.db a.doc").contains(".parquet file"));
    place.write("a.parquet", "PAR1 and no more");
    assert!(place.fails("ingest a.db a.parquet").contains("a.parquet cannot be read as Parquet"));
    place.write("a.mat", "");
    assert!(place.misused("ingest a.db a.mat").contains("--image, --text or --codes"));
    assert_eq!(place.json("stats a.db")[0]["rows"], 0);
}
