//! Precision of one query's ranking.

/// One query's database rows by distance: how many there are and how many are relevant.
pub(super) struct Histogram {
    pub(super) rows: Vec<u32>,
    pub(super) relevant: Vec<u32>,
}

impl Histogram {
    pub(super) fn new(bits: usize) -> Self {
        Self { rows: vec![0; bits + 1], relevant: vec![0; bits + 1] }
    }

    pub(super) fn count(&mut self, distances: &[u32], relevant: &[bool]) {
        self.rows.fill(0);
        self.relevant.fill(0);
        for (&distance, &relevant) in distances.iter().zip(relevant) {
            self.rows[distance as usize] += 1;
            self.relevant[distance as usize] += u32::from(relevant);
        }
    }

    /// Relevance by rank: ascending distance, equal distances in row order.
    pub(super) fn rank(&self, distances: &[u32], relevant: &[bool], ranked: &mut Vec<bool>) {
        let mut next = Vec::with_capacity(self.rows.len());
        let mut start = 0;
        for &rows in &self.rows {
            next.push(start);
            start += rows as usize;
        }
        ranked.clear();
        ranked.resize(distances.len(), false);
        for (&distance, &relevant) in distances.iter().zip(relevant) {
            let rank = &mut next[distance as usize];
            ranked[*rank] = relevant;
            *rank += 1;
        }
    }

    /// The expectation of average precision over all orders of each tie, in closed form.
    ///
    /// In a tie of n rows, r of them relevant, after N rows with R relevant: position i (from 1) is
    /// relevant with probability r/n, and then its precision is expected to be
    /// (R + 1 + (i - 1)(r - 1)/(n - 1)) / (N + i).
    pub(super) fn expected_average_precision(&self) -> f64 {
        let (mut rows_before, mut relevant_before) = (0.0, 0.0);
        let mut total = 0.0;
        for (&rows, &relevant) in self.rows.iter().zip(&self.relevant) {
            if relevant > 0 {
                let (n, r) = (f64::from(rows), f64::from(relevant));
                let growth = if rows > 1 { (r - 1.0) / (n - 1.0) } else { 0.0 };
                let sum: f64 = (0..rows)
                    .map(|earlier| {
                        let earlier = f64::from(earlier);
                        (relevant_before + 1.0 + earlier * growth) / (rows_before + earlier + 1.0)
                    })
                    .sum();
                total += r / n * sum;
            }
            rows_before += f64::from(rows);
            relevant_before += f64::from(relevant);
        }
        total / relevant_before
    }
}

/// Mean of the precisions at the ranks of the relevant rows among the first `k`; 0 without any.
pub(super) fn average_precision(ranked: &[bool], k: usize) -> f64 {
    let mut relevant = 0.0;
    let mut total = 0.0;
    for (rank, _) in ranked.iter().take(k).enumerate().filter(|(_, relevant)| **relevant) {
        relevant += 1.0;
        total += relevant / (rank as f64 + 1.0);
    }
    if relevant > 0.0 { total / relevant } else { 0.0 }
}

/// Share of relevant rows among the first `k`, or among all when there are fewer.
pub(super) fn precision(ranked: &[bool], k: usize) -> f64 {
    let first = &ranked[..k.min(ranked.len())];
    first.iter().filter(|relevant| **relevant).count() as f64 / first.len() as f64
}

/// Ranks at which a precision-recall curve over `rows` ranks is sampled: the first ones in steps of a
/// factor of about two, then every fiftieth part.
pub(super) fn curve_ranks(rows: usize) -> Vec<usize> {
    const PARTS: usize = 50;
    let first = [1, 2, 5, 10, 20, 50, 100, 200, 500].into_iter().filter(|rank| rank * PARTS < rows);
    let mut ranks: Vec<usize> = first.chain((1..=PARTS).map(|part| (rows * part).div_ceil(PARTS))).collect();
    ranks.dedup();
    ranks
}

/// Precision and recall within the first `rank` rows, for every one of `ranks`, which ascend.
pub(super) fn curve(ranked: &[bool], ranks: &[usize]) -> Vec<[f64; 2]> {
    let all = ranked.iter().filter(|relevant| **relevant).count() as f64;
    let (mut found, mut seen) = (0, 0);
    let point = |&rank: &usize| {
        found += ranked[seen..rank].iter().filter(|relevant| **relevant).count();
        seen = rank;
        [found as f64 / rank as f64, found as f64 / all]
    };
    ranks.iter().map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Average precision averaged over every order of the rows that keeps distances ascending.
    fn by_enumeration(distances: &[u32], relevant: &[bool]) -> f64 {
        fn orders(left: &mut Vec<usize>, taken: &mut Vec<usize>, all: &mut Vec<Vec<usize>>) {
            if left.is_empty() {
                all.push(taken.clone());
            }
            for index in 0..left.len() {
                let row = left.remove(index);
                taken.push(row);
                orders(left, taken, all);
                taken.pop();
                left.insert(index, row);
            }
        }
        let mut all = Vec::new();
        orders(&mut (0..distances.len()).collect(), &mut Vec::new(), &mut all);
        all.retain(|order| order.is_sorted_by_key(|&row| distances[row]));
        let scores = all.iter().map(|order| {
            let ranked: Vec<bool> = order.iter().map(|&row| relevant[row]).collect();
            average_precision(&ranked, ranked.len())
        });
        scores.sum::<f64>() / all.len() as f64
    }

    #[test]
    fn the_closed_form_is_the_mean_over_all_orders() {
        let distances = [3, 1, 3, 1, 1, 3, 2];
        let relevant = [true, false, false, true, true, true, true];
        let mut histogram = Histogram::new(8);
        histogram.count(&distances, &relevant);
        let expected = by_enumeration(&distances, &relevant);
        assert!((histogram.expected_average_precision() - expected).abs() < 1e-12);
    }

    #[test]
    fn equal_distances_rank_in_row_order() {
        let distances = [2, 0, 2, 0];
        let relevant = [true, false, false, true];
        let mut histogram = Histogram::new(8);
        histogram.count(&distances, &relevant);
        let mut ranked = Vec::new();
        histogram.rank(&distances, &relevant, &mut ranked);
        assert_eq!(ranked, [false, true, true, false]);
        assert!((average_precision(&ranked, 4) - (0.5 + 2.0 / 3.0) / 2.0).abs() < 1e-15);
        assert_eq!(average_precision(&ranked, 1), 0.0);
        assert_eq!(precision(&ranked, 2), 0.5);
        assert_eq!(precision(&ranked, 100), 0.5);
    }

    #[test]
    fn a_curve_ends_with_everything_found() {
        let ranked = [true, false, true, true, false];
        let points = curve(&ranked, &[1, 3, 5]);
        assert_eq!(points, [[1.0, 1.0 / 3.0], [2.0 / 3.0, 2.0 / 3.0], [0.6, 1.0]]);
    }

    #[test]
    fn curve_ranks_ascend_to_the_last_row() {
        assert_eq!(curve_ranks(1), [1]);
        assert_eq!(curve_ranks(3), [1, 2, 3]);
        for rows in [51, 60, 1000, 10_599, 200_000] {
            let ranks = curve_ranks(rows);
            assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]), "{rows}: {ranks:?}");
            assert_eq!((ranks[0], *ranks.last().unwrap()), (1, rows), "{rows}: {ranks:?}");
        }
    }
}
