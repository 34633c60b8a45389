//! Who may write and read when: the exclusive writer, single writes, readers, other processes, and
//! queries that are stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use twinbit::{
    Against, CodeBits, Collection, Compaction, Database, Device, Error, Field, IdKind, ImageEncoding, Input,
    Modality, Record, Schema, TextEncoding, Value,
};

fn schema() -> Schema {
    Schema::new(CodeBits::B16).ids(IdKind::Str).external_codes().field("n", Field::i64())
}

fn new_collection() -> (tempfile::TempDir, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::builder().threads(2).open(folder.path()).unwrap();
    let collection = database.create_collection("rows", schema()).unwrap();
    (folder, collection)
}

/// A record whose image code says its number.
fn record(id: impl Into<String>, number: u16) -> Record {
    Record::new(id.into()).image(Input::code(number.to_be_bytes())).set("n", i64::from(number))
}

#[test]
fn one_writer_at_a_time_and_nothing_is_seen_before_its_commit() {
    let (_folder, collection) = new_collection();
    let mut writer = collection.writer().unwrap();
    let second = collection.writer().unwrap_err();
    assert!(matches!(&second, Error::WriterBusy { collection } if collection == "rows"));
    assert!(second.is_retryable());
    writer.put(record("a", 1)).unwrap();
    assert!(writer.contains(&"a".into()).unwrap());
    assert!(collection.get("a").unwrap().is_none());
    writer.abort();
    assert!(collection.snapshot().unwrap().is_empty());

    let mut writer = collection.writer().unwrap();
    writer.put(record("a", 1)).unwrap();
    let version = writer.commit().unwrap();
    let snapshot = collection.snapshot().unwrap();
    assert_eq!((snapshot.len(), snapshot.version()), (1, version));
}

#[test]
fn compaction_changes_no_answer_and_waits_for_no_reader() {
    let folder = tempfile::tempdir().unwrap();
    let by_hand = Compaction { background: false, ..Compaction::default() };
    let database = Database::builder().threads(2).compaction(by_hand).open(folder.path()).unwrap();
    let collection = database.create_collection("rows", schema()).unwrap();
    for round in 0..4_u16 {
        let mut writer = collection.writer().unwrap();
        writer.extend((0..300).map(|i| record(format!("r{}", round * 200 + i), round * 200 + i))).unwrap();
        writer.delete_where(twinbit::field("n").eq(i64::from(round) * 7)).unwrap();
        writer.commit().unwrap();
    }
    let old = collection.snapshot().unwrap();
    let find = |snapshot: &twinbit::Snapshot| -> Vec<_> {
        let query = snapshot.query(Modality::Image, Input::code([0, 77])).limit(50);
        query.run().unwrap().into_iter().map(|hit| (hit.id().clone(), hit.distance())).collect()
    };
    let before = find(&old);
    let mut told = 0;
    let compacted = collection
        .compact_with(|done, all| {
            told += 1;
            assert!(done <= all);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert!(told > 0 && compacted.segments_after == 1);
    assert_eq!(find(&old), before);
    assert_eq!(find(&collection.snapshot().unwrap()), before);
    assert_eq!(collection.stats().unwrap().deleted, 0);
    assert_eq!(collection.compact().unwrap().rows_dropped, 0);
    let canceled = collection.compact_with(|_, _| std::ops::ControlFlow::Break(()));
    assert!(matches!(canceled, Err(Error::Canceled)));
    assert!(database.verify().unwrap().problems.is_empty());
}

#[test]
fn single_writes_of_many_threads_are_all_there() {
    let (folder, collection) = new_collection();
    std::thread::scope(|scope| {
        for thread in 0..4_u16 {
            let collection = &collection;
            scope.spawn(move || {
                for number in 0..25 {
                    let id = format!("{thread}-{number}");
                    collection.put(record(id.as_str(), thread * 100 + number)).unwrap();
                    if number % 5 == 0 {
                        assert!(collection.delete(id.as_str()).unwrap());
                    } else {
                        assert!(collection.set(id.as_str(), [("n", Some(Value::from(7)))]).unwrap());
                    }
                }
            });
        }
    });
    assert_eq!(collection.snapshot().unwrap().len(), 80);
    drop(collection);
    let collection = Database::open(folder.path()).unwrap().only_collection().unwrap();
    let page = collection.snapshot().unwrap().page(None, 1000).unwrap();
    assert_eq!(page.len(), 80);
    assert!(page.iter().all(|entry| entry.fields()["n"] == Value::I64(7)));
    assert!(!collection.delete("0-0").unwrap());
    assert!(!collection.set("0-0", [("n", None)]).unwrap());
}

#[test]
fn readers_see_whole_commits_while_another_thread_writes() {
    let (_folder, collection) = new_collection();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Each commit replaces all ten records, so a reader sees one generation only.
            for generation in 0..60_u16 {
                let mut writer = collection.writer().unwrap();
                for id in 0..10 {
                    writer.put(record(id.to_string(), generation)).unwrap();
                }
                writer.commit().unwrap();
            }
            done.store(true, Ordering::Release);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::Acquire) {
                    let snapshot = collection.snapshot().unwrap();
                    let query = snapshot.query(Modality::Text, Input::code([0, 0])).against(Modality::Image);
                    let hits = query.limit(100).run().unwrap();
                    assert_eq!(hits.len() as u64, snapshot.len());
                    let fields = snapshot.fields_of(&hits).unwrap();
                    assert!(fields.iter().all(|each| each["n"] == fields[0]["n"]), "{fields:?}");
                    assert!(snapshot.version() >= last);
                    last = snapshot.version();
                }
            });
        }
    });
}

