//! Words of a text, and the trigrams of a word.

/// Longer runs of letters are no words, but addresses, keys or noise: they are passed over.
pub(super) const LONGEST_WORD: usize = 64;

/// Calls `visit` with each word of `text` in lower case, and with the word marked as `<word>`.
///
/// A word is a run of letters and digits in the sense of Unicode. Accents are kept, and texts are
/// compared as they are encoded: composed and decomposed accents differ.
pub(super) fn for_each_word(text: &str, mut visit: impl FnMut(&str, &str)) {
    let mut marked = String::new();
    for run in text.split(|character: char| !character.is_alphanumeric()) {
        if run.is_empty() || run.chars().nth(LONGEST_WORD).is_some() {
            continue;
        }
        marked.clear();
        marked.push('<');
        marked.extend(run.chars().flat_map(char::to_lowercase));
        marked.push('>');
        visit(&marked[1..marked.len() - 1], &marked);
    }
}

/// The runs of three characters in `marked`, a word between `<` and `>`. The marks make a word's
/// beginning and end differ from its middle. A word of one character has none: it would be the
/// whole word once more.
pub(super) fn trigrams(marked: &str) -> impl Iterator<Item = &str> {
    let starts = marked.char_indices().map(|(at, _)| at);
    let ends = starts.clone().skip(3).chain([marked.len()]);
    let is_single = marked.chars().nth(3).is_none();
    starts.zip(ends).take_while(move |_| !is_single).filter_map(|(start, end)| marked.get(start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        for_each_word(text, |word, _| words.push(word.to_owned()));
        words
    }

    #[test]
    fn words_are_runs_of_letters_and_digits_in_lower_case() {
        assert_eq!(words("Two DOGS, one\tred-ball: 3rd."), ["two", "dogs", "one", "red", "ball", "3rd"]);
        assert_eq!(words("Das Übermaß; ΣΟΦΟΣ 東京"), ["das", "übermaß", "σοφοσ", "東京"]);
        assert_eq!(words(" ... !"), [""; 0]);
    }

    #[test]
    fn endless_words_are_passed_over() {
        let (longest, longer) = ("a".repeat(LONGEST_WORD), "b".repeat(LONGEST_WORD + 1));
        assert_eq!(words(&format!("{longest} {longer} c")), [longest.as_str(), "c"]);
    }

    #[test]
    fn trigrams_know_where_a_word_begins_and_ends() {
        assert_eq!(trigrams("<dogs>").collect::<Vec<_>>(), ["<do", "dog", "ogs", "gs>"]);
        assert_eq!(trigrams("<où>").collect::<Vec<_>>(), ["<où", "où>"]);
        assert_eq!(trigrams("<a>").count(), 0);
    }
}
