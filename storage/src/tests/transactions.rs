//! What a transaction accepts, refuses, replaces and leaves behind.

use super::*;
use crate::{Error, StoredText};

#[test]
fn a_dropped_transaction_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { segment_bytes: 400, ..options() };
    let store = Store::open(folder.path(), options).unwrap();
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 3);
    let before = contents(&view(&store, id));
    let mut writer = store.writer(id).unwrap();
    for _ in 0..300 {
        writer.put(text_record(None, "gone")).unwrap();
    }
    writer.delete(&1.into()).unwrap();
    writer.set(&2.into(), &[(YEAR, None)]).unwrap();
    assert!(std::fs::read_dir(folder.path().join("segments")).unwrap().count() > 2);
    drop(writer);
    assert_eq!(contents(&view(&store, id)), before);
    // Only the segment that the three rows were moved to is left.
    assert_eq!(std::fs::read_dir(folder.path().join("segments")).unwrap().count(), 1);
    assert_sound(&store);
}

#[test]
fn replacing_gives_a_new_ordinal_and_kills_the_old_row() {
    for ids in [IdKind::U64, IdKind::Str] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let id = store.create_collection("a", config(ids)).unwrap();
        let name = |i: u64| match ids {
            IdKind::Str => RecordId::from(format!("n{i}")),
            _ => RecordId::from(i * 10),
        };
        let mut writer = store.writer(id).unwrap();
        assert!(!writer.put(text_record(name(1), "a")).unwrap().replaced);
        assert!(writer.put(text_record(name(1), "b")).unwrap().replaced);
        writer.put(text_record(name(2), "c")).unwrap();
        writer.commit().unwrap();
        store.flush(id).unwrap();
        let mut writer = store.writer(id).unwrap();
        let written = writer.put(text_record(name(2), "d")).unwrap();
        assert_eq!((written.ordinal, written.replaced), (3, true));
        writer.commit().unwrap();
        let view = view(&store, id);
        assert_eq!(view.len(), 2);
        assert_eq!(view.find(&name(2)).unwrap(), Some(3));
        assert_eq!(view.get(2).unwrap(), None);
        let texts: Vec<_> = contents(&view).into_iter().map(|record| record.text).collect();
        assert_eq!(texts, ["b", "d"].map(|text| Some(crate::StoredText::Text(text.to_owned()))));
        assert_sound(&store);
    }
}

#[test]
fn automatic_ids_stay_through_replacement() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 3);
    let mut writer = store.writer(id).unwrap();
    assert_eq!(writer.put(text_record(RecordId::from(1), "new")).unwrap().ordinal, 3);
    assert!(writer.contains(&1.into()).unwrap());
    // Ordinal 3 belongs to record 1, so there is no record 3.
    assert!(!writer.contains(&3.into()).unwrap());
    assert_eq!(writer.put(text_record(None, "next")).unwrap().id, RecordId::from(4));
    assert!(matches!(writer.put(text_record(RecordId::from(9), "x")), Err(Error::Id(_))));
    writer.commit().unwrap();
    for _ in 0..2 {
        let view = view(&store, id);
        assert_eq!(view.find(&1.into()).unwrap(), Some(3));
        assert_eq!(view.find(&3.into()).unwrap(), None);
        assert_eq!(view.find(&4.into()).unwrap(), Some(4));
        assert_eq!(contents(&view).len(), 4);
        assert_sound(&store);
        store.flush(id).unwrap();
    }
    let mut writer = store.writer(id).unwrap();
    assert!(writer.delete(&1.into()).unwrap());
    assert!(!writer.delete(&1.into()).unwrap());
    assert!(!writer.delete(&3.into()).unwrap());
    writer.commit().unwrap();
    assert_eq!(view(&store, id).find(&1.into()).unwrap(), None);
    assert_sound(&store);
}

