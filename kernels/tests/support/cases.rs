//! Searches on a machine, compared with the definition: all distances, sorted.

use twinbit_kernels::cuda::{DeviceCodes, DeviceMask, Machine, Plan, Search, SegmentHit, Target, Variant};
use twinbit_kernels::{CodeBits, Codes, CodesBuf, RowMask, distance};

use crate::differences::same;

/// Numbers that depend on nothing but the seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// How the codes of a case lie.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Spread {
    /// Every bit by chance.
    Random,
    /// A few codes, each many times: ties everywhere.
    Repeated,
    /// Every row nearer to the all-zero code than the rows before it.
    Approaching,
}

/// Matrices with masks, and queries.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) segments: Vec<(CodesBuf, Option<RowMask>)>,
    pub(crate) queries: CodesBuf,
}

impl Case {
    /// Codes of some bits; `segments` says how many rows each has and how many of 8 its mask keeps.
    pub(crate) fn new(
        numbers: &mut Numbers,
        bits: usize,
        spread: Spread,
        segments: &[(usize, Option<usize>)],
        queries: usize,
    ) -> Self {
        let bits = CodeBits::new(bits).unwrap();
        let few: Vec<Vec<u8>> = (0..5).map(|_| numbers.bytes(bits.bytes())).collect();
        let total: usize = segments.iter().map(|segment| segment.0).sum();
        let mut before = 0;
        let segments = segments
            .iter()
            .map(|&(rows, kept)| {
                let mut codes = CodesBuf::new(bits);
                for _ in 0..rows {
                    let code = match spread {
                        Spread::Random => numbers.bytes(bits.bytes()),
                        Spread::Repeated => few[numbers.below(few.len())].clone(),
                        Spread::Approaching => leading_ones(bits, (total - before) * bits.bits() / total),
                    };
                    codes.push(&code).unwrap();
                    before += 1;
                }
                let mask = kept.map(|kept| {
                    RowMask::from_rows(rows, (0..rows as u32).filter(|_| numbers.below(8) < kept))
                });
                (codes, mask)
            })
            .collect();
        let mut codes = CodesBuf::new(bits);
        for query in 0..queries {
            let code = match spread {
                Spread::Random => numbers.bytes(bits.bytes()),
                Spread::Repeated => few[query % few.len()].clone(),
                Spread::Approaching => vec![0; bits.bytes()],
            };
            codes.push(&code).unwrap();
        }
        Self { segments, queries: codes }
    }

    /// The rows within `radius` of a query, by the definition.
    pub(crate) fn expected(&self, query: usize, radius: u32, limit: usize) -> Vec<SegmentHit> {
        let query = self.queries.as_codes().row(query);
        let mut hits = Vec::new();
        for (segment, (codes, mask)) in self.segments.iter().enumerate() {
            for row in 0..codes.rows() {
                if mask.as_ref().is_none_or(|mask| mask.get(row)) {
                    let distance = distance(&query, &codes.as_codes().row(row));
                    hits.push(SegmentHit { distance, segment, row: row as u32 });
                }
            }
        }
        hits.retain(|hit| hit.distance <= radius);
        hits.sort_unstable();
        hits.truncate(limit);
        hits
    }

    /// Run a search on a machine that has the case's matrices.
    pub(crate) fn run<M: Machine, T>(
        &self,
        machine: &M,
        plan: Option<Plan>,
        search: impl FnOnce(Search<'_, M>, Codes<'_>) -> T,
    ) -> T {
        let resident: Vec<_> = self
            .segments
            .iter()
            .map(|(codes, mask)| {
                let codes = DeviceCodes::upload(machine, codes.as_codes()).unwrap();
                let mask = mask.as_ref().map(|mask| DeviceMask::upload(machine, mask).unwrap());
                (codes, mask)
            })
            .collect();
        let targets: Vec<_> =
            resident.iter().map(|(codes, mask)| Target { codes, mask: mask.as_ref() }).collect();
        let mut request = Search::new(machine, &targets);
        if let Some(plan) = plan {
            request = request.plan(plan);
        }
        search(request, self.queries.as_codes())
    }

    /// Check the nearest `k`, the rows within `radius` and their number. The matrix units take part
    /// when a plan makes the first piece small: they begin after it.
    pub(crate) fn check<M: Machine>(&self, machine: &M, plan: Option<Plan>, k: usize, radius: u32) {
        self.run(machine, plan, |search, queries| {
            let variants = if plan.is_some() { &Variant::ALL[..] } else { &[Variant::Popcount] };
            for &variant in variants {
                let nearest = search.variant(variant).top_k(queries, k).unwrap();
                let within = search.variant(variant).within(queries, radius, k).unwrap();
                assert_eq!((nearest.len(), within.len()), (queries.rows(), queries.rows()));
                for query in 0..queries.rows() {
                    let what = format!("{} bits, {variant:?}, query {query}, k {k}", queries.bits());
                    same(&what, &nearest[query], &self.expected(query, u32::MAX, k));
                    let what = format!("{what}, radius {radius}");
                    same(&what, &within[query], &self.expected(query, radius, k));
                }
            }
            let expected = |query| self.expected(query, radius, usize::MAX).len() as u64;
            let expected: Vec<u64> = (0..queries.rows()).map(expected).collect();
            let counts = search.count_within(queries, radius).unwrap();
            same(&format!("{} bits, rows within {radius}", queries.bits()), &counts, &expected);
        });
    }
}

/// A code whose first bits are ones.
fn leading_ones(bits: CodeBits, ones: usize) -> Vec<u8> {
    (0..bits.bytes()).map(|byte| !(0xff_u16 >> ones.saturating_sub(8 * byte).min(8)) as u8).collect()
}
