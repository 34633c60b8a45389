//! Scores of a set of queries against a labeled database.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use serde::ser::{Serialize, SerializeMap, Serializer};
use twinbit_kernels::Codes;

use super::distance::{Words, positive, same_bits};
use super::precision::{Histogram, average_precision, curve, curve_ranks, precision};
use crate::Error;
use crate::labels::{Labels, share};

/// Scores over the queries that share a label with some database row; the others are left out.
///
/// Serializes with the keys `map`, `map_tie_aware`, `map@K`, `precision@K`, `lookup` and `ranking`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetrievalScores {
    /// Mean average precision over the whole database (MAP@ALL), ties in row order.
    pub map: f64,
    /// Its expectation over all orders of ties.
    pub map_tie_aware: f64,
    /// For each k: mean average precision over the first k ranks.
    pub map_at: Vec<(usize, f64)>,
    /// For each k: mean share of relevant rows among the first k.
    pub precision_at: Vec<(usize, f64)>,
    /// Hash lookup at every radius from 0 to the bits of a code.
    pub lookup: Vec<LookupPoint>,
    /// The precision-recall curve of the ranking, at some sixty ranks up to the whole database.
    pub ranking: Vec<RankingPoint>,
    /// Queries that counted.
    pub queries: usize,
}

/// Retrieving every row within a radius, over all queries together (micro-averaged).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct LookupPoint {
    /// Hamming radius, inclusive.
    pub radius: usize,
    /// Relevant pairs retrieved over pairs retrieved; none where nothing is retrieved.
    pub precision: Option<f64>,
    /// Relevant pairs retrieved over all relevant pairs.
    pub recall: f64,
}

/// Taking the first rows of each query's ranking, ties in row order; means over the queries.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct RankingPoint {
    /// Rows taken.
    pub rank: usize,
    /// Mean share of relevant rows among them.
    pub precision: f64,
    /// Mean share of a query's relevant rows that is among them.
    pub recall: f64,
}

impl Serialize for RetrievalScores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("map", &self.map)?;
        map.serialize_entry("map_tie_aware", &self.map_tie_aware)?;
        for (k, value) in &self.map_at {
            map.serialize_entry(&format!("map@{k}"), value)?;
        }
        for (k, value) in &self.precision_at {
            map.serialize_entry(&format!("precision@{k}"), value)?;
        }
        map.serialize_entry("lookup", &self.lookup)?;
        map.serialize_entry("ranking", &self.ranking)?;
        map.end()
    }
}

/// One query's part of the means.
struct QueryScores {
    map: f64,
    map_tie_aware: f64,
    map_at: Vec<f64>,
    precision_at: Vec<f64>,
    /// Precision and recall at the curve's ranks.
    curve: Vec<[f64; 2]>,
}

/// Ranks the whole database for every query and scores the rankings, in parallel over queries.
///
/// # Errors
/// [`Error::Shape`] when labels and codes differ in rows or codes in length, [`Error::ZeroK`] for a
/// cut-off of 0, [`Error::NothingRelevant`] when no query shares a label with any row.
pub fn evaluate(
    queries: Codes<'_>,
    query_labels: &Labels,
    database: Codes<'_>,
    database_labels: &Labels,
    ks: &[usize],
) -> Result<RetrievalScores, Error> {
    positive(ks)?;
    let bits = same_bits(queries, database)?;
    // Sums of whole numbers, which come out the same in any order.
    let retrieved: Vec<AtomicU64> = (0..=bits).map(|_| AtomicU64::new(0)).collect();
    let relevant: Vec<AtomicU64> = (0..=bits).map(|_| AtomicU64::new(0)).collect();
    let ranks = curve_ranks(database.rows());
    let scores = score_queries(queries, query_labels, database, database_labels, |view| {
        for (totals, counts) in [(&retrieved, &view.histogram.rows), (&relevant, &view.histogram.relevant)] {
            for (total, &count) in totals.iter().zip(counts) {
                total.fetch_add(u64::from(count), Ordering::Relaxed);
            }
        }
        QueryScores {
            map: average_precision(view.ranked, view.ranked.len()),
            map_tie_aware: view.histogram.expected_average_precision(),
            map_at: ks.iter().map(|&k| average_precision(view.ranked, k)).collect(),
            precision_at: ks.iter().map(|&k| precision(view.ranked, k)).collect(),
            curve: curve(view.ranked, &ranks),
        }
    })?;
    let mean = |of: &dyn Fn(&QueryScores) -> f64| scores.iter().map(of).sum::<f64>() / scores.len() as f64;
    let at = |of: &dyn Fn(&QueryScores) -> &Vec<f64>| {
        ks.iter().enumerate().map(|(i, &k)| (k, mean(&|scores| of(scores)[i]))).collect()
    };
    let ranking = ranks.iter().enumerate().map(|(at, &rank)| RankingPoint {
        rank,
        precision: mean(&|scores| scores.curve[at][0]),
        recall: mean(&|scores| scores.curve[at][1]),
    });
    Ok(RetrievalScores {
        ranking: ranking.collect(),
        map: mean(&|scores| scores.map),
        map_tie_aware: mean(&|scores| scores.map_tie_aware),
        map_at: at(&|scores| &scores.map_at),
        precision_at: at(&|scores| &scores.precision_at),
        lookup: lookup(retrieved, relevant),
        queries: scores.len(),
    })
}

/// MAP@ALL alone, ties in row order.
///
/// # Errors
/// As [`evaluate`].
pub fn mean_average_precision(
    queries: Codes<'_>,
    query_labels: &Labels,
    database: Codes<'_>,
    database_labels: &Labels,
) -> Result<f64, Error> {
    let scores = score_queries(queries, query_labels, database, database_labels, |view| {
        average_precision(view.ranked, view.ranked.len())
    })?;
    Ok(scores.iter().sum::<f64>() / scores.len() as f64)
}

