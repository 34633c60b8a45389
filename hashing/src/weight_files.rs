//! Which files of an encoder's folder hold its weights.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::Error;

/// The file that holds all weights.
const WHOLE: &str = "model.safetensors";
/// The file that lists the others where the weights are spread over several.
const INDEX: &str = "model.safetensors.index.json";
/// Longest list accepted; those of models with hundreds of gigabytes have some hundred kilobytes.
const LONGEST_INDEX: u64 = 16 << 20;
/// Most files of one network.
const MOST_FILES: usize = 1000;

/// The part of the list that matters: the file of each tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files with the weights of a folder, sorted: `model.safetensors`, or where that is missing the files that
/// `model.safetensors.index.json` lists, as Hugging Face's tools write large models.
pub(crate) fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let (whole, list) = (folder.join(WHOLE), folder.join(INDEX));
    if whole.exists() || !list.exists() {
        return Ok(vec![whole]);
    }
    let unreadable = |source| Error::EncoderFile { path: list.clone(), source };
    let mut json = Vec::new();
    let file = fs::File::open(&list).map_err(unreadable)?;
    file.take(LONGEST_INDEX + 1).read_to_end(&mut json).map_err(unreadable)?;
    let invalid = |reason: String| unreadable(io::Error::other(reason));
    if json.len() as u64 > LONGEST_INDEX {
        return Err(invalid("it is too long".to_owned()));
    }
    let index: Index = serde_json::from_slice(&json)
        .map_err(|error| invalid(format!("it is not a list of weight files ({error})")))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    if !(1..=MOST_FILES).contains(&names.len()) {
        return Err(invalid(format!("it lists {} files, expected 1 to {MOST_FILES}", names.len())));
    }
    // The folder's encoder is what lies in the folder, and nowhere else.
    let is_inside = |name: &str| {
        let mut parts = Path::new(name).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
    };
    match names.iter().find(|name| !is_inside(name)) {
        Some(name) => Err(invalid(format!("it lists {name:?}, which is no name of a file in the folder"))),
        None => Ok(names.into_iter().map(|name| folder.join(name)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_list_come_once_each_unless_there_is_a_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert_eq!(weight_files(folder.path()).unwrap(), [path(WHOLE)]);
        let list = r#"{"metadata": {}, "weight_map": {"a": "m-2.safetensors", "b": "m-1.safetensors", "c": "m-2.safetensors"}}"#;
        fs::write(path(INDEX), list).unwrap();
        assert_eq!(weight_files(folder.path()).unwrap(), [path("m-1.safetensors"), path("m-2.safetensors")]);
        fs::write(path(WHOLE), "").unwrap();
        assert_eq!(weight_files(folder.path()).unwrap(), [path(WHOLE)]);
    }

    #[test]
    fn a_list_that_leads_elsewhere_or_nowhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (list, wanted) in [
            (r#"{"weight_map": {"a": "../other.safetensors"}}"#, "no name of a file"),
            (r#"{"weight_map": {"a": "/etc/passwd"}}"#, "no name of a file"),
            (r#"{"weight_map": {"a": ".."}}"#, "no name of a file"),
            (r#"{"weight_map": {}}"#, "lists 0 files"),
            (r#"{"weights": 1}"#, "not a list"),
        ] {
            fs::write(folder.path().join(INDEX), list).unwrap();
            match weight_files(folder.path()) {
                Err(Error::EncoderFile { path, source }) => {
                    assert!(path.ends_with(INDEX) && source.to_string().contains(wanted), "{source}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
