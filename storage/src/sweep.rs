//! Files that no commit names: left by a process that ended between writing a file and the commit.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::error::Error;
use crate::install_note;
use crate::layout::{Layout, is_our_name};
use crate::state::State;

/// The files that a version names.
pub(crate) fn named(layout: &Layout, state: &State) -> HashSet<PathBuf> {
    let mut named = HashSet::new();
    for collection in state.collections() {
        for segment in collection.segments() {
            named.insert(segment.rows.file().path().to_path_buf());
            named.extend(segment.codes.iter().map(|codes| codes.file().path().to_path_buf()));
            named.extend(segment.index.iter().map(|index| index.guard().path().to_path_buf()));
        }
        named.extend(collection.info.model.map(|model| layout.model(model)));
    }
    named
}

/// Files of ours in the database's folders that the version does not name and that nothing in this
/// process uses: no view, no open transaction, no install.
pub(crate) fn unnamed(layout: &Layout, state: &State) -> Result<Vec<PathBuf>, Error> {
    let mut named = named(layout, state);
    for collection in state.collections() {
        let noted = install_note::files(layout, &state.pin, collection)?;
        named.extend(noted.into_iter().map(|file| file.path));
    }
    let mut unnamed = Vec::new();
    for folder in [&layout.segments, &layout.models] {
        for name in layout.files.names(folder)? {
            let path = folder.join(&name);
            // Asked after the name was listed: it may be gone with its guard.
            if is_our_name(&name) && !named.contains(&path) && layout.files.is_left(&path) {
                unnamed.push(path);
            }
        }
    }
    Ok(unnamed)
}

/// Removes them; returns how many. What this process is writing, or begins to write meanwhile, has a
/// guard, and no other one writes.
pub(crate) fn remove_unnamed(layout: &Layout, state: &State) -> Result<u64, Error> {
    let mut removed = 0;
    for path in unnamed(layout, state)? {
        if layout.files.remove_left(&path)? {
            tracing::info!(path = %path.display(), "removed a file that no commit names");
            removed += 1;
        }
    }
    Ok(removed)
}
