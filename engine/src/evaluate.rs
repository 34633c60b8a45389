//! Measuring retrieval: labeled queries against a snapshot, and captions against their images.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use twinbit_hashing::{Labels, RetrievalScores};
use twinbit_kernels::CodesBuf;

use crate::accelerator::Accelerator;
use crate::judged::Judged;
use crate::rows::{LiveRow, live_rows};
use crate::snapshot::Snapshot;
use crate::{Error, Filter, Input, Modality, RecordId, Result};

/// Queries from outside, to measure with: row i of both sides is query pair i.
///
/// ```
/// # use twinbit::{CodeBits, Database, Field, IdKind, Record, Schema};
/// use twinbit::{Input, Labels, Queries};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// # let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).external_codes().field("year", Field::u64());
/// # let photos = database.create_collection("photos", schema)?;
/// # photos.put(Record::new(1).image(Input::code([0, 1])).text(Input::code([0, 3])).set("year", 2001_u64))?;
/// # photos.put(Record::new(2).image(Input::code([0, 7])).text(Input::code([0, 1])).set("year", 2002_u64))?;
/// let codes = |codes: [[u8; 2]; 2]| codes.map(Input::code).to_vec();
/// let queries = Queries::new(codes([[0, 1], [0, 7]]), codes([[0, 3], [0, 1]]));
/// let labels = Labels::from_sets([[0_u32], [1]])?;
/// let scores = photos.snapshot()?.evaluate(&queries, &labels, &labels, &[1])?;
/// assert!(scores.image_to_text.scores.map > 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Queries {
    image: Vec<Input>,
    text: Vec<Input>,
    ids: Option<Vec<RecordId>>,
}

impl Queries {
    /// Queries of both modalities, as many of each.
    pub fn new(image: Vec<Input>, text: Vec<Input>) -> Self {
        Self { image, text, ids: None }
    }

    /// For each query the record that it belongs to, so that recall can be measured: right answers
    /// are this record and those with the same `of`. Without ids, and with as many queries as
    /// there are records, query i belongs to the i-th record.
    pub fn ids(mut self, ids: Vec<RecordId>) -> Self {
        self.ids = Some(ids);
        self
    }
}

/// Scores of one direction. Serializes flat: `map`, `map_tie_aware`, `map@K`, `precision@K`,
/// `lookup`, `ranking`, `recall@K`.
///
/// ```
/// # use twinbit::{CodeBits, Database, Field, IdKind, Record, Schema};
/// use twinbit::{Input, Labels, Queries};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// # let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).external_codes().field("year", Field::u64());
/// # let photos = database.create_collection("photos", schema)?;
/// # photos.put(Record::new(1).image(Input::code([0, 1])).text(Input::code([0, 3])).set("year", 2001_u64))?;
/// # photos.put(Record::new(2).image(Input::code([0, 7])).text(Input::code([0, 1])).set("year", 2002_u64))?;
/// let codes = |codes: [[u8; 2]; 2]| codes.map(Input::code).to_vec();
/// let queries = Queries::new(codes([[0, 1], [0, 7]]), codes([[0, 3], [0, 1]]));
/// let labels = Labels::from_sets([[0_u32], [1]])?;
/// let scores = photos.snapshot()?.evaluate(&queries, &labels, &labels, &[1])?;
/// let direction = scores.text_to_image;
/// assert_eq!(direction.recall_at.len(), 1);
/// assert!(direction.scores.map <= 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DirectionScores {
    /// Scores by labels.
    #[serde(flatten)]
    pub scores: RetrievalScores,
    /// For each k: share of queries with a right record among the first k; empty where it is not
    /// known which record a query belongs to.
    #[serde(flatten, serialize_with = "by_cutoff")]
    pub recall_at: Vec<(usize, f64)>,
}

/// Scores both ways.
///
/// ```
/// # use twinbit::{CodeBits, Database, Field, IdKind, Record, Schema};
/// use twinbit::{Input, Labels, Queries};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// # let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).external_codes().field("year", Field::u64());
/// # let photos = database.create_collection("photos", schema)?;
/// # photos.put(Record::new(1).image(Input::code([0, 1])).text(Input::code([0, 3])).set("year", 2001_u64))?;
/// # photos.put(Record::new(2).image(Input::code([0, 7])).text(Input::code([0, 1])).set("year", 2002_u64))?;
/// let codes = |codes: [[u8; 2]; 2]| codes.map(Input::code).to_vec();
/// let queries = Queries::new(codes([[0, 1], [0, 7]]), codes([[0, 3], [0, 1]]));
/// let labels = Labels::from_sets([[0_u32], [1]])?;
/// let scores = photos.snapshot()?.evaluate(&queries, &labels, &labels, &[1])?;
/// println!("{:.3} and {:.3}", scores.image_to_text.scores.map, scores.text_to_image.scores.map);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// Images as queries, texts as database.
    pub image_to_text: DirectionScores,
    /// Texts as queries, images as database.
    pub text_to_image: DirectionScores,
}

