//! The filter expression and its builder.

use std::fmt;
use std::ops::{BitAnd, BitOr, Not};

use twinbit_storage::Comparison;

use super::MAX_DEPTH;
use super::error::Place;
use crate::Value;
use crate::value::shown;

/// Which records a query may answer with: comparisons of fields, joined with `&`, `|` and `!`.
///
/// ```
/// use twinbit::{Filter, field};
/// let built = field("year").ge(2015) & !field("lang").one_of(["en", "de"]);
/// assert_eq!(built, Filter::parse("year >= 2015 and not lang in ('en', 'de')")?);
/// # Ok::<(), twinbit::FilterError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    pub(super) node: Node,
    depth: usize,
}

/// A field named in a filter; its methods make comparisons.
///
/// ```
/// use twinbit::field;
///
/// let filter = field("year").ge(2015) & field("lang").one_of(["en", "de"]);
/// # drop(filter);
/// ```
#[derive(Debug, Clone)]
pub struct FieldName(Located<String>);

/// The field called `name`: the start of a comparison, as in `field("year").ge(2015)`.
///
/// ```
/// use twinbit::{Filter, field};
///
/// let filter: Filter = field("year").is_null();
/// # drop(filter);
/// ```
pub fn field(name: impl Into<String>) -> FieldName {
    FieldName(Located { value: name.into(), place: None })
}

/// Something written in a filter, with its place when it came from text. Equality ignores the place.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) place: Option<Place>,
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Compare {
        field: Located<String>,
        comparison: Comparison,
        value: Located<Value>,
    },
    OneOf {
        field: Located<String>,
        values: Vec<Located<Value>>,
    },
    IsNull(Located<String>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    /// Takes the place of an expression nested too deeply to be evaluated by recursion; using the
    /// filter is an error.
    TooDeep,
}

impl FieldName {
    pub(super) fn located(name: Located<String>) -> Self {
        FieldName(name)
    }

    pub(super) fn compare(self, comparison: Comparison, value: Located<Value>) -> Filter {
        Filter::leaf(Node::Compare { field: self.0, comparison, value })
    }

    pub(super) fn any_of(self, values: Vec<Located<Value>>) -> Filter {
        Filter::leaf(Node::OneOf { field: self.0, values })
    }

    fn compare_built(self, comparison: Comparison, value: impl Into<Value>) -> Filter {
        self.compare(comparison, Located { value: value.into(), place: None })
    }

    /// The field is `value`.
    pub fn eq(self, value: impl Into<Value>) -> Filter {
        self.compare_built(Comparison::Eq, value)
    }

    /// The field is there and is not `value`.
    pub fn ne(self, value: impl Into<Value>) -> Filter {
        self.compare_built(Comparison::Ne, value)
    }

    /// The field is less than `value`.
    pub fn lt(self, value: impl Into<Value>) -> Filter {
        self.compare_built(Comparison::Lt, value)
    }

    /// The field is at most `value`.
    pub fn le(self, value: impl Into<Value>) -> Filter {
        self.compare_built(Comparison::Le, value)
    }

    /// The field is greater than `value`.
    pub fn gt(self, value: impl Into<Value>) -> Filter {
        self.compare_built(Comparison::Gt, value)
    }

    /// The field is at least `value`.
    pub fn ge(self, value: impl Into<Value>) -> Filter {
        self.compare_built(Comparison::Ge, value)
    }

    /// The field is one of `values`; nothing is one of none.
    pub fn one_of<T: Into<Value>>(self, values: impl IntoIterator<Item = T>) -> Filter {
        self.any_of(values.into_iter().map(|value| Located { value: value.into(), place: None }).collect())
    }

    /// The record has no such field.
    pub fn is_null(self) -> Filter {
        Filter::leaf(Node::IsNull(self.0))
    }

    /// The record has the field.
    pub fn not_null(self) -> Filter {
        !self.is_null()
    }
}

impl Filter {
    fn leaf(node: Node) -> Self {
        Filter { node, depth: 1 }
    }

    fn nest(node: Node, inner: usize) -> Self {
        if inner >= MAX_DEPTH {
            return Filter { node: Node::TooDeep, depth: MAX_DEPTH };
        }
        Filter { node, depth: inner + 1 }
    }
}

