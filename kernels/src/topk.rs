//! Selection of the nearest rows by a histogram over the small integer distances.

/// A row found, with its Hamming distance to the query; ordered by (distance, row).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hit {
    /// The number of differing bits.
    pub distance: u32,
    /// The row in the matrix, from 0.
    pub row: u32,
}

/// Collects the k nearest of the rows offered to it in ascending order of rows.
///
/// Distances are small integers, so the k-th smallest is read off a histogram instead of a heap:
/// `bound` is the largest distance with which a later row could still enter. Once k rows are at
/// most as far as `bound`, a later row of that distance loses to them by its row number, and
/// `bound` falls by one. Rows are kept in the order offered, so that one stable counting sort at the
/// end gives the order (distance, row).
#[derive(Debug, Clone)]
pub(crate) struct TopK {
    k: usize,
    /// `None` once no later row can enter.
    bound: Option<u32>,
    /// How many rows were offered at each distance up to `bound` + 1.
    histogram: Vec<u32>,
    /// How many rows were offered with a distance of at most `bound`; less than k.
    within: usize,
    hits: Vec<Hit>,
    /// Rows that can no longer be among the k nearest are dropped when `hits` reaches this length.
    compact_at: usize,
}

impl TopK {
    /// A collector of at most `k` rows with a distance of at most `radius`.
    pub(crate) fn new(k: usize, radius: u32) -> Self {
        Self {
            k,
            bound: if k == 0 { None } else { Some(radius) },
            histogram: vec![0; radius as usize + 1],
            within: 0,
            hits: Vec::new(),
            compact_at: k.saturating_mul(2).saturating_add(1024),
        }
    }

    /// The largest distance that a row after those offered may have to enter.
    pub(crate) const fn bound(&self) -> Option<u32> {
        self.bound
    }

    /// Offer a row after all rows offered before; a row farther than the bound is ignored.
    #[inline]
    pub(crate) fn offer(&mut self, hit: Hit) {
        if self.bound.is_some_and(|bound| hit.distance <= bound) {
            self.histogram[hit.distance as usize] += 1;
            self.within += 1;
            self.hits.push(hit);
        }
    }

    /// Lower the bound to what the rows offered allow; called after every run of offers.
    pub(crate) fn tighten(&mut self) {
        while let Some(bound) = self.bound
            && self.within >= self.k
        {
            self.within -= self.histogram[bound as usize] as usize;
            self.bound = bound.checked_sub(1);
        }
        if self.hits.len() >= self.compact_at {
            self.compact();
        }
    }

    /// Keep only the k nearest, in the order offered.
    fn compact(&mut self) {
        let last = self.bound.map_or(0, |bound| bound + 1);
        // Fewer than k rows are within the bound; rows one farther fill up, earliest first. When
        // the bound never fell there is no such distance and all rows are kept.
        let mut room = self.k.saturating_sub(self.within);
        self.hits.retain(|hit| {
            let kept = hit.distance < last || (hit.distance == last && room > 0);
            room -= usize::from(kept && hit.distance == last);
            kept
        });
    }

    /// The rows kept, at most k, ascending by row.
    pub(crate) fn into_rows(mut self) -> Vec<Hit> {
        self.tighten();
        self.compact();
        self.hits
    }

    /// The rows kept, at most k, ascending by (distance, row).
    pub(crate) fn into_sorted(self) -> Vec<Hit> {
        let levels = self.histogram.len();
        let hits = self.into_rows();
        // Few rows: sorting them is cheaper than walking the histogram of a long code.
        if hits.len() < levels / 4 {
            let mut hits = hits;
            hits.sort_unstable();
            return hits;
        }
        let mut places = vec![0_usize; levels + 1];
        for hit in &hits {
            places[hit.distance as usize + 1] += 1;
        }
        for level in 0..levels {
            places[level + 1] += places[level];
        }
        let mut sorted = vec![Hit { distance: 0, row: 0 }; hits.len()];
        for hit in hits {
            let place = &mut places[hit.distance as usize];
            sorted[*place] = hit;
            *place += 1;
        }
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offer distances for rows 0.. in runs, as a scan does, and compare with a full sort.
    fn check(distances: &[u32], k: usize, radius: u32, run: usize) {
        let mut top = TopK::new(k, radius);
        let hits: Vec<Hit> =
            distances.iter().zip(0..).map(|(&distance, row)| Hit { distance, row }).collect();
        for run in hits.chunks(run) {
            run.iter().for_each(|&hit| top.offer(hit));
            top.tighten();
        }
        let mut expected: Vec<Hit> = hits.into_iter().filter(|hit| hit.distance <= radius).collect();
        expected.sort_unstable();
        expected.truncate(k);
        let mut ascending = expected.clone();
        ascending.sort_unstable_by_key(|hit| hit.row);
        assert_eq!(top.clone().into_rows(), ascending, "k {k}, radius {radius}, run {run}");
        assert_eq!(top.into_sorted(), expected, "k {k}, radius {radius}, run {run}");
    }

    #[test]
    fn the_nearest_come_first_and_ties_by_row() {
        let mut state = 7_u32;
        let mixed: Vec<u32> = (0..5000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 16) % 65
            })
            .collect();
        let falling: Vec<u32> = (0..5000).map(|i| 64 - i / 80).collect();
        let ties = vec![3; 5000];
        for distances in [&mixed[..], &falling, &ties, &mixed[..1], &[]] {
            for k in [1, 2, 10, 100, 4999, 5000, 5001, usize::MAX] {
                for radius in [0, 3, 30, 64] {
                    for run in [1, 64, 1000, 5000] {
                        check(distances, k, radius, run);
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_enters_after_k_exact_matches() {
        let mut top = TopK::new(2, 64);
        top.offer(Hit { distance: 0, row: 0 });
        top.offer(Hit { distance: 0, row: 1 });
        top.tighten();
        assert_eq!(top.bound(), None);
        assert_eq!(TopK::new(0, 64).bound(), None);
    }
}
