//! The records that are written, the same for every engine, and the collection that takes them.

use std::path::Path;

use twinbit_bench::Random;
use twinbit_kernels::CodeBits;
use twinbit_storage::{
    CollectionConfig, CollectionId, CollectionView, Durability, FieldId, FieldSpec, FieldType, IdKind,
    InputKind, NewRecord, Store, StoreOptions, Value,
};

use crate::Outcome;

pub(crate) const CODE_BYTES: usize = 16;
pub(crate) const YEAR: FieldId = FieldId(1);
pub(crate) const SCORE: FieldId = FieldId(2);
pub(crate) const LABEL: FieldId = FieldId(3);
const ID_BYTES: usize = 22;
const LABELS: usize = 1000;

/// How the ids of consecutive records follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Like file names that count up.
    Ascending,
    /// Like hashes.
    Scattered,
}

/// Records with a text id, a code of 128 bits and three fields, generated before anything is timed.
pub(crate) struct Records {
    ids: String,
    codes: Vec<u8>,
    years: Vec<i64>,
    scores: Vec<f64>,
    labels: Vec<String>,
}

impl Records {
    pub(crate) fn generate(rows: usize, order: Order) -> Self {
        let mut random = Random::new(7);
        let mut records = Records {
            ids: String::with_capacity(rows * ID_BYTES),
            codes: Vec::with_capacity(rows * CODE_BYTES),
            years: Vec::with_capacity(rows),
            scores: Vec::with_capacity(rows),
            labels: (0..LABELS).map(|label| format!("label {label}")).collect(),
        };
        for row in 0..rows {
            let words = [random.word(), random.word(), random.word()];
            let [first, second, third] = words;
            records.ids += &match order {
                Order::Ascending => format!("photo-{row:016}"),
                Order::Scattered => format!("photo-{first:016x}"),
            };
            records.codes.extend(first.to_le_bytes());
            records.codes.extend(second.to_le_bytes());
            records.years.push(1900 + (third % 125) as i64);
            records.scores.push((third >> 11) as f64 / (1_u64 << 53) as f64);
        }
        records
    }

    pub(crate) fn rows(&self) -> usize {
        self.years.len()
    }

    pub(crate) fn id(&self, row: usize) -> &str {
        &self.ids[row * ID_BYTES..(row + 1) * ID_BYTES]
    }

    /// All codes, one behind the other.
    pub(crate) fn codes(&self) -> &[u8] {
        &self.codes
    }

    pub(crate) fn code(&self, row: usize) -> &[u8] {
        &self.codes[row * CODE_BYTES..(row + 1) * CODE_BYTES]
    }

    pub(crate) fn year(&self, row: usize) -> i64 {
        self.years[row]
    }

    pub(crate) fn score(&self, row: usize) -> f64 {
        self.scores[row]
    }

    pub(crate) fn label(&self, row: usize) -> &str {
        &self.labels[(self.years[row] as usize * 31 + row) % LABELS]
    }

    pub(crate) fn new_record(&self, row: usize) -> NewRecord<'_> {
        NewRecord {
            id: Some(self.id(row).into()),
            codes: [Some(self.code(row)), None],
            fields: vec![
                (YEAR, Value::I64(self.year(row))),
                (SCORE, Value::F64(self.score(row))),
                (LABEL, Value::Str(self.label(row).to_owned())),
            ],
            ..NewRecord::default()
        }
    }

    /// Checks the number of records, and every so many records in full.
    pub(crate) fn check(&self, view: &CollectionView) -> Outcome<()> {
        if view.len() != self.rows() as u64 {
            return Err(format!("{} records where {} belong", view.len(), self.rows()).into());
        }
        for row in (0..self.rows()).step_by(self.rows().div_ceil(100)) {
            let found = view.find(&self.id(row).into())?.ok_or("a record is missing")?;
            let stored = view.get(found)?.ok_or("a record is dead")?;
            let expected = self.new_record(row);
            if stored.codes[0].as_deref() != expected.codes[0] || stored.fields != expected.fields {
                return Err(format!("record {row} reads differently").into());
            }
        }
        Ok(())
    }
}

fn field(name: &str, field_type: FieldType, indexed: bool) -> FieldSpec {
    FieldSpec { name: name.to_owned(), field_type, indexed }
}

/// A new database with one collection of ready codes; with text ids it has the three fields.
pub(crate) fn create(path: &Path, ids: IdKind, durability: Durability) -> Outcome<(Store, CollectionId)> {
    let fields = match ids {
        IdKind::Str => vec![
            field("year", FieldType::I64, true),
            field("score", FieldType::F64, false),
            field("label", FieldType::Str, false),
        ],
        _ => Vec::new(),
    };
    let store = Store::open(path, StoreOptions { durability, ..StoreOptions::default() })?;
    let config = CollectionConfig {
        bits: CodeBits::B128,
        ids,
        image: InputKind::None,
        text: InputKind::None,
        keep_inputs: false,
        external_codes: true,
        fields,
        application: serde_json::Value::Null,
    };
    let id = store.create_collection("photos", config)?;
    Ok((store, id))
}

/// The one collection of a database that [`create`] made.
pub(crate) fn collection(store: &Store) -> Outcome<CollectionView> {
    Ok(store.view().collection_named("photos").ok_or("the collection is missing")?)
}