/// What a query's score is computed from.
struct View<'a> {
    histogram: &'a Histogram,
    /// Relevance by rank.
    ranked: &'a [bool],
}

/// A thread's working memory.
struct Scratch {
    distances: Vec<u32>,
    relevant: Vec<bool>,
    histogram: Histogram,
    ranked: Vec<bool>,
}

/// Scores of the queries with anything relevant, in order.
fn score_queries<R: Send>(
    queries: Codes<'_>,
    query_labels: &Labels,
    database: Codes<'_>,
    database_labels: &Labels,
    score: impl Fn(View<'_>) -> R + Sync,
) -> Result<Vec<R>, Error> {
    let bits = same_bits(queries, database)?;
    same_rows("rows of the query labels, one a query", queries.rows(), query_labels)?;
    same_rows("rows of the database labels, one a row", database.rows(), database_labels)?;
    let query_words = Words::new(queries);
    let database_words = Words::new(database);
    let scratch = || Scratch {
        distances: Vec::new(),
        relevant: Vec::new(),
        histogram: Histogram::new(bits),
        ranked: Vec::new(),
    };
    let scores: Vec<Option<R>> = (0..queries.rows())
        .into_par_iter()
        .map_init(scratch, |scratch, query| {
            let Scratch { distances, relevant, histogram, ranked } = scratch;
            let classes = query_labels.row(query);
            relevant.clear();
            relevant.extend((0..database_labels.rows()).map(|row| share(classes, database_labels.row(row))));
            if !relevant.contains(&true) {
                return None;
            }
            query_words.distances(query, &database_words, distances);
            histogram.count(distances, relevant);
            histogram.rank(distances, relevant, ranked);
            Some(score(View { histogram, ranked }))
        })
        .collect();
    let scores: Vec<R> = scores.into_iter().flatten().collect();
    if scores.is_empty() { Err(Error::NothingRelevant) } else { Ok(scores) }
}

fn lookup(retrieved: Vec<AtomicU64>, relevant: Vec<AtomicU64>) -> Vec<LookupPoint> {
    let relevant: Vec<u64> = relevant.into_iter().map(AtomicU64::into_inner).collect();
    let all: u64 = relevant.iter().sum();
    let (mut retrieved_so_far, mut relevant_so_far) = (0, 0);
    retrieved
        .into_iter()
        .zip(relevant)
        .enumerate()
        .map(|(radius, (retrieved, relevant))| {
            retrieved_so_far += retrieved.into_inner();
            relevant_so_far += relevant;
            let found = relevant_so_far as f64;
            LookupPoint {
                radius,
                precision: (retrieved_so_far > 0).then(|| found / retrieved_so_far as f64),
                recall: found / all as f64,
            }
        })
        .collect()
}

fn same_rows(what: &'static str, expected: usize, labels: &Labels) -> Result<(), Error> {
    match labels.rows() {
        rows if rows == expected => Ok(()),
        got => Err(Error::Shape { what, expected, got }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinbit_kernels::{CodeBits, CodesBuf};

    fn codes(rows: &[u8]) -> CodesBuf {
        CodesBuf::from_packed(CodeBits::new(8).unwrap(), rows).unwrap()
    }

    #[test]
    fn queries_without_anything_relevant_are_left_out() {
        let queries = codes(&[0, 0]);
        let database = codes(&[0xff, 0]);
        let query_labels = Labels::from_sets([[0], [5]]).unwrap();
        let database_labels = Labels::from_sets([[0], [1]]).unwrap();
        let scores =
            evaluate(queries.as_codes(), &query_labels, database.as_codes(), &database_labels, &[1]).unwrap();
        assert_eq!(scores.queries, 1);
        assert_eq!(scores.map, 0.5);
        assert_eq!(scores.map_at, [(1, 0.0)]);
        assert_eq!(scores.lookup[0].precision, Some(0.0));
        assert_eq!(scores.lookup[8].recall, 1.0);
        let json = serde_json::to_value(&scores).unwrap();
        assert_eq!(json["map@1"], 0.0);
        assert_eq!(json["lookup"][8]["radius"], 8);
        // The only relevant row of the query that counts has the second rank.
        assert_eq!(json["ranking"][0], serde_json::json!({"rank": 1, "precision": 0.0, "recall": 0.0}));
        assert_eq!(json["ranking"][1], serde_json::json!({"rank": 2, "precision": 0.5, "recall": 1.0}));
    }

    #[test]
    fn nothing_relevant_at_all_is_an_error() {
        let one = codes(&[0]);
        let labels = [Labels::from_sets([[0]]).unwrap(), Labels::from_sets([[1]]).unwrap()];
        let scores = evaluate(one.as_codes(), &labels[0], one.as_codes(), &labels[1], &[]);
        assert!(matches!(scores, Err(Error::NothingRelevant)));
    }

    #[test]
    fn shapes_are_checked() {
        let one = codes(&[0]);
        let wide = CodesBuf::from_packed(CodeBits::B16, &[0, 0]).unwrap();
        let labels = Labels::from_sets([[0]]).unwrap();
        let two = Labels::from_sets([[0], [1]]).unwrap();
        let (one, wide) = (one.as_codes(), wide.as_codes());
        assert!(matches!(evaluate(one, &two, one, &labels, &[]), Err(Error::Shape { .. })));
        assert!(matches!(evaluate(one, &labels, wide, &labels, &[]), Err(Error::Shape { .. })));
        assert!(matches!(evaluate(one, &labels, one, &labels, &[0]), Err(Error::ZeroK)));
    }
}
