//! The numbers that the paper prints, to stand beside ours.
//!
//! From Hu, Zhu, Lin, Peng, Zhao, Peng, "Unsupervised Contrastive Cross-modal Hashing", IEEE TPAMI
//! 45(3), 2023: MAP of UCCH and of the methods it compares with, and its ablation.

/// Columns `dataset`, `method`, `task`, `bits`, `map`.
const MAP: &str = include_str!("published/map.tsv");
/// Columns `dataset`, `variant`, then image to text and text to image at 16, 32, 64, 128 bits.
const ABLATION: &str = include_str!("published/ablation.tsv");
/// Code lengths of the ablation's columns.
const ABLATION_BITS: [usize; 4] = [16, 32, 64, 128];

/// One printed number.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// The method, or the variant of the ablation.
    pub method: String,
    /// Image to text; else text to image.
    pub from_image: bool,
    /// Bits of a code.
    pub bits: usize,
    /// MAP.
    pub map: f64,
}

/// What is printed of a data set, in the paper's order; nothing when it is none of the paper's.
pub fn published(data: &str) -> Vec<Published> {
    let rows = |table: &'static str| {
        let rows = table.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
        rows.filter(|row| row.first().is_some_and(|name| name.eq_ignore_ascii_case(data)))
    };
    let map = rows(MAP).filter_map(|row| {
        let &[_, method, task, bits, map] = row.as_slice() else { return None };
        let from_image = task == "image_to_text";
        Some(Published {
            method: method.to_owned(),
            from_image,
            bits: bits.parse().ok()?,
            map: map.parse().ok()?,
        })
    });
    let ablation = rows(ABLATION).flat_map(|row| {
        let method = format!("UCCH, ablation: {}", row.get(1).copied().unwrap_or_default());
        let columns = [true, false].into_iter().flat_map(|side| ABLATION_BITS.map(|bits| (side, bits)));
        let numbers = row.into_iter().skip(2).zip(columns).filter_map(move |(map, (from_image, bits))| {
            Some(Published { method: method.clone(), from_image, bits, map: map.parse().ok()? })
        });
        numbers.collect::<Vec<_>>()
    });
    map.chain(ablation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(data: &str, method: &str, from_image: bool, bits: usize) -> Option<f64> {
        let wanted =
            |row: &&Published| row.method == method && row.from_image == from_image && row.bits == bits;
        published(data).iter().find(wanted).map(|row| row.map)
    }

    #[test]
    fn every_printed_number_is_read() {
        // Fourteen methods, both ways, four code lengths; the numbers of UCH are printed in part only.
        let all = 14 * 2 * 4;
        let ablation = 6 * 2 * 4;
        let expected = [
            ("MIRFLICKR-25K", all - 2),
            ("NUS-WIDE", all - 8),
            ("IAPR TC-12", all - 2 + ablation),
            ("MS-COCO", all - 2 + ablation),
        ];
        for (data, numbers) in expected {
            assert_eq!(published(data).len(), numbers, "{data}");
        }
        assert_eq!(published("mirflickr-25k"), published("MIRFLICKR-25K"));
        assert!(published("my photos").is_empty());
        assert_eq!(number("MIRFLICKR-25K", "CVH", true, 16), Some(0.620));
        assert_eq!(number("MS-COCO", "UCCH, ablation: full", false, 128), Some(0.677));
        assert_eq!(number("IAPR TC-12", "UCCH, ablation: Lc only", true, 32), Some(0.469));
    }
}