/// Joins two filters under one `And` or `Or`, whose parts are kept in one flat list.
macro_rules! join {
    ($operator:ident, $method:ident, $variant:ident) => {
        impl $operator for Filter {
            type Output = Filter;

            fn $method(self, other: Filter) -> Filter {
                // The depth of what stands under the joined node: a list that is extended is not
                // nested again.
                let inner = |filter: &Filter| match filter.node {
                    Node::$variant(_) => filter.depth - 1,
                    _ => filter.depth,
                };
                let inner = inner(&self).max(inner(&other));
                let mut parts = match self.node {
                    Node::$variant(parts) => parts,
                    node => vec![node],
                };
                match other.node {
                    Node::$variant(more) => parts.extend(more),
                    node => parts.push(node),
                }
                Filter::nest(Node::$variant(parts), inner)
            }
        }
    };
}
join!(BitAnd, bitand, And);
join!(BitOr, bitor, Or);

impl Not for Filter {
    type Output = Filter;

    fn not(self) -> Filter {
        match self.node {
            // Filters are two-valued, so that two negations are none.
            Node::Not(inner) => Filter { node: *inner, depth: self.depth - 1 },
            node => Filter::nest(Node::Not(Box::new(node)), self.depth),
        }
    }
}

impl fmt::Display for Filter {
    /// The filter in its own language, which [`Filter::parse`] reads back. What the language cannot
    /// write (an infinite float, a field name that is no word) is printed all the same.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_node(out, &self.node)
    }
}

fn write_node(out: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
    match node {
        Node::Compare { field, comparison, value } => {
            write!(out, "{} {} ", field.value, symbol(*comparison))?;
            write_value(out, &value.value)
        }
        Node::OneOf { field, values } => {
            write!(out, "{} in (", field.value)?;
            for (index, value) in values.iter().enumerate() {
                out.write_str(if index > 0 { ", " } else { "" })?;
                write_value(out, &value.value)?;
            }
            out.write_str(")")
        }
        Node::IsNull(field) => write!(out, "{} is null", field.value),
        Node::And(parts) => write_parts(out, parts, " and "),
        Node::Or(parts) => write_parts(out, parts, " or "),
        Node::Not(inner) => match inner.as_ref() {
            Node::IsNull(field) => write!(out, "{} is not null", field.value),
            inner => {
                out.write_str("not ")?;
                write_part(out, inner)
            }
        },
        Node::TooDeep => out.write_str("(nested too deeply)"),
    }
}

fn write_parts(out: &mut fmt::Formatter<'_>, parts: &[Node], word: &str) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            out.write_str(word)?;
        }
        write_part(out, part)?;
    }
    Ok(())
}

/// A part of a larger expression: lists get parentheses, also where precedence makes them needless.
fn write_part(out: &mut fmt::Formatter<'_>, part: &Node) -> fmt::Result {
    if matches!(part, Node::And(_) | Node::Or(_)) {
        out.write_str("(")?;
        write_node(out, part)?;
        return out.write_str(")");
    }
    write_node(out, part)
}

fn write_value(out: &mut fmt::Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        // Debug keeps the point of 1.0, so that it reads back as a float.
        Value::F64(number) => write!(out, "{number:?}"),
        Value::Timestamp(_) => write!(out, "\"{}\"", shown(value)),
        _ => out.write_str(&shown(value)),
    }
}

fn symbol(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Eq => "=",
        Comparison::Ne => "!=",
        Comparison::Lt => "<",
        Comparison::Le => "<=",
        Comparison::Gt => ">",
        Comparison::Ge => ">=",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_displayed_reads_back() {
        let filters = [
            field("year").ge(2015) & field("lang").eq("en"),
            (field("a").lt(-3) | field("b").gt(1.5e300)) & !field("c").eq(true),
            !(field("a").is_null() & field("b").not_null()),
            field("a").eq("line\nbreak \"quoted\" back\\slash \u{7}\0 \u{301}"),
            field("größe").ne(1) | field("_b2").le(0.5) | field("x").one_of::<i64>([]),
            field("x").one_of([1, 2, 3]) & field("y").one_of(["a", "b"]),
        ];
        for filter in filters {
            let text = filter.to_string();
            assert_eq!(Filter::parse(&text).expect(&text), filter, "{text}");
        }
    }

    #[test]
    fn lists_stay_flat_and_double_negation_vanishes() {
        let all = (0..1_000).fold(field("x").eq(0), |all, value| all & field("x").eq(value));
        assert_eq!(all.depth, 2);
        let twice = !!field("x").eq(1);
        assert_eq!(twice, field("x").eq(1));
        assert_eq!(twice.depth, 1);
    }

    #[test]
    fn endless_nesting_stays_bounded() {
        let mut filter = field("x").eq(0);
        for value in 0..100_000 {
            filter = (filter & field("x").eq(value)) | field("y").eq(value);
        }
        assert!(filter.depth <= MAX_DEPTH);
        assert!(filter.to_string().len() < 10_000_000);
    }
}
