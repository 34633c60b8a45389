//! Views stay as they were.

use std::ops::ControlFlow;

use super::*;
use crate::CodesIdentity;

#[test]
fn a_view_does_not_see_later_changes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 30);
    let pinned = store.view();
    let before = contents(&pinned.collection(id).unwrap());
    let check = |what: &str| {
        let view = pinned.collection(id).unwrap();
        assert_eq!(contents(&view), before, "after {what}");
        let alive: usize = view.parts().iter().map(|part| part.alive().count()).sum();
        assert_eq!(alive, 30, "after {what}");
    };
    put_texts(&store, id, 5);
    check("puts");
    let mut writer = store.writer(id).unwrap();
    writer.delete(&3.into()).unwrap();
    writer.put(text_record(RecordId::from(4), "new")).unwrap();
    writer.set(&5.into(), &[(YEAR, Some(Value::I64(-9)))]).unwrap();
    writer.commit().unwrap();
    check("delete, replace and set");
    store.flush(id).unwrap();
    check("flush");
    put_texts(&store, id, 100);
    check("a segment");
    store.drop_collection("a").unwrap();
    check("dropping the collection");
    assert!(store.view().collection(id).is_none());
    assert_sound(&store);
}

#[test]
fn files_of_a_dropped_collection_go_with_the_last_view() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", external(IdKind::Auto)).unwrap();
    let mut writer = store.writer(id).unwrap();
    writer.put(NewRecord { codes: [Some(&[1, 2]), None], ..NewRecord::default() }).unwrap();
    writer.commit().unwrap();
    store.flush(id).unwrap();
    let files = || std::fs::read_dir(folder.path().join("segments")).unwrap().count();
    let pinned = store.view();
    store.drop_collection("a").unwrap();
    assert_eq!(files(), 2);
    assert_eq!(contents(&pinned.collection(id).unwrap()).len(), 1);
    drop(pinned);
    assert_eq!(files(), 0);
}

#[test]
fn collections_are_consistent_with_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let a = store.create_collection("a", config(IdKind::Auto)).unwrap();
    let b = store.create_collection("b", config(IdKind::Auto)).unwrap();
    put_texts(&store, a, 2);
    let pinned = store.view();
    put_texts(&store, b, 3);
    assert_eq!(pinned.collection(b).unwrap().len(), 0);
    assert_eq!(store.view().collection(b).unwrap().len(), 3);
    assert!(store.view().version() > pinned.version());
}

#[test]
fn parts_cover_ascending_ordinals() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    for count in [10, 100, 3, 35, 39, 1] {
        put_texts(&store, id, count);
        let view = view(&store, id);
        let mut next = 0;
        for (index, part) in view.parts().iter().enumerate() {
            for row in 0..part.rows() {
                assert!(part.ordinal(row) >= next);
                next = part.ordinal(row) + 1;
                assert_eq!(view.part_of(part.ordinal(row)), Some((index, row)));
            }
        }
        assert_eq!(next, view.len());
        assert_eq!(view.page(Some(4), 3).unwrap(), [5, 6, 7]);
        assert!(view.page(Some(u64::MAX), 3).unwrap().is_empty());
    }
}

#[test]
fn codes_have_the_identity_of_the_file_they_lie_in() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), options()).unwrap();
    let id = store.create_collection("codes", external(IdKind::Auto)).unwrap();
    for _ in 0..2 {
        let mut writer = store.writer(id).unwrap();
        for number in 0..50 {
            let code = [number, 0];
            let codes = [Some(&code[..]), None];
            writer.put(NewRecord { codes, ..NewRecord::default() }).unwrap();
        }
        writer.commit().unwrap();
        store.flush(id).unwrap();
    }
    let identities = |view: &CollectionView| -> Vec<CodesIdentity> {
        view.parts().iter().filter_map(|part| part.codes_identity()).collect()
    };
    let before = view(&store, id);
    let [first, second] = &identities(&before)[..] else { panic!("two segments") };
    assert_ne!(first, second);
    let reader = Store::open_read_only(folder.path(), options()).unwrap();
    let read = identities(&view(&reader, id));
    assert!(!read.contains(first) && !read.contains(second), "every handle opens files itself");
    let mut writer = store.writer(id).unwrap();
    assert!(writer.delete(&3.into()).unwrap());
    writer.commit().unwrap();
    assert_eq!(identities(&view(&store, id)), [first.clone(), second.clone()]);
    reader.refresh().unwrap();
    assert_eq!(view(&reader, id).len(), 99);
    assert_eq!(identities(&view(&reader, id)), read, "a refresh opens no file again");
    store.compact(id, &mut |_, _| ControlFlow::Continue(())).unwrap();
    let after = identities(&view(&store, id));
    assert!(after.len() == 1 && !after.contains(first) && !after.contains(second));
    assert!(first.is_open() && second.is_open());
    drop(before);
    assert!(!first.is_open() && !second.is_open() && after[0].is_open());
    assert_ne!(&after[0], first);
}
