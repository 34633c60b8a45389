//! A process killed with SIGKILL while it commits leaves every acknowledged commit, whole, and at
//! most one more.
//!
//! The test runs its own binary again as the victim, which tells each commit on its standard output
//! once the call has returned. `TWINBIT_CRASH_KILLS` asks for more kills than an ordinary run makes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use twinbit_kernels::{CodeBits, CodesBuf};
use twinbit_storage::{
    CollectionConfig, CollectionId, Durability, Error, FieldId, FieldSpec, FieldType, IdKind, InputKind,
    ModelId, NewRecord, Store, StoreOptions, TextInput, Value,
};

const FOLDER: &str = "TWINBIT_CRASH_FOLDER";
const KILLS: &str = "TWINBIT_CRASH_KILLS";
const ACKNOWLEDGED: &str = "acknowledged ";

/// Records by id: text and field.
type Contents = BTreeMap<u64, (String, i64)>;

fn open(folder: &Path, round: u64) -> Store {
    let options = StoreOptions {
        durability: if round.is_multiple_of(2) { Durability::Immediate } else { Durability::Eventual },
        fresh_rows: 60,
        segment_bytes: 2_000,
        ..StoreOptions::default()
    };
    Store::open(folder, options).unwrap()
}

fn collection(store: &Store) -> CollectionId {
    if let Some(info) = store.collections().first() {
        return info.id;
    }
    let config = CollectionConfig {
        bits: CodeBits::new(64).unwrap(),
        ids: IdKind::U64,
        image: InputKind::None,
        text: InputKind::Text,
        keep_inputs: true,
        external_codes: false,
        fields: vec![FieldSpec { name: "commit".to_owned(), field_type: FieldType::I64, indexed: true }],
        application: serde_json::Value::Null,
    };
    store.create_collection("records", config).unwrap()
}

/// The changes of commit `number`, the same in the victim and in the check: puts, and deletes as
/// `None`. Every ninth commit is large enough to be written as segments.
fn changes(number: u64) -> Vec<(u64, Option<String>)> {
    let mut random = ChaCha8Rng::seed_from_u64(number);
    let count = if number.is_multiple_of(9) { 90 } else { random.random_range(1..6) };
    (0..count)
        .map(|_| {
            let id = random.random_range(0..300);
            let text =
                random.random_bool(0.8).then(|| format!("text {number} ").repeat(random.random_range(0..4)));
            (id, text)
        })
        .collect()
}

fn model(number: u64) -> ModelId {
    ModelId([(number / 25) as u8 + 1; 16])
}

fn code(text: &str, model: ModelId) -> [u8; 8] {
    [text.len() as u8, model.0[0], 0, 0, 0, 0, 0, 9]
}

fn install(store: &Store, id: CollectionId, model: ModelId) {
    let bits = CodeBits::new(64).unwrap();
    let result = store.install_model(
        id,
        model,
        &model.0,
        &mut |part| {
            let mut codes = [CodesBuf::new(bits), CodesBuf::new(bits)];
            for row in 0..part.rows() {
                codes[0].push_zero()?;
                codes[1].push(&code(&part.text(row)?.unwrap_or_default(), model))?;
            }
            Ok(codes)
        },
        &mut |_, _| ControlFlow::Continue(()),
    );
    result.unwrap();
}

fn commits(store: &Store, id: CollectionId) -> u64 {
    let position = store.source_position(id, "commits").unwrap();
    position.map_or(0, |position| position.parse().unwrap())
}

/// The victim: commits until it is killed.
#[test]
fn victim() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let round = std::env::var(KILLS).unwrap().parse().unwrap();
    let store = open(folder.as_ref(), round);
    let id = collection(&store);
    for number in commits(&store, id) + 1.. {
        if number.is_multiple_of(25) {
            install(&store, id, model(number));
        }
        let mut writer = store.writer(id).unwrap();
        let model = writer.model();
        for (record, text) in changes(number) {
            let Some(text) = text else {
                writer.delete(&record.into()).unwrap();
                continue;
            };
            let code = model.map(|model| code(&text, model));
            let record = NewRecord {
                id: Some(record.into()),
                text: Some(TextInput::Text(&text)),
                codes: [None, code.as_ref().map(|code| code.as_slice())],
                fields: vec![(FieldId(1), Value::I64(number as i64))],
                ..NewRecord::default()
            };
            writer.put(record).unwrap();
        }
        writer.set_source_position("commits", &number.to_string());
        writer.commit().unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{ACKNOWLEDGED}{number}").unwrap();
        out.flush().unwrap();
    }
}

