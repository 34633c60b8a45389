//! What a newer version wrote is refused, and nothing is changed by trying.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::verify::{damage, filled};
use super::*;
use crate::Error;
use crate::catalog::Family;
use crate::format::{CATALOG_MAGIC, FORMAT_VERSION};
use crate::keys;

/// Every file but the lock, which names the last process that tried.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files.extend(self::files(&entry));
        } else if entry.file_name().unwrap() != "LOCK" {
            files.insert(entry.clone(), fs::read(entry).unwrap());
        }
    }
    files
}

fn assert_refused(folder: &Path) {
    let before = files(folder);
    for result in [Store::open(folder, options()), Store::open_read_only(folder, options())] {
        match result {
            Err(Error::Version { found, supported, .. }) => {
                assert_eq!((found, supported), (FORMAT_VERSION + 3, FORMAT_VERSION));
            }
            other => panic!("{:?}", other.err()),
        }
    }
    let after = files(folder);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    assert!(before == after);
}

#[test]
fn a_newer_segment_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", external(IdKind::Auto)).unwrap();
    let mut writer = store.writer(id).unwrap();
    for _ in 0..50 {
        writer.put(NewRecord { codes: [Some(&[1, 2]), None], ..NewRecord::default() }).unwrap();
    }
    writer.commit().unwrap();
    // A commit that is only in the log: opening would write it out.
    writer = store.writer(id).unwrap();
    writer.put(NewRecord { codes: [Some(&[1, 2]), None], ..NewRecord::default() }).unwrap();
    writer.commit().unwrap();
    drop(store);
    let segments = fs::read_dir(folder.path().join("segments")).unwrap();
    let paths: Vec<PathBuf> = segments.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(paths.len(), 2);
    for path in paths {
        let sound = fs::read(&path).unwrap();
        let mut newer = sound.clone();
        newer[8] = FORMAT_VERSION as u8 + 3;
        fs::write(&path, newer).unwrap();
        assert_refused(folder.path());
        fs::write(&path, sound).unwrap();
    }
    assert_sound(&open(folder.path()));
}

#[test]
fn a_newer_catalog_is_refused_and_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = filled(folder.path());
    let mut value = CATALOG_MAGIC.to_vec();
    value.extend((FORMAT_VERSION + 3).to_le_bytes());
    damage(&store, |batch| batch.put(Family::Meta, keys::format(), &value));
    // A copy taken now has the change in the log only, as after a crash.
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    drop(store);
    assert_refused(folder.path());
    assert_refused(copy.path());
}
