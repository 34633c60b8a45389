//! Recall on a card: whether a right answer is among the first k takes the first k, not all ranks.

use twinbit_kernels::cuda::{AnyMachine, DeviceCodes, Search, Target};
use twinbit_kernels::{Codes, Error};

/// For each k the share of queries with a right row among their first k, ties in row order: what
/// [`recall_at`](twinbit_hashing::recall_at) gives. `ks` holds no more than a card can select.
pub(crate) fn card_recall<'r>(
    machine: &AnyMachine,
    queries: Codes<'_>,
    database: Codes<'_>,
    right: impl Fn(usize) -> &'r [u32],
    ks: &[usize],
) -> Result<Vec<(usize, f64)>, Error> {
    let codes = DeviceCodes::upload(machine, database)?;
    let targets = [Target { codes: &codes, mask: None }];
    let most = ks.iter().copied().max().unwrap_or(1);
    let nearest = Search::new(machine, &targets).top_k(queries, most)?;
    let rank = |(query, hits): (usize, &Vec<twinbit_kernels::cuda::SegmentHit>)| {
        let right = right(query);
        hits.iter().position(|hit| right.contains(&hit.row))
    };
    let ranks: Vec<Option<usize>> = nearest.iter().enumerate().map(rank).collect();
    let share = |k| ranks.iter().flatten().filter(|&&rank| rank < k).count() as f64 / ranks.len() as f64;
    Ok(ks.iter().map(|&k| (k, share(k))).collect())
}
