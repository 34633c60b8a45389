//! The terms a text featurizer knows, and how they are chosen.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::kind::TextKind;
use super::words::{for_each_word, trigrams};

/// A term and its weight.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Term {
    pub(super) text: String,
    /// Inverse document frequency, times the share of its kind of term.
    pub(super) weight: f32,
}

/// Trigrams weigh this much of what words do: a word has several of them, and they repeat what a
/// known word says already.
const TRIGRAM_SHARE: f32 = 0.5;

/// In how many texts each term occurs.
#[derive(Default)]
pub(super) struct Frequencies {
    texts: u64,
    words: HashMap<String, Frequency>,
    trigrams: HashMap<String, Frequency>,
}

#[derive(Default)]
struct Frequency {
    texts: u64,
    /// The last text that was counted, so that a term counts once a text.
    last: u64,
}

/// Counts `term` for text number `text`, counted from 1.
fn count(terms: &mut HashMap<String, Frequency>, term: &str, text: u64) {
    // Most terms are known: look up before making a string of one.
    let frequency = match terms.get_mut(term) {
        Some(frequency) => frequency,
        None => terms.entry(term.to_owned()).or_default(),
    };
    if frequency.last != text {
        frequency.last = text;
        frequency.texts += 1;
    }
}

impl Frequencies {
    /// Counts one more text.
    pub(super) fn add(&mut self, kind: TextKind, text: &str) {
        self.texts += 1;
        let Self { texts, words, trigrams: runs } = self;
        for_each_word(text, |word, marked| {
            count(words, word, *texts);
            if kind == TextKind::Ngram {
                trigrams(marked).for_each(|run| count(runs, run, *texts));
            }
        });
    }

    /// The `width` most frequent terms, words and trigrams: half of each, more of one when there
    /// are fewer of the other.
    pub(super) fn choose(self, width: usize) -> (Vec<Term>, Vec<Term>) {
        let Self { texts, words, trigrams } = self;
        let most_words = width - trigrams.len().min(width / 2);
        let words = most_frequent(words, most_words, texts, 1.0);
        let trigrams = most_frequent(trigrams, width - words.len(), texts, TRIGRAM_SHARE);
        (words, trigrams)
    }
}

fn most_frequent(terms: HashMap<String, Frequency>, most: usize, texts: u64, share: f32) -> Vec<Term> {
    let mut terms: Vec<(String, u64)> =
        terms.into_iter().map(|(term, frequency)| (term, frequency.texts)).collect();
    terms.sort_unstable_by(|a, b| (Reverse(a.1), &a.0).cmp(&(Reverse(b.1), &b.0)));
    terms.truncate(most);
    let weigh = |(text, frequency): (String, u64)| {
        let rarity = ((1 + texts) as f64 / (1 + frequency) as f64).ln();
        Term { text, weight: share * (1.0 + rarity) as f32 }
    };
    terms.into_iter().map(weigh).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(kind: TextKind, width: usize, texts: &[&str]) -> (Vec<String>, Vec<String>) {
        let mut frequencies = Frequencies::default();
        texts.iter().for_each(|text| frequencies.add(kind, text));
        let (words, trigrams) = frequencies.choose(width);
        let names = |terms: Vec<Term>| terms.into_iter().map(|term| term.text).collect();
        (names(words), names(trigrams))
    }

    #[test]
    fn the_most_frequent_terms_are_kept_and_ties_are_in_alphabetical_order() {
        let texts = ["b a", "b b b", "c a"];
        assert_eq!(choose(TextKind::Bow, 2, &texts).0, ["a", "b"]);
    }

    #[test]
    fn what_one_kind_of_term_does_not_need_goes_to_the_other() {
        let (words, trigrams) = choose(TextKind::Ngram, 10, &["dogs dogs"]);
        assert_eq!(words, ["dogs"]);
        assert_eq!(trigrams, ["<do", "dog", "gs>", "ogs"]);
        let (words, trigrams) = choose(TextKind::Ngram, 4, &["a b c d e in"]);
        assert_eq!((words.len(), trigrams.len()), (2, 2));
    }
}