#[test]
fn refused_records_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    let mut writer = store.writer(id).unwrap();
    let with_field =
        |field, value| NewRecord { fields: vec![(field, value)], ..text_record(RecordId::from(1), "x") };
    let [wide, nan] = [[f16::ONE; 3].to_vec(), vec![f16::NAN, f16::ONE]];
    let with_image = |image| NewRecord { image: Some(image), ..text_record(RecordId::from(1), "x") };
    let refusals = [
        writer.put(NewRecord::default()),
        writer.put(text_record(None, "x")),
        writer.put(text_record(RecordId::from("a"), "x")),
        writer.put(with_field(FieldId(9), Value::U64(1))),
        writer.put(with_field(YEAR, Value::U64(1))),
        writer.put(with_field(SCORE, Value::F64(f64::NAN))),
        writer.put(with_image(&wide)),
        writer.put(with_image(&nan)),
        writer
            .put(NewRecord { text: Some(TextInput::Features(&wide)), ..text_record(RecordId::from(1), "x") }),
        writer.put(NewRecord { codes: [Some(&[0, 0]), None], ..text_record(RecordId::from(1), "x") }),
    ];
    assert!(matches!(refusals[0], Err(Error::Empty)));
    assert!(matches!(refusals[1], Err(Error::Id(_))));
    assert!(matches!(refusals[2], Err(Error::Id(_))));
    assert!(matches!(refusals[3], Err(Error::UnknownField { field: 9 })));
    assert!(matches!(refusals[4], Err(Error::FieldType { .. })));
    assert!(matches!(refusals[5], Err(Error::Value { .. })));
    assert!(matches!(refusals[6], Err(Error::Width { expected: 2, got: 3, .. })));
    assert!(matches!(refusals[7], Err(Error::Input { .. })));
    assert!(matches!(refusals[8], Err(Error::Input { .. })));
    assert!(matches!(refusals[9], Err(Error::UnexpectedCode { .. })));
    assert_eq!(writer.rows(), 0);
    let version = store.view().version();
    assert_eq!(writer.commit().unwrap(), version);
    assert!(view(&store, id).is_empty());
}

#[test]
fn external_codes_are_demanded_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", external(IdKind::Auto)).unwrap();
    let mut writer = store.writer(id).unwrap();
    let codes = |image: Option<&'static [u8]>, text: Option<&'static [u8]>| NewRecord {
        codes: [image, text],
        ..NewRecord::default()
    };
    writer.put(codes(Some(&[1, 2]), Some(&[3, 4]))).unwrap();
    writer.put(codes(None, Some(&[5, 6]))).unwrap();
    assert!(matches!(writer.put(codes(Some(&[1]), None)), Err(Error::Width { .. })));
    writer.commit().unwrap();
    for _ in 0..2 {
        let view = view(&store, id);
        let records = contents(&view);
        assert_eq!(records[0].codes, [Some(vec![1, 2]), Some(vec![3, 4])]);
        assert_eq!(records[1].codes, [None, Some(vec![5, 6])]);
        assert_eq!(records[1].present, [false, true]);
        let parts = view.parts();
        assert_eq!(parts[0].codes(twinbit_kernels::Modality::Text).unwrap().row(1), [5, 6]);
        assert_eq!(parts[0].searchable(twinbit_kernels::Modality::Image).ones().collect::<Vec<_>>(), [0]);
        store.flush(id).unwrap();
    }
    assert_sound(&store);
}

#[test]
fn without_kept_inputs_codes_are_demanded() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let config = CollectionConfig { keep_inputs: false, ..config(IdKind::Auto) };
    let id = store.create_collection("a", config).unwrap();
    let mut writer = store.writer(id).unwrap();
    assert!(matches!(writer.put(text_record(None, "x")), Err(Error::MissingCode { .. })));
}

