//! Scans of many queries and under sparse masks, where the kernels take other ways than for one query,
//! against the scalar scan and against a plain loop.

use twinbit_kernels::{CodeBits, CodesBuf, Hit, Isa, RowMask, Scan, distance};

fn sequence(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

/// Codes of which a tenth are near the first one.
fn codes(bits: CodeBits, rows: usize, seed: u64) -> CodesBuf {
    let mut random = sequence(seed);
    let first: Vec<u8> = (0..bits.bytes()).map(|_| random() as u8).collect();
    let mut packed = Vec::with_capacity(rows * bits.bytes());
    for _ in 0..rows {
        let near = random().is_multiple_of(10);
        packed.extend(first.iter().map(|byte| {
            let few = random() & random() & random() & random();
            if near { byte ^ few as u8 } else { random() as u8 }
        }));
    }
    CodesBuf::from_packed(bits, &packed).expect("whole codes")
}

fn expected(codes: &CodesBuf, queries: &CodesBuf, mask: &RowMask, k: usize) -> Vec<Vec<Hit>> {
    let packed = codes.as_codes().to_packed();
    let bytes = codes.bits().bytes();
    (0..queries.rows())
        .map(|query| {
            let query = queries.as_codes().row(query);
            let hit =
                |row: u32| Hit { distance: distance(&query, &packed[row as usize * bytes..][..bytes]), row };
            let mut hits: Vec<Hit> = mask.ones().map(hit).collect();
            hits.sort_unstable();
            hits.truncate(k);
            hits
        })
        .collect()
}

/// Every way a mask can lie: all rows, half of them, few, few and close together, none.
fn masks(rows: usize) -> Vec<RowMask> {
    let mut random = sequence(rows as u64);
    let mut keep =
        |one_in: u64| RowMask::from_rows(rows, (0..rows as u32).filter(|_| random().is_multiple_of(one_in)));
    let mut masks = vec![RowMask::all(rows), keep(2), keep(30), keep(100), keep(1000), RowMask::none(rows)];
    let mut close = RowMask::none(rows);
    close.set_range(rows / 3..rows / 3 + rows / 50, true);
    masks.push(close);
    // Words that a sample of one in sixteen does not see.
    masks.push(RowMask::from_rows(rows, (0..rows as u32).filter(|row| row / 64 % 16 == 5)));
    masks
}

#[test]
fn batches_of_every_size_answer_like_single_queries() {
    for bits in [16, 32, 64, 128, 192, 256, 512, 1024] {
        let bits = CodeBits::new(bits).expect("a length that is allowed");
        for rows in [1000, 5000] {
            let database = codes(bits, rows, 1);
            for count in [1, 2, 3, 4, 5, 7, 8, 9] {
                let queries = codes(bits, count, 1);
                for mask in masks(rows).iter().step_by(3) {
                    for k in [1, 10, 400] {
                        let expected = expected(&database, &queries, mask, k);
                        for isa in Isa::available() {
                            let scan = Scan::new(database.as_codes()).mask(Some(mask)).isa(isa);
                            let found = scan.top_k(queries.as_codes(), k).expect("a valid search");
                            assert_eq!(found, expected, "{isa}, {bits} bits, {count} queries, k = {k}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn masks_of_every_density_leave_the_right_rows() {
    let rows = 150_001;
    for bits in [24, 32, 64, 128] {
        let bits = CodeBits::new(bits).expect("a length that is allowed");
        let database = codes(bits, rows, 3);
        let queries = codes(bits, 3, 3);
        for (kind, mask) in masks(rows).iter().enumerate() {
            let expected = expected(&database, &queries, mask, 50);
            let radius = bits.bits() as u32 / 4;
            for isa in Isa::available() {
                let scan = Scan::new(database.as_codes()).mask(Some(mask)).isa(isa);
                let found = scan.top_k(queries.as_codes(), 50).expect("a valid search");
                assert_eq!(found, expected, "{isa}, {bits} bits, mask {kind}");
                let counts = scan.count_within(queries.as_codes(), radius).expect("a valid search");
                let within = scan.within(queries.as_codes(), radius, None).expect("a valid search");
                assert_eq!(counts, within.iter().map(|hits| hits.len() as u64).collect::<Vec<_>>());
                assert!(
                    within.iter().flatten().all(|hit| hit.distance <= radius && mask.get(hit.row as usize))
                );
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_answer() {
    let rows = 60_001;
    let database = codes(CodeBits::B64, rows, 5);
    let queries = codes(CodeBits::B64, 21, 5);
    let mask = &masks(rows)[1];
    // From a lane for every thread and one group of queries to few long lanes and several groups.
    for k in [1, 10, 3000, rows] {
        let answers = [1, 2, 3, 8].map(|threads| {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
            let scan = Scan::new(database.as_codes()).mask(Some(mask));
            pool.install(|| scan.top_k(queries.as_codes(), k)).expect("a valid search")
        });
        assert!(answers.iter().all(|answer| *answer == answers[0]), "k = {k}");
        assert_eq!(answers[0][20].len(), k.min(mask.count()));
    }
}
