//! Selection of the nearest rows when they do not come in order.

use crate::Hit;

/// Collects the k nearest of the rows offered, in any order and each once.
///
/// Unlike [`TopK`](crate::topk::TopK) it keeps every row that ties with the k-th nearest until it has
/// too many: one that comes later may have the lower number.
#[derive(Debug, Clone)]
pub(super) struct Nearest {
    k: usize,
    bound: u32,
    /// How many rows were offered at each distance up to `bound`.
    histogram: Vec<u64>,
    /// How many rows were offered with a distance of at most `bound`.
    within: usize,
    hits: Vec<Hit>,
    /// Whether only the number of rows is asked for.
    counting: bool,
}

impl Nearest {
    /// A collector of at most `k` rows, at least one, with a distance of at most `radius`.
    pub(super) fn new(k: usize, radius: u32) -> Self {
        let histogram = vec![0; radius as usize + 1];
        Self { k, bound: radius, histogram, within: 0, hits: Vec::new(), counting: false }
    }

    /// A collector that counts the rows with a distance of at most `radius`.
    pub(super) fn counter(radius: u32) -> Self {
        Self { counting: true, ..Self::new(usize::MAX, radius) }
    }

    /// The largest distance that a row may have to enter.
    pub(super) const fn bound(&self) -> u32 {
        self.bound
    }

    /// Whether there are k rows within the bound.
    pub(super) const fn is_full(&self) -> bool {
        self.within >= self.k
    }

    pub(super) const fn k(&self) -> usize {
        self.k
    }

    /// How many rows were offered at each distance up to the bound.
    pub(super) fn histogram(&self) -> &[u64] {
        &self.histogram[..=self.bound as usize]
    }

    /// Offer a row; one farther than the bound is ignored.
    pub(super) fn offer(&mut self, hit: Hit) {
        if hit.distance > self.bound {
            return;
        }
        self.histogram[hit.distance as usize] += 1;
        self.within += 1;
        if self.counting {
            return;
        }
        self.hits.push(hit);
        // The bound falls as long as k rows are nearer.
        while self.bound > 0 && self.within - self.histogram[self.bound as usize] as usize >= self.k {
            self.within -= self.histogram[self.bound as usize] as usize;
            self.bound -= 1;
        }
        if self.hits.len() >= self.k.saturating_mul(2).saturating_add(1024) {
            self.compact();
        }
    }

    /// Keep the k nearest of the rows kept.
    fn compact(&mut self) {
        if self.hits.len() > self.k {
            self.hits.select_nth_unstable(self.k - 1);
            self.hits.truncate(self.k);
        }
    }

    /// The number of rows within the bound.
    pub(super) const fn count(&self) -> u64 {
        self.within as u64
    }

    /// The rows kept, at most k, ascending by (distance, row).
    pub(super) fn into_sorted(mut self) -> Vec<Hit> {
        self.compact();
        self.hits.sort_unstable();
        self.hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_kept_in_whatever_order_they_come() {
        let mut state = 3_u32;
        let mut hits: Vec<Hit> = (0..6000)
            .map(|row| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                Hit { distance: (state >> 24) % 20, row: row * 7919 % 6007 }
            })
            .collect();
        let offered = hits.clone();
        hits.sort_unstable();
        for k in [1, 2, 10, 700, 5999, 6000, 7000, usize::MAX] {
            for radius in [0, 5, 64] {
                let mut nearest = Nearest::new(k, radius);
                let mut counter = Nearest::counter(radius);
                for &hit in &offered {
                    nearest.offer(hit);
                    counter.offer(hit);
                }
                let within = hits.partition_point(|hit| hit.distance <= radius);
                assert_eq!(counter.count(), within as u64);
                assert_eq!(nearest.into_sorted(), hits[..within.min(k)], "k {k}, radius {radius}");
            }
        }
    }
}
