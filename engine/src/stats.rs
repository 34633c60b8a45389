//! Sizes and counts of a collection.

use serde::Serialize;
use twinbit_kernels::Isa;

use crate::collection::Collection;
use crate::{ModelId, Result};

/// Sizes and counts of a collection; serializes as the command line prints it.
///
/// ```
/// # use twinbit::{CodeBits, Database, Field, IdKind, Input, Record, Schema};
/// use twinbit::Stats;
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// # let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).external_codes().field("year", Field::u64());
/// # let photos = database.create_collection("photos", schema)?;
/// # photos.put(Record::new(1).image(Input::code([0, 1])).text(Input::code([0, 3])).set("year", 2001_u64))?;
/// # photos.put(Record::new(2).image(Input::code([0, 7])).text(Input::code([0, 1])).set("year", 2002_u64))?;
/// let stats: Stats = photos.stats()?;
/// assert_eq!((stats.bits, stats.rows, stats.fresh_rows), (16, 2, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Name of the collection.
    pub collection: String,
    /// Bits of a code.
    pub bits: usize,
    /// Live records.
    pub rows: u64,
    /// Dead rows that still take room.
    pub deleted: u64,
    /// Segments on disk.
    pub segments: u64,
    /// Segments in which compaction, by this handle, met damage; it leaves them as they are.
    pub damaged_segments: u64,
    /// Rows kept in the catalog until they amount to a segment.
    pub fresh_rows: u64,
    /// Bytes on disk, by kind.
    pub bytes: Bytes,
    /// The installed model.
    pub model: Option<ModelId>,
    /// The instruction set that scans the codes.
    pub kernel: &'static str,
}

/// Bytes on disk, by kind. The catalog and the models are those of the whole database.
///
/// ```
/// # use twinbit::{CodeBits, Database, Field, IdKind, Input, Record, Schema};
/// use twinbit::Bytes;
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// # let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).external_codes().field("year", Field::u64());
/// # let photos = database.create_collection("photos", schema)?;
/// # photos.put(Record::new(1).image(Input::code([0, 1])).text(Input::code([0, 3])).set("year", 2001_u64))?;
/// # photos.put(Record::new(2).image(Input::code([0, 7])).text(Input::code([0, 1])).set("year", 2002_u64))?;
/// let bytes: Bytes = photos.stats()?.bytes;
/// println!("{} bytes of codes, {} of inputs", bytes.codes, bytes.rows);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Bytes {
    /// Ids and kept inputs.
    pub rows: u64,
    /// Codes.
    pub codes: u64,
    /// Indexes of the codes.
    pub search_index: u64,
    /// Indexes of fields.
    pub index: u64,
    /// The catalog: ids, fields, fresh rows.
    pub catalog: u64,
    /// Model files.
    pub models: u64,
}

impl Stats {
    pub(crate) fn read(collection: &Collection) -> Result<Self> {
        let view = collection.view()?;
        let stats = collection.database().store().stats(collection.id())?;
        Ok(Self {
            collection: view.info().name.clone(),
            bits: view.info().config.bits.bits(),
            rows: stats.rows,
            deleted: stats.deleted,
            segments: stats.segments,
            damaged_segments: stats.damaged_segments,
            fresh_rows: stats.fresh_rows,
            bytes: Bytes {
                rows: stats.bytes.rows,
                codes: stats.bytes.codes,
                search_index: stats.bytes.search_index,
                index: stats.bytes.index,
                catalog: stats.bytes.catalog,
                models: stats.bytes.models,
            },
            model: view.info().model.map(|id| ModelId::from_bytes(id.0)),
            kernel: Isa::best().name(),
        })
    }
}
