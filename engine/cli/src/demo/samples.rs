//! The queries that the report shows.

/// Texts asked for, and what is notable about each.
pub const TEXTS: [(&str, &str); 10] = [
    ("kitty", "not a word of the set"),
    ("sad crying", "two words of several names"),
    ("fast car", "no name holds both"),
    ("ocean fish", "no name holds both"),
    ("smilling hart", "misspelled"),
    ("tropical fruits", "the set has them in the singular"),
    ("red flower", "no name holds both"),
    ("flags of islands", "a whole group"),
    ("man at work", "no name holds both"),
    ("musical instruments", "no instrument is called one"),
];

/// Pictures asked for, chosen among those held out: this many, spread over the groups.
pub const PICTURES: usize = 12;

/// Hits shown of each text.
pub const PICTURES_FOUND: usize = 10;

/// Hits shown of each picture.
pub const TEXTS_FOUND: usize = 8;
