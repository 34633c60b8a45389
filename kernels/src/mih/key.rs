//! The value of a substring, and the values at a distance of it.

/// Reads the value of one substring off a code: each byte of the code, looked up, gives its bits at
/// the places they have in the value.
#[derive(Debug, Clone)]
pub(super) struct KeyReader {
    /// For the bytes that the substring has bits in: word, shift, and the value's part for each byte.
    tables: Vec<(usize, u32, Box<[u32; 256]>)>,
}

impl KeyReader {
    pub(super) fn new(mask: &[u64]) -> Self {
        let mut tables = Vec::new();
        let mut place = 0;
        for (word, &mask) in mask.iter().enumerate() {
            for shift in (0..64).step_by(8) {
                let byte = (mask >> shift) as u8;
                if byte == 0 {
                    continue;
                }
                let mut table = Box::new([0; 256]);
                for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
                    for (value, part) in table.iter_mut().enumerate() {
                        *part |= ((value >> bit & 1) as u32) << place;
                    }
                    place += 1;
                }
                tables.push((word, shift, table));
            }
        }
        Self { tables }
    }

    /// The substring's value in the code of which `word` gives the words.
    #[inline]
    pub(super) fn key(&self, word: impl Fn(usize) -> u64) -> u32 {
        let part =
            |(at, shift, table): &(usize, u32, Box<[u32; 256]>)| table[(word(*at) >> shift) as u8 as usize];
        self.tables.iter().fold(0, |key, table| key | part(table))
    }
}

/// All numbers of `width` bits (at most 31) of which `ones` are set, ascending.
pub(super) fn flips(width: u32, ones: u32) -> impl Iterator<Item = u32> {
    let first = (1_u64 << ones) - 1;
    let mut next = (ones <= width).then_some(first);
    std::iter::from_fn(move || {
        let now = next?;
        // The next number with as many bits set (Gosper).
        let lowest = now & now.wrapping_neg();
        let carried = now + lowest;
        next =
            (now != 0).then(|| carried | ((now ^ carried) / lowest) >> 2).filter(|next| next >> width == 0);
        Some(now as u32)
    })
}

/// How many numbers of `width` bits have `ones` of them set.
pub(super) fn choose(width: u32, ones: u32) -> f64 {
    (0..ones).map(|i| f64::from(width.saturating_sub(i)) / f64::from(i + 1)).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_hold_every_value_once() {
        for width in 1..=10_u32 {
            let mut all: Vec<u32> = (0..=width).flat_map(|ones| flips(width, ones)).collect();
            for ones in 0..=width {
                assert_eq!(flips(width, ones).count() as f64, choose(width, ones).round());
                assert!(flips(width, ones).all(|value| value.count_ones() == ones));
            }
            all.sort_unstable();
            assert_eq!(all, (0..1 << width).collect::<Vec<u32>>());
            assert_eq!(flips(width, width + 1).count(), 0);
        }
    }

    #[test]
    fn a_value_has_the_bits_of_the_mask_in_order() {
        let words = [0x0123_4567_89ab_cdef_u64, 0xfedc_ba98_7654_3210];
        for mask in [[0xff00, 0], [1 << 63, 1], [0x8000_0100_0000_0001, 0x0f0f_0000_0000_0000]] {
            let mut expected = 0_u32;
            let mut place = 0;
            for bit in 0..128 {
                if mask[bit / 64] >> (bit % 64) & 1 == 1 {
                    expected |= ((words[bit / 64] >> (bit % 64) & 1) as u32) << place;
                    place += 1;
                }
            }
            assert_eq!(KeyReader::new(&mask).key(|word| words[word]), expected);
        }
    }
}
