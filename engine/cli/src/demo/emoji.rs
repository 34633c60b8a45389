//! The demonstration's data: emoji pictures with their names, which come in through cargo.

use twemoji_assets::png::PngTwemojiAsset;

/// An emoji's picture with the text that belongs to it.
#[derive(Clone)]
pub struct Pair {
    /// The emoji itself.
    pub glyph: &'static str,
    /// Its Unicode name: unique, and the record's id.
    pub name: &'static str,
    /// Name and shortcodes: the text half of the pair.
    pub text: String,
    /// Group in Unicode's order, from 0: the class for evaluation.
    pub group: u32,
    /// The picture: PNG, 72 pixels square.
    pub picture: &'static [u8],
}

/// The pairs, in Unicode's order, and how many emoji have no picture.
pub struct EmojiSet {
    /// One pair a base emoji; skin-tone variants are left out.
    pub pairs: Vec<Pair>,
    /// Emoji newer than the picture set.
    pub without_picture: usize,
}

/// Collects every base emoji that has a picture.
pub fn load() -> EmojiSet {
    let mut set = EmojiSet { pairs: Vec::new(), without_picture: 0 };
    for (group, name) in emojis::Group::iter().zip(0_u32..) {
        for emoji in group.emojis() {
            match picture(emoji.as_str()) {
                Some(picture) => set.pairs.push(Pair {
                    glyph: emoji.as_str(),
                    name: emoji.name(),
                    text: text(emoji),
                    group: name,
                    picture,
                }),
                None => set.without_picture += 1,
            }
        }
    }
    set
}

/// Names of the groups, by number.
pub fn group_names() -> Vec<String> {
    emojis::Group::iter().map(|group| spaced(&format!("{group:?}"))).collect()
}

/// The picture of an emoji. The picture set leaves the "show as a picture" mark (U+FE0F) out of
/// the names of some files and keeps it in others.
pub fn picture(glyph: &str) -> Option<&'static [u8]> {
    let found = PngTwemojiAsset::from_emoji(glyph).or_else(|| {
        let unmarked: String = glyph.chars().filter(|&character| character != '\u{fe0f}').collect();
        PngTwemojiAsset::from_emoji(&unmarked)
    });
    found.map(|asset| asset.data.0)
}

/// "grinning face with big eyes, smiley": shortcodes that repeat the name are left out.
fn text(emoji: &emojis::Emoji) -> String {
    let mut text = emoji.name().to_owned();
    for shortcode in emoji.shortcodes() {
        let words = shortcode.replace('_', " ");
        if !words.eq_ignore_ascii_case(emoji.name()) {
            text.push_str(", ");
            text.push_str(&words);
        }
    }
    text
}

/// "SmileysAndEmotion" becomes "Smileys and emotion".
fn spaced(variant: &str) -> String {
    let mut spaced = String::new();
    for character in variant.chars() {
        if character.is_uppercase() && !spaced.is_empty() {
            spaced.push(' ');
            spaced.extend(character.to_lowercase());
        } else {
            spaced.push(character);
        }
    }
    spaced
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn nearly_every_base_emoji_has_a_picture() {
        let set = load();
        assert!(set.pairs.len() > 1_800, "{}", set.pairs.len());
        assert!(set.without_picture < 50, "{}", set.without_picture);
        assert!(set.pairs.iter().all(|pair| pair.picture.starts_with(b"\x89PNG")));
    }

    #[test]
    fn names_are_unique_and_groups_are_named() {
        let set = load();
        let names: BTreeSet<_> = set.pairs.iter().map(|pair| pair.name).collect();
        assert_eq!(names.len(), set.pairs.len());
        let groups = group_names();
        assert_eq!(groups[0], "Smileys and emotion");
        assert!(set.pairs.iter().all(|pair| (pair.group as usize) < groups.len()));
    }

    #[test]
    fn a_marked_emoji_finds_its_unmarked_picture() {
        assert!(picture("\u{2620}\u{fe0f}").is_some());
        assert!(picture("nothing").is_none());
    }

    #[test]
    fn text_is_the_name_and_the_shortcodes_that_differ() {
        let find = |glyph| load().pairs.into_iter().find(|pair| pair.glyph == glyph).unwrap();
        assert_eq!(find("\u{1f603}").text, "grinning face with big eyes, smiley");
        assert_eq!(find("\u{1fac1}").text, "lungs");
    }
}
