//! Instance-level recall: is a right answer among the first k?

use rayon::prelude::*;
use twinbit_kernels::Codes;

use super::distance::{Words, positive, same_bits};
use crate::Error;

/// For each k, the share of queries that have at least one right row among their first k, ties in
/// row order.
///
/// `right` names the right database rows of a query; a query without any counts as a miss.
///
/// # Errors
/// [`Error::Shape`] when codes differ in length or there is no query, [`Error::ZeroK`] for a cut-off
/// of 0, [`Error::RightRow`] when a right row does not exist.
pub fn recall_at<R: AsRef<[u32]>>(
    queries: Codes<'_>,
    database: Codes<'_>,
    right: impl Fn(usize) -> R + Sync,
    ks: &[usize],
) -> Result<Vec<(usize, f64)>, Error> {
    positive(ks)?;
    same_bits(queries, database)?;
    if queries.rows() == 0 {
        return Err(Error::Shape { what: "queries, at least", expected: 1, got: 0 });
    }
    let query_words = Words::new(queries);
    let database_words = Words::new(database);
    let ranks: Result<Vec<Option<usize>>, Error> = (0..queries.rows())
        .into_par_iter()
        .map_init(Vec::new, |distances, query| {
            let right = right(query);
            let rows = database.rows();
            if let Some(&row) = right.as_ref().iter().find(|&&row| row as usize >= rows) {
                return Err(Error::RightRow { query, row, rows });
            }
            query_words.distances(query, &database_words, distances);
            Ok(best_rank(distances, right.as_ref()))
        })
        .collect();
    let ranks = ranks?;
    let share = |k| ranks.iter().flatten().filter(|&&rank| rank < k).count() as f64 / ranks.len() as f64;
    Ok(ks.iter().map(|&k| (k, share(k))).collect())
}

/// The rank, from 0, of the right row that comes first: how many rows come before it.
fn best_rank(distances: &[u32], right: &[u32]) -> Option<usize> {
    let best = right.iter().map(|&row| (distances[row as usize], row)).min()?;
    let before = |(row, &distance): (usize, &u32)| (distance, row as u32) < best;
    Some(distances.iter().enumerate().filter(|&item| before(item)).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinbit_kernels::{CodeBits, CodesBuf};

    #[test]
    fn ties_rank_in_row_order() {
        assert_eq!(best_rank(&[3, 1, 1, 0], &[2]), Some(2));
        assert_eq!(best_rank(&[3, 1, 1, 0], &[2, 1]), Some(1));
        assert_eq!(best_rank(&[3, 1, 1, 0], &[]), None);
    }

    #[test]
    fn one_right_row_among_the_first_is_enough() {
        let database = CodesBuf::from_packed(CodeBits::new(8).unwrap(), &[0, 1, 3, 7]).unwrap();
        let database = database.as_codes();
        let right = |query: usize| if query == 0 { vec![1, 3] } else { vec![] };
        let recalls = recall_at(database, database, right, &[1, 2]).unwrap();
        assert_eq!(recalls, [(1, 0.0), (2, 0.25)]);
        let outside = recall_at(database, database, |_| [9], &[1]);
        assert!(matches!(outside, Err(Error::RightRow { row: 9, .. })));
        assert!(matches!(recall_at(database, database, |_| [0], &[0]), Err(Error::ZeroK)));
    }
}