/// Recall at each cut-off, both ways; serializes as `{"image_to_text":{"recall@1":…},…}`.
///
/// ```
/// # use twinbit::{CodeBits, Database, Field, IdKind, Input, Record, Schema};
/// use twinbit::Recall;
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// # let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).external_codes().field("year", Field::u64());
/// # let photos = database.create_collection("photos", schema)?;
/// # photos.put(Record::new(1).image(Input::code([0, 1])).text(Input::code([0, 3])).set("year", 2001_u64))?;
/// # photos.put(Record::new(2).image(Input::code([0, 7])).text(Input::code([0, 1])).set("year", 2002_u64))?;
/// let recall: Recall = photos.snapshot()?.recall(None, &[1, 2])?;
/// assert_eq!(recall.text_to_image[1], (2, 1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Recall {
    /// Images as queries; right is any text of the image.
    #[serde(serialize_with = "by_cutoff")]
    pub image_to_text: Vec<(usize, f64)>,
    /// Texts as queries; right is their image.
    #[serde(serialize_with = "by_cutoff")]
    pub text_to_image: Vec<(usize, f64)>,
}

fn by_cutoff<S: Serializer>(recall: &[(usize, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for (k, share) in recall {
        map.serialize_entry(&format!("recall@{k}"), share)?;
    }
    map.end()
}

impl Evaluation {
    pub(crate) fn measure(
        judged: Judged<'_>,
        queries: &Queries,
        query_labels: &Labels,
        database_labels: &Labels,
        ks: &[usize],
    ) -> Result<Self> {
        check_cutoffs(ks)?;
        let snapshot = judged.snapshot();
        let inputs = [("image queries", &queries.image), ("text queries", &queries.text)];
        for (what, inputs) in inputs {
            check_rows(what, query_labels.rows() as u64, inputs.len() as u64)?;
        }
        check_rows("the label matrix of the database", snapshot.len(), database_labels.rows() as u64)?;
        let rows = live_rows(snapshot)?;
        let groups = query_groups(snapshot, queries, &rows)?;
        let accelerator = snapshot.collection().database().accelerator();
        let measure = |modality: Modality, inputs: &[Input]| {
            let database = Database::of(judged, &rows, modality.other())?;
            let codes = judged.encoder()?.query_codes(modality, inputs, 0)?;
            let labels = database.labels(database_labels)?;
            let scores = twinbit_hashing::evaluate(
                codes.as_codes(),
                query_labels,
                database.codes.as_codes(),
                labels.as_ref().unwrap_or(database_labels),
                ks,
            )?;
            let recall_at = match &groups {
                Some(groups) => database.recall(accelerator, &codes, groups, ks)?,
                None => Vec::new(),
            };
            Ok::<_, Error>(DirectionScores { scores, recall_at })
        };
        snapshot.collection().database().run(|| {
            Ok(Self {
                image_to_text: measure(Modality::Image, &queries.image)?,
                text_to_image: measure(Modality::Text, &queries.text)?,
            })
        })
    }
}

impl Recall {
    pub(crate) fn measure(judged: Judged<'_>, filter: Option<&Filter>, ks: &[usize]) -> Result<Self> {
        check_cutoffs(ks)?;
        let snapshot = judged.snapshot();
        let mut rows = live_rows(snapshot)?;
        if let Some(filter) = filter {
            let masks = snapshot.masks(filter)?;
            let chosen =
                |row: &LiveRow| masks.get(row.part as usize).is_some_and(|mask| mask.get(row.row as usize));
            let groups: HashSet<u64> = rows
                .iter()
                .filter(|row| row.ordinal == row.group && chosen(row))
                .map(|row| row.group)
                .collect();
            rows.retain(|row| groups.contains(&row.group));
        }
        let measure = |modality: Modality| {
            let queries = Database::of(judged, &rows, modality)?;
            let database = Database::of(judged, &rows, modality.other())?;
            // A record without a counterpart cannot be answered rightly and is no query.
            let known: Vec<bool> =
                queries.groups.iter().map(|group| database.rows_of.contains_key(group)).collect();
            let mut codes = CodesBuf::new(snapshot.schema().bits());
            let mut groups = Vec::new();
            for (row, (group, known)) in queries.groups.iter().zip(known).enumerate() {
                if known {
                    codes.push(&queries.codes.as_codes().row(row))?;
                    groups.push(*group);
                }
            }
            if groups.is_empty() {
                return Err(Error::NothingToMeasure { collection: snapshot.name().to_owned() });
            }
            database.recall(snapshot.collection().database().accelerator(), &codes, &groups, ks)
        };
        snapshot.collection().database().run(|| {
            Ok(Self { image_to_text: measure(Modality::Image)?, text_to_image: measure(Modality::Text)? })
        })
    }
}

/// The codes of one modality of all records that have it, in the order of their writes.
struct Database {
    codes: CodesBuf,
    /// Position of each among all live records.
    positions: Vec<usize>,
    /// Of each: the ordinal of the record it belongs to.
    groups: Vec<u64>,
    /// Rows that belong to a record.
    rows_of: HashMap<u64, Vec<u32>>,
    records: usize,
}

impl Database {
    fn of(judged: Judged<'_>, rows: &[LiveRow], modality: Modality) -> Result<Self> {
        let bits = judged.snapshot().schema().bits();
        let parts = judged.codes(modality)?;
        let mut database = Self {
            codes: CodesBuf::new(bits),
            positions: Vec::new(),
            groups: Vec::new(),
            rows_of: HashMap::new(),
            records: rows.len(),
        };
        let mut code = vec![0; bits.bytes()];
        for (position, row) in rows.iter().enumerate().filter(|(_, row)| row.has(modality)) {
            let Some(Some(codes)) = parts.get(row.part as usize) else { continue };
            codes.as_codes().row_into(row.row as usize, &mut code);
            // Kernels number rows in 32 bits and refuse to push more.
            let number = u32::try_from(database.codes.rows()).unwrap_or(u32::MAX);
            database.codes.push(&code)?;
            database.positions.push(position);
            database.groups.push(row.group);
            database.rows_of.entry(row.group).or_default().push(number);
        }
        Ok(database)
    }

    /// The labels of the rows here; `None` when every record is.
    fn labels(&self, all: &Labels) -> Result<Option<Labels>> {
        if self.positions.len() == self.records {
            return Ok(None);
        }
        // One row a class, so that sharing a class with it means having the class.
        let classes = u32::try_from(all.classes()).unwrap_or(u32::MAX);
        let each = Labels::from_sets((0..classes).map(|class| [class]))?;
        let of = |&position: &usize| {
            let each = &each;
            (0..classes).filter(move |&class| all.relevant(position, each, class as usize))
        };
        Ok(Some(Labels::from_sets(self.positions.iter().map(of))?))
    }

    fn recall(
        &self,
        accelerator: &Accelerator,
        queries: &CodesBuf,
        groups: &[u64],
        ks: &[usize],
    ) -> Result<Vec<(usize, f64)>> {
        let right = |query: usize| -> &[u32] {
            let rows = groups.get(query).and_then(|group| self.rows_of.get(group));
            rows.map_or(&[], Vec::as_slice)
        };
        accelerator.recall(queries.as_codes(), self.codes.as_codes(), right, ks)
    }
}

/// For each query the group of the record it belongs to, where that is known.
fn query_groups(snapshot: &Snapshot, queries: &Queries, rows: &[LiveRow]) -> Result<Option<Vec<u64>>> {
    match &queries.ids {
        None if queries.text.len() == rows.len() => Ok(Some(rows.iter().map(|row| row.group).collect())),
        None => Ok(None),
        Some(ids) => {
            check_rows("ids of queries", queries.text.len() as u64, ids.len() as u64)?;
            let group_of: HashMap<u64, u64> = rows.iter().map(|row| (row.ordinal, row.group)).collect();
            let group = |id: &RecordId| {
                let ordinal = snapshot.ordinal(id)?;
                Ok(group_of.get(&ordinal).copied().unwrap_or(ordinal))
            };
            ids.iter().map(group).collect::<Result<_>>().map(Some)
        }
    }
}

fn check_cutoffs(ks: &[usize]) -> Result<()> {
    if ks.contains(&0) { Err(Error::ZeroLimit) } else { Ok(()) }
}

fn check_rows(what: &'static str, expected: u64, got: u64) -> Result<()> {
    if got == expected { Ok(()) } else { Err(Error::Rows { what, expected, got }) }
}
