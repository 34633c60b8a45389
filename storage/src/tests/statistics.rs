//! Statistics of fields: what they say, and that nothing depends on their being right.

use super::*;
use crate::{Comparison, Error, FieldStatistics, Predicate};

#[test]
fn statistics_follow_what_goes_to_segments() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    let statistics = |field| view(&store, id).statistics(field).unwrap();
    assert_eq!(statistics(YEAR), FieldStatistics::default());
    put_texts(&store, id, 50);
    let year = statistics(YEAR);
    assert_eq!((year.values, year.min, year.max), (50, Some(Value::I64(0)), Some(Value::I64(49))));
    assert!((45..=55).contains(&year.distinct), "{}", year.distinct);
    // Fresh rows count once they are written out.
    put_texts(&store, id, 10);
    assert_eq!(statistics(YEAR).values, 50);
    store.flush(id).unwrap();
    assert_eq!(statistics(YEAR).values, 60);
    // Values that are set or removed are counted; bounds only widen.
    let mut writer = store.writer(id).unwrap();
    writer.set(&3.into(), &[(YEAR, Some(Value::I64(-7)))]).unwrap();
    writer.set(&49.into(), &[(YEAR, None), (SCORE, Some(Value::F64(0.5)))]).unwrap();
    writer.commit().unwrap();
    let year = statistics(YEAR);
    assert_eq!((year.values, year.min, year.max), (59, Some(Value::I64(-7)), Some(Value::I64(49))));
    assert_eq!(statistics(SCORE).values, 1);
    assert!(matches!(view(&store, id).statistics(FieldId(9)), Err(Error::UnknownField { .. })));
    assert_sound(&store);
    drop(store);
    let store = open(folder.path());
    assert_eq!(view(&store, id).statistics(YEAR).unwrap().values, 59);
}

#[test]
fn a_compaction_takes_removed_values_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 50);
    put_texts(&store, id, 60);
    let mut writer = store.writer(id).unwrap();
    for record in 0..30_u64 {
        writer.delete(&record.into()).unwrap();
    }
    writer.commit().unwrap();
    let values = || view(&store, id).statistics(YEAR).unwrap().values;
    assert_eq!(values(), 110);
    store.compact(id, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!(values(), 80);
    assert_sound(&store);
}

#[test]
fn a_condition_that_leaves_little_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 10_000);
    let mut writer = store.writer(id).unwrap();
    for record in 0..10_000_u64 {
        writer.set(&record.into(), &[(SCORE, Some(Value::F64((record % 10) as f64)))]).unwrap();
    }
    writer.delete(&77.into()).unwrap();
    writer.commit().unwrap();
    let compare = |field, op, value| Predicate::Compare { field, op, value };
    let both = Predicate::And(vec![
        compare(SCORE, Comparison::Ge, Value::F64(7.0)),
        compare(YEAR, Comparison::Lt, Value::I64(80)),
        compare(YEAR, Comparison::Ge, Value::I64(70)),
    ]);
    let rows = |predicate: &Predicate| -> Vec<u32> {
        let masks = view(&store, id).select(predicate).unwrap();
        masks[0].ones().collect()
    };
    assert_eq!(rows(&both), [78, 79]);
    // Conditions around it may not see what was left out.
    assert_eq!(rows(&Predicate::Not(Box::new(both.clone()))).len(), 9_997);
    let either = Predicate::Or(vec![both, compare(YEAR, Comparison::Eq, Value::I64(3))]);
    assert_eq!(rows(&either), [3, 78, 79]);
    let nested = Predicate::And(vec![
        compare(YEAR, Comparison::Lt, Value::I64(100)),
        Predicate::Or(vec![
            Predicate::And(vec![
                compare(YEAR, Comparison::Ge, Value::I64(98)),
                Predicate::Not(Box::new(compare(SCORE, Comparison::Eq, Value::F64(8.0)))),
            ]),
            Predicate::And(vec![
                compare(YEAR, Comparison::Lt, Value::I64(2)),
                Predicate::Not(Box::new(Predicate::IsNull(SCORE))),
            ]),
        ]),
    ]);
    assert_eq!(rows(&nested), [0, 1, 99]);
}
