//! Installs that were interrupted go on where they were.

use std::fs;

use super::install::{A, B, check, encode, files, go_on, install};
use super::verify::damage;
use super::*;
use crate::catalog::Family;
use crate::{Error, ModelId, keys};

/// Three segments and some fresh rows, model A in place.
fn filled(folder: &Path) -> (Store, CollectionId) {
    let store = open(folder);
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    for _ in 0..3 {
        put_texts(&store, id, 50);
    }
    put_texts(&store, id, 7);
    install(&store, id, A).unwrap();
    (store, id)
}

/// The folder as a process leaves it that is killed while it encodes the part `at`.
fn killed_at(store: &Store, id: CollectionId, at: usize) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut encode = encode(B);
    let mut parts = 0;
    let interrupted = store.install_model(
        id,
        B,
        &B.0,
        &mut |part| {
            if parts == at {
                copy_folder(store.path(), copy.path());
                return Err("enough".into());
            }
            parts += 1;
            encode(part)
        },
        &mut go_on,
    );
    assert!(matches!(interrupted, Err(Error::Encoder { .. })));
    copy
}

/// Installs a model and returns how many parts were encoded for it.
fn count_encoded(store: &Store, id: CollectionId, model: ModelId) -> usize {
    let (mut encode, mut parts) = (encode(model), 0);
    store
        .install_model(
            id,
            model,
            &model.0,
            &mut |part| {
                parts += 1;
                encode(part)
            },
            &mut go_on,
        )
        .unwrap();
    parts
}

fn codes_of(folder: &Path, model: ModelId) -> usize {
    files(folder).iter().filter(|name| name.ends_with(&format!("codes.{model}"))).count()
}

#[test]
fn what_was_encoded_is_not_encoded_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    // A segment more came from the fresh rows when A was installed.
    for at in 0..4 {
        let killed = killed_at(&store, id, at);
        let reopened = open(killed.path());
        check(&reopened, id, A);
        assert_sound(&reopened);
        assert_eq!(codes_of(killed.path(), B), at);
        assert_eq!(count_encoded(&reopened, id, B), 4 - at);
        check(&reopened, id, B);
        assert_sound(&reopened);
        drop(reopened);
        let reopened = open(killed.path());
        check(&reopened, id, B);
        assert_eq!((codes_of(killed.path(), A), codes_of(killed.path(), B)), (0, 4));
        assert_sound(&reopened);
    }
    // In the process that was told to stop nothing is left.
    assert_eq!(codes_of(folder.path(), B), 0);
    check(&store, id, A);
    assert_sound(&store);
}

#[test]
fn other_bytes_or_another_model_begin_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    let killed = killed_at(&store, id, 3);
    let other = ModelId([0xcc; 16]);
    let reopened = open(killed.path());
    assert_eq!(count_encoded(&reopened, id, other), 4);
    assert_eq!(codes_of(killed.path(), B), 0);
    check(&reopened, id, other);
    assert_eq!(count_encoded(&reopened, id, B), 4);
    assert_sound(&reopened);

    let killed = killed_at(&store, id, 3);
    let reopened = open(killed.path());
    let mut parts = 0;
    let mut encode = encode(B);
    let mut counted = |part: &crate::Part| {
        parts += 1;
        encode(part)
    };
    reopened.install_model(id, B, b"the same name for other bytes", &mut counted, &mut go_on).unwrap();
    assert_eq!(parts, 4);

    // The model that serves already: nothing to do but to forget the other one.
    let killed = killed_at(&store, id, 2);
    let reopened = open(killed.path());
    install(&reopened, id, A).unwrap();
    assert_eq!(codes_of(killed.path(), B), 0);
    assert_sound(&reopened);
}

#[test]
fn a_dropped_collection_takes_its_notes_and_files_along() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    let killed = killed_at(&store, id, 3);
    let reopened = open(killed.path());
    assert_eq!(codes_of(killed.path(), B), 3);
    reopened.drop_collection("a").unwrap();
    assert_eq!(files(killed.path()), Vec::<String>::new());
    assert_sound(&reopened);
}

#[test]
fn notes_of_damaged_missing_and_foreign_files_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = filled(folder.path());
    let killed = killed_at(&store, id, 4 - 1);
    let codes: Vec<_> = files(killed.path())
        .into_iter()
        .filter(|name| name.ends_with(&format!("codes.{B}")))
        .map(|name| killed.path().join("segments").join(name))
        .collect();
    let mut damaged = fs::read(&codes[0]).unwrap();
    damaged[4096] ^= 1;
    fs::write(&codes[0], damaged).unwrap();
    fs::remove_file(&codes[1]).unwrap();
    let reopened = open(killed.path());
    // A note of a segment that was compacted away meanwhile.
    damage(&reopened, |batch| {
        batch.put(Family::Meta, keys::installed(id, 77), 8192_u64.to_le_bytes());
        batch.put(Family::Meta, keys::installed(id, 78), [1]);
    });
    assert_sound(&reopened);
    drop(reopened);
    let reopened = open(killed.path());
    assert_eq!(count_encoded(&reopened, id, B), 3);
    check(&reopened, id, B);
    assert_sound(&reopened);
}