#[test]
fn a_second_process_reads_but_does_not_write() {
    let (folder, collection) = new_collection();
    collection.put(record("a", 1)).unwrap();
    let locked = Database::open(folder.path()).unwrap_err();
    assert!(matches!(locked, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()));

    let reader = Database::open_read_only(folder.path()).unwrap();
    let rows = reader.collection("rows").unwrap();
    assert!(matches!(rows.put(record("b", 2)), Err(Error::ReadOnly)));
    assert!(matches!(rows.writer(), Err(Error::ReadOnly)));
    collection.put(record("b", 2)).unwrap();
    assert_eq!(rows.snapshot().unwrap().len(), 1);
    reader.refresh().unwrap();
    assert_eq!(rows.snapshot().unwrap().len(), 2);
}

#[test]
fn a_snapshot_of_the_database_holds_collections_that_fit_each_other() {
    let (_folder, rows) = new_collection();
    let database = rows.database().clone();
    let others = database.create_collection("others", rows.schema().unwrap()).unwrap();
    rows.put(record("a", 1)).unwrap();
    others.put(record("a", 1)).unwrap();
    let before = database.snapshot();
    rows.put(record("b", 2)).unwrap();
    others.delete("a").unwrap();
    database.drop_collection("others").unwrap();
    assert_eq!(before.collections(), ["others", "rows"]);
    let (then, there) = (before.collection("rows").unwrap(), before.collection("others").unwrap());
    assert_eq!((then.len(), there.len()), (1, 1));
    assert_eq!((then.version(), there.version()), (before.version(), before.version()));
    assert!(matches!(database.snapshot().collection("others"), Err(Error::NotFound { .. })));
    assert!(matches!(before.collection("x"), Err(Error::NotFound { .. })));

    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("copy");
    database.checkpoint(&copy).unwrap();
    let copied = Database::builder().read_mode(twinbit::ReadMode::Read).open(&copy).unwrap();
    assert_eq!(copied.collection("rows").unwrap().snapshot().unwrap().len(), 2);
}

#[test]
fn a_query_ends_at_its_deadline_or_when_canceled() {
    let (_folder, collection) = new_collection();
    collection.put(record("a", 1)).unwrap();
    let query = collection.snapshot().unwrap().query(Modality::Text, Input::code([0, 0]));
    let late = query.clone().deadline(Duration::ZERO).run();
    assert!(matches!(late, Err(Error::DeadlineExceeded { milliseconds: 0 })));
    let flag = Arc::new(AtomicBool::new(true));
    assert!(matches!(query.clone().cancel(flag.clone()).run(), Err(Error::Canceled)));
    flag.store(false, Ordering::Relaxed);
    assert_eq!(query.cancel(flag).deadline(Duration::from_secs(60)).run().unwrap().len(), 1);
}

#[test]
fn collections_are_named_renamed_and_dropped() {
    let (_folder, collection) = new_collection();
    let database = collection.database().clone();
    assert!(matches!(database.create_collection("rows", schema()), Err(Error::Exists { .. })));
    assert!(matches!(database.create_collection("a/b", schema()), Err(Error::Name { .. })));
    assert!(matches!(database.collection("other"), Err(Error::NotFound { .. })));
    database.create_collection("second", schema()).unwrap();
    let which = database.only_collection().unwrap_err();
    assert!(matches!(which, Error::WhichCollection { names } if names == ["rows", "second"]));

    collection.put(record("a", 1)).unwrap();
    database.rename_collection("rows", "first").unwrap();
    assert_eq!(collection.name(), "first");
    collection.put(record("b", 2)).unwrap();
    let snapshot = collection.snapshot().unwrap();
    database.drop_collection("first").unwrap();
    assert_eq!(database.collections(), ["second"]);
    assert!(matches!(collection.snapshot(), Err(Error::NotFound { .. })));
    assert!(collection.put(record("c", 3)).is_err());
    let query = snapshot.query(Modality::Image, Input::code([0, 1])).against(Against::Image);
    assert_eq!(query.run().unwrap().len(), 2);
    assert_eq!(snapshot.get("a").unwrap().unwrap().fields()["n"], Value::I64(1));
}

