//! Which segments are merged, and when: a pure function of their sizes.
//!
//! Rules, in this order:
//!
//! 1. **Dead rows.** Neighbors of which a quarter or more of the rows is dead are rewritten without
//!    them. A row that stays is written again for at most a third of a row that goes, so deleting
//!    costs at most 3 bytes written for each byte freed.
//! 2. **Growth.** A run of neighbors is merged when the result has at least [`GROWTH`] times the
//!    bytes of the largest of them; of several such runs that with the largest growth. As the segment
//!    that a row lies in grows eightfold each time, a row is written again at most
//!    log8(target / first size) times, in whatever order the segments come.
//! 3. **Count.** Beyond [`SMALL_SEGMENTS`] small ones, which takes sizes that fall or alternate
//!    unkindly, the run with the largest growth is merged even when that is less.
//!
//! Damaged segments are left out: they stay as they are, and the runs around them are merged. No run is
//! merged into more than [`TARGET_BYTES`], 2^27 rows or 2^32 ordinals. The simulations
//! below state what this amounts to.

use std::ops::Range;

use crate::format::MAX_SEGMENT_ROWS;

/// How many times the size of its largest part a merged segment has at least.
const GROWTH: u64 = 8;
/// One in so many rows may be dead before a segment is rewritten.
const DEAD_SHARE: u64 = 4;
/// Bytes of a segment that merging in the background makes at most.
const TARGET_BYTES: u64 = 4 << 30;
/// Small segments that are let be.
const SMALL_SEGMENTS: usize = 64;

/// What the policy goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentSize {
    pub(crate) rows: u64,
    pub(crate) dead: u64,
    pub(crate) bytes: u64,
    /// First and last ordinal.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// It cannot be read, so it stays as it is and no run goes across it.
    pub(crate) damaged: bool,
}

impl SegmentSize {
    fn alive(&self) -> u64 {
        self.rows.saturating_sub(self.dead)
    }

    /// Bytes that are left once the dead rows are gone.
    pub(crate) fn alive_bytes(&self) -> u64 {
        (u128::from(self.bytes) * u128::from(self.alive()) / u128::from(self.rows.max(1))) as u64
    }

    fn has_many_dead(&self) -> bool {
        !self.damaged && self.dead > 0 && self.dead.saturating_mul(DEAD_SHARE) >= self.rows
    }

    fn is_small(&self) -> bool {
        !self.damaged
            && self.alive_bytes() < TARGET_BYTES / GROWTH
            && self.alive() < MAX_SEGMENT_ROWS as u64 / GROWTH
    }
}

/// A run of neighbors being put together.
#[derive(Clone, Copy, Default)]
struct Run {
    segments: usize,
    rows: u64,
    bytes: u64,
    largest: u64,
    first: u64,
}

impl Run {
    /// The run with one more segment, when it is then within the limits. One segment always is, unless
    /// it is damaged.
    fn with(self, next: &SegmentSize, target_bytes: u64) -> Option<Run> {
        if next.damaged {
            return None;
        }
        let first = if self.segments == 0 { next.first } else { self.first };
        let run = Run {
            segments: self.segments + 1,
            rows: self.rows + next.alive(),
            bytes: self.bytes + next.alive_bytes(),
            largest: self.largest.max(next.alive_bytes()),
            first,
        };
        let fits = run.rows <= MAX_SEGMENT_ROWS as u64
            && next.last - first <= u64::from(u32::MAX)
            && run.bytes <= target_bytes;
        (fits || run.segments == 1).then_some(run)
    }

    fn has_grown(&self) -> bool {
        self.bytes >= self.largest.saturating_mul(GROWTH)
    }

    /// Grows by more than the other, or as much and to more.
    fn is_better(&self, other: &Run) -> bool {
        let growth = |a: &Run, b: &Run| u128::from(a.bytes) * u128::from(b.largest.max(1));
        (growth(self, other), self.bytes) > (growth(other, self), other.bytes)
    }
}

/// The next run of neighbors to be merged in the background; one that is alone is only rewritten.
pub(crate) fn choose(segments: &[SegmentSize]) -> Option<Range<usize>> {
    many_dead(segments).or_else(|| growing(segments))
}

fn many_dead(segments: &[SegmentSize]) -> Option<Range<usize>> {
    let start = segments.iter().position(SegmentSize::has_many_dead)?;
    let mut run = Run::default();
    let mut end = start;
    for next in segments.iter().skip(start).take_while(|segment| segment.has_many_dead()) {
        let Some(longer) = run.with(next, TARGET_BYTES) else { break };
        run = longer;
        end += 1;
    }
    Some(start..end)
}

