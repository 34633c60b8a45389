//! Installing models.

use std::fs;
use std::ops::ControlFlow;

use twinbit_kernels::{CodesBuf, Modality};

use super::*;
use crate::{BoxedError, Error, ModelId, Part};

pub(super) const A: ModelId = ModelId([0xaa; 16]);
pub(super) const B: ModelId = ModelId([0xbb; 16]);

/// A code that depends on the row's text alone, and on the model.
fn code(text: &str, model: ModelId) -> [u8; 2] {
    [text.parse::<u8>().unwrap_or(200), model.0[0]]
}

pub(super) fn encode(model: ModelId) -> impl FnMut(&Part) -> Result<[CodesBuf; 2], BoxedError> {
    move |part| {
        let bits = CodeBits::new(16)?;
        let mut codes = [CodesBuf::new(bits), CodesBuf::new(bits)];
        for row in 0..part.rows() {
            codes[0].push_zero()?;
            match part.text(row)? {
                Some(text) => codes[1].push(&code(&text, model))?,
                None => codes[1].push_zero()?,
            }
        }
        Ok(codes)
    }
}

pub(super) fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

pub(super) fn install(store: &Store, id: CollectionId, model: ModelId) -> Result<(), Error> {
    store.install_model(id, model, &model.0, &mut encode(model), &mut go_on)
}

pub(super) fn check(store: &Store, id: CollectionId, model: ModelId) {
    let view = view(store, id);
    assert_eq!(view.info().model, Some(model));
    for part in view.parts().iter() {
        let codes = part.codes(Modality::Text).unwrap();
        for row in part.alive().ones() {
            assert_eq!(codes.row(row as usize), code(&part.text(row).unwrap().unwrap(), model));
        }
    }
    assert_eq!(store.model_bytes(model).unwrap(), model.0);
}

pub(super) fn files(folder: &Path) -> Vec<String> {
    let list = |name: &str| crate::durable::Files::default().names(&folder.join(name)).unwrap();
    let mut all = list("segments");
    all.extend(list("models"));
    all
}

#[test]
fn models_switch_and_old_files_go() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 50);
    put_texts(&store, id, 7);
    let unencoded = store.view();
    assert!(view(&store, id).parts()[0].codes(Modality::Text).is_none());
    install(&store, id, A).unwrap();
    check(&store, id, A);
    assert_sound(&store);
    // New records must bring codes now.
    let mut writer = store.writer(id).unwrap();
    assert!(matches!(writer.put(text_record(None, "1")), Err(Error::MissingCode { .. })));
    writer.put(NewRecord { codes: [None, Some(&code("60", A))], ..text_record(None, "60") }).unwrap();
    writer.commit().unwrap();
    check(&store, id, A);

    let old = store.view();
    install(&store, id, B).unwrap();
    check(&store, id, B);
    // The old view goes on with the old codes, then their files go.
    let parts = old.collection(id).unwrap().parts();
    assert_eq!(parts[0].codes(Modality::Text).unwrap().row(3), code("3", A));
    assert!(files(folder.path()).iter().any(|name| name.contains(&A.to_string())));
    drop((old, parts, unencoded));
    assert!(!files(folder.path()).iter().any(|name| name.contains(&A.to_string())));
    assert!(matches!(store.model_bytes(A), Err(Error::NotFound { .. })));
    drop(store);
    let store = open(folder.path());
    check(&store, id, B);
    assert_sound(&store);
}

#[test]
fn a_model_can_come_back_while_a_view_uses_its_first_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 50);
    install(&store, id, A).unwrap();
    let pinned = store.view();
    install(&store, id, B).unwrap();
    assert_sound(&store);
    install(&store, id, A).unwrap();
    drop(pinned);
    check(&store, id, A);
    drop(store);
    let store = open(folder.path());
    check(&store, id, A);
    assert_sound(&store);
}

#[test]
fn a_failed_or_canceled_install_leaves_the_old_model() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 50);
    install(&store, id, A).unwrap();
    let before = files(folder.path());
    let failed = store.install_model(id, B, b"b", &mut |_| Err("no".into()), &mut go_on);
    assert!(matches!(failed, Err(Error::Encoder { .. })));
    let canceled = store.install_model(id, B, b"b", &mut encode(B), &mut |done, all| match done {
        0 => ControlFlow::Continue(()),
        _ => {
            assert_eq!((done, all), (50, 50));
            ControlFlow::Break(())
        }
    });
    assert!(matches!(canceled, Err(Error::Canceled)));
    let short = store.install_model(
        id,
        B,
        b"b",
        &mut |_| {
            let bits = CodeBits::new(16)?;
            Ok([CodesBuf::new(bits), CodesBuf::new(bits)])
        },
        &mut go_on,
    );
    assert!(matches!(short, Err(Error::EncodedShape { expected: 50, got: 0, .. })));
    check(&store, id, A);
    assert_eq!(files(folder.path()), before);
    assert_sound(&store);
}

#[test]
fn rows_written_during_an_install_are_encoded_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 50);
    let mut encode = encode(A);
    let mut rounds = 0;
    let mut busy = false;
    store
        .install_model(
            id,
            A,
            b"a",
            &mut |part| {
                rounds += 1;
                if rounds == 1 {
                    put_texts(&store, id, 60);
                    put_texts(&store, id, 5);
                    store.wait_writer(id).unwrap().delete(&3.into()).unwrap();
                    busy = matches!(install(&store, id, B), Err(Error::InstallBusy { .. }));
                }
                encode(part)
            },
            &mut go_on,
        )
        .unwrap();
    assert!(busy);
    assert_eq!(view(&store, id).len(), 115);
    for part in view(&store, id).parts().iter() {
        assert!(part.codes(Modality::Text).is_some());
    }
    assert_sound(&store);
}

