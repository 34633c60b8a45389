//! Texts in lz4 blocks of [`TEXTS_PER_BLOCK`]: an uncompressed length, then the compressed bytes of
//! one end offset (`u32`) a text followed by the texts.

use crate::buffer::Texts;
use crate::cursor::Cursor;
use crate::format::TEXTS_PER_BLOCK;

/// lz4 cannot expand further than this, so a larger stated length is damage, not a reason to
/// allocate.
const MAX_RATIO: usize = 255;

/// The blocks, one after the other, and the end offset of each.
pub(super) fn compress(texts: &Texts) -> (Vec<u64>, Vec<u8>) {
    let (mut ends, mut out) = (Vec::new(), Vec::new());
    let mut start = 0;
    for block in texts.ends.chunks(TEXTS_PER_BLOCK) {
        let end = block.last().copied().unwrap_or(start);
        let mut plain = Vec::with_capacity(block.len() * 4 + (end - start) as usize);
        for text_end in block {
            // 64 texts of at most 16 MiB: below 2^31.
            plain.extend(((text_end - start) as u32).to_le_bytes());
        }
        plain.extend_from_slice(texts.bytes.get(start as usize..end as usize).unwrap_or_default());
        pack(&plain, &mut out);
        ends.push(out.len() as u64);
        start = end;
    }
    (ends, out)
}

fn pack(plain: &[u8], out: &mut Vec<u8>) {
    out.extend((plain.len() as u32).to_le_bytes());
    out.extend(lz4_flex::block::compress(plain));
}

/// Texts on their way into one block.
#[derive(Default)]
pub(super) struct BlockBuilder {
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl BlockBuilder {
    /// Adds a text; `true` when the block is full then.
    pub(super) fn push(&mut self, text: &str) -> bool {
        self.bytes.extend(text.as_bytes());
        self.ends.push(self.bytes.len() as u32);
        self.ends.len() == TEXTS_PER_BLOCK
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The packed block; the next one begins empty.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut plain: Vec<u8> = self.ends.drain(..).flat_map(u32::to_le_bytes).collect();
        plain.append(&mut self.bytes);
        let mut out = Vec::new();
        pack(&plain, &mut out);
        out
    }
}

/// Unpacks one block. `None` when it is damaged.
pub(super) fn decompress(block: &[u8]) -> Option<Vec<u8>> {
    let mut from = Cursor::new(block);
    let length = from.u32()? as usize;
    let packed = from.rest();
    if length > packed.len().saturating_mul(MAX_RATIO) {
        return None;
    }
    let plain = lz4_flex::block::decompress(packed, length).ok()?;
    (plain.len() == length).then_some(plain)
}

/// The text in place `index` of an unpacked block of `texts` texts.
pub(super) fn text(plain: &[u8], texts: usize, index: usize) -> Option<&str> {
    let end_of = |index: usize| -> Option<usize> {
        let at = plain.get(index * 4..index * 4 + 4)?;
        Some(u32::from_le_bytes(at.try_into().ok()?) as usize)
    };
    let start = match index.checked_sub(1) {
        Some(before) => end_of(before)?,
        None => 0,
    };
    let bytes = plain.get(texts * 4..)?.get(start..end_of(index)?)?;
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive_blocks() {
        let all: Vec<String> = (0..200).map(|i| "wörd ".repeat(i % 37)).collect();
        let mut texts = Texts::default();
        for text in &all {
            texts.bytes.extend(text.as_bytes());
            texts.ends.push(texts.bytes.len() as u64);
        }
        let (ends, blocks) = compress(&texts);
        assert_eq!(ends.len(), 4);
        let mut start = 0;
        for (index, end) in ends.iter().enumerate() {
            let block = &blocks[start..*end as usize];
            let here = &all[index * 64..all.len().min(index * 64 + 64)];
            let plain = decompress(block).unwrap();
            for (place, expected) in here.iter().enumerate() {
                assert_eq!(text(&plain, here.len(), place), Some(expected.as_str()));
            }
            assert_eq!(text(&plain, here.len(), here.len() + 9), None);
            for cut in 0..block.len() {
                assert_eq!(decompress(&block[..cut]), None, "cut at {cut}");
            }
            start = *end as usize;
        }
    }

    #[test]
    fn an_absurd_length_is_not_allocated() {
        let mut block = u32::MAX.to_le_bytes().to_vec();
        block.extend([0; 8]);
        assert_eq!(decompress(&block), None);
    }
}
