//! All collections at one moment.

use std::fmt;

use twinbit_storage::View;

use crate::collection::Collection;
use crate::database::Database;
use crate::snapshot::Snapshot;
use crate::{Error, Result};

/// The whole database as it was at one commit: snapshots of several collections that fit each other.
///
/// ```
/// # use twinbit::{CodeBits, Database, Field, IdKind, Schema};
/// use twinbit::{Input, Record};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// # let schema = Schema::new(CodeBits::B16).ids(IdKind::U64).external_codes().field("year", Field::u64());
/// # let photos = database.create_collection("photos", schema)?;
/// # photos.put(Record::new(1).image(Input::code([0, 1])).text(Input::code([0, 3])).set("year", 2001_u64))?;
/// # photos.put(Record::new(2).image(Input::code([0, 7])).text(Input::code([0, 1])).set("year", 2002_u64))?;
/// let before = database.snapshot();
/// photos.put(Record::new(3).image(Input::code([1, 1])).set("year", 2003_u64))?;
/// assert_eq!(before.collection("photos")?.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DatabaseSnapshot {
    database: Database,
    view: View,
}

impl fmt::Debug for DatabaseSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseSnapshot").field("version", &self.version()).finish_non_exhaustive()
    }
}

impl DatabaseSnapshot {
    pub(crate) fn new(database: Database) -> Self {
        Self { view: database.store().view(), database }
    }

    /// The version of the database, which every commit raises.
    pub fn version(&self) -> u64 {
        self.view.version()
    }

    /// The names of the collections there were, in alphabetical order.
    pub fn collections(&self) -> Vec<String> {
        let mut names: Vec<String> = self.view.collections().into_iter().map(|info| info.name).collect();
        names.sort_unstable();
        names
    }

    /// The collection that had this name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn collection(&self, name: &str) -> Result<Snapshot> {
        let view =
            self.view.collection_named(name).ok_or_else(|| Error::NotFound { name: name.to_owned() })?;
        let collection = Collection::new(self.database.clone(), view.info().id, name);
        let schema = collection.shared_schema(&view)?;
        Ok(Snapshot::new(collection, view, schema))
    }
}
