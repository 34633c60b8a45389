//! A workload of numbered commits, and what a database must hold after each.
//!
//! What commit `n` does depends on `n` alone, so a victim needs to tell no more than the numbers that
//! were acknowledged, and the reference is made by replaying them in a map.

use std::collections::BTreeMap;
use std::io::{IoSlice, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use twinbit_kernels::{CodeBits, CodesBuf};
use twinbit_storage::{
    CollectionConfig, CollectionId, Durability, Error, FieldId, FieldSpec, FieldType, IdKind, Indexing,
    InputKind, ModelId, NewRecord, RecordId, Store, StoreOptions, StoredText, TextInput, Value,
};

use crate::indexer::Indexer;

/// What a line of a victim begins with when it tells an acknowledged commit.
pub const ACKNOWLEDGED: &str = "acknowledged ";

/// ... when it tells an error that it was given.
pub const FAILED: &str = "failed ";
/// ... when it tells that the database broke a promise.
pub const BROKEN: &str = "broken ";
/// What a victim tells when it waits for a line on its standard input.
pub const READY: &str = "ready";
/// What a victim tells at the end of its work.
pub const COMPLETE: &str = "complete";

/// Commits of the small workload: two models, two large commits.
pub const COMMITS: u64 = 14;

/// Files that the victim of faults opens before its work. strace counts each kind of call of each thread
/// for itself, so that from this number on only the victim's work is met, not the loading of libraries.
pub const SPARE_CALLS: u64 = 100;

/// The source whose position is the number of the last commit.
const SOURCE: &str = "commits";
const MARK: FieldId = FieldId(1);

/// Records by id: text and the field `mark`, where it is set.
pub type Contents = BTreeMap<u64, (String, Option<i64>)>;

/// A change of a commit.
#[derive(Clone, Debug)]
enum Change {
    Put(u64, String),
    Delete(u64),
    Set(u64, Option<i64>),
}

/// How often a workload does what; every number is a period in commits.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Ids that records share.
    pub ids: u64,
    /// A commit with so many changes that it becomes a segment.
    pub large: u64,
    /// Changes of such a commit.
    pub changes: u64,
    /// A model is installed before the commit.
    pub install: u64,
    /// Fresh rows are written out before the commit.
    pub flush: u64,
    /// The collection is compacted before the commit.
    pub compact: u64,
    /// Durability of the commits.
    pub durability: Durability,
}

impl Workload {
    /// For many kills: hundreds of records.
    pub fn wide(durability: Durability) -> Self {
        Workload { ids: 300, large: 9, changes: 90, install: 25, flush: 14, compact: 33, durability }
    }

    /// For recording every call: a few records, everything happens within a few commits.
    pub fn small(durability: Durability) -> Self {
        Workload { ids: 30, large: 5, changes: 24, install: 6, flush: 7, compact: 8, durability }
    }

    /// Opens the database with small limits, so that segments come soon.
    pub fn open(&self, folder: &Path) -> Result<Store, Error> {
        Store::open(folder, self.options())
    }

    /// The options that [`open`](Self::open) uses.
    pub fn options(&self) -> StoreOptions {
        StoreOptions {
            durability: self.durability,
            cache_bytes: 1 << 20,
            fresh_rows: (self.changes * 2 / 3) as usize,
            segment_bytes: 1000,
            // Nearly every segment gets an index, in the background or with a compaction.
            indexing: Indexing { rows: 4, ..Indexing::default() },
            indexer: Some(Arc::new(Indexer)),
            ..StoreOptions::default()
        }
    }

    /// The collection, created when it is not there.
    pub fn collection(&self, store: &Store) -> Result<CollectionId, Error> {
        if let Some(info) = store.collections().first() {
            return Ok(info.id);
        }
        let config = CollectionConfig {
            bits: CodeBits::B64,
            ids: IdKind::U64,
            image: InputKind::None,
            text: InputKind::Text,
            keep_inputs: true,
            external_codes: false,
            fields: vec![FieldSpec { name: "mark".to_owned(), field_type: FieldType::I64, indexed: true }],
            application: serde_json::Value::Null,
        };
        store.create_collection("records", config)
    }

    fn changes_of(&self, number: u64) -> Vec<Change> {
        let mut random = ChaCha8Rng::seed_from_u64(number);
        let count = if number.is_multiple_of(self.large) { self.changes } else { random.random_range(1..6) };
        let mut change = |_| {
            let id = random.random_range(0..self.ids);
            match random.random_range(0..10) {
                0 | 1 => Change::Delete(id),
                2 => Change::Set(id, None),
                3 | 4 => Change::Set(id, Some(number as i64)),
                _ => Change::Put(id, format!("text {number} ").repeat(random.random_range(0..4))),
            }
        };
        (0..count).map(&mut change).collect()
    }

    /// The model after commit `number`.
    fn model(&self, number: u64) -> Option<ModelId> {
        let installed = number / self.install;
        (installed > 0).then(|| ModelId([(installed % 250) as u8 + 1; 16]))
    }

    /// Does everything of commit `number`, including what comes before it.
    pub fn step(&self, store: &Store, id: CollectionId, number: u64) -> Result<(), Error> {
        if number.is_multiple_of(self.install)
            && let Some(model) = self.model(number)
        {
            install(store, id, model)?;
        }
        if number.is_multiple_of(self.flush) {
            store.flush(id)?;
        }
        if number.is_multiple_of(self.compact) {
            store.compact(id, &mut |_, _| ControlFlow::Continue(()))?;
        }
        let mut writer = store.writer(id)?;
        let model = writer.model();
        for change in self.changes_of(number) {
            match change {
                Change::Delete(record) => drop(writer.delete(&record.into())?),
                Change::Set(record, mark) => {
                    writer.set(&record.into(), &[(MARK, mark.map(Value::I64))])?;
                }
                Change::Put(record, text) => {
                    let code = model.map(|model| code(&text, model));
                    writer.put(NewRecord {
                        id: Some(record.into()),
                        text: Some(TextInput::Text(&text)),
                        codes: [None, code.as_ref().map(|code| code.as_slice())],
                        fields: vec![(MARK, Value::I64(number as i64))],
                        ..NewRecord::default()
                    })?;
                }
            }
        }
        writer.set_source_position(SOURCE, &number.to_string());
        writer.commit()?;
        Ok(())
    }

