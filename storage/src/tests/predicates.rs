//! Predicates against brute force, over fresh rows and segments, indexed fields and others.

use std::cmp::Ordering;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::{Comparison, Error, Predicate, StoredRecord};

/// The value of a field, told apart by an independent reading of the rules.
fn brute(predicate: &Predicate, record: &StoredRecord) -> bool {
    let get =
        |field: FieldId| record.fields.iter().find(|(found, _)| *found == field).map(|(_, value)| value);
    let order = |a: &Value, b: &Value| match (a, b) {
        (Value::I64(a), Value::I64(b)) => a.cmp(b),
        (Value::U64(a), Value::U64(b)) => a.cmp(b),
        (Value::F64(a), Value::F64(b)) => a.partial_cmp(b).unwrap(),
        (Value::Str(a), Value::Str(b)) => a.cmp(b),
        _ => panic!("types differ"),
    };
    match predicate {
        Predicate::All => true,
        Predicate::None => false,
        Predicate::IsNull(field) => get(*field).is_none(),
        Predicate::Not(inner) => !brute(inner, record),
        Predicate::And(all) => all.iter().all(|inner| brute(inner, record)),
        Predicate::Or(any) => any.iter().any(|inner| brute(inner, record)),
        Predicate::In { field, values } => {
            get(*field).is_some_and(|found| values.iter().any(|value| order(found, value) == Ordering::Equal))
        }
        Predicate::Compare { field, op, value } => get(*field).is_some_and(|found| {
            let order = order(found, value);
            match op {
                Comparison::Eq => order == Ordering::Equal,
                Comparison::Ne => order != Ordering::Equal,
                Comparison::Lt => order == Ordering::Less,
                Comparison::Le => order != Ordering::Greater,
                Comparison::Gt => order == Ordering::Greater,
                Comparison::Ge => order != Ordering::Less,
            }
        }),
    }
}

fn value_of(field: FieldId) -> BoxedStrategy<Value> {
    match field {
        YEAR => (-4_i64..5).prop_map(Value::I64).boxed(),
        SCORE => {
            prop_oneof![Just(-0.0), Just(0.0), Just(-1.5), Just(2.5), Just(f64::NEG_INFINITY), Just(f64::MAX)]
                .prop_map(Value::F64)
                .boxed()
        }
        LANG => "[a\\x00é]{0,2}".prop_map(Value::Str).boxed(),
        _ => (0_u64..4).prop_map(Value::U64).boxed(),
    }
}

fn any_field() -> impl Strategy<Value = FieldId> {
    prop_oneof![Just(FieldId::OF), Just(YEAR), Just(SCORE), Just(LANG)]
}

fn fields() -> impl Strategy<Value = Vec<(FieldId, Value)>> {
    let optional = |field| proptest::option::weighted(0.7, value_of(field));
    (optional(FieldId::OF), optional(YEAR), optional(SCORE), optional(LANG)).prop_map(
        |(of, year, score, lang)| {
            [(FieldId::OF, of), (YEAR, year), (SCORE, score), (LANG, lang)]
                .into_iter()
                .filter_map(|(field, value)| value.map(|value| (field, value)))
                .collect()
        },
    )
}

fn predicate() -> impl Strategy<Value = Predicate> {
    use Comparison::*;
    let op = prop_oneof![Just(Eq), Just(Ne), Just(Lt), Just(Le), Just(Gt), Just(Ge)];
    let leaf = prop_oneof![
        (any_field(), op).prop_flat_map(
            |(field, op)| value_of(field).prop_map(move |value| Predicate::Compare { field, op, value })
        ),
        any_field().prop_flat_map(|field| {
            proptest::collection::vec(value_of(field), 0..3)
                .prop_map(move |values| Predicate::In { field, values })
        }),
        any_field().prop_map(Predicate::IsNull),
        Just(Predicate::All),
        Just(Predicate::None),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Predicate::And),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Predicate::Or),
            inner.prop_map(|inner| Predicate::Not(Box::new(inner))),
        ]
    })
}

fn selected(view: &CollectionView, predicate: &Predicate) -> Vec<u64> {
    let masks = view.select(predicate).unwrap();
    let parts = view.parts();
    assert_eq!(masks.len(), parts.len());
    let rows = parts.iter().zip(&masks).flat_map(|(part, mask)| mask.ones().map(|row| part.ordinal(row)));
    rows.collect()
}

