//! Where RocksDB says that something is damaged: it tells by message only.

use std::path::{Path, PathBuf};

/// The file of the catalog and the offset in it that a message of RocksDB names; the catalog's folder
/// and 0 where it names none.
pub(crate) fn place(catalog: &Path, message: &str) -> (PathBuf, u64) {
    match file_name(message) {
        Some((name, rest)) => (catalog.join(name), offset(rest)),
        None => (catalog.to_path_buf(), 0),
    }
}

/// The name of the first file in a message that has one, and what follows it.
fn file_name(message: &str) -> Option<(String, &str)> {
    numbered(message, ".sst")
        // RocksDB tries the ending of old days when a table is missing, and tells of that.
        .or_else(|| numbered(message, ".ldb").map(|(name, rest)| (name.replace(".ldb", ".sst"), rest)))
        .or_else(|| numbered(message, ".log"))
        .or_else(|| manifest(message))
}

/// Digits before an ending: the tables and logs of RocksDB.
fn numbered<'m>(message: &'m str, ending: &str) -> Option<(String, &'m str)> {
    let (before, rest) = message.split_once(ending)?;
    let stem = before.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = before.strip_prefix(stem).filter(|digits| !digits.is_empty())?;
    Some((format!("{digits}{ending}"), rest))
}

fn manifest(message: &str) -> Option<(String, &str)> {
    let (_, after) = message.split_once("MANIFEST-")?;
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = after.strip_suffix(rest).filter(|digits| !digits.is_empty())?;
    Some((format!("MANIFEST-{digits}"), rest))
}

fn offset(rest: &str) -> u64 {
    let number = rest.split_once(" offset ").map(|(_, after)| after);
    number.and_then(|after| after.split([' ', ',', ';', '.']).next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(message: &str) -> (PathBuf, u64) {
        place(Path::new("/a b/catalog"), message)
    }

    #[test]
    fn tables_are_named_with_their_offset() {
        let message = "Corruption: block checksum mismatch: stored = 1, computed = 2, type = 4  in /a b/catalog/000012.sst offset 4096 size 99";
        assert_eq!(found(message), (PathBuf::from("/a b/catalog/000012.sst"), 4096));
        let message =
            "Corruption: Sst file size mismatch: /a b/catalog/000009.sst. Size recorded in manifest 5";
        assert_eq!(found(message), (PathBuf::from("/a b/catalog/000009.sst"), 0));
        let missing = "IO error: No such file or directory: While open a file for random read: /a b/catalog/000009.ldb: No such file or directory in file /a b/catalog/MANIFEST-000008";
        assert_eq!(found(missing), (PathBuf::from("/a b/catalog/000009.sst"), 0));
    }

    #[test]
    fn logs_and_manifests_are_named() {
        assert_eq!(found("in /a b/catalog/000031.log").0, PathBuf::from("/a b/catalog/000031.log"));
        let message = "Corruption: checksum mismatch The file /a b/catalog/MANIFEST-000005 may be corrupted.";
        assert_eq!(found(message).0, PathBuf::from("/a b/catalog/MANIFEST-000005"));
    }

    #[test]
    fn a_message_without_a_name_leads_to_the_folder() {
        for message in ["Corruption: bad", "a .sst without a number", "MANIFEST- without a number"] {
            assert_eq!(found(message), (PathBuf::from("/a b/catalog"), 0), "{message}");
        }
    }
}
