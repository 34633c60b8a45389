//! Values computed outside the project that tests compare with.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A pair of files: `NAME.json` with numbers and `NAME.safetensors` with arrays.
pub struct Fixture {
    /// NAME.
    pub name: String,
    /// The numbers.
    pub values: Value,
    /// The bytes of the arrays.
    pub tensors: Vec<u8>,
}

/// Every fixture of a kind, a folder under `TWINBIT_FIXTURES` or under the project's own fixtures.
///
/// # Panics
/// When there is none, so that a test cannot pass by comparing nothing, or one is not readable.
pub fn fixtures(kind: &str) -> Vec<Fixture> {
    let root = match std::env::var_os("TWINBIT_FIXTURES") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"),
    };
    let folder = root.join(kind);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no fixture in {}", folder.display());
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Fixture {
    let bytes =
        |path: &Path| std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Fixture {
        name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        values: serde_json::from_slice(&bytes(path)).expect("readable JSON"),
        tensors: bytes(&path.with_extension("safetensors")),
    }
}
