use serde_json::{Map, Value, json};

use super::{Tokenizer, TokenizerError, byte_level::stand_ins};
use crate::formats::without_mark;

/// One token a byte: vocabulary 256, any input, nothing to train.
///
/// ```
/// use bitnet::tokenizer::{ByteTokenizer, Tokenizer};
///
/// assert_eq!(ByteTokenizer.encode("né".as_bytes())?, [110, 195, 169]);
/// assert_eq!(ByteTokenizer.decode(&[110, 195, 169]), "né".as_bytes());
/// # Ok::<(), bitnet::tokenizer::TokenizerError>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct ByteTokenizer;

impl ByteTokenizer {
    /// Recognises what [`to_json`](Tokenizer::to_json) writes.
    ///
    /// # Errors
    /// [`TokenizerError::Json`], or [`TokenizerError::Unsupported`] for any other tokenizer.
    pub fn from_json(json: &str) -> Result<Self, TokenizerError> {
        let value: Value = serde_json::from_str(without_mark(json))?;
        let model = &value["model"];
        let merges_are_empty = model["merges"].as_array().is_some_and(Vec::is_empty);
        if model["type"] != "BPE" || !merges_are_empty {
            let reason = "its model is no BPE without merges";
            return Err(TokenizerError::Unsupported(reason.into()));
        }
        if model["vocab"].as_object() != Some(&vocabulary()) {
            return Err(TokenizerError::Unsupported("its vocabulary is not the 256 bytes".into()));
        }
        if value["added_tokens"].as_array().is_some_and(|added| !added.is_empty()) {
            return Err(TokenizerError::Unsupported("it has added tokens".into()));
        }
        if !value["normalizer"].is_null() {
            return Err(TokenizerError::Unsupported("it has a normalizer".into()));
        }
        Ok(Self)
    }
}

impl Tokenizer for ByteTokenizer {
    fn vocab_size(&self) -> usize {
        256
    }

    fn encode(&self, bytes: &[u8]) -> Result<Vec<u32>, TokenizerError> {
        Ok(bytes.iter().map(|&byte| byte.into()).collect())
    }

    fn decode(&self, tokens: &[u32]) -> Vec<u8> {
        tokens.iter().filter_map(|&token| token.try_into().ok()).collect()
    }

    /// None: every id is a byte. Documents end with a line break instead.
    fn end_of_text(&self) -> Option<u32> {
        None
    }

    fn to_json(&self) -> String {
        let byte_level = json!({
            "type": "ByteLevel",
            "add_prefix_space": false,
            "trim_offsets": false,
            "use_regex": false,
        });
        let value = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [],
            "normalizer": null,
            "pre_tokenizer": byte_level,
            "post_processor": null,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": null,
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": false,
                "byte_fallback": false,
                "ignore_merges": false,
                "vocab": vocabulary(),
                "merges": [],
            },
        });
        format!("{value:#}\n")
    }
}

/// Stand-ins of the bytes to token ids.
fn vocabulary() -> Map<String, Value> {
    let stand_ins = stand_ins().into_iter().enumerate();
    stand_ins.map(|(byte, character)| (character.to_string(), byte.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file means the same to the library it is written for.
    #[test]
    fn agrees_with_the_tokenizers_library() {
        let theirs: tokenizers::Tokenizer = ByteTokenizer.to_json().parse().unwrap();
        assert_eq!(theirs.get_vocab_size(true), ByteTokenizer.vocab_size());
        let all: String = ('\0'..='\u{7f}').chain("ñ ß € 語 🦀\r\n\t".chars()).collect();
        let ids = theirs.encode(all.as_str(), true).unwrap();
        assert_eq!(ids.get_ids(), ByteTokenizer.encode(all.as_bytes()).unwrap());
        let text = theirs.decode(ids.get_ids(), false).unwrap();
        assert_eq!(text.as_bytes(), ByteTokenizer.decode(ids.get_ids()));
    }

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let json = ByteTokenizer.to_json();
        assert!(ByteTokenizer::from_json(&json).is_ok());
        assert!(matches!(ByteTokenizer::from_json("{"), Err(TokenizerError::Json(_))));
        let lowercase = r#""normalizer": {"type": "Lowercase"}"#;
        for other in [
            "{}".to_string(),
            json.replace("\"!\"", "\"!!\""),
            json.replace(r#""normalizer": null"#, lowercase),
        ] {
            let error = ByteTokenizer::from_json(&other);
            assert!(matches!(error, Err(TokenizerError::Unsupported(_))));
        }
    }
}
