//! Where things are in a database's folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::durable::Files;
use crate::error::Error;
use crate::format::{
    CATALOG_FOLDER, LOCK_FILE, MODELS_FOLDER, SEGMENTS_FOLDER, TEMPORARY_ENDING, codes_name, index_name,
    model_name, rows_name,
};
use crate::id::ModelId;
use crate::indexer::SegmentIndexer;

/// The paths of a database, who uses the files, and who understands the indexes among them.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    pub(crate) lock: PathBuf,
    pub(crate) catalog: PathBuf,
    pub(crate) segments: PathBuf,
    pub(crate) models: PathBuf,
    pub(crate) files: Arc<Files>,
    pub(crate) indexer: Option<Arc<dyn SegmentIndexer>>,
}

impl Layout {
    pub(crate) fn new(root: &Path, files: Files) -> Self {
        Layout {
            root: root.to_path_buf(),
            lock: root.join(LOCK_FILE),
            catalog: root.join(CATALOG_FOLDER),
            segments: root.join(SEGMENTS_FOLDER),
            models: root.join(MODELS_FOLDER),
            files: Arc::new(files),
            indexer: None,
        }
    }

    /// The same, with what makes and opens search indexes.
    pub(crate) fn with_indexer(self, indexer: Option<Arc<dyn SegmentIndexer>>) -> Self {
        Layout { indexer, ..self }
    }

    pub(crate) fn rows(&self, number: u32) -> PathBuf {
        self.segments.join(rows_name(number))
    }

    pub(crate) fn codes(&self, number: u32, model: ModelId) -> PathBuf {
        self.segments.join(codes_name(number, model))
    }

    pub(crate) fn index(&self, number: u32, model: ModelId) -> PathBuf {
        self.segments.join(index_name(number, model))
    }

    pub(crate) fn model(&self, model: ModelId) -> PathBuf {
        self.models.join(model_name(model))
    }

    /// Refuses a folder that holds something else, so that a slip of the pen does not mix a
    /// database into it.
    pub(crate) fn check_is_ours(&self) -> Result<(), Error> {
        if self.root.is_file() {
            return Err(Error::NotADatabase { path: self.root.clone(), what: "it is a file".to_owned() });
        }
        if self.catalog.is_dir() {
            return Ok(());
        }
        let ours = [LOCK_FILE, CATALOG_FOLDER, SEGMENTS_FOLDER, MODELS_FOLDER];
        let names = self.files.names(&self.root)?;
        match names.iter().find(|name| !ours.contains(&name.as_str())) {
            Some(other) => Err(Error::NotADatabase {
                path: self.root.clone(),
                what: format!("it has no catalog but holds \"{other}\""),
            }),
            None => Ok(()),
        }
    }

    /// Refuses a database that has lost its catalog's `CURRENT` file: RocksDB would put an empty
    /// catalog in its place, and the sweep would then remove every segment, as nothing names them.
    ///
    /// RocksDB writes that file before its first log or table, and we write segments and models
    /// later still, so that without any of these a creation was interrupted and may go on.
    pub(crate) fn check_catalog_is_whole(&self) -> Result<(), Error> {
        let catalog = self.files.names(&self.catalog)?;
        if catalog.iter().any(|name| name == "CURRENT") {
            return Ok(());
        }
        let has_data = catalog.iter().any(|name| name.ends_with(".log") || name.ends_with(".sst"));
        let mut files = self.files.names(&self.segments)?;
        files.extend(self.files.names(&self.models)?);
        if has_data || files.iter().any(|name| is_our_name(name)) {
            let what = "the catalog's file CURRENT is missing; restore the folder from a backup";
            return Err(Error::corrupt(&self.catalog.join("CURRENT"), 0, what));
        }
        Ok(())
    }

    pub(crate) fn create_folders(&self) -> Result<(), Error> {
        for folder in [&self.root, &self.segments, &self.models] {
            self.files.create_folder(folder)?;
        }
        Ok(())
    }
}

/// Whether a name in `segments/` or `models/` is one that this library gives.
pub(crate) fn is_our_name(name: &str) -> bool {
    let name = name.strip_suffix(TEMPORARY_ENDING).unwrap_or(name);
    if let Some(model) = name.strip_suffix(".safetensors") {
        return model.parse::<ModelId>().is_ok();
    }
    let Some((number, rest)) = name.split_once('.') else {
        return false;
    };
    let is_number = number.len() == 8 && number.bytes().all(|digit| digit.is_ascii_hexdigit());
    let is_file = match rest.split_once('.') {
        None => rest == "rows",
        Some((kind, model)) => ["codes", "index"].contains(&kind) && model.parse::<ModelId>().is_ok(),
    };
    is_number && is_file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_names_are_known() {
        let model = ModelId([7; 16]);
        for name in [rows_name(3), codes_name(3, model), index_name(3, model), model_name(model)] {
            assert!(is_our_name(&name), "{name}");
            assert!(is_our_name(&format!("{name}.tmp")), "{name}.tmp");
        }
        for name in
            ["notes.txt", "0000000g.rows", "00000003.rows.bak", "00000003.index", "3.rows", "x.safetensors"]
        {
            assert!(!is_our_name(name), "{name}");
        }
    }

    #[test]
    fn a_folder_with_other_things_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), Files::default());
        assert!(layout.check_is_ours().is_ok());
        std::fs::write(folder.path().join("holiday.jpg"), b"x").unwrap();
        assert!(matches!(layout.check_is_ours(), Err(Error::NotADatabase { .. })));
        let file = Layout::new(&folder.path().join("holiday.jpg"), Files::default());
        assert!(matches!(file.check_is_ours(), Err(Error::NotADatabase { .. })));
    }

    #[test]
    fn a_database_without_its_catalog_is_damaged_and_keeps_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let open = || crate::Store::open(folder.path(), crate::StoreOptions::default());
        drop(open().unwrap());
        let layout = Layout::new(folder.path(), Files::default());
        let rows = layout.rows(3);
        std::fs::write(&rows, "a segment").unwrap();
        std::fs::remove_file(layout.catalog.join("CURRENT")).unwrap();
        for _ in 0..2 {
            assert!(matches!(open(), Err(Error::Corrupt { .. })));
        }
        std::fs::remove_dir_all(&layout.catalog).unwrap();
        assert!(matches!(open(), Err(Error::Corrupt { .. })));
        assert!(rows.is_file());
        std::fs::remove_file(&rows).unwrap();
        open().unwrap();
    }
}