#[test]
fn deleting_by_a_filter_leaves_what_the_transaction_wrote() {
    let (_folder, collection) = new_collection();
    for (id, number) in [("a", 1), ("b", 1), ("c", 1), ("d", 1)] {
        collection.put(record(id, number)).unwrap();
    }
    let ones = || twinbit::field("n").eq(1);
    let mut writer = collection.writer().unwrap();
    writer.delete("a").unwrap();
    writer.put(record("a", 2)).unwrap();
    writer.put(record("b", 3)).unwrap();
    assert_eq!(writer.delete_where(ones()).unwrap(), 2);
    writer.put(record("c", 4)).unwrap();
    assert_eq!(writer.delete_where(ones()).unwrap(), 0);
    writer.commit().unwrap();
    assert!(collection.get("d").unwrap().is_none());
    for (id, number) in [("a", 2), ("b", 3), ("c", 4)] {
        let entry = collection.get(id).unwrap().expect("the transaction wrote it");
        assert_eq!(entry.fields().get("n"), Some(&Value::I64(number)), "{id}");
    }
}

#[test]
fn a_name_and_a_schema_are_checked_without_a_database() {
    assert!(Database::check_collection("rows", &schema()).is_ok());
    assert!(matches!(Database::check_collection("a/b", &schema()), Err(Error::Name { .. })));
    let wrong = schema().field("n", Field::str());
    assert!(matches!(Database::check_collection("rows", &wrong), Err(Error::FieldName { .. })));
}

#[test]
fn fields_may_be_added_later() {
    let (_folder, collection) = new_collection();
    collection.put(record("a", 1)).unwrap();
    let unknown = collection.put(record("b", 2).set("lang", "en"));
    assert!(
        matches!(unknown, Err(Error::UnknownField { field, known }) if field == "lang" && known == ["n"])
    );
    collection.add_field("lang", Field::str().indexed()).unwrap();
    collection.put(record("b", 2).set("lang", "en")).unwrap();
    assert!(matches!(collection.add_field("lang", Field::str()), Err(Error::FieldName { .. })));
    let mistyped = collection.put(record("c", 3).set("lang", 4));
    assert!(matches!(mistyped, Err(Error::FieldType { .. })));
    let snapshot = collection.snapshot().unwrap();
    assert_eq!(snapshot.matching(&twinbit::field("lang").eq("en")).unwrap(), ["b".into()]);
    assert_eq!(snapshot.count(&twinbit::field("lang").is_null()).unwrap(), 1);
}

#[test]
fn pages_follow_the_order_of_writes() {
    let (_folder, collection) = new_collection();
    for (id, number) in [("a", 1), ("b", 2), ("c", 3), ("a", 4)] {
        collection.put(record(id, number)).unwrap();
    }
    let snapshot = collection.snapshot().unwrap();
    let ids = |after: Option<&str>, limit| {
        let after = after.map(Into::into);
        let page = snapshot.page(after.as_ref(), limit).unwrap();
        page.iter().map(|entry| entry.id().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, 2), ["b", "c"]);
    assert_eq!(ids(Some("c"), 2), ["a"]);
    assert!(matches!(snapshot.page(Some(&"z".into()), 1), Err(Error::NoRecord { .. })));
}

#[test]
fn automatic_ids_count_writes_and_can_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let schema = Schema::new(CodeBits::B16).external_codes();
    let collection = database.create_collection("rows", schema).unwrap();
    let put = |record: Record, code: u8| collection.put(record.image(Input::code([0, code]))).unwrap();
    let ids: Vec<_> = (0..3).map(|code| put(Record::auto(), code)).collect();
    assert_eq!(put(Record::new(1), 9), 1.into());
    assert_eq!(collection.snapshot().unwrap().len(), 3);
    assert_eq!(collection.get(1).unwrap().unwrap().code(Modality::Image), Some(&[0, 9][..]));
    assert_eq!(ids, [0.into(), 1.into(), 2.into()]);
}

#[test]
fn what_a_build_or_machine_lacks_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let cuda = Database::builder().device(Device::Cuda(0)).open(folder.path());
    assert!(matches!(cuda, Err(Error::NoCuda { .. })));
    let database = Database::open(folder.path()).unwrap();
    let schema = Schema::new(CodeBits::B64)
        .image_encoder(ImageEncoding::EfficientNetLite0)
        .text_encoder(TextEncoding::Bow);
    let pictures = database.create_collection("pictures", schema).unwrap();
    let unreadable = pictures.put(Record::auto().image(Input::picture(*b"no picture")));
    assert!(matches!(unreadable, Err(Error::Picture { .. })));
}
