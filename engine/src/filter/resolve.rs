//! From a filter to the storage layer's predicate: names become field ids, values typed ones.

use twinbit_storage::{FieldId, Predicate};

use super::MAX_DEPTH;
use super::error::{FilterError, FilterProblem};
use super::expression::{Filter, Located, Node};
use crate::value::{coerce, shown};
use crate::{Error, FieldType, Schema, Value};

impl Filter {
    /// The predicate over the fields of `schema` that this filter means.
    ///
    /// # Errors
    /// An unknown field, a value that does not fit its field, or nesting beyond the limit; with
    /// the place when the filter came from text.
    pub(crate) fn resolve(&self, schema: &Schema) -> Result<Predicate, FilterError> {
        resolve(&self.node, schema)
    }
}

fn resolve(node: &Node, schema: &Schema) -> Result<Predicate, FilterError> {
    match node {
        Node::Compare { field, comparison, value } => {
            let (id, field_type) = find(field, schema)?;
            let value = typed(value, &field.value, field_type)?;
            Ok(Predicate::Compare { field: id, op: *comparison, value })
        }
        Node::OneOf { field, values } => {
            let (id, field_type) = find(field, schema)?;
            let values = values.iter().map(|value| typed(value, &field.value, field_type));
            Ok(Predicate::In { field: id, values: values.collect::<Result<_, _>>()? })
        }
        Node::IsNull(field) => Ok(Predicate::IsNull(find(field, schema)?.0)),
        Node::And(parts) => Ok(Predicate::And(resolve_all(parts, schema)?)),
        Node::Or(parts) => Ok(Predicate::Or(resolve_all(parts, schema)?)),
        Node::Not(inner) => Ok(Predicate::Not(Box::new(resolve(inner, schema)?))),
        Node::TooDeep => Err(FilterError::new(FilterProblem::TooDeep { limit: MAX_DEPTH }, None)),
    }
}

fn resolve_all(parts: &[Node], schema: &Schema) -> Result<Vec<Predicate>, FilterError> {
    parts.iter().map(|part| resolve(part, schema)).collect()
}

fn find(name: &Located<String>, schema: &Schema) -> Result<(FieldId, FieldType), FilterError> {
    schema.resolve(&name.value).map_err(|error| {
        let known = match error {
            Error::UnknownField { known, .. } => known,
            _ => Vec::new(),
        };
        FilterError::new(FilterProblem::UnknownField { name: name.value.clone(), known }, name.place.clone())
    })
}

/// The value in the field's type, or the reason why it does not fit.
fn typed(value: &Located<Value>, field: &str, expected: FieldType) -> Result<Value, FilterError> {
    if let Some(value) = coerce(&value.value, expected) {
        return Ok(value);
    }
    let field = field.to_owned();
    let problem = match (&value.value, expected) {
        (Value::U64(_) | Value::I64(_), FieldType::U64 | FieldType::I64 | FieldType::F64)
        | (Value::F64(_), FieldType::F64) => {
            FilterProblem::Range { field, expected, value: shown(&value.value) }
        }
        (Value::Str(_), FieldType::Timestamp) => {
            FilterProblem::Timestamp { field, value: shown(&value.value) }
        }
        (other, _) => FilterProblem::FieldType { field, expected, found: noun(other) },
    };
    Err(FilterError::new(problem, value.place.clone()))
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::U64(_) | Value::I64(_) => "an integer",
        Value::F64(_) => "a float",
        Value::Str(_) => "text",
        Value::Bool(_) => "a boolean",
        Value::Timestamp(_) => "a timestamp",
    }
}

#[cfg(test)]
mod tests {
    use twinbit_storage::Comparison;

    use super::super::expression::field;
    use super::*;
    use crate::{CodeBits, Field, IdKind};

    fn schema() -> Schema {
        Schema::new(CodeBits::B64)
            .ids(IdKind::Str)
            .field("year", Field::u64())
            .field("shift", Field::i64())
            .field("price", Field::f64())
            .field("lang", Field::str())
            .field("seen", Field::timestamp())
            .field("good", Field::bool())
    }

    fn resolved(text: &str) -> Predicate {
        Filter::parse(text).expect(text).resolve(&schema()).expect(text)
    }