#[test]
fn what_cannot_be_encoded_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let external = store.create_collection("a", external(IdKind::Auto)).unwrap();
    assert!(matches!(install(&store, external, A), Err(Error::NotEncodable { .. })));
    let bare = CollectionConfig { keep_inputs: false, ..config(IdKind::Auto) };
    let bare = store.create_collection("b", bare).unwrap();
    install(&store, bare, A).unwrap();
    let mut writer = store.writer(bare).unwrap();
    writer.put(NewRecord { codes: [None, Some(&[1, 2])], ..text_record(None, "1") }).unwrap();
    writer.commit().unwrap();
    assert!(matches!(install(&store, bare, B), Err(Error::NotEncodable { .. })));
    assert_sound(&store);
}

#[test]
fn a_model_is_shared_between_collections() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let [a, b] = ["a", "b"].map(|name| store.create_collection(name, config(IdKind::Auto)).unwrap());
    install(&store, a, A).unwrap();
    install(&store, b, A).unwrap();
    store.drop_collection("a").unwrap();
    check(&store, b, A);
    assert_sound(&store);
    store.drop_collection("b").unwrap();
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

/// Both installs are under way at once; the one that fails must not take the other's file along.
#[test]
fn a_failed_install_leaves_the_file_that_another_install_shares() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let [a, b] = ["a", "b"].map(|name| store.create_collection(name, config(IdKind::Auto)).unwrap());
    put_texts(&store, a, 50);
    put_texts(&store, b, 50);
    let failed = store.install_model(
        a,
        A,
        &A.0,
        &mut |_| {
            install(&store, b, A)?;
            Err("no".into())
        },
        &mut go_on,
    );
    assert!(matches!(failed, Err(Error::Encoder { .. })));
    check(&store, b, A);
    assert_sound(&store);
    drop(store);
    check(&open(folder.path()), b, A);
}

#[test]
fn an_old_view_reads_its_own_model() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    assert_eq!(view(&store, id).model_bytes().unwrap(), None);
    install(&store, id, A).unwrap();
    let old = view(&store, id);
    install(&store, id, B).unwrap();
    assert_eq!(old.model_bytes().unwrap().as_deref(), Some(&A.0[..]));
    assert_eq!(view(&store, id).model_bytes().unwrap().as_deref(), Some(&B.0[..]));
    assert!(matches!(store.model_bytes(A), Err(Error::NotFound { .. })));
}

#[test]
fn a_missing_or_shortened_model_file_is_found_at_open() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    install(&store, id, A).unwrap();
    drop(store);
    let path = folder.path().join("models").join(format!("{A}.safetensors"));
    fs::write(&path, b"short").unwrap();
    let refused = Store::open(folder.path(), options()).err();
    assert!(matches!(refused, Some(Error::Corrupt { offset: 5, .. })), "{refused:?}");
    fs::remove_file(&path).unwrap();
    let refused = Store::open(folder.path(), options()).err();
    assert!(matches!(refused, Some(Error::Corrupt { .. })), "{refused:?}");
}

#[test]
fn a_damaged_model_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    install(&store, id, A).unwrap();
    let path = folder.path().join("models").join(format!("{A}.safetensors"));
    let mut bytes = fs::read(&path).unwrap();
    bytes[2] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(store.model_bytes(A), Err(Error::Corrupt { .. })));
    assert_eq!(store.verify().unwrap().problems.len(), 1);
}

#[test]
fn a_model_id_stands_for_the_same_bytes_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let [a, b] = ["a", "b"].map(|name| store.create_collection(name, config(IdKind::Auto)).unwrap());
    put_texts(&store, a, 50);
    install(&store, a, A).unwrap();
    let is_refused = |id, model, bytes: &[u8]| {
        let refused = store.install_model(id, model, bytes, &mut encode(model), &mut go_on);
        matches!(refused, Err(Error::ModelDiffers { model: named }) if named == model)
    };
    // Of the same length, too.
    for bytes in [&b"other"[..], &[0xab; 16]] {
        assert!(is_refused(a, A, bytes) && is_refused(b, A, bytes));
    }
    // Also while the model is only being installed elsewhere.
    let mut refused = false;
    let mut encoder = encode(B);
    let mut encode_b = |part: &Part| {
        refused = is_refused(b, B, b"other");
        encoder(part)
    };
    let old = store.view();
    store.install_model(a, B, &B.0, &mut encode_b, &mut go_on).unwrap();
    assert!(refused);
    // And while a view still reads it.
    assert!(is_refused(b, A, b"other"));
    assert_eq!(old.collection(a).unwrap().model_bytes().unwrap().as_deref(), Some(&A.0[..]));
    drop(old);
    check(&store, a, B);
    store.install_model(b, A, b"other", &mut encode(A), &mut go_on).unwrap();
    assert_eq!(store.model_bytes(A).unwrap(), b"other");
    assert_sound(&store);
}

/// The writer removes the file; the reader has it open.
#[test]
fn a_reader_goes_on_with_the_model_that_the_writer_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 50);
    install(&store, id, A).unwrap();
    let reader = Store::open_read_only(folder.path(), options()).unwrap();
    install(&store, id, B).unwrap();
    assert!(!files(folder.path()).iter().any(|name| name.contains(&A.to_string())));
    assert_sound(&reader);
    check(&reader, id, A);
    assert_eq!(view(&reader, id).model_bytes().unwrap().as_deref(), Some(&A.0[..]));
    assert_eq!(reader.stats(id).unwrap().bytes.models, 16);
    reader.refresh().unwrap();
    check(&reader, id, B);
}
