//! The value of a substring, and the values at a distance of it.

/// Reads the value of one substring off a code: the bits of a mask, moved together.
///
/// Needs no table, which a search that comes after a scan would not find in any cache.
#[derive(Debug, Clone)]
pub(super) struct KeyReader {
    /// For the words that the substring has bits in: the word, how to move its bits together, and the place
    /// that the value has for them.
    words: Vec<(usize, Compress, u32)>,
}

impl KeyReader {
    pub(super) fn new(mask: &[u64]) -> Self {
        let mut place = 0;
        let used = mask.iter().enumerate().filter(|(_, mask)| **mask != 0);
        let words = used.map(|(word, &mask)| {
            let first = place;
            place += mask.count_ones();
            (word, Compress::new(mask), first)
        });
        Self { words: words.collect() }
    }

    /// The substring's value in the code of which `word` gives the words.
    #[inline]
    pub(super) fn key(&self, word: impl Fn(usize) -> u64) -> u32 {
        self.words.iter().fold(0, |key, (at, compress, place)| key | (compress.of(word(*at)) as u32) << place)
    }
}

/// The bits of a mask moved to the low end of a word (Warren, "Hacker's Delight", 2nd edition, 7-4).
#[derive(Debug, Clone)]
struct Compress {
    mask: u64,
    /// The bits that move by 1, 2, 4 ... places, where they are by then.
    moves: [u64; 6],
}

impl Compress {
    fn new(mask: u64) -> Self {
        let mut moves = [0; 6];
        let mut left = mask;
        // Bits with an odd number of unwanted bits below move in this round; then half of them is looked at.
        let mut unwanted = !mask << 1;
        for (round, moved) in moves.iter_mut().enumerate() {
            let odd = (0..6).fold(unwanted, |odd, step| odd ^ odd << (1 << step));
            *moved = odd & left;
            left = (left ^ *moved) | *moved >> (1 << round);
            unwanted &= !odd;
        }
        Self { mask, moves }
    }

    #[inline]
    fn of(&self, word: u64) -> u64 {
        self.moves.iter().enumerate().fold(word & self.mask, |word, (round, moves)| {
            let moved = word & moves;
            (word ^ moved) | moved >> (1 << round)
        })
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
