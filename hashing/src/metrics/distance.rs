//! Hamming distances of one query to every row of a database.

use twinbit_kernels::Codes;

use crate::Error;

/// Codes as rows of whole words.
pub(super) struct Words {
    words_per_row: usize,
    words: Vec<u64>,
}

impl Words {
    pub(super) fn new(codes: Codes<'_>) -> Self {
        let bits = codes.bits();
        let words_per_row = bits.bytes().div_ceil(8);
        let mut words = Vec::with_capacity(codes.rows() * words_per_row);
        let mut row = vec![0; words_per_row * 8];
        for index in 0..codes.rows() {
            codes.row_into(index, &mut row[..bits.bytes()]);
            let (chunks, _) = row.as_chunks::<8>();
            words.extend(chunks.iter().map(|&bytes| u64::from_le_bytes(bytes)));
        }
        Self { words_per_row, words }
    }

    /// Distances of row `query` of `self` to every row of `database`, in row order.
    pub(super) fn distances(&self, query: usize, database: &Words, out: &mut Vec<u32>) {
        let width = self.words_per_row;
        let query = &self.words[query * width..(query + 1) * width];
        let distance = |row: &[u64]| row.iter().zip(query).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
        out.clear();
        out.extend(database.words.chunks_exact(width).map(distance));
    }
}

/// Queries and database must have codes of one length.
pub(super) fn same_bits(queries: Codes<'_>, database: Codes<'_>) -> Result<usize, Error> {
    let (expected, got) = (database.bits().bits(), queries.bits().bits());
    if expected != got {
        return Err(Error::Shape { what: "bits of the query codes", expected, got });
    }
    Ok(expected)
}

/// Cut-offs must be at least 1.
pub(super) fn positive(ks: &[usize]) -> Result<(), Error> {
    if ks.contains(&0) { Err(Error::ZeroK) } else { Ok(()) }
}
