//! Random operations on a store against a plain map, with views pinned and the store reopened in
//! between. `TWINBIT_MODEL_CASES` asks for more cases than the few of an ordinary run.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use twinbit_kernels::{CodeBits, CodesBuf};
use twinbit_storage::{
    CollectionConfig, CollectionId, CollectionView, Compaction, Durability, FieldId, FieldSpec, FieldType,
    IdKind, InputKind, ModelId, NewRecord, Predicate, RecordId, Store, StoreOptions, StoredText, TextInput,
    Transaction, Value,
};

const NUMBER: FieldId = FieldId(1);
const WORD: FieldId = FieldId(2);

/// What a record should be.
#[derive(Clone, Debug, PartialEq)]
struct Expected {
    ordinal: u64,
    text: String,
    number: Option<i64>,
    word: Option<String>,
}

#[derive(Clone, Debug)]
enum Change {
    Put { id: u8, text: u8, number: Option<i8>, word: Option<bool> },
    Delete { id: u8 },
    Set { id: u8, number: Option<i8>, word: Option<Option<bool>> },
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Change>),
    Abandon(Vec<Change>),
    Grouped(Change),
    Flush,
    /// By hand, with changes made while it runs.
    Compact(Vec<Change>),
    Install(u8),
    Pin,
    Reopen,
}