fn start(folder: &Path, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["victim", "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(KILLS, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs the victim until some commits from now and a moment more; returns the last acknowledged one.
fn kill_once(folder: &Path, round: u64) -> u64 {
    let mut random = ChaCha8Rng::seed_from_u64(round);
    let mut victim = start(folder, round);
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut acknowledged = 0;
    let mut note = |line: String| {
        let number = line.split_once(ACKNOWLEDGED).map(|(_, number)| number.parse().unwrap());
        acknowledged = number.unwrap_or(acknowledged);
        number.is_some()
    };
    let enough = random.random_range(1..30);
    let seen = lines.by_ref().filter_map(|line| note(line).then_some(())).take(enough).count();
    assert_eq!(seen, enough, "the victim ended by itself");
    std::thread::sleep(Duration::from_micros(random.random_range(0..3000)));
    victim.kill().unwrap();
    victim.wait().unwrap();
    // What it said before it died counts, too.
    lines.for_each(|line| {
        note(line);
    });
    acknowledged
}

/// The lock goes with its process, however that ends; until then one writes and others read.
#[test]
fn a_killed_writer_leaves_no_lock() {
    if std::env::var(FOLDER).is_ok() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut victim = start(folder.path(), 1);
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.by_ref().filter(|line| line.contains(ACKNOWLEDGED)).nth(3).is_some());
    let pid = victim.id();
    match Store::open(folder.path(), StoreOptions::default()) {
        Err(Error::Locked { pid: Some(found), .. }) => assert_eq!(found, pid),
        other => panic!("{:?}", other.err()),
    }
    let reader = Store::open_read_only(folder.path(), StoreOptions::default()).unwrap();
    let before = commits(&reader, collection(&reader));
    assert!(before >= 4, "{before}");
    assert!(lines.by_ref().filter(|line| line.contains(ACKNOWLEDGED)).nth(3).is_some());
    assert_eq!(commits(&reader, collection(&reader)), before);
    reader.refresh().unwrap();
    assert!(commits(&reader, collection(&reader)) > before);
    victim.kill().unwrap();
    victim.wait().unwrap();
    let text = std::fs::read_to_string(folder.path().join("LOCK")).unwrap();
    assert_eq!(text.trim(), pid.to_string());
    let store = open(folder.path(), 1);
    assert_eq!(store.verify().unwrap().problems, []);
}

#[test]
fn killed_writers_lose_nothing_they_acknowledged() {
    if std::env::var(FOLDER).is_ok() {
        return;
    }
    let kills = std::env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(6);
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Contents::new();
    let mut done = 0;
    for round in 0..kills {
        let acknowledged = kill_once(folder.path(), round);
        let store = open(folder.path(), round);
        let id = collection(&store);
        let found = commits(&store, id);
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "round {round}: {found} commits are there, {acknowledged} were acknowledged"
        );
        for number in done + 1..=found {
            for (record, text) in changes(number) {
                match text {
                    Some(text) => expected.insert(record, (text, number as i64)),
                    None => expected.remove(&record),
                };
            }
        }
        done = found;
        let view = store.view().collection(id).unwrap();
        let mut contents = Contents::new();
        for ordinal in view.page(None, usize::MAX).unwrap() {
            let record = view.get(ordinal).unwrap().unwrap();
            let twinbit_storage::RecordId::U64(number) = record.id else { panic!("a number") };
            let Some(twinbit_storage::StoredText::Text(text)) = record.text else { panic!("a text") };
            let Some((_, Value::I64(commit))) = record.fields.first() else { panic!("a commit") };
            let model = view.info().model;
            assert_eq!(record.codes[1], model.map(|model| code(&text, model).to_vec()));
            contents.insert(number, (text, *commit));
        }
        assert_eq!(contents, expected, "round {round}");
        assert_eq!(store.verify().unwrap().problems, [], "round {round}");
    }
}
