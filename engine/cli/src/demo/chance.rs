//! What a random ranking scores: the level every retrieval score is to be read beside.

/// Expected average precision of a uniformly random order of `rows` items of which `relevant` are
/// relevant; 0 when none is.
///
/// An item at rank i is relevant with probability R/N, and then each of the i - 1 before it with
/// (R - 1)/(N - 1), so E\[AP\] = 1/N sum over i of (1 + (i - 1)(R - 1)/(N - 1)) / i.
pub fn expected_average_precision(relevant: usize, rows: usize) -> f64 {
    if relevant == 0 || rows == 0 {
        return 0.0;
    }
    let others = if rows > 1 { (relevant - 1) as f64 / (rows - 1) as f64 } else { 0.0 };
    let sum: f64 = (1..=rows).map(|rank| (1.0 + (rank - 1) as f64 * others) / rank as f64).sum();
    sum / rows as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean average precision over every order of `rows` items, the first `relevant` being relevant.
    fn over_all_orders(relevant: usize, rows: usize) -> f64 {
        fn visit(order: &mut Vec<usize>, rest: &[usize], relevant: usize, total: &mut (f64, usize)) {
            if rest.is_empty() {
                let (mut found, mut sum) = (0.0, 0.0);
                for (rank, &item) in order.iter().enumerate() {
                    if item < relevant {
                        found += 1.0;
                        sum += found / (rank + 1) as f64;
                    }
                }
                total.0 += sum / relevant as f64;
                total.1 += 1;
            }
            for (place, &item) in rest.iter().enumerate() {
                let mut others = rest.to_vec();
                others.remove(place);
                order.push(item);
                visit(order, &others, relevant, total);
                order.pop();
            }
        }
        let mut total = (0.0, 0);
        visit(&mut Vec::new(), &(0..rows).collect::<Vec<_>>(), relevant, &mut total);
        total.0 / total.1 as f64
    }

    #[test]
    fn the_formula_is_the_mean_over_all_orders() {
        for (relevant, rows) in [(1, 1), (1, 5), (2, 5), (3, 6), (6, 6)] {
            let (formula, counted) =
                (expected_average_precision(relevant, rows), over_all_orders(relevant, rows));
            assert!((formula - counted).abs() < 1e-12, "{relevant} of {rows}: {formula} against {counted}");
        }
    }

    #[test]
    fn nothing_relevant_scores_nothing() {
        assert_eq!(expected_average_precision(0, 10), 0.0);
    }
}
