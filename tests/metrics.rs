//! Compares the retrieval metrics with values computed elsewhere, to 1e-9.
//!
//! Fixtures come from the folder `metrics` of `TWINBIT_FIXTURES`, or from those kept here.

use safetensors::SafeTensors;
use serde_json::Value;
use twinbit_hashing::{Labels, evaluate, mean_average_precision, recall_at};
use twinbit_kernels::{CodeBits, CodesBuf};
use twinbit_tests::{Fixture, fixtures};

const TOLERANCE: f64 = 1e-9;

#[test]
fn metrics_equal_the_expected_values() {
    for fixture in fixtures("metrics") {
        check(&fixture);
    }
}

fn check(fixture: &Fixture) {
    let name = &fixture.name;
    let tensors = SafeTensors::deserialize(&fixture.tensors).expect("readable tensors");
    let codes = |name| {
        let view = tensors.tensor(name).expect(name);
        let bits = CodeBits::new(view.shape()[1] * 8).expect("a code length");
        CodesBuf::from_packed(bits, view.data()).expect("codes")
    };
    let labels = |name| {
        let view = tensors.tensor(name).expect(name);
        Labels::from_dense(view.shape()[0], view.shape()[1], view.data()).expect("labels")
    };
    let (queries, database) = (codes("query_codes"), codes("database_codes"));
    let (query_labels, database_labels) = (labels("query_labels"), labels("database_labels"));
    let (queries, database) = (queries.as_codes(), database.as_codes());

    let mut ks = cut_offs(&fixture.values, "map@");
    ks.extend(cut_offs(&fixture.values, "precision@"));
    ks.sort_unstable();
    ks.dedup();
    let scores = evaluate(queries, &query_labels, database, &database_labels, &ks);
    let scores = scores.expect("scores");
    let recalls = recall_at(queries, database, |query| [query as u32], &cut_offs(&fixture.values, "recall@"))
        .expect("recalls");
    let alone = mean_average_precision(queries, &query_labels, database, &database_labels);
    assert_eq!(alone.expect("a score"), scores.map);

    // Every number of the fixture must be found among ours, so that none goes unchecked.
    let mut ours = serde_json::to_value(&scores).expect("json");
    for (k, recall) in recalls {
        ours[format!("recall@{k}")] = recall.into();
    }
    let mut compared = 0;
    for (key, expected) in fixture.values.as_object().expect("an object") {
        match expected {
            Value::Number(_) if key != "bits" => {
                close(&format!("{name} {key}"), expected, &ours[key]);
                compared += 1;
            }
            Value::Array(points) => {
                assert_eq!(ours[key].as_array().map(Vec::len), Some(points.len()), "{name} {key}");
                for (index, point) in points.iter().enumerate() {
                    for part in ["radius", "precision", "recall"] {
                        let what = format!("{name} {key} {index} {part}");
                        close(&what, &point[part], &ours[key][index][part]);
                    }
                }
                compared += 1;
            }
            _ => {}
        }
    }
    assert!(compared > 3, "{name} holds only {compared} values");
}

/// The k of every key that is `prefix` and k.
fn cut_offs(values: &Value, prefix: &str) -> Vec<usize> {
    let keys = values.as_object().expect("an object").keys();
    keys.filter_map(|key| key.strip_prefix(prefix)?.parse().ok()).collect()
}

fn close(what: &str, expected: &Value, got: &Value) {
    match (expected.as_f64(), got.as_f64()) {
        (Some(expected), Some(got)) => {
            assert!((expected - got).abs() < TOLERANCE, "{what}: {got} is not {expected}");
        }
        _ => assert_eq!(expected, got, "{what}"),
    }
}
