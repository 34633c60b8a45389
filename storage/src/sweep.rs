//! Files that no commit names: left by a process that ended between writing a file and the commit.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::durable;
use crate::error::Error;
use crate::layout::{Layout, is_our_name};
use crate::state::State;

/// The files that a version names.
pub(crate) fn named(layout: &Layout, state: &State) -> HashSet<PathBuf> {
    let mut named = HashSet::new();
    for collection in state.collections() {
        for segment in collection.segments() {
            named.insert(segment.rows.file().path().to_path_buf());
            named.extend(segment.codes.iter().map(|codes| codes.file().path().to_path_buf()));
        }
        named.extend(collection.info.model.map(|model| layout.model(model)));
    }
    named
}

/// Files of ours in the database's folders that the version does not name.
pub(crate) fn unnamed(layout: &Layout, state: &State) -> Result<Vec<PathBuf>, Error> {
    let named = named(layout, state);
    let mut unnamed = Vec::new();
    for folder in [&layout.segments, &layout.models] {
        for name in durable::names(folder)? {
            let path = folder.join(&name);
            if is_our_name(&name) && !named.contains(&path) {
                unnamed.push(path);
            }
        }
    }
    Ok(unnamed)
}

/// Removes them. Only at open, when no one else can be writing one.
pub(crate) fn remove_unnamed(layout: &Layout, state: &State) -> Result<(), Error> {
    for path in unnamed(layout, state)? {
        tracing::info!(path = %path.display(), "removing a file that no commit names");
        durable::remove(&path)?;
    }
    Ok(())
}
