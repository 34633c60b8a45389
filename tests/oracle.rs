//! Every instruction set of this machine against a brute force over packed bytes.

#![forbid(unsafe_code)]

use proptest::prelude::*;
use proptest::sample::select;
use twinbit_kernels::{CodeBits, CodesBuf, Hit, Isa, RowMask, Scan, distance};

const BITS: [usize; 18] =
    [8, 16, 24, 32, 40, 56, 64, 72, 128, 136, 192, 256, 320, 512, 1000, 1024, 2048, 4096];

/// One search to be answered by every instruction set.
#[derive(Debug, Clone)]
struct Case {
    bits: CodeBits,
    database: Vec<Vec<u8>>,
    queries: Vec<Vec<u8>>,
    mask: Option<Vec<bool>>,
    k: usize,
    radius: u32,
    limit: Option<usize>,
}

/// How the codes of a case relate to each other.
#[derive(Debug, Clone, Copy)]
enum Content {
    /// Independent bits.
    Uniform,
    /// Drawn from 5 codes, so that most distances tie.
    Duplicates,
    /// All the same: everything ties.
    Ties,
    /// The query with a few bits flipped.
    Near,
}

fn random_code(random: &mut impl FnMut() -> u64, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|_| random() as u8).collect()
}

/// A sequence of numbers from a seed; proptest only draws the seed, for speed.
fn sequence(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

fn database(content: Content, bytes: usize, rows: usize, query: &[u8], seed: u64) -> Vec<Vec<u8>> {
    let mut random = sequence(seed);
    let few: Vec<Vec<u8>> = (0..5).map(|_| random_code(&mut random, bytes)).collect();
    (0..rows)
        .map(|_| match content {
            Content::Uniform => random_code(&mut random, bytes),
            Content::Duplicates => few[random() as usize % few.len()].clone(),
            Content::Ties => few[0].clone(),
            Content::Near => {
                let mut code = query.to_vec();
                for _ in 0..random() % 4 {
                    let bit = random() as usize % (bytes * 8);
                    code[bit / 8] ^= 1 << (bit % 8);
                }
                code
            }
        })
        .collect()
}

/// None, all masked, single rows far apart, every other row, runs.
fn mask(kind: u32, rows: usize, seed: u64) -> Option<Vec<bool>> {
    let mut random = sequence(seed);
    match kind {
        0 => None,
        1 => Some(vec![false; rows]),
        2 => Some((0..rows).map(|_| random().is_multiple_of(200)).collect()),
        3 => Some((0..rows).map(|_| random().is_multiple_of(2)).collect()),
        _ => {
            let mut inside = false;
            Some(
                (0..rows)
                    .map(|_| {
                        inside ^= random().is_multiple_of(90);
                        inside
                    })
                    .collect(),
            )
        }
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let rows = prop_oneof![0..200_usize, 0..4096_usize];
    let content = select(vec![Content::Uniform, Content::Duplicates, Content::Ties, Content::Near]);
    (select(BITS.to_vec()), rows, content, 1..4_usize, 0..5_u32, 0..8_u32, 0..=100_u32, any::<u64>())
        .prop_map(|(bits, rows, content, queries, mask_kind, k, percent, seed)| {
            let bits = CodeBits::new(bits).expect("a length that is allowed");
            let mut random = sequence(seed ^ 0xabcd);
            let queries: Vec<Vec<u8>> =
                (0..queries).map(|_| random_code(&mut random, bits.bytes())).collect();
            let k = match k {
                0 => 1,
                1 => 2,
                2 => 10,
                3 => 100,
                4 => rows.saturating_sub(1).max(1),
                5 => rows.max(1),
                6 => rows + 1,
                _ => usize::MAX,
            };
            Case {
                bits,
                database: database(content, bits.bytes(), rows, &queries[0], seed),
                mask: mask(mask_kind, rows, seed ^ 0x1234),
                queries,
                k,
                radius: bits.bits() as u32 * percent / 100,
                limit: [None, Some(0), Some(1), Some(k)][seed as usize % 4],
            }
        })
}

impl Case {
    /// All unmasked rows in order for every query: what the other answers are prefixes of.
    fn ranking(&self) -> Vec<Vec<Hit>> {
        let rank = |query: &Vec<u8>| {
            let rows = self.database.iter().zip(0..).filter(|&(_, row)| self.kept(row));
            let mut hits: Vec<Hit> =
                rows.map(|(code, row)| Hit { distance: distance(query, code), row }).collect();
            hits.sort_unstable_by_key(|hit| (hit.distance, hit.row));
            hits
        };
        self.queries.iter().map(rank).collect()
    }

    fn kept(&self, row: u32) -> bool {
        self.mask.as_ref().is_none_or(|mask| mask[row as usize])
    }

    /// Answer by one instruction set and compare with the brute force.
    fn check(&self, isa: Isa, ranking: &[Vec<Hit>]) {
        let database = matrix(self.bits, &self.database);
        let queries = matrix(self.bits, &self.queries);
        let mask = self.mask.as_ref().map(|mask| {
            RowMask::from_rows(mask.len(), (0..mask.len() as u32).filter(|&row| mask[row as usize]))
        });
        let scan = Scan::new(database.as_codes()).mask(mask.as_ref()).isa(isa);
        let top = scan.top_k(queries.as_codes(), self.k).expect("a valid search");
        let within = scan.within(queries.as_codes(), self.radius, self.limit).expect("a valid search");
        let counts = scan.count_within(queries.as_codes(), self.radius).expect("a valid search");
        assert_eq!(top.len(), ranking.len());
        for (query, ranked) in ranking.iter().enumerate() {
            let near = ranked.partition_point(|hit| hit.distance <= self.radius);
            let limit = self.limit.unwrap_or(usize::MAX);
            assert_eq!(top[query], ranked[..self.k.min(ranked.len())], "{isa}: k = {}", self.k);
            assert_eq!(within[query], ranked[..near.min(limit)], "{isa}: radius {}", self.radius);
            assert_eq!(counts[query], near as u64, "{isa}: radius {}", self.radius);
        }
    }
}

fn matrix(bits: CodeBits, codes: &[Vec<u8>]) -> CodesBuf {
    CodesBuf::from_packed(bits, &codes.concat()).expect("whole codes")
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_instruction_set_answers_like_brute_force(case in cases()) {
        let ranking = case.ranking();
        for isa in Isa::available() {
            case.check(isa, &ranking);
        }
    }
}

#[test]
fn every_tail_length_of_every_layout_is_right() {
    for bits in [8, 16, 24, 32, 64, 72, 128, 256] {
        let bits = CodeBits::new(bits).expect("a length that is allowed");
        for rows in (0..=140).chain([1023, 1024, 1025, 4095, 4096]) {
            let mut random = sequence(rows as u64);
            let query = random_code(&mut random, bits.bytes());
            let case = Case {
                bits,
                database: database(Content::Uniform, bits.bytes(), rows, &query, 5),
                queries: vec![query],
                mask: None,
                k: 7,
                radius: bits.bits() as u32 / 3,
                limit: None,
            };
            let ranking = case.ranking();
            Isa::available().into_iter().for_each(|isa| case.check(isa, &ranking));
        }
    }
}

#[test]
fn threads_and_batches_do_not_change_the_answer() {
    // More rows than one task takes, more queries than share one walk.
    let bits = CodeBits::B16;
    let mut random = sequence(11);
    let queries: Vec<Vec<u8>> = (0..70).map(|_| random_code(&mut random, bits.bytes())).collect();
    for (rows, queries) in [(40_000, &queries[..1]), (20_000, &queries[..])] {
        for k in [1, 50, 15_000] {
            let case = Case {
                bits,
                database: database(Content::Uniform, bits.bytes(), rows, &queries[0], 5),
                queries: queries.to_vec(),
                mask: mask(4, rows, 9),
                k,
                radius: 3,
                limit: Some(k),
            };
            let ranking = case.ranking();
            for threads in [1, 2] {
                pool(threads).install(|| case.check(Isa::best(), &ranking));
            }
        }
    }
}

#[test]
fn an_unknown_instruction_set_is_refused() {
    for isa in Isa::available() {
        assert_eq!(isa.name().parse::<Isa>(), Ok(isa));
    }
    assert!(matches!("sse9".parse::<Isa>(), Err(twinbit_kernels::Error::UnknownIsa { .. })));
}
