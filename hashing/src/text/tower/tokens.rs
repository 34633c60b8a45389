//! Texts to numbers of tokens.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Deserialize;
use serde_json::json;
use tokenizers::{Tokenizer, TruncationParams};

use super::folder::Folder;
use crate::Error;

/// A tokenizer with the number of tokens that a text may have.
pub(super) struct Tokens {
    tokenizer: Tokenizer,
    /// Token numbers are below it.
    vocabulary: usize,
}

/// What `tokenizer_config.json` says.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenizerConfig {
    do_lower_case: Option<bool>,
    /// May be as large as 1e30, for "no limit".
    pub(super) model_max_length: Option<f64>,
}

/// The file that describes a tokenizer: `tokenizer.json`, or one made from the word list `vocab.txt`.
pub(super) fn description(folder: &Folder<'_>, config: &TokenizerConfig) -> Result<Vec<u8>, Error> {
    if let Some(bytes) = folder.bytes("tokenizer.json")? {
        return Ok(bytes);
    }
    let Some(words) = folder.bytes("vocab.txt")? else {
        return Err(folder.invalid("it has neither tokenizer.json nor vocab.txt"));
    };
    let words = String::from_utf8(words).map_err(|_| folder.invalid("vocab.txt is not UTF-8"))?;
    word_pieces(&words, config.do_lower_case.unwrap_or(true))
        .ok_or_else(|| folder.invalid("vocab.txt lacks [CLS], [SEP] or [UNK]"))
}

/// A `tokenizer.json` of BERT's word pieces; `None` when a special token is missing.
fn word_pieces(words: &str, lowercase: bool) -> Option<Vec<u8>> {
    const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let mut vocabulary = serde_json::Map::new();
    for (number, word) in words.lines().enumerate() {
        vocabulary.insert(word.to_owned(), number.into());
    }
    let number = |word: &str| vocabulary.get(word).and_then(serde_json::Value::as_u64);
    let added: Vec<_> = SPECIAL
        .iter()
        .filter_map(|word| {
            Some(json!({ "id": number(word)?, "content": word, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true }))
        })
        .collect();
    let (begin, end) = (number("[CLS]")?, number("[SEP]")?);
    number("[UNK]")?;
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": lowercase },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": { "type": "BertProcessing", "sep": ["[SEP]", end], "cls": ["[CLS]", begin] },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary },
    });
    Some(tokenizer.to_string().into_bytes())
}

impl Tokens {
    /// A tokenizer that cuts texts off after `most` tokens, those that begin and end a text counted; the
    /// end stays.
    pub(super) fn new(
        folder: &Folder<'_>,
        description: &[u8],
        vocabulary: usize,
        most: usize,
    ) -> Result<Self, Error> {
        let build = || {
            let mut tokenizer = Tokenizer::from_bytes(description)?;
            tokenizer.with_padding(None);
            tokenizer.with_truncation(Some(TruncationParams {
                max_length: most,
                ..TruncationParams::default()
            }))?;
            Ok(tokenizer)
        };
        match guarded(build) {
            Ok(tokenizer) => Ok(Self { tokenizer, vocabulary }),
            Err(reason) => Err(folder.invalid(format!("its tokenizer cannot be used: {reason}"))),
        }
    }

    /// The tokens of a text, at least one.
    pub(super) fn of(&self, text: &str) -> Result<Vec<u32>, String> {
        let encoding = guarded(|| self.tokenizer.encode_fast(text, true))?;
        let tokens = encoding.get_ids().to_vec();
        match tokens.iter().find(|token| **token as usize >= self.vocabulary) {
            Some(token) => {
                Err(format!("its tokenizer gives token {token}, the network knows {}", self.vocabulary))
            }
            None if tokens.is_empty() => Err("its tokenizer gives no token for a text".to_owned()),
            None => Ok(tokens),
        }
    }
}

/// Runs the tokenizer, whose description comes from a file and may not have been thought of there.
fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("it contradicts itself".to_owned()),
    }
}