#[test]
fn fields_are_set_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 3);
    for round in 0..2 {
        let mut writer = store.writer(id).unwrap();
        let lang = Value::Str(format!("l{round}"));
        assert!(writer.set(&1.into(), &[(LANG, Some(lang.clone())), (YEAR, None)]).unwrap());
        assert!(!writer.set(&77.into(), &[(YEAR, None)]).unwrap());
        assert!(matches!(
            writer.set(&1.into(), &[(YEAR, Some(Value::Bool(true)))]),
            Err(Error::FieldType { .. })
        ));
        let new = writer.put(text_record(None, "new")).unwrap();
        assert!(writer.set(&new.id, &[(YEAR, Some(Value::I64(-1)))]).unwrap());
        writer.commit().unwrap();
        let view = view(&store, id);
        assert_eq!(view.find(&1.into()).unwrap(), Some(1));
        assert_eq!(view.fields(1).unwrap(), [(LANG, lang)]);
        assert_eq!(view.fields(new.ordinal).unwrap(), [(YEAR, Value::I64(-1))]);
        assert_eq!(view.fields(0).unwrap(), [(YEAR, Value::I64(0))]);
        assert_sound(&store);
        store.flush(id).unwrap();
    }
}

#[test]
fn bulk_transactions_write_segments() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { segment_bytes: 1000, ..options() };
    let store = Store::open(folder.path(), options).unwrap();
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    let mut writer = store.writer(id).unwrap();
    writer.put(text_record(RecordId::from(7), "old")).unwrap();
    writer.commit().unwrap();
    let mut writer = store.writer(id).unwrap();
    for i in 0..500_u64 {
        let text = format!("text {i}");
        let mut record = text_record(RecordId::from(i % 400), &text);
        record.fields = vec![(YEAR, Value::I64(i as i64)), (FieldId::OF, Value::U64(i))];
        writer.put(record).unwrap();
    }
    assert!(writer.delete(&3.into()).unwrap());
    assert!(writer.set(&5.into(), &[(YEAR, Some(Value::I64(-5)))]).unwrap());
    writer.set_source_position("arrays", "500");
    writer.commit().unwrap();
    let view = view(&store, id);
    assert_eq!(view.len(), 399);
    assert!(view.parts().len() > 3 && view.parts().iter().all(|part| part.is_segment()));
    assert_eq!(view.fields(view.find(&5.into()).unwrap().unwrap()).unwrap()[1], (YEAR, Value::I64(-5)));
    assert_eq!(contents(&view).len(), 399);
    assert_eq!(store.source_position(id, "arrays").unwrap().as_deref(), Some("500"));
    assert_eq!(store.source_position(id, "other").unwrap(), None);
    assert_sound(&store);
}

/// Code-only records and records with kept inputs side by side, fresh and in segments.
#[test]
fn codes_alone_and_codes_with_inputs_share_a_collection() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mixed = CollectionConfig { external_codes: true, ..config(IdKind::Auto) };
    let id = store.create_collection("a", mixed).unwrap();
    let mut writer = store.writer(id).unwrap();
    let expected: Vec<_> = (0..12_u8)
        .map(|i| {
            let features = image(f32::from(i));
            let text = format!("text {i}");
            let (has_image, has_text) = (i % 2 == 1, i % 3 == 2);
            writer
                .put(NewRecord {
                    image: has_image.then_some(&features[..]),
                    text: has_text.then_some(TextInput::Text(&text)),
                    codes: [Some(&[1, i]), Some(&[2, i])],
                    ..NewRecord::default()
                })
                .unwrap();
            (has_image.then(|| features.to_vec()), has_text.then_some(StoredText::Text(text)))
        })
        .collect();
    writer.commit().unwrap();
    let check = |store: &Store| {
        let records = contents(&view(store, id));
        assert_eq!(records.len(), expected.len());
        for (i, (record, expected)) in records.into_iter().zip(&expected).enumerate() {
            assert_eq!(record.present, [true, true]);
            assert_eq!(record.codes, [Some(vec![1, i as u8]), Some(vec![2, i as u8])]);
            assert_eq!((record.image, record.text), *expected);
        }
        assert_sound(store);
    };
    check(&store);
    store.flush(id).unwrap();
    assert!(view(&store, id).parts()[0].is_segment());
    check(&store);
    drop(store);
    check(&open(folder.path()));
}