/// Two segments and fresh rows with random fields; some deleted, replaced and changed in each.
fn mixed(folder: &Path) -> (Store, CollectionId) {
    let store = open(folder);
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let mut draw =
        |strategy: &BoxedStrategy<Vec<(FieldId, Value)>>| strategy.new_tree(&mut runner).unwrap().current();
    let fields = fields().boxed();
    // Segments of 60 and 45 rows, 25 fresh rows; then some deleted, replaced and changed in each.
    for count in [60, 45, 25] {
        let mut writer = store.writer(id).unwrap();
        for _ in 0..count {
            let mut record = text_record(None, "x");
            record.fields = draw(&fields);
            writer.put(record).unwrap();
        }
        writer.commit().unwrap();
    }
    let mut writer = store.writer(id).unwrap();
    for record in (0..130_u64).step_by(7) {
        writer.delete(&record.into()).unwrap();
    }
    for record in (1..130_u64).step_by(9) {
        let changes: Vec<_> = draw(&fields).into_iter().map(|(field, value)| (field, Some(value))).collect();
        writer.set(&record.into(), &changes).unwrap();
        writer.set(&(record + 1).into(), &[(YEAR, None), (LANG, None)]).unwrap();
    }
    writer.commit().unwrap();
    (store, id)
}

fn assert_as_brute_force(store: &Store, id: CollectionId, cases: u32) {
    let view = view(store, id);
    assert_eq!(view.parts().iter().filter(|part| part.is_segment()).count(), 2);
    assert_eq!(view.parts().len(), 3);
    let records = contents(&view);
    let mut runner = TestRunner::new(Config::with_cases(cases));
    runner
        .run(&predicate(), |predicate| {
            let expected: Vec<u64> = records
                .iter()
                .filter(|record| brute(&predicate, record))
                .map(|record| record.ordinal)
                .collect();
            prop_assert_eq!(selected(&view, &predicate), expected);
            Ok(())
        })
        .unwrap();
}

#[test]
fn every_predicate_selects_what_brute_force_does() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = mixed(folder.path());
    assert_as_brute_force(&store, id, 800);
    assert_sound(&store);
}

/// Whatever the statistics say, only the way to the answer changes.
#[test]
fn wrong_statistics_change_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = mixed(folder.path());
    let sketch = |values, some: &[Value]| {
        let mut sketch = crate::sketch::Sketch::default();
        some.iter().for_each(|value| sketch.note(value.borrow()));
        sketch.values = values;
        sketch.encode().unwrap()
    };
    let wrong: [Vec<(FieldId, Vec<u8>)>; 4] = [
        // Nothing there, where there is much.
        vec![(YEAR, sketch(0, &[Value::I64(900)])), (LANG, sketch(1, &["zzz".into()]))],
        // Far too much.
        vec![
            (YEAR, sketch(u64::MAX, &[Value::I64(i64::MIN), Value::I64(i64::MAX)])),
            (SCORE, sketch(1 << 40, &[Value::F64(f64::NEG_INFINITY), Value::F64(f64::INFINITY)])),
        ],
        // Of another type, and unreadable.
        vec![(YEAR, sketch(5, &["a".into()])), (LANG, vec![1, 2, 3]), (SCORE, sketch(3, &[true.into()]))],
        // Some say none and some say all.
        vec![(YEAR, sketch(1, &[Value::I64(0)])), (SCORE, sketch(1 << 20, &[Value::F64(0.0)]))],
    ];
    for fields in wrong {
        super::verify::damage(&store, |batch| {
            batch.delete_prefix(crate::catalog::Family::Meta, &crate::keys::all_statistics(id));
            for (field, bytes) in &fields {
                batch.put(crate::catalog::Family::Meta, crate::keys::statistics(id, *field), bytes);
            }
        });
        assert_as_brute_force(&store, id, 200);
    }
    store.repair().unwrap();
    assert_sound(&store);
}

#[test]
fn many_hits_in_an_index_are_found_by_columns() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    put_texts(&store, id, 10_000);
    let select = |op, value| {
        selected(&view(&store, id), &Predicate::Compare { field: YEAR, op, value: Value::I64(value) })
    };
    // More than the limit of a look-up, then less.
    assert_eq!(select(Comparison::Ge, 500).len(), 9_500);
    assert_eq!(select(Comparison::Lt, 500), (0..500).collect::<Vec<_>>());
    assert_eq!(select(Comparison::Eq, 9_999), [9_999]);
}

#[test]
fn wrong_types_and_unknown_fields_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Str)).unwrap();
    let select = |field, value| {
        view(&store, id).select(&Predicate::Not(Box::new(Predicate::In { field, values: vec![value] })))
    };
    assert!(matches!(select(YEAR, Value::Timestamp(3)), Err(Error::FieldType { .. })));
    assert!(matches!(select(FieldId::OF, Value::U64(3)), Err(Error::FieldType { .. })));
    assert!(matches!(select(FieldId(8), Value::U64(3)), Err(Error::UnknownField { field: 8 })));
    assert!(select(FieldId::OF, Value::Str("a".into())).is_ok());
}
