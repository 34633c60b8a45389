//! A record as it is stored.

use std::collections::BTreeMap;

use twinbit_storage::{FieldId, StoredRecord, StoredText};

use crate::field::OF;
use crate::{Modality, RecordId, Schema, Value};

/// Field values by name.
///
/// ```
/// # use twinbit::{CodeBits, Database, Field, IdKind, Input, Record, Schema};
/// use twinbit::Value;
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// # let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).external_codes().field("year", Field::u64());
/// # let photos = database.create_collection("photos", schema)?;
/// # photos.put(Record::new(1).image(Input::code([0, 1])).text(Input::code([0, 3])).set("year", 2001_u64))?;
/// # photos.put(Record::new(2).image(Input::code([0, 7])).text(Input::code([0, 1])).set("year", 2002_u64))?;
/// let entry = photos.get(2)?.ok_or("no record 2")?;
/// assert_eq!(entry.fields().get("year"), Some(&Value::U64(2002)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Fields = BTreeMap<String, Value>;

/// A record as it is stored.
///
/// ```
/// use twinbit::{CodeBits, Database, Field, IdKind, Modality, Record, Schema};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// # let schema = Schema::new(CodeBits::new(8)?).ids(IdKind::Str).external_codes().field("year", Field::u64());
/// # let things = database.create_collection("things", schema)?;
/// # things.put(Record::new("a").code(Modality::Image, [0b1111_0000]).set("year", 1999))?;
/// # things.put(Record::new("b").code(Modality::Image, [0b1111_1111]).set("year", 2020))?;
/// let entry = things.get("a")?.unwrap();
/// assert_eq!(entry.code(Modality::Image), Some(&[0b1111_0000][..]));
/// assert!(!entry.has(Modality::Text) && entry.text().is_none());
/// assert_eq!(entry.fields()["year"], 1999_u64.into());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    id: RecordId,
    ordinal: u64,
    present: [bool; 2],
    image_features: Option<Vec<f32>>,
    text_features: Option<Vec<f32>>,
    text: Option<String>,
    codes: [Option<Vec<u8>>; 2],
    of: Option<RecordId>,
    fields: Fields,
}

impl Entry {
    pub(crate) fn new(record: StoredRecord, schema: &Schema) -> Self {
        let features =
            |values: Vec<half::f16>| values.into_iter().map(half::f16::to_f32).collect::<Vec<f32>>();
        let (text, text_features) = match record.text {
            Some(StoredText::Text(text)) => (Some(text), None),
            Some(StoredText::Features(values)) => (None, Some(features(values))),
            None => (None, None),
        };
        let (of, fields) = named(record.fields, schema);
        Self {
            id: record.id,
            ordinal: record.ordinal,
            present: record.present,
            image_features: record.image.map(features),
            text_features,
            text,
            codes: record.codes,
            of,
            fields,
        }
    }

    /// Its id.
    pub fn id(&self) -> &RecordId {
        &self.id
    }

    /// Its place in the order of writes; ties of distance are broken by it.
    pub fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// Whether it has this modality.
    pub fn has(&self, modality: Modality) -> bool {
        let [image, text] = self.present;
        match modality {
            Modality::Image => image,
            Modality::Text => text,
        }
    }

    /// The kept features of a modality, as rounded to 16 bits when they came in.
    pub fn features(&self, modality: Modality) -> Option<&[f32]> {
        match modality {
            Modality::Image => self.image_features.as_deref(),
            Modality::Text => self.text_features.as_deref(),
        }
    }

    /// The kept text.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The code of a modality, `bits / 8` bytes; `None` before there is a model.
    pub fn code(&self, modality: Modality) -> Option<&[u8]> {
        let [image, text] = &self.codes;
        match modality {
            Modality::Image => image.as_deref(),
            Modality::Text => text.as_deref(),
        }
    }

    /// The record whose further caption this is.
    pub fn of(&self) -> Option<&RecordId> {
        self.of.as_ref()
    }

    /// The fields that have a value, by name; `of` is not among them.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }
}

/// Splits stored fields into `of` and the named ones.
pub(crate) fn named(fields: Vec<(FieldId, Value)>, schema: &Schema) -> (Option<RecordId>, Fields) {
    let mut of = None;
    let mut named = Fields::new();
    for (id, value) in fields {
        match (schema.field_name(id), value) {
            (Some(OF), Value::U64(target)) => of = Some(RecordId::U64(target)),
            (Some(OF), Value::Str(target)) => of = Some(RecordId::Str(target)),
            (Some(name), value) => {
                named.insert(name.to_owned(), value);
            }
            // A field added after this view of the schema was taken.
            (None, _) => {}
        }
    }
    (of, named)
}

/// A record found by a query.
///
/// ```
/// use twinbit::{CodeBits, Database, Field, IdKind, Modality, Record, Schema};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// # let schema = Schema::new(CodeBits::new(8)?).ids(IdKind::Str).external_codes().field("year", Field::u64());
/// # let things = database.create_collection("things", schema)?;
/// # things.put(Record::new("a").code(Modality::Image, [0b1111_0000]).set("year", 1999))?;
/// # things.put(Record::new("b").code(Modality::Image, [0b1111_1111]).set("year", 2020))?;
/// let snapshot = things.snapshot()?;
/// let hits = snapshot.query_id("a", Modality::Image).against(twinbit::Against::Image).run()?;
/// let found: Vec<_> = hits.iter().map(|hit| (hit.id().to_string(), hit.distance())).collect();
/// assert_eq!(found, [("a".to_owned(), 0), ("b".to_owned(), 4)]);
/// let fields = snapshot.fields_of(&hits)?;
/// assert_eq!(fields[1]["year"], 2020_u64.into());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    pub(crate) id: RecordId,
    pub(crate) ordinal: u64,
    pub(crate) distance: u32,
    pub(crate) modality: Modality,
}

impl Hit {
    /// Id of the record.
    pub fn id(&self) -> &RecordId {
        &self.id
    }

    /// The record's place in the order of writes; hits are ordered by (distance, ordinal).
    pub fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// Hamming distance: how many bits of the codes differ.
    pub fn distance(&self) -> u32 {
        self.distance
    }

    /// The modality of the record whose code was found.
    pub fn modality(&self) -> Modality {
        self.modality
    }
}
