//! The bytes of a fitted text featurizer.
//!
//! Little-endian: the magic, version (u32), kind (u32), width (u32), number of words (u32), number
//! of trigrams (u32); then each term, words first, as weight (f32), bytes of text (u32), text in
//! UTF-8. Term `i` is column `i`.

use std::collections::HashSet;

use super::featurizer::TextFeaturizer;
use super::kind::TextKind;
use super::vocabulary::Term;
use crate::Error;

const MAGIC: [u8; 8] = *b"twintext";
const VERSION: u32 = 1;

/// Everything that the bytes say.
pub(super) struct Contents {
    pub(super) kind: TextKind,
    pub(super) width: usize,
    pub(super) words: Vec<Term>,
    pub(super) trigrams: Vec<Term>,
}

fn kind_number(kind: TextKind) -> u32 {
    match kind {
        TextKind::Ngram => 0,
        TextKind::Bow => 1,
    }
}

/// Counts and lengths are bounded by the largest width and the longest word: they fit u32.
fn put(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend((number as u32).to_le_bytes());
}

pub(super) fn write(contents: &Contents) -> Vec<u8> {
    let Contents { kind, width, words, trigrams } = contents;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(kind_number(*kind).to_le_bytes());
    put(&mut bytes, *width);
    put(&mut bytes, words.len());
    put(&mut bytes, trigrams.len());
    for term in words.iter().chain(trigrams) {
        bytes.extend(term.weight.to_le_bytes());
        put(&mut bytes, term.text.len());
        bytes.extend(term.text.as_bytes());
    }
    bytes
}

pub(super) fn read(bytes: &[u8]) -> Result<Contents, Error> {
    let mut reader = Reader { rest: bytes };
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(invalid("it does not begin as one".to_owned()));
    }
    let version = reader.number()?;
    if version != VERSION {
        return Err(invalid(format!("its version is {version}, this program reads {VERSION}")));
    }
    let number = reader.number()?;
    let Some(kind) = TextKind::ALL.into_iter().find(|kind| kind_number(*kind) == number) else {
        return Err(invalid(format!("kind {number} is unknown")));
    };
    let width = reader.number()? as usize;
    let (words, trigrams) = (reader.number()? as usize, reader.number()? as usize);
    if width > TextFeaturizer::MOST_WIDTH || words.saturating_add(trigrams) > width || words == 0 {
        return Err(invalid(format!("{words} words and {trigrams} trigrams do not fit a width of {width}")));
    }
    if kind == TextKind::Bow && trigrams > 0 {
        return Err(invalid("a bag of words has no trigrams".to_owned()));
    }
    let words = reader.terms(words)?;
    let trigrams = reader.terms(trigrams)?;
    match reader.rest.len() {
        0 => Ok(Contents { kind, width, words, trigrams }),
        left => Err(invalid(format!("{left} bytes follow its end"))),
    }
}

/// What is left to read.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(invalid("it is cut short".to_owned()));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn word(&mut self) -> Result<[u8; 4], Error> {
        let mut word = [0; 4];
        word.copy_from_slice(self.take(4)?);
        Ok(word)
    }

    fn number(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.word()?))
    }

    fn terms(&mut self, count: usize) -> Result<Vec<Term>, Error> {
        let mut terms: Vec<Term> = Vec::new();
        let mut seen = HashSet::new();
        for _ in 0..count {
            let weight = f32::from_le_bytes(self.word()?);
            let length = self.number()? as usize;
            let Ok(text) = std::str::from_utf8(self.take(length)?) else {
                return Err(invalid(format!("term {} is not UTF-8", terms.len())));
            };
            if !(weight > 0.0 && weight < MOST_WEIGHT) {
                return Err(invalid(format!("the weight of term {} is {weight}", terms.len())));
            }
            if !seen.insert(text) {
                return Err(invalid(format!("term {text:?} occurs twice")));
            }
            terms.push(Term { text: text.to_owned(), weight });
        }
        Ok(terms)
    }
}

/// No term is rarer than once in 2^64 texts: 1 + ln(2^64) is 45.4.
const MOST_WEIGHT: f32 = 46.0;

fn invalid(reason: String) -> Error {
    Error::TextFeaturizer { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        TextFeaturizer::fit(TextKind::Ngram, 24, ["two dogs", "a cat"]).unwrap().to_bytes()
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = sample();
        for length in 0..bytes.len() {
            assert!(matches!(read(&bytes[..length]), Err(Error::TextFeaturizer { .. })), "{length}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(read(&longer), Err(Error::TextFeaturizer { .. })));
    }

    #[test]
    fn every_changed_byte_is_refused_or_read_without_harm() {
        let bytes = sample();
        for at in 0..bytes.len() {
            for change in [1, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= change;
                if let Ok(featurizer) = TextFeaturizer::from_bytes(&bytes) {
                    let mut features = vec![0.0; featurizer.width()];
                    featurizer.encode("two cats", &mut features).unwrap();
                    assert!(features.iter().all(|feature| feature.is_finite()));
                }
            }
        }
    }

    #[test]
    fn terms_that_occur_twice_and_weights_that_cannot_be_are_refused() {
        let term = |text: &str, weight| Term { text: text.to_owned(), weight };
        let write = |words| write(&Contents { kind: TextKind::Bow, width: 4, words, trigrams: Vec::new() });
        assert!(read(&write(vec![term("a", 1.0), term("b", 2.0)])).is_ok());
        assert!(read(&write(vec![term("a", 1.0), term("a", 2.0)])).is_err());
        assert!(read(&write(vec![term("a", f32::NAN)])).is_err());
        assert!(read(&write(vec![term("a", -1.0)])).is_err());
        assert!(read(&write(Vec::new())).is_err());
    }
}