fn change() -> impl Strategy<Value = Change> {
    let word = || proptest::option::of(any::<bool>());
    prop_oneof![
        5 => (any::<u8>(), any::<u8>(), any::<Option<i8>>(), word())
            .prop_map(|(id, text, number, word)| Change::Put { id, text, number, word }),
        2 => any::<u8>().prop_map(|id| Change::Delete { id }),
        2 => (any::<u8>(), any::<Option<i8>>(), proptest::option::of(word()))
            .prop_map(|(id, number, word)| Change::Set { id, number, word }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let changes = || proptest::collection::vec(change(), 0..40);
    prop_oneof![
        6 => changes().prop_map(Step::Commit),
        1 => changes().prop_map(Step::Abandon),
        4 => change().prop_map(Step::Grouped),
        1 => Just(Step::Flush),
        1 => changes().prop_map(Step::Compact),
        1 => any::<u8>().prop_map(Step::Install),
        2 => Just(Step::Pin),
        1 => Just(Step::Reopen),
    ]
}

fn config(ids: IdKind) -> CollectionConfig {
    let field = |name: &str, field_type, indexed| FieldSpec { name: name.to_owned(), field_type, indexed };
    CollectionConfig {
        bits: CodeBits::new(32).unwrap(),
        ids,
        image: InputKind::None,
        text: InputKind::Text,
        keep_inputs: true,
        external_codes: false,
        fields: vec![field("number", FieldType::I64, true), field("word", FieldType::Str, false)],
        application: serde_json::Value::Null,
    }
}

/// The code of a text under a model.
fn code(text: &str, model: ModelId) -> [u8; 4] {
    [text.len() as u8, text.bytes().next().unwrap_or(0), model.0[0], 7]
}

fn word(flag: bool) -> String {
    if flag { "yes".to_owned() } else { String::new() }
}

/// The store under test beside the map that says what it should hold.
struct Run {
    folder: tempfile::TempDir,
    store: Option<Store>,
    id: CollectionId,
    kind: IdKind,
    expected: BTreeMap<RecordId, Expected>,
    next_ordinal: u64,
    model: Option<ModelId>,
    /// Whether segments are merged by a thread, too.
    background: bool,
    pinned: Vec<(CollectionView, BTreeMap<RecordId, Expected>, Option<ModelId>)>,
}

fn open(folder: &std::path::Path, background: bool) -> Store {
    let options = StoreOptions {
        durability: Durability::Eventual,
        cache_bytes: 1 << 20,
        fresh_rows: 30,
        segment_bytes: 300,
        compaction: Compaction { background, bytes_per_second: 0, ..Compaction::default() },
        ..StoreOptions::default()
    };
    Store::open(folder, options).unwrap()
}

impl Run {
    fn new(kind: IdKind, background: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), background);
        let id = store.create_collection("records", config(kind)).unwrap();
        Run {
            folder,
            store: Some(store),
            id,
            kind,
            expected: BTreeMap::new(),
            next_ordinal: 0,
            model: None,
            background,
            pinned: Vec::new(),
        }
    }

    fn store(&self) -> Store {
        self.store.clone().unwrap()
    }

    /// The id a number stands for; with automatic ids `None` asks for a new one.
    fn id_of(&self, number: u8, expected: &BTreeMap<RecordId, Expected>) -> Option<RecordId> {
        match self.kind {
            IdKind::U64 => Some(RecordId::U64(u64::from(number % 50))),
            IdKind::Str => Some(RecordId::Str(format!("{}{number}", "x".repeat(usize::from(number % 3))))),
            IdKind::Auto if number.is_multiple_of(2) => None,
            IdKind::Auto => expected.keys().nth(usize::from(number) % expected.len().max(1)).cloned(),
        }
    }

    fn apply(
        &self,
        transaction: &mut Transaction,
        change: &Change,
        expected: &mut BTreeMap<RecordId, Expected>,
        next_ordinal: &mut u64,
    ) {
        match change {
            Change::Put { id, text, number, word: flag } => {
                let id = self.id_of(*id, expected);
                let text = format!("{text}").repeat(usize::from(text % 4));
                let code = self.model.map(|model| code(&text, model));
                let mut fields = Vec::new();
                fields.extend(number.map(|number| (NUMBER, Value::I64(i64::from(number)))));
                fields.extend(flag.map(|flag| (WORD, Value::Str(word(flag)))));
                let written = transaction
                    .put(NewRecord {
                        id: id.clone(),
                        text: Some(TextInput::Text(&text)),
                        codes: [None, code.as_ref().map(|code| code.as_slice())],
                        fields,
                        ..NewRecord::default()
                    })
                    .unwrap();
                let id = id.unwrap_or(RecordId::U64(*next_ordinal));
                let record = Expected {
                    ordinal: *next_ordinal,
                    text,
                    number: number.map(i64::from),
                    word: flag.map(word),
                };
                *next_ordinal += 1;
                assert_eq!((&written.id, written.ordinal), (&id, record.ordinal));
                assert_eq!(written.replaced, expected.insert(id, record).is_some());
            }
            Change::Delete { id } => {
                let id = self.id_of(*id, expected).unwrap_or(RecordId::U64(u64::from(*id)));
                assert_eq!(transaction.contains(&id).unwrap(), expected.contains_key(&id));
                assert_eq!(transaction.delete(&id).unwrap(), expected.remove(&id).is_some());
            }
            Change::Set { id, number, word: flag } => {
                let id = self.id_of(*id, expected).unwrap_or(RecordId::U64(u64::from(*id)));
                let mut fields = vec![(NUMBER, number.map(|number| Value::I64(i64::from(number))))];
                fields.extend(flag.map(|flag| (WORD, flag.map(|flag| Value::Str(word(flag))))));
                let found = transaction.set(&id, &fields).unwrap();
                assert_eq!(found, expected.contains_key(&id));
                if let Some(record) = expected.get_mut(&id) {
                    record.number = number.map(i64::from);
                    if let Some(flag) = flag {
                        record.word = flag.map(word);
                    }
                }
            }
        }
    }

    fn take(&mut self, step: &Step) {
        let store = self.store();
        let (mut expected, mut next_ordinal) = (self.expected.clone(), self.next_ordinal);
        match step {
            Step::Commit(changes) | Step::Abandon(changes) => {
                let mut transaction = store.writer(self.id).unwrap();
                for change in changes {
                    self.apply(&mut transaction, change, &mut expected, &mut next_ordinal);
                }
                if let Step::Commit(_) = step {
                    transaction.commit().unwrap();
                    (self.expected, self.next_ordinal) = (expected, next_ordinal);
                }
            }
            Step::Grouped(change) => {
                let result = store.write_grouped(self.id, |transaction| {
                    self.apply(transaction, change, &mut expected, &mut next_ordinal);
                    Ok(())
                });
                result.unwrap();
                (self.expected, self.next_ordinal) = (expected, next_ordinal);
            }
            Step::Flush => store.flush(self.id).unwrap(),
            Step::Compact(changes) => {
                let mut left = changes.iter();
                let compacted = store.compact(self.id, &mut |_, _| {
                    if let Some(change) = left.next() {
                        let mut transaction = store.wait_writer(self.id).unwrap();
                        self.apply(&mut transaction, change, &mut expected, &mut next_ordinal);
                        transaction.commit().unwrap();
                    }
                    ControlFlow::Continue(())
                });
                compacted.unwrap();
                (self.expected, self.next_ordinal) = (expected, next_ordinal);
            }
            Step::Install(number) => {
                let model = ModelId([number % 3 + 1; 16]);
                let bits = CodeBits::new(32).unwrap();
                let installed = store.install_model(
                    self.id,
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
                installed.unwrap();
                self.model = Some(model);
            }
            Step::Pin => {
                let view = store.view().collection(self.id).unwrap();
                self.pinned.push((view, self.expected.clone(), self.model));
                if self.pinned.len() > 3 {
                    self.pinned.remove(0);
                }
            }
            Step::Reopen => {
                // A view keeps the database open.
                self.pinned.clear();
                drop(store);
                self.store = None;
                self.store = Some(open(self.folder.path(), self.background));
            }
        }
        check(&self.store().view().collection(self.id).unwrap(), &self.expected, self.model);
        for (view, expected, model) in &self.pinned {
            check(view, expected, *model);
        }
    }
}

fn check(view: &CollectionView, expected: &BTreeMap<RecordId, Expected>, model: Option<ModelId>) {
    assert_eq!(view.len(), expected.len() as u64);
    assert_eq!(view.info().model, model);
    let mut ordinals: Vec<u64> = expected.values().map(|record| record.ordinal).collect();
    ordinals.sort_unstable();
    assert_eq!(view.page(None, usize::MAX).unwrap(), ordinals);
    for (id, record) in expected {
        assert_eq!(view.find(id).unwrap(), Some(record.ordinal));
        let stored = view.get(record.ordinal).unwrap().unwrap();
        assert_eq!(&stored.id, id);
        assert_eq!(stored.text, Some(StoredText::Text(record.text.clone())));
        let codes = [None, model.map(|model| code(&record.text, model).to_vec())];
        assert_eq!(stored.codes, codes);
        let mut fields = Vec::new();
        fields.extend(record.number.map(|number| (NUMBER, Value::I64(number))));
        fields.extend(record.word.clone().map(|word| (WORD, Value::Str(word))));
        assert_eq!(stored.fields, fields);
    }
    let predicate = Predicate::Or(vec![
        Predicate::IsNull(WORD),
        Predicate::Compare { field: NUMBER, op: twinbit_storage::Comparison::Lt, value: Value::I64(0) },
    ]);
    let masks = view.select(&predicate).unwrap();
    let selected = masks.iter().map(|mask| mask.count()).sum::<usize>();
    let passes = |record: &&Expected| record.word.is_none() || record.number.is_some_and(|number| number < 0);
    assert_eq!(selected, expected.values().filter(passes).count());
}

fn run(kind: IdKind) {
    let cases = std::env::var("TWINBIT_MODEL_CASES").ok().and_then(|cases| cases.parse().ok());
    let config =
        Config { max_shrink_iters: 200, failure_persistence: None, ..Config::with_cases(cases.unwrap_or(4)) };
    let result = TestRunner::new(config).run(&proptest::collection::vec(step(), 1..40), |steps| {
        let mut run = Run::new(kind, steps.len() % 2 == 0);
        for step in &steps {
            run.take(step);
        }
        prop_assert_eq!(run.store().verify().unwrap().problems, []);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[test]
fn automatic_ids_behave_like_a_map() {
    run(IdKind::Auto);
}

#[test]
fn numbers_as_ids_behave_like_a_map() {
    run(IdKind::U64);
}

#[test]
fn strings_as_ids_behave_like_a_map() {
    run(IdKind::Str);
}
