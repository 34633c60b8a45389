//! The queries that the report shows.

use std::collections::BTreeSet;

use crate::demo::emoji::Pair;

/// Texts asked for: some in words of the set, some not, one misspelled.
pub const TEXTS: [&str; 10] = [
    "sad crying",
    "red flower",
    "flags of islands",
    "musical instruments",
    "smilling hart",
    "ocean fish",
    "man at work",
    "tropical fruits",
    "fast car",
    "kitty",
];

/// Pictures asked for, chosen among those held out: this many, spread over the groups.
pub const PICTURES: usize = 12;

/// Hits shown of each text.
pub const PICTURES_FOUND: usize = 10;

/// Hits shown of each picture.
pub const TEXTS_FOUND: usize = 8;

/// What the stored texts know of a query's words.
pub fn familiarity(query: &str, pairs: &[Pair]) -> String {
    let wanted = words(query);
    let texts: Vec<BTreeSet<String>> = pairs.iter().map(|pair| words(&pair.text)).collect();
    let unknown: Vec<&str> = wanted
        .iter()
        .filter(|word| !texts.iter().any(|text| text.contains(*word)))
        .map(String::as_str)
        .collect();
    if !unknown.is_empty() {
        return format!("no stored text has the word {}", unknown.join(" or "));
    }
    match texts.iter().filter(|text| wanted.is_subset(text)).count() {
        0 => "no stored text has all these words".to_owned(),
        1 => "one stored text has all these words".to_owned(),
        number => format!("{number} stored texts have all these words"),
    }
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_what_the_set_knows() {
        let pair = |text: &str| Pair { glyph: "", name: "", text: text.to_owned(), group: 0, picture: b"" };
        let pairs = [pair("crying cat, crying_cat"), pair("Sad face")];
        assert_eq!(familiarity("kitty cat", &pairs), "no stored text has the word kitty");
        assert_eq!(familiarity("sad cat", &pairs), "no stored text has all these words");
        assert_eq!(familiarity("SAD", &pairs), "one stored text has all these words");
    }
}