    fn refused(text: &str) -> FilterError {
        Filter::parse(text).expect(text).resolve(&schema()).expect_err(text)
    }

    #[test]
    fn values_take_the_type_of_their_field() {
        let compare = |field, value| Predicate::Compare { field: FieldId(field), op: Comparison::Eq, value };
        assert_eq!(resolved("year = 2015"), compare(1, Value::U64(2015)));
        assert_eq!(resolved("year = 18446744073709551615"), compare(1, Value::U64(u64::MAX)));
        assert_eq!(resolved("shift = -5"), compare(2, Value::I64(-5)));
        assert_eq!(resolved("price = 5"), compare(3, Value::F64(5.0)));
        assert_eq!(resolved("lang = '5'"), compare(4, Value::Str("5".to_owned())));
        assert_eq!(resolved("seen = \"1970-01-01T00:00:01Z\""), compare(5, Value::Timestamp(1_000_000)));
        assert_eq!(resolved("good = true"), compare(6, Value::Bool(true)));
        assert_eq!(resolved("of = 'a'"), compare(0, Value::Str("a".to_owned())));
    }

    #[test]
    fn the_shape_is_kept() {
        let year =
            |value| Predicate::Compare { field: FieldId(1), op: Comparison::Lt, value: Value::U64(value) };
        assert_eq!(
            resolved("not (year < 1 or year < 2) and lang is null and year in (3, 4)"),
            Predicate::And(vec![
                Predicate::Not(Box::new(Predicate::Or(vec![year(1), year(2)]))),
                Predicate::IsNull(FieldId(4)),
                Predicate::In { field: FieldId(1), values: vec![Value::U64(3), Value::U64(4)] },
            ])
        );
    }

    #[test]
    fn an_unknown_field_is_shown_with_the_known_ones() {
        let error = refused("year = 1 and\n  yeer = 2");
        assert_eq!(
            error.render(),
            "unknown field \"yeer\": the collection has year, shift, price, lang, seen, good\n    yeer = 2\n    ^^^^"
        );
        assert_eq!(error.position(), Some(15));
        let built = (field("year").eq(1) & field("yeer").eq(2)).resolve(&schema()).expect_err("unknown");
        assert_eq!((built.position(), built.render()), (None, built.to_string()));
    }

    #[test]
    fn values_that_do_not_fit_name_both_types_and_their_place() {
        use FilterProblem as P;
        let problem = |text: &str, position: usize| {
            let error = refused(text);
            assert_eq!(error.position(), Some(position), "{text}");
            error.problem().clone()
        };
        assert!(matches!(
            problem("year = \"x\"", 7),
            P::FieldType { expected: FieldType::U64, found: "text", .. }
        ));
        assert!(matches!(problem("year = 1.0", 7), P::FieldType { found: "a float", .. }));
        assert!(matches!(problem("lang in ('a', 1)", 14), P::FieldType { found: "an integer", .. }));
        assert!(matches!(problem("good = 1", 7), P::FieldType { expected: FieldType::Bool, .. }));
        assert!(matches!(problem("seen > 5", 7), P::FieldType { expected: FieldType::Timestamp, .. }));
        assert!(matches!(problem("seen > 'soon'", 7), P::Timestamp { .. }));
        assert!(matches!(problem("year >= -1", 8), P::Range { expected: FieldType::U64, .. }));
        assert!(matches!(
            problem("shift = 18446744073709551615", 8),
            P::Range { expected: FieldType::I64, .. }
        ));
        let not_a_number = field("price").lt(f64::NAN).resolve(&schema()).expect_err("NaN");
        assert!(matches!(not_a_number.problem(), P::Range { .. }));
    }

    #[test]
    fn a_filter_nested_too_deeply_is_refused_where_it_is_used() {
        let mut filter = field("year").eq(0);
        for value in 0..MAX_DEPTH as u64 {
            filter = (filter & field("year").eq(value)) | field("year").eq(value);
        }
        let error = filter.resolve(&schema()).expect_err("too deep");
        assert!(matches!(error.problem(), FilterProblem::TooDeep { .. }));
    }
}
