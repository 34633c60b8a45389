//! The column families.

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Family {
    /// Format version, counters, definitions, segments, sources, models.
    Meta = 0,
    /// (collection, id) to ordinal.
    Ids = 1,
    /// (collection, chunk) to a bitmap of dead ordinals.
    Dead = 2,
    /// (collection, ordinal) to a row that is in no segment yet.
    Fresh = 3,
    /// (collection, ordinal) to the fields of such a row.
    FreshFields = 4,
    /// (collection, field, chunk) to the values of rows in segments.
    Columns = 5,
    /// (collection, field, value, ordinal) to nothing.
    Index = 6,
}

impl Family {
    pub(crate) const ALL: [Family; 7] = [
        Family::Meta,
        Family::Ids,
        Family::Dead,
        Family::Fresh,
        Family::FreshFields,
        Family::Columns,
        Family::Index,
    ];

    /// The families whose keys begin with a collection.
    pub(crate) const OF_COLLECTIONS: [Family; 6] =
        [Family::Ids, Family::Dead, Family::Fresh, Family::FreshFields, Family::Columns, Family::Index];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Family::Meta => "meta",
            Family::Ids => "ids",
            Family::Dead => "dead",
            Family::Fresh => "fresh",
            Family::FreshFields => "fresh_fields",
            Family::Columns => "columns",
            Family::Index => "index",
        }
    }
}