    /// Brings the reference from one commit to the next.
    pub fn replay(&self, contents: &mut Contents, number: u64) {
        for change in self.changes_of(number) {
            match change {
                Change::Put(id, text) => {
                    contents.insert(id, (text, Some(number as i64)));
                }
                Change::Delete(id) => {
                    contents.remove(&id);
                }
                Change::Set(id, mark) => {
                    if let Some(record) = contents.get_mut(&id) {
                        record.1 = mark;
                    }
                }
            }
        }
    }

    /// What a database holds after commit `number`.
    pub fn contents(&self, number: u64) -> Contents {
        let mut contents = Contents::new();
        (1..=number).for_each(|number| self.replay(&mut contents, number));
        contents
    }

    /// The number of the last commit that a database holds.
    pub fn commits(&self, store: &Store) -> Result<u64, Error> {
        let Some(info) = store.collections().into_iter().next() else { return Ok(0) };
        let position = store.source_position(info.id, SOURCE)?;
        Ok(position.and_then(|position| position.parse().ok()).unwrap_or(0))
    }

    /// Compares everything a database holds with the reference after its last commit, which `known`
    /// has for some commit before; runs the full check. Returns the last commit or what is wrong.
    pub fn check(&self, store: &Store, known: &mut (u64, Contents)) -> Result<u64, String> {
        let found = self.follow(store, known)?;
        let problems = store.verify().map_err(|error| error.to_string())?.problems;
        match problems.is_empty() {
            true => Ok(found),
            false => Err(format!("after commit {found} verify finds {problems:?}")),
        }
    }

    /// [`check`](Self::check) without the full check.
    pub fn follow(&self, store: &Store, known: &mut (u64, Contents)) -> Result<u64, String> {
        let say = |error: Error| error.to_string();
        let found = self.commits(store).map_err(say)?;
        if found < known.0 {
            return Err(format!("commit {found} is the last, but commit {} was there before", known.0));
        }
        (known.0 + 1..=found).for_each(|number| self.replay(&mut known.1, number));
        known.0 = found;
        self.compare(store, found, &known.1)?;
        Ok(found)
    }

    /// Compares everything a database holds with the reference after commit `number`.
    pub fn compare(&self, store: &Store, number: u64, expected: &Contents) -> Result<(), String> {
        let say = |error: Error| error.to_string();
        let Some(info) = store.collections().into_iter().next() else {
            return if number == 0 { Ok(()) } else { Err("the collection is gone".to_owned()) };
        };
        // The next commit's model may be installed already.
        if ![self.model(number), self.model(number + 1)].contains(&info.model) {
            return Err(format!("after commit {number} the model is {:?}", info.model));
        }
        let view = store.view().collection(info.id).ok_or("the collection is gone")?;
        let mut contents = Contents::new();
        for ordinal in view.page(None, usize::MAX).map_err(say)? {
            let record = view.get(ordinal).map_err(say)?.ok_or("a listed record is not there")?;
            let (RecordId::U64(id), Some(StoredText::Text(text))) = (record.id, record.text) else {
                return Err(format!("the record with ordinal {ordinal} is of another kind"));
            };
            if record.codes[1] != info.model.map(|model| code(&text, model).to_vec()) {
                return Err(format!("record {id} has another code than the model gives"));
            }
            let mark = match record.fields.as_slice() {
                [(MARK, Value::I64(mark))] => Some(*mark),
                _ => None,
            };
            contents.insert(id, (text, mark));
        }
        if contents != *expected {
            return Err(format!("after commit {number} there is {contents:?} where {expected:?} belongs"));
        }
        Ok(())
    }
}

fn code(text: &str, model: ModelId) -> [u8; 8] {
    [text.len() as u8, model.0[0], 0, 0, 0, 0, 0, 9]
}

fn install(store: &Store, id: CollectionId, model: ModelId) -> Result<(), Error> {
    store.install_model(
        id,
        model,
        &model.0,
        &mut |part| {
            let mut codes = [CodesBuf::new(CodeBits::B64), CodesBuf::new(CodeBits::B64)];
            for row in 0..part.rows() {
                codes[0].push_zero()?;
                codes[1].push(&code(&part.text(row)?.unwrap_or_default(), model))?;
            }
            Ok(codes)
        },
        &mut |_, _| ControlFlow::Continue(()),
    )
}

/// Tells something on the standard output by a call of its own, `writev`, which no database makes, so
/// that faults put into `write` do not meet it.
pub fn tell(line: &str) {
    use std::os::fd::AsFd;
    let line = format!("\n{line}\n");
    if let Ok(out) = std::io::stdout().as_fd().try_clone_to_owned() {
        let _ = std::fs::File::from(out).write_vectored(&[IoSlice::new(line.as_bytes())]);
    }
}

/// The last commit that lines of a victim tell; `None` when they tell none.
pub fn last_acknowledged(output: &str) -> Option<u64> {
    let told = output.lines().filter_map(|line| line.strip_prefix(ACKNOWLEDGED));
    told.filter_map(|number| number.trim().parse().ok()).next_back()
}