fn growing(segments: &[SegmentSize]) -> Option<Range<usize>> {
    let mut best: Option<(Run, Range<usize>)> = None;
    for start in 0..segments.len() {
        let mut run = Run::default();
        for (index, next) in segments.iter().enumerate().skip(start) {
            let Some(longer) = run.with(next, TARGET_BYTES) else { break };
            run = longer;
            if run.segments > 1 && best.as_ref().is_none_or(|(best, _)| run.is_better(best)) {
                best = Some((run, start..index + 1));
            }
        }
    }
    let (run, range) = best?;
    let too_many = segments.iter().filter(|segment| segment.is_small()).count() > SMALL_SEGMENTS;
    (run.has_grown() || too_many).then_some(range)
}

/// All runs to be merged by hand: as few segments as can be, none with dead rows.
pub(crate) fn everything(segments: &[SegmentSize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut run = Run::default();
    for (index, next) in segments.iter().enumerate() {
        match (run.with(next, u64::MAX), runs.last_mut()) {
            (Some(longer), Some(last)) if run.segments > 0 => {
                run = longer;
                last.end = index + 1;
            }
            _ => {
                run = Run::default().with(next, u64::MAX).unwrap_or_default();
                runs.push(index..index + 1);
            }
        }
    }
    runs.retain(|run| {
        let has_dead = |one: &SegmentSize| one.dead > 0 && !one.damaged;
        run.len() > 1 || segments.get(run.clone()).unwrap_or_default().iter().any(has_dead)
    });
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn by_hand(segments: &[SegmentSize]) -> Vec<(usize, usize)> {
        everything(segments).into_iter().map(|run| (run.start, run.end)).collect()
    }

    /// Segments of these sizes in MiB, all rows alive.
    fn sizes(mib: &[u64]) -> Vec<SegmentSize> {
        let mut first = 0;
        mib.iter()
            .map(|mib| {
                let rows = mib * 1000;
                let size = SegmentSize {
                    rows,
                    dead: 0,
                    bytes: mib * MIB,
                    first,
                    last: first + rows - 1,
                    damaged: false,
                };
                first += rows;
                size
            })
            .collect()
    }

    #[test]
    fn eight_neighbors_of_like_size_are_merged() {
        assert_eq!(choose(&sizes(&[])), None);
        assert_eq!(choose(&sizes(&[2; 7])), None);
        assert_eq!(choose(&sizes(&[2; 8])), Some(0..8));
        assert_eq!(choose(&sizes(&[500, 2, 2, 2, 2, 2, 2, 2, 2])), Some(1..9));
        // A small one between large ones goes with them, not they with it.
        assert_eq!(choose(&sizes(&[500, 2, 500, 2, 500, 2])), None);
        assert_eq!(choose(&sizes(&[100, 2, 100, 100, 100, 2, 100, 100, 100, 100])), Some(0..10));
        // What one merge makes possible is done with it.
        let mut stairs = vec![8; 7];
        stairs.extend([1; 8]);
        assert_eq!(choose(&sizes(&stairs)), Some(0..15));
    }

    #[test]
    fn a_quarter_of_dead_rows_is_removed() {
        let mut segments = sizes(&[900, 900, 900, 900]);
        segments[1].dead = segments[1].rows / 4 - 1;
        assert_eq!(choose(&segments), None);
        segments[1].dead += 1;
        assert_eq!(choose(&segments), Some(1..2));
        segments[2].dead = segments[2].rows;
        assert_eq!(choose(&segments), Some(1..3));
    }

    #[test]
    fn nothing_grows_beyond_the_limits() {
        // Eight times 600 MiB is more than the target.
        assert_eq!(choose(&sizes(&[600; 30])), None);
        assert_eq!(choose(&sizes(&[400; 30])), Some(0..10));
        // Rows: sixteen times 2^23 is 2^27, one more is too many.
        let small = |rows: u64, spread: u64, count: u64| -> Vec<SegmentSize> {
            (0..count)
                .map(|i| SegmentSize {
                    rows,
                    dead: 0,
                    bytes: rows,
                    first: i * spread,
                    last: i * spread + rows - 1,
                    damaged: false,
                })
                .collect()
        };
        assert_eq!(choose(&small(1 << 23, 1 << 23, 20)), Some(0..16));
        assert_eq!(by_hand(&small(1 << 23, 1 << 23, 20)), [(0, 16), (16, 20)]);
        assert_eq!(by_hand(&small((1 << 23) + 1, 1 << 24, 16)), [(0, 15)]);
        // Ordinals: gaps as left by replaced records.
        assert_eq!(choose(&small(1000, 1 << 29, 8)), Some(0..8));
        assert_eq!(choose(&small(1000, 1 << 30, 40)), None);
        assert_eq!(by_hand(&small(1000, 1 << 30, 6)), [(0, 4), (4, 6)]);
        // One beyond the target is still freed of dead rows.
        let mut huge = sizes(&[9000]);
        huge[0].dead = huge[0].rows / 2;
        assert_eq!(choose(&huge), Some(0..1));
    }

    #[test]
    fn by_hand_everything_is_merged_once() {
        let mut segments = sizes(&[9000, 1, 600, 5]);
        assert_eq!(by_hand(&segments), [(0, 4)]);
        segments.truncate(1);
        assert_eq!(by_hand(&segments), []);
        segments[0].dead = 1;
        assert_eq!(by_hand(&segments), [(0, 1)]);
        assert_eq!(by_hand(&[]), []);
    }

    #[test]
    fn runs_end_at_damaged_segments() {
        let mut segments = sizes(&[1; 20]);
        segments[9].damaged = true;
        assert_eq!(choose(&segments), Some(10..20));
        assert_eq!(by_hand(&segments), [(0, 9), (10, 20)]);
        // Nor are they rewritten for their dead rows.
        segments[9].dead = segments[9].rows;
        segments[10].damaged = true;
        assert_eq!(choose(&segments), Some(0..9));
        assert_eq!(by_hand(&segments), [(0, 9), (11, 20)]);
        segments.iter_mut().for_each(|segment| segment.damaged = true);
        assert_eq!(choose(&segments), None);
        assert_eq!(by_hand(&segments), []);
    }

    /// Writes segments of the given sizes, merging after each; returns bytes written for each byte
    /// that came in, and the largest number of segments at any time.
    fn simulate(flushes: impl Iterator<Item = u64>) -> (f64, usize) {
        let (mut came, mut written, mut most) = (0, 0, 0);
        let mut segments: Vec<SegmentSize> = Vec::new();
        for bytes in flushes {
            let first = segments.last().map_or(0, |last| last.last + 1);
            let rows = bytes / 32;
            segments.push(SegmentSize {
                rows,
                dead: 0,
                bytes,
                first,
                last: first + rows - 1,
                damaged: false,
            });
            came += bytes;
            while let Some(run) = choose(&segments) {
                let parts = &segments[run.clone()];
                let merged = SegmentSize {
                    rows: parts.iter().map(SegmentSize::alive).sum(),
                    dead: 0,
                    bytes: parts.iter().map(SegmentSize::alive_bytes).sum(),
                    first: parts[0].first,
                    last: parts[parts.len() - 1].last,
                    damaged: false,
                };
                assert!(merged.rows <= MAX_SEGMENT_ROWS as u64 && merged.bytes <= TARGET_BYTES);
                written += merged.bytes;
                segments.splice(run, [merged]);
            }
            most = most.max(segments.len());
        }
        ((came + written) as f64 / came as f64, most)
    }

    /// The figures of docs/architecture.md.
    #[test]
    fn write_amplification_and_segments_stay_small() {
        // 20,000 times 65,536 rows of 32 bytes: 40 GiB.
        let (amplification, segments) = simulate((0..20_000).map(|_| 2 * MIB));
        assert!((3.7..3.8).contains(&amplification) && segments == 59, "{amplification} {segments}");

        // Sizes that vary by a factor of 1,000, as transactions of all sizes leave them.
        let mut chance = 1_u64;
        let mut random = move || {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) as f64 / f64::from(1_u32 << 31)
        };
        let sizes = (0..5_000).map(|_| (1000_f64.powf(random()) * 65_536.0) as u64);
        let (amplification, segments) = simulate(sizes);
        assert!(amplification < 2.9 && segments <= 75, "{amplification} {segments}");

        // The least kind order: each size is a third of the one two places on.
        let ruler = (1..3_000_u32).map(|i| 65_536 * 3_u64.pow(i.trailing_zeros().min(9)));
        let (amplification, segments) = simulate(ruler);
        assert!(amplification < 2.6 && segments <= 68, "{amplification} {segments}");
    }
}