/// Each commit makes a version of its own, which must neither copy nor hold much.
#[test]
fn rows_of_many_commits_lie_in_few_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), StoreOptions { fresh_rows: 100_000, ..options() }).unwrap();
    let id = store.create_collection("a", external(IdKind::U64)).unwrap();
    let code = |row: u64| [row as u8, (row >> 8) as u8];
    let mut middle = None;
    for row in 0..3000_u64 {
        let record =
            NewRecord { id: Some((row * 7).into()), codes: [Some(&code(row)), None], ..NewRecord::default() };
        store.write_grouped(id, |writer| writer.put(record)).unwrap();
        if row == 1700 {
            middle = Some(view(&store, id));
        }
    }
    let check = |view: &CollectionView, rows: u64| {
        assert_eq!(view.parts().iter().map(|part| u64::from(part.rows())).sum::<u64>(), rows);
        assert!(view.parts().len() <= 6, "{} blocks", view.parts().len());
        let records = contents(view);
        for (row, record) in (0..rows).zip(&records) {
            assert_eq!(record.id, RecordId::U64(row * 7));
            assert_eq!(record.codes[0].as_deref(), Some(&code(row)[..]));
        }
    };
    check(&view(&store, id), 3000);
    check(&middle.unwrap(), 1701);
    assert_eq!(store.stats(id).unwrap().fresh_rows, 3000);
    drop(store);
    check(&view(&open(folder.path()), id), 3000);
}

#[test]
fn ids_that_were_looked_up_read_as_without() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for (name, kind) in [("a", IdKind::Str), ("b", IdKind::U64), ("c", IdKind::Auto)] {
        let id = store.create_collection(name, config(kind)).unwrap();
        let named = |number: u64| match kind {
            IdKind::Str => RecordId::from(format!("photo {number}")),
            _ => RecordId::U64(number),
        };
        // Rows in a segment, fresh ones, and deleted ones of both.
        for rows in [0..50_u64, 50..60] {
            let mut writer = store.writer(id).unwrap();
            for number in rows.clone() {
                let given = (kind != IdKind::Auto).then(|| named(number));
                writer.put(text_record(given, "old")).unwrap();
            }
            writer.commit().unwrap();
            store.write_grouped(id, |writer| writer.delete(&named(rows.start + 3))).unwrap();
        }
        let mut writer = store.writer(id).unwrap();
        writer.delete(&named(7)).unwrap();
        let ids: Vec<_> = (0..80).rev().chain([5, 5]).map(named).collect();
        let expected: Vec<_> = ids.iter().map(|id| writer.contains(id).unwrap()).collect();
        assert_eq!(expected.iter().filter(|found| **found).count(), 57 + 2);
        writer.look_up(&ids).unwrap();
        let found: Vec<_> = ids.iter().map(|id| writer.contains(id).unwrap()).collect();
        assert_eq!(found, expected);
        // What the transaction does counts, not what was found before.
        assert!(writer.delete(&named(8)).unwrap() && !writer.contains(&named(8)).unwrap());
        let written = writer.put(text_record(named(9), "new")).unwrap();
        assert!(written.replaced && writer.put(text_record(named(9), "newer")).unwrap().replaced);
        // An id of the wrong kind is refused where it is used, as ever.
        writer.look_up(&[RecordId::from(""), named(10)]).unwrap();
        assert!(writer.contains(&RecordId::from("")).is_err() && writer.contains(&named(10)).unwrap());
        writer.commit().unwrap();
        assert_eq!(view(&store, id).len(), 56);
    }
    assert_sound(&store);
}
