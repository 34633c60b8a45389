//! Writers in each other's way, and single changes in company.

use super::*;
use crate::Error;

#[test]
fn a_second_writer_is_busy_and_other_collections_are_free() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let a = store.create_collection("a", config(IdKind::Auto)).unwrap();
    let b = store.create_collection("b", config(IdKind::Auto)).unwrap();
    let writer = store.writer(a).unwrap();
    assert!(matches!(store.writer(a), Err(Error::WriterBusy { collection }) if collection == "a"));
    assert!(store.writer(b).is_ok());
    drop(writer);
    assert!(store.writer(a).is_ok());
}

#[test]
fn single_puts_wait_for_an_open_writer() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    let mut writer = store.writer(id).unwrap();
    writer.put(text_record(None, "first")).unwrap();
    let putting = std::thread::spawn({
        let store = store.clone();
        move || store.write_grouped(id, |writer| writer.put(text_record(None, "second")))
    });
    writer.commit().unwrap();
    assert_eq!(putting.join().unwrap().unwrap().ordinal, 1);
}

#[test]
fn grouped_changes_are_all_there_or_refused_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    let versions = store.view().version();
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let store = &store;
            scope.spawn(move || {
                for i in 0..40_u64 {
                    let record = thread * 1000 + i;
                    let result = store.write_grouped(id, |writer| {
                        writer.put(text_record(RecordId::from(record), "x"))?;
                        // Every fourth change fails after it did something.
                        match i % 4 {
                            0 => writer.put(NewRecord::default()).map(|_| ()),
                            _ => Ok(()),
                        }
                    });
                    assert_eq!(result.is_ok(), i % 4 != 0);
                }
            });
        }
    });
    let view = view(&store, id);
    assert_eq!(view.len(), 8 * 30);
    for thread in 0..8_u64 {
        for i in 0..40_u64 {
            assert_eq!(view.find(&(thread * 1000 + i).into()).unwrap().is_some(), i % 4 != 0);
        }
    }
    assert!(store.view().version() - versions <= 8 * 40 + 10);
    assert_sound(&store);
}

#[test]
fn a_panicking_change_is_undone_and_does_not_stop_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    let panicked = std::thread::spawn({
        let store = store.clone();
        move || {
            store.write_grouped::<()>(id, |writer| {
                writer.put(text_record(None, "gone"))?;
                std::panic::resume_unwind(Box::new("on purpose"));
            })
        }
    });
    assert!(panicked.join().is_err());
    store.write_grouped(id, |writer| writer.put(text_record(None, "here"))).unwrap();
    assert_eq!(contents(&view(&store, id)).len(), 1);
}

/// A refused change does everything a change can do, beside one that stands.
#[test]
fn a_refused_change_is_taken_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Str)).unwrap();
    let put = |id: &str, year: i64| NewRecord {
        fields: vec![(YEAR, Value::I64(year))],
        ..text_record(RecordId::from(id), "x")
    };
    let mut writer = store.writer(id).unwrap();
    for name in ["a", "b", "c"] {
        writer.put(put(name, 1)).unwrap();
    }
    writer.set_source_position("source", "1");
    writer.commit().unwrap();
    let before = (store.view().version(), contents(&view(&store, id)));

    let change = |writer: &mut crate::Transaction| -> Result<(), Error> {
        writer.set(&"a".into(), &[(YEAR, Some(Value::I64(2)))])?;
        writer.set(&"b".into(), &[(YEAR, None)])?;
        writer.put(put("a", 3))?;
        writer.put(put("d", 4))?;
        writer.set(&"d".into(), &[(YEAR, Some(Value::I64(5)))])?;
        assert!(writer.delete(&"c".into())?);
        writer.set_source_position("source", "2");
        writer.put(NewRecord::default()).map(|_| ())
    };
    assert!(store.write_grouped(id, change).is_err());
    assert_eq!((store.view().version(), contents(&view(&store, id))), before);

    // The same within a transaction that goes on.
    let mut writer = store.writer(id).unwrap();
    writer.set(&"b".into(), &[(YEAR, Some(Value::I64(7)))]).unwrap();
    writer.put(put("e", 8)).unwrap();
    writer.begin_change();
    assert!(writer.set(&"e".into(), &[(YEAR, None)]).unwrap());
    assert!(writer.delete(&"e".into()).unwrap());
    assert!(change(&mut writer).is_err());
    writer.end_change(false);
    writer.commit().unwrap();
    let years: Vec<_> = contents(&view(&store, id))
        .into_iter()
        .map(|record| (record.id.to_string(), record.fields))
        .collect();
    let of = |name: &str, year: i64| (name.to_owned(), vec![(YEAR, Value::I64(year))]);
    assert_eq!(years, [of("a", 1), of("b", 7), of("c", 1), of("e", 8)]);
    assert_eq!(store.source_position(id, "source").unwrap().as_deref(), Some("1"));
    assert_sound(&store);
}

#[test]
fn readers_see_whole_commits_while_writing_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    // Each commit replaces ten records by ones of the next generation.
    let commit = |generation: u64| {
        let mut writer = store.wait_writer(id).unwrap();
        for i in 0..10_u64 {
            let mut record = text_record(RecordId::from(i), "x");
            record.fields = vec![(YEAR, Value::I64(generation as i64))];
            writer.put(record).unwrap();
        }
        writer.commit().unwrap();
    };
    commit(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for _ in 0..200 {
                let records = contents(&view(&store, id));
                assert_eq!(records.len(), 10);
                assert!(records.iter().all(|record| record.fields == records[0].fields));
            }
        });
        for generation in 1..60 {
            commit(generation);
        }
        reader.join().unwrap();
    });
    assert_sound(&store);
}
