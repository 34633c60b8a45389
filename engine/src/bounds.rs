//! How far the hits of queries can be at most, as far as the parts searched so far have shown.

use std::sync::atomic::{AtomicU32, Ordering};

use twinbit_kernels::Hit;

/// The bounds of some queries, shared by all parts that are searched for them: where one part has as many
/// hits as are asked for, no other needs to look farther. Which part knows what when is left to chance;
/// what is left out is never a hit.
pub(crate) struct Bounds {
    limit: Option<usize>,
    of_query: Vec<AtomicU32>,
}

impl Bounds {
    pub(crate) fn new(queries: usize, radius: Option<u32>, limit: Option<usize>) -> Self {
        let radius = radius.unwrap_or(u32::MAX);
        Self { limit, of_query: (0..queries).map(|_| AtomicU32::new(radius)).collect() }
    }

    /// The hits wanted of each query.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// No hit of any of the queries is farther.
    pub(crate) fn radius(&self) -> u32 {
        self.of_query.iter().map(|bound| bound.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// A part has these hits of a query, nearest first.
    pub(crate) fn learn(&self, query: usize, hits: &[Hit]) {
        let farthest = self.limit.and_then(|limit| hits.get(limit.checked_sub(1)?));
        if let (Some(bound), Some(farthest)) = (self.of_query.get(query), farthest) {
            bound.fetch_min(farthest.distance, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(distances: &[u32]) -> Vec<Hit> {
        (0..).zip(distances).map(|(row, &distance)| Hit { distance, row }).collect()
    }

    #[test]
    fn a_bound_falls_to_the_last_hit_wanted_and_never_rises() {
        let bounds = Bounds::new(2, None, Some(3));
        bounds.learn(0, &hits(&[1, 2]));
        assert_eq!(bounds.radius(), u32::MAX);
        bounds.learn(0, &hits(&[1, 2, 7]));
        // The other query has no bound yet.
        assert_eq!(bounds.radius(), u32::MAX);
        bounds.learn(1, &hits(&[0, 0, 5]));
        assert_eq!(bounds.radius(), 7);
        bounds.learn(0, &hits(&[0, 0, 9]));
        assert_eq!(bounds.radius(), 7);
        bounds.learn(0, &hits(&[0, 0, 2]));
        assert_eq!(bounds.radius(), 5);
    }

    #[test]
    fn a_radius_without_a_limit_stays() {
        let bounds = Bounds::new(1, Some(4), None);
        bounds.learn(0, &hits(&[0, 1, 2]));
        assert_eq!(bounds.radius(), 4);
        assert_eq!(Bounds::new(0, Some(4), None).radius(), 0);
    }
}
